/* blob.c - one allocation per blob: count, length, bytes. */
#include "base/blob.h"

#include "base/mem.h"
#include <assert.h>
#include <string.h>

struct blob *blob_create(size_t len)
{
    if (len > SIZE_MAX - sizeof(struct blob))
        return NULL;
    struct blob *b = mem_alloc(sizeof(*b) + len);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = len;
    return b;
}

struct blob *blob_copy(const void *data, size_t len)
{
    struct blob *b = blob_create(len);
    if (b && len)
        memcpy(b->data, data, len);
    return b;
}

void blob_unref_n(struct blob *b, uint32_t n)
{
    if (!b || !n)
        return;
    /* Release: our reads of the bytes happen before the free. Acquire: the last owner sees everybody's. */
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, n, memory_order_acq_rel);
    assert(before >= n);
    if (before == n)
        mem_free(b);
}
