/* mem.h - the heap, behind names of our own so that tests can make any allocation fail.
 *
 * All of them return NULL when memory runs out; the caller turns that into MT_ENOMEM. Thread-safe like malloc.
 */
#ifndef MT_BASE_MEM_H
#define MT_BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t size);
/* Zeroed memory for `count` objects of `size`; NULL on overflow too. */
void *mem_zalloc(size_t count, size_t size);
/* As realloc; the old block stays valid when it returns NULL. */
void *mem_resize(void *ptr, size_t size);
void mem_free(void *ptr);
/* A NUL-terminated copy of `len` bytes. The caller frees it. */
char *mem_strdup(const char *text, size_t len);
/* Tests only: the n-th allocation of this thread from now on fails, once (0 = never). */
void mem_fail_at(unsigned long n);
/* Tests only: how many allocations are left until that one; 0 once it has failed. */
unsigned long mem_fail_left(void);
/* Tests only: the n-th allocation of this thread and all after it fail, until mem_fail_from(0). */
void mem_fail_from(unsigned long n);
#endif
