/* outbox_pool.c - free rings and chunks, given back to the heap when a long while has shown that nobody needs them. */
#include "net/outbox_pool.h"

#include "base/mem.h"

enum { TURNS_PER_TRIM = 1024 };

/* ---- stash ---- */

static void *stash_take(struct stash *s)
{
    if (!s->count)
        return NULL;
    void *item = s->items[--s->count];
    if (s->count < s->low)
        s->low = s->count;
    return item;
}

/* False: no room to keep it and none to be had; the caller frees the item. */
static bool stash_put(struct stash *s, void *item)
{
    if (s->count == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 64;
        void **items = mem_resize(s->items, cap * sizeof(*items));
        if (!items)
            return false;
        s->items = items;
        s->cap = cap;
    }
    s->items[s->count++] = item;
    return true;
}

/* Free half of what stayed unused since the last trim: a burst is forgotten in a few rounds, a steady load is left alone. */
static void stash_trim(struct stash *s)
{
    for (uint32_t excess = (s->low + 1) / 2; excess; excess--)
        mem_free(s->items[--s->count]);
    s->low = s->count;
}

static void stash_fini(struct stash *s)
{
    while (s->count)
        mem_free(s->items[--s->count]);
    mem_free(s->items);
}

/* ---- the pool ---- */

struct outbox_pool *outbox_pool_create(void)
{
    return mem_zalloc(1, sizeof(struct outbox_pool));
}

void outbox_pool_destroy(struct outbox_pool *p)
{
    if (!p)
        return;
    outbox_pool_turn_end(p);
    for (int i = 0; i < GROUP_COUNT; i++) {
        mem_free(p->groups[i].entries);
        mem_free(p->groups[i].data);
    }
    mem_free(p->scratch);
    stash_fini(&p->rings);
    stash_fini(&p->chunks);
    mem_free(p);
}

void pool_group_release(struct outbox_group *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        blob_unref_n(g->entries[i].frame, g->owners);
    g->owners = 0;
}

void outbox_pool_turn_end(struct outbox_pool *p)
{
    for (int i = 0; i < GROUP_COUNT; i++)
        if (p->groups[i].owners)
            pool_group_release(&p->groups[i]);
    blob_unref_n(p->released, p->released_refs);
    p->released = NULL;
    p->released_refs = 0;
    if (++p->turns % TURNS_PER_TRIM == 0) {
        stash_trim(&p->rings);
        stash_trim(&p->chunks);
    }
}

/* ---- rings, chunks, references ---- */

struct outbox_entry *pool_ring_get(struct outbox_pool *p, uint32_t cap)
{
    struct outbox_entry *ring = cap == RING_BASE ? stash_take(&p->rings) : NULL;
    return ring ? ring : mem_alloc(cap * sizeof(*ring));
}

void pool_ring_put(struct outbox_pool *p, struct outbox_entry *ring, uint32_t cap)
{
    if (cap != RING_BASE || !stash_put(&p->rings, ring))
        mem_free(ring);
}

struct blob *pool_chunk_get(struct outbox_pool *p)
{
    struct blob *chunk = stash_take(&p->chunks);
    if (!chunk)
        chunk = blob_create(CHUNK_SIZE);
    if (chunk)
        chunk->len = 0;
    return chunk;
}

void pool_release(struct outbox_pool *p, const struct outbox_entry *e)
{
    if (e->tag & ENTRY_CHUNK) {
        if (!stash_put(&p->chunks, e->frame))
            blob_unref(e->frame);
        return;
    }
    if (!e->frame)
        return;
    if (e->frame != p->released) {
        blob_unref_n(p->released, p->released_refs);
        p->released = e->frame;
        p->released_refs = 0;
    }
    p->released_refs++;
}
