/* blob.h - an immutable counted run of bytes, shared by every outbox that it waits in.
 *
 * Filled once by its creator, never changed after the first blob_ref. Counts are atomic, so a blob may cross workers.
 */
#ifndef MT_BASE_BLOB_H
#define MT_BASE_BLOB_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
    atomic_uint_least32_t refs; /* owners; freed at zero */
    size_t len;                 /* bytes in data */
    unsigned char data[];
};

/* One reference, `len` bytes to be filled by the caller. NULL when memory runs out. */
struct blob *blob_create(size_t len);
struct blob *blob_copy(const void *data, size_t len); /* NULL when memory runs out */
static inline struct blob *blob_ref_n(struct blob *b, uint32_t n)
{
    atomic_fetch_add_explicit(&b->refs, n, memory_order_relaxed);
    return b;
}
static inline struct blob *blob_ref(struct blob *b)
{
    return blob_ref_n(b, 1);
}
/* Give back n references; NULL is allowed. */
void blob_unref_n(struct blob *b, uint32_t n);
static inline void blob_unref(struct blob *b)
{
    blob_unref_n(b, 1);
}
#endif
