/* cache.c - 16 stripes of one hash table and one list, newest last, each. An entry is one block: head, key, value. */
#include "store/cache.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    STRIPES = 16,
    WRITING = 4096, /* counters of writes under way; keys that share one only wait a little more */
    SLOT_COST = 48, /* bytes of the hash table per entry, roughly */
};

struct entry {
    struct list_node node; /* in stripe->used */
    int64_t ends;          /* wall clock, 0 = never */
    int64_t integer;
    enum store_kind kind;
    size_t key_len, value_len;
    char bytes[]; /* key, then value */
};

struct stripe {
    pthread_mutex_t lock;
    struct map map;        /* key -> struct entry, owned */
    struct list_node used; /* all of them, the one that was used last at the end */
    size_t bytes;          /* of all of them */
    uint64_t generation;   /* grows with every commit that puts something here */
};

struct store_cache {
    size_t limit; /* bytes of one stripe */
    int64_t (*now)(void);
    struct stripe stripes[STRIPES];
    atomic_uint writing[WRITING];
};

/* ---- life ---- */

struct store_cache *store_cache_create(size_t bytes, int64_t (*now)(void))
{
    struct store_cache *c = mem_zalloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->limit = bytes / STRIPES;
    c->now = now;
    for (int i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&c->stripes[i].lock, NULL);
        list_init(&c->stripes[i].used);
    }
    return c;
}

void store_cache_destroy(struct store_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *s = &c->stripes[i];
        list_each_safe(node, next, &s->used) mem_free(list_entry(node, struct entry, node));
        map_fini(&s->map);
        pthread_mutex_destroy(&s->lock);
    }
    mem_free(c);
}

/* ---- stripes; the lock is held ---- */

static struct stripe *stripe_lock(struct store_cache *c, struct slice key)
{
    struct stripe *s = &c->stripes[map_stripe(key, STRIPES)];

    pthread_mutex_lock(&s->lock);
    return s;
}

static size_t cost_of(size_t key_len, size_t value_len)
{
    return sizeof(struct entry) + SLOT_COST + key_len + value_len;
}

static struct slice key_of(const struct entry *e)
{
    return (struct slice){e->bytes, e->key_len};
}

static void drop(struct stripe *s, struct entry *e)
{
    map_take(&s->map, key_of(e));
    list_remove(&e->node);
    s->bytes -= cost_of(e->key_len, e->value_len);
    mem_free(e);
}

static void fill_entry(struct entry *e, const struct store_value *value, int64_t ends)
{
    e->kind = value->kind;
    e->integer = value->integer;
    e->ends = ends;
    if (e->value_len > 0)
        memcpy(e->bytes + e->key_len, value->data.data, e->value_len);
}

static size_t value_len_of(const struct store_value *value)
{
    return value->kind == STORE_BYTES || value->kind == STORE_JSON ? value->data.len : 0;
}

/* Makes room; false when it would take more than half of the stripe. */
static bool make_room(const struct store_cache *c, struct stripe *s, size_t cost)
{
    if (cost > c->limit / 2)
        return false;
    while (s->bytes > c->limit - cost)
        drop(s, list_entry(s->used.next, struct entry, node));
    return true;
}

static void add(const struct store_cache *c, struct stripe *s, struct slice key, const struct store_value *value, int64_t ends)
{
    size_t len = value_len_of(value);
    struct entry *e = make_room(c, s, cost_of(key.len, len)) ? mem_alloc(sizeof(*e) + key.len + len) : NULL;

    if (!e)
        return;
    e->key_len = key.len;
    e->value_len = len;
    memcpy(e->bytes, key.data, key.len);
    fill_entry(e, value, ends);
    if (map_put(&s->map, key_of(e), e) != 0) {
        mem_free(e);
        return;
    }
    list_add_tail(&s->used, &e->node);
    s->bytes += cost_of(key.len, len);
}

static void use(struct stripe *s, struct entry *e)
{
    list_remove(&e->node);
    list_add_tail(&s->used, &e->node);
}

/* What was known before is gone in any case. */
static void set(const struct store_cache *c, struct stripe *s, struct slice key, const struct store_value *value, int64_t ends)
{
    struct entry *old = map_find(&s->map, key);

    if (old && old->value_len == value_len_of(value)) {
        fill_entry(old, value, ends);
        use(s, old);
        return;
    }
    if (old)
        drop(s, old);
    add(c, s, key, value, ends);
}

/* ---- finding ---- */

static bool copy_out(const struct store_cache *c, const struct entry *e, struct store_value *out, struct buf *copy)
{
    size_t start = copy->len;

    *out = (struct store_value){STORE_NOTHING, 0, {NULL, 0}};
    if (e->ends != 0 && e->ends <= c->now())
        return true;
    if (buf_add(copy, e->bytes + e->key_len, e->value_len) != 0)
        return false;
    out->kind = e->kind;
    out->integer = e->integer;
    if (e->value_len > 0)
        out->data = (struct slice){(const char *)copy->data + start, e->value_len};
    return true;
}

bool store_cache_find(struct store_cache *c, struct slice key, struct store_value *out, struct buf *copy)
{
    if (store_cache_is_writing(c, key))
        return false;
    struct stripe *s = stripe_lock(c, key);
    struct entry *e = map_find(&s->map, key);
    bool found = e && copy_out(c, e, out, copy);

    if (found)
        use(s, e);
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* ---- writes under way ---- */

static unsigned counter_of(struct slice key)
{
    return map_stripe(key, WRITING);
}

void store_cache_begin_write(struct store_cache *c, struct slice key)
{
    atomic_fetch_add(&c->writing[counter_of(key)], 1);
}

void store_cache_end_write(struct store_cache *c, struct slice key)
{
    atomic_fetch_sub(&c->writing[counter_of(key)], 1);
}

bool store_cache_is_writing(const struct store_cache *c, struct slice key)
{
    return atomic_load(&c->writing[counter_of(key)]) > 0;
}

/* ---- what is read and committed ---- */

void store_cache_put(struct store_cache *c, struct slice key, const struct store_value *value, int64_t ends)
{
    struct stripe *s = stripe_lock(c, key);

    s->generation++;
    set(c, s, key, value, ends);
    pthread_mutex_unlock(&s->lock);
}

uint64_t store_cache_generation(struct store_cache *c, struct slice key)
{
    struct stripe *s = stripe_lock(c, key);
    uint64_t generation = s->generation;

    pthread_mutex_unlock(&s->lock);
    return generation;
}

void store_cache_fill(struct store_cache *c, struct slice key, const struct store_value *value, int64_t ends, uint64_t generation)
{
    struct stripe *s = stripe_lock(c, key);

    if (s->generation == generation)
        set(c, s, key, value, ends);
    pthread_mutex_unlock(&s->lock);
}
