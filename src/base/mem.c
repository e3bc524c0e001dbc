/* mem.c - malloc and friends with an injection point, so that tests can sweep "this allocation fails" over a piece of code. */
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Allocations of this thread until the one that fails; 0: none fails. Per thread, so that a test disturbs nobody else. */
static _Thread_local unsigned long fail_in;
/* The same, but from then on all of them fail: it stays at 1. */
static _Thread_local unsigned long fail_from;

static bool must_fail(void)
{
    if (fail_from == 1)
        return true;
    fail_from -= fail_from > 0;
    return fail_in && --fail_in == 0;
}

void mem_fail_from(unsigned long n)
{
    fail_from = n;
}

void mem_fail_at(unsigned long n)
{
    fail_in = n;
}

unsigned long mem_fail_left(void)
{
    return fail_in;
}

/* Size 0 becomes 1 everywhere: NULL has to mean "no memory" and nothing else. */
void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_zalloc(size_t count, size_t size)
{
    /* calloc checks for overflow too, but sanitizers end the process there. */
    if (must_fail() || (size && count > SIZE_MAX / size))
        return NULL;
    return count && size ? calloc(count, size) : calloc(1, 1);
}

void *mem_resize(void *ptr, size_t size)
{
    return must_fail() ? NULL : realloc(ptr, size ? size : 1);
}

void mem_free(void *ptr)
{
    free(ptr);
}

char *mem_strdup(const char *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
