/* past.c - a short stack. */
#include "app/past.h"

#include "script/sources.h"
#include <string.h>

static void drop_from(struct past *p, size_t at)
{
    while (p->count > at)
        sources_unref(p->items[--p->count]);
}

void past_fini(struct past *p)
{
    drop_from(p, 0);
}

void past_add(struct past *p, struct sources *s)
{
    if (p->count == PAST_MAX) {
        sources_unref(p->items[0]);
        memmove(p->items, p->items + 1, --p->count * sizeof(*p->items));
    }
    p->items[p->count++] = s;
}

struct sources *past_newest(const struct past *p, const char *hash)
{
    for (size_t i = p->count; i > 0; i--)
        if (strcmp(sources_hash(p->items[i - 1]), hash) != 0)
            return p->items[i - 1];
    return NULL;
}

struct sources *past_take(struct past *p, const char *hash)
{
    for (size_t i = p->count; i > 0; i--)
        if (strcmp(sources_hash(p->items[i - 1]), hash) == 0) {
            struct sources *s = p->items[i - 1];
            drop_from(p, i);
            p->count--;
            return s;
        }
    return NULL;
}
