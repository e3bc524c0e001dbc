/* fuzz.h - what the fuzz targets share: reading choices off the input, cutting the rest, failing loudly. */
#ifndef MT_TESTS_FUZZ_FUZZ_H
#define MT_TESTS_FUZZ_FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define FUZZ_CHECK(condition)                                                                                                    \
    do {                                                                                                                         \
        if (!(condition)) {                                                                                                      \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                                       \
            abort();                                                                                                             \
        }                                                                                                                        \
    } while (0)

/* First byte of the input, cut off; 0 when there is none. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}

/* Length of the next piece of `left` bytes (at least 1). `seed` 0: all at once; else short and long pieces by chance. */
static inline size_t fuzz_piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525 + 1013904223;
    size_t most = *seed >> 31 ? 4 : 200;
    size_t n = 1 + (*seed >> 8) % most;

    *seed |= 1;
    return n < left ? n : left;
}

/* A copy in a block of exactly that size, so that a step over its end is seen. The caller frees it. */
static inline void *fuzz_copy(const void *data, size_t len)
{
    void *copy = malloc(len ? len : 1);

    FUZZ_CHECK(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}
#endif
