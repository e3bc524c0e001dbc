/* buf.h - a growable byte buffer in the caller's struct. Zeroed memory is a valid empty buffer. */
#ifndef MT_BASE_BUF_H
#define MT_BASE_BUF_H
#include "base/slice.h"
#include <stdarg.h>
#include <stddef.h>

struct buf {
    unsigned char *data; /* owned; NULL while nothing was added */
    size_t len;          /* bytes in use */
    size_t cap;          /* bytes allocated */
};

void buf_fini(struct buf *b); /* frees; the buffer is empty and usable again */
/* Make room for `more` bytes behind len. 0 or MT_ENOMEM (buffer unchanged). Grows by doubling. */
int buf_reserve(struct buf *b, size_t more);
int buf_add(struct buf *b, const void *data, size_t len); /* 0 or MT_ENOMEM */
int buf_add_text(struct buf *b, const char *text);        /* 0 or MT_ENOMEM */
int buf_add_byte(struct buf *b, unsigned char byte);      /* 0 or MT_ENOMEM */
/* printf into the end; 0 or MT_ENOMEM. */
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_addv(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Drop the first `n` bytes (n <= len); the rest moves to the front. */
void buf_drop(struct buf *b, size_t n);
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){(const char *)b->data, b->len};
}
#endif
