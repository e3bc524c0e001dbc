/* store.c - which of the two it is. */
#include "store/store.h"

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
