/* store.c - which of the two it is. */
#include "store/store.h"

#include "base/mem.h"

int store_send(struct store *s, struct store_request *r)
{
    return s->ops->send(s, r);
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
