/* buf.c - growth by doubling, so that n appended bytes cost O(n) copies. */
#include "base/buf.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAP = 64 };

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

int buf_reserve(struct buf *b, size_t more)
{
    if (more <= b->cap - b->len)
        return 0;
    if (more > SIZE_MAX / 2 - b->len)
        return MT_ENOMEM;
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < b->len + more)
        cap *= 2;
    unsigned char *data = mem_resize(b->data, cap);
    if (!data)
        return MT_ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    if (!len)
        return 0;
    if (buf_reserve(b, len) < 0)
        return MT_ENOMEM;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int buf_add_text(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int buf_add_byte(struct buf *b, unsigned char byte)
{
    if (buf_reserve(b, 1) < 0)
        return MT_ENOMEM;
    b->data[b->len++] = byte;
    return 0;
}

int buf_addf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int err = buf_addv(b, format, args);
    va_end(args);
    return err;
}

int buf_addv(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = b->cap - b->len;
    int len = vsnprintf(room ? (char *)b->data + b->len : NULL, room, format, args);
    int err = len < 0 ? MT_ENOMEM : 0;

    /* vsnprintf also writes a NUL, so the room must be more than the text. */
    if (!err && (size_t)len >= room) {
        err = buf_reserve(b, (size_t)len + 1);
        if (!err)
            vsnprintf((char *)b->data + b->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    if (!err)
        b->len += (size_t)len;
    return err;
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    if (n && b->len)
        memmove(b->data, b->data + n, b->len);
}
