/* store.c - which of the two it is. */
#include "store/store.h"

#include "base/mem.h"

int store_send(struct store *s, struct store_request *r)
{
    atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed); /* it may be back before `send` is */
    int rc = s->ops->send(s, r);
    if (rc != 0)
        atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
    return rc;
}

void store_split_key(struct slice full, struct slice *name, struct slice *key)
{
    const char *zero = memchr(full.data, '\0', full.len);
    size_t len = zero ? (size_t)(zero - full.data) : full.len;

    *name = (struct slice){full.data, len};
    *key = zero ? (struct slice){zero + 1, full.len - len - 1} : (struct slice){"", 0};
}

void store_answer(struct store *s, struct store_request *r)
{
    atomic_fetch_sub_explicit(&s->pending, 1, memory_order_relaxed);
    inbox_post(r->inbox, &r->letter);
}

size_t store_pending(const struct store *s)
{
    return atomic_load_explicit(&s->pending, memory_order_relaxed);
}

bool store_peek(struct store *s, struct slice key, struct store_value *out, struct buf *copy)
{
    return s->ops->peek && s->ops->peek(s, key, out, copy);
}

void store_destroy(struct store *s)
{
    if (s)
        s->ops->destroy(s);
}

int store_refuse(int code, char **error, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    *error = buf_addv(&text, format, args) == 0 ? mem_strdup((char *)text.data, text.len) : NULL;
    va_end(args);
    buf_fini(&text);
    return code;
}
