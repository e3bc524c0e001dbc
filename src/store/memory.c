/* memory.c - the store: 16 stripes of one hash table each.
 *
 * An entry is one block: head, key, value; a write makes a new block, so a reader never sees half a value.
 */
#include "store/memory.h"

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/store.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    STRIPES = 16,
    SWEEP_STEPS = 4,       /* entries looked at per write, to find expired ones */
    SWEEP_PAUSE_MS = 1000, /* between two looks at everything when the store is full */
    SLOT_COST = 48,        /* bytes of the hash table per entry, roughly */
};

struct entry {
    uint64_t expires; /* milliseconds of now(), 0 = never */
    enum store_kind kind;
    int64_t integer;
    size_t key_len, value_len;
    char bytes[]; /* key, then value */
};

struct stripe {
    pthread_mutex_t lock;
    struct map map; /* key -> struct entry, owned */
    size_t cursor;  /* where the next small sweep goes on */
};

struct memory_store {
    size_t limit;
    uint64_t (*now)(void);
    atomic_size_t used;         /* bytes of all entries */
    atomic_uint_fast64_t swept; /* when everything was last looked at */
    struct stripe stripes[STRIPES];
};

/* ---- entries ---- */

static size_t entry_cost(size_t key_len, size_t value_len)
{
    return sizeof(struct entry) + SLOT_COST + key_len + value_len;
}

static struct slice entry_key(const struct entry *e)
{
    return (struct slice){e->bytes, e->key_len};
}

static void entry_free(struct memory_store *m, struct entry *e)
{
    if (e == NULL)
        return;
    atomic_fetch_sub(&m->used, entry_cost(e->key_len, e->value_len));
    mem_free(e);
}

/* Its bytes count from now on. *err is MT_EFULL or MT_ENOMEM when there is none. */
static struct entry *entry_create(struct memory_store *m, struct slice key, const struct store_value *value, int *err)
{
    size_t value_len = value->kind == STORE_INTEGER ? 0 : value->data.len;
    size_t cost = entry_cost(key.len, value_len);
    struct entry *e;

    if (atomic_fetch_add(&m->used, cost) > m->limit - cost || cost > m->limit) {
        atomic_fetch_sub(&m->used, cost);
        *err = MT_EFULL;
        return NULL;
    }
    e = mem_alloc(sizeof(*e) + key.len + value_len);
    if (e == NULL) {
        atomic_fetch_sub(&m->used, cost);
        *err = MT_ENOMEM;
        return NULL;
    }
    *e = (struct entry){0, value->kind, value->integer, key.len, value_len};
    memcpy(e->bytes, key.data, key.len);
    if (value_len > 0)
        memcpy(e->bytes + key.len, value->data.data, value_len);
    return e;
}

/* ---- stripes; the lock is held in all of these ---- */

static struct stripe *stripe_lock(struct memory_store *m, struct slice key)
{
    struct stripe *s = &m->stripes[map_stripe(key, STRIPES)];

    pthread_mutex_lock(&s->lock);
    return s;
}

static bool is_expired(const struct entry *e, uint64_t now)
{
    return e->expires != 0 && e->expires <= now;
}

static void stripe_drop(struct memory_store *m, struct stripe *s, struct slice key)
{
    entry_free(m, map_take(&s->map, key));
}

/* The entry of a key; one that has expired is dropped and not found. */
static struct entry *stripe_find(struct memory_store *m, struct stripe *s, struct slice key)
{
    struct entry *e = map_find(&s->map, key);

    if (e == NULL || !is_expired(e, m->now()))
        return e;
    stripe_drop(m, s, key);
    return NULL;
}

/* Drop what has expired among the next `steps` entries. */
static void stripe_sweep(struct memory_store *m, struct stripe *s, size_t steps)
{
    uint64_t now = m->now();
    struct slice key;

    for (; steps > 0; steps--) {
        struct entry *e = map_next(&s->map, &s->cursor, &key);
        if (e == NULL) {
            s->cursor = 0;
            return;
        }
        if (!is_expired(e, now))
            continue;
        stripe_drop(m, s, key);
        s->cursor--; /* the next entry may have moved into the free slot */
    }
}

static int stripe_put(struct memory_store *m, struct stripe *s, struct slice key, const struct store_value *value, uint64_t ttl)
{
    int err = 0;

    stripe_sweep(m, s, SWEEP_STEPS);
    struct entry *old = stripe_find(m, s, key);
    struct entry *e = entry_create(m, key, value, &err);
    if (e == NULL)
        return err;
    if (ttl == STORE_TTL_KEEP)
        e->expires = old != NULL ? old->expires : 0;
    else
        e->expires = ttl != STORE_TTL_NONE ? m->now() + ttl : 0;
    if ((err = map_put(&s->map, entry_key(e), e)) != 0) {
        entry_free(m, e);
        return err;
    }
    entry_free(m, old);
    return 0;
}

/* What a key holds, seen in the store itself; e may be NULL. */
static struct store_value value_of(const struct entry *e)
{
    if (e == NULL)
        return (struct store_value){STORE_NOTHING, 0, {NULL, 0}};
    return (struct store_value){e->kind, e->integer, {e->bytes + e->key_len, e->value_len}};
}

/* ---- the whole store ---- */

struct memory_store *memory_store_create(size_t limit, uint64_t (*now)(void))
{
    struct memory_store *m = mem_zalloc(1, sizeof(*m));

    if (m == NULL)
        return NULL;
    m->limit = limit;
    m->now = now;
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&m->stripes[i].lock, NULL);
    return m;
}

void memory_store_destroy(struct memory_store *m)
{
    if (m == NULL)
        return;
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *s = &m->stripes[i];
        size_t at = 0;
        for (struct entry *e = map_next(&s->map, &at, NULL); e != NULL; e = map_next(&s->map, &at, NULL))
            mem_free(e);
        map_fini(&s->map);
        pthread_mutex_destroy(&s->lock);
    }
    mem_free(m);
}

/* Look at everything once, not more often than every SWEEP_PAUSE_MS; false when it was not yet time. */
static bool sweep_all(struct memory_store *m)
{
    uint64_t now = m->now(), last = atomic_load(&m->swept);

    if ((last != 0 && now - last < SWEEP_PAUSE_MS) || !atomic_compare_exchange_strong(&m->swept, &last, now))
        return false;
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *s = &m->stripes[i];
        pthread_mutex_lock(&s->lock);
        s->cursor = 0;
        stripe_sweep(m, s, s->map.count + 1);
        pthread_mutex_unlock(&s->lock);
    }
    return true;
}

int memory_store_get(struct memory_store *m, struct slice key, struct store_value *out, struct buf *copy)
{
    struct stripe *s = stripe_lock(m, key);
    const struct entry *e = stripe_find(m, s, key);
    size_t start = copy->len;
    int err = e != NULL ? 0 : MT_ENOT_FOUND;

    if (e != NULL && e->value_len > 0)
        err = buf_add(copy, e->bytes + e->key_len, e->value_len);
    if (err == 0) {
        *out = (struct store_value){e->kind, e->integer, SLICE("")};
        if (e->value_len > 0)
            out->data = (struct slice){(const char *)copy->data + start, e->value_len};
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

int memory_store_set(struct memory_store *m, struct slice key, const struct store_value *value, uint64_t ttl)
{
    int err;

    do {
        struct stripe *s = stripe_lock(m, key);
        err = stripe_put(m, s, key, value, ttl);
        pthread_mutex_unlock(&s->lock);
    } while (err == MT_EFULL && sweep_all(m));
    return err;
}

static int stripe_replace(struct memory_store *m, struct stripe *s, struct slice key, const struct store_value *expected,
                          const struct store_value *value, uint64_t ttl)
{
    struct store_value now = value_of(stripe_find(m, s, key));

    if (!store_value_equal(&now, expected))
        return MT_EBUSY;
    if (value->kind != STORE_NOTHING)
        return stripe_put(m, s, key, value, ttl);
    stripe_drop(m, s, key);
    return 0;
}

int memory_store_replace(struct memory_store *m, struct slice key, const struct store_value *expected,
                         const struct store_value *value, uint64_t ttl)
{
    int err;

    do {
        struct stripe *s = stripe_lock(m, key);
        err = stripe_replace(m, s, key, expected, value, ttl);
        pthread_mutex_unlock(&s->lock);
    } while (err == MT_EFULL && sweep_all(m));
    return err;
}

bool memory_store_delete(struct memory_store *m, struct slice key)
{
    struct stripe *s = stripe_lock(m, key);
    bool found = stripe_find(m, s, key) != NULL;

    stripe_drop(m, s, key);
    pthread_mutex_unlock(&s->lock);
    return found;
}

int memory_store_incr(struct memory_store *m, struct slice key, int64_t by, uint64_t ttl, int64_t *result)
{
    struct store_value value = {STORE_INTEGER, by, {NULL, 0}};
    int err;

    do {
        struct stripe *s = stripe_lock(m, key);
        struct entry *e = stripe_find(m, s, key);
        err = 0;
        if (e == NULL) {
            err = stripe_put(m, s, key, &value, ttl);
            *result = by;
        } else if (e->kind != STORE_INTEGER || __builtin_add_overflow(e->integer, by, result)) {
            err = MT_EINVALID;
        } else {
            e->integer = *result;
        }
        pthread_mutex_unlock(&s->lock);
    } while (err == MT_EFULL && sweep_all(m));
    return err;
}

size_t memory_store_size(const struct memory_store *m)
{
    return atomic_load(&m->used);
}

void memory_store_run(struct memory_store *m, struct store_request *r)
{
    switch (r->op) {
    case STORE_GET:
        r->code = memory_store_get(m, r->key, &r->answer, &r->bytes);
        if (r->code == MT_ENOT_FOUND)
            r->code = 0;
        break;
    case STORE_SET:
        r->code = memory_store_set(m, r->key, &r->value, r->ttl);
        break;
    case STORE_DELETE:
        r->found = memory_store_delete(m, r->key);
        break;
    case STORE_INCR:
        r->answer.kind = STORE_INTEGER;
        r->code = memory_store_incr(m, r->key, r->value.integer, r->ttl, &r->answer.integer);
        break;
    case STORE_REPLACE:
        r->code = memory_store_replace(m, r->key, &r->expected, &r->value, r->ttl);
        break;
    case STORE_SCAN:
        assert(false); /* memory_store_scan is there for it */
    }
}

/* ---- scan ---- */

/* Keys while they are collected: their bytes lie one behind the other in `bytes`, which moves as it grows; hence places, not
 * pointers. */
struct found {
    struct buf bytes;
    struct buf places; /* of struct place */
};

struct place {
    size_t start, len;
};

static int collect(struct memory_store *m, struct stripe *s, struct slice prefix, struct found *f)
{
    uint64_t now = m->now();
    struct slice key;
    size_t at = 0;
    int err = 0;

    for (struct entry *e; err == 0 && (e = map_next(&s->map, &at, &key)) != NULL;) {
        if (key.len < prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0 || is_expired(e, now))
            continue;
        struct place place = {f->bytes.len, key.len};
        err = buf_add(&f->bytes, key.data, key.len);
        if (err == 0)
            err = buf_add(&f->places, &place, sizeof(place));
    }
    return err;
}

static int compare_places(const void *a, const void *b, void *bytes)
{
    const struct place *x = a, *y = b;
    const unsigned char *base = bytes;
    int order = memcmp(base + x->start, base + y->start, x->len < y->len ? x->len : y->len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int add_keys(const struct found *f, size_t limit, struct buf *keys, size_t *count)
{
    const struct place *place = (const struct place *)f->places.data;
    size_t start = keys->len, total = f->places.len / sizeof(*place);
    int err = 0;

    *count = total < limit ? total : limit;
    for (size_t i = 0; i < *count && err == 0; i++) {
        uint32_t len = (uint32_t)place[i].len;
        err = buf_add(keys, &len, sizeof(len));
        if (err == 0)
            err = buf_add(keys, f->bytes.data + place[i].start, place[i].len);
    }
    if (err != 0)
        keys->len = start;
    return err;
}

int memory_store_scan(struct memory_store *m, struct slice prefix, size_t limit, struct buf *keys, size_t *count)
{
    struct found f = {{0}, {0}};
    int err = 0;

    for (int i = 0; i < STRIPES && err == 0; i++) {
        struct stripe *s = &m->stripes[i];
        pthread_mutex_lock(&s->lock);
        err = collect(m, s, prefix, &f);
        pthread_mutex_unlock(&s->lock);
    }
    if (err == 0 && f.places.len > 0)
        qsort_r(f.places.data, f.places.len / sizeof(struct place), sizeof(struct place), compare_places, f.bytes.data);
    if (err == 0)
        err = add_keys(&f, limit, keys, count);
    buf_fini(&f.bytes);
    buf_fini(&f.places);
    return err;
}
