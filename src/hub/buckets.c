/* buckets.c - sets of sixteen, like the lines of a processor's cache. */
#include "hub/buckets.h"

#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>

enum { SETS = 1 << 13, WAYS = 16, LOCKS = 64 };

struct place {
    uint64_t hash; /* of the key */
    struct bucket bucket;
};

struct set {
    struct place places[WAYS]; /* zeroed: full buckets of nobody */
};

struct buckets {
    bool threads;
    atomic_uint_least64_t forgotten;
    pthread_mutex_t locks[LOCKS]; /* of the sets whose number is the lock's modulo LOCKS */
    struct set *sets;             /* owned */
};

/* ---- life ---- */

struct buckets *buckets_create(bool threads)
{
    struct buckets *b = mem_zalloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->threads = threads;
    b->sets = mem_zalloc(SETS, sizeof(*b->sets));
    if (!b->sets) {
        mem_free(b);
        return NULL;
    }
    for (unsigned i = 0; i < LOCKS; i++)
        pthread_mutex_init(&b->locks[i], NULL);
    return b;
}

void buckets_destroy(struct buckets *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&b->locks[i]);
    mem_free(b->sets);
    mem_free(b);
}

/* ---- a set ---- */

static struct set *lock_set(struct buckets *b, uint64_t hash)
{
    if (b->threads)
        pthread_mutex_lock(&b->locks[hash % LOCKS]);
    return &b->sets[hash % SETS];
}

static void unlock_set(struct buckets *b, uint64_t hash)
{
    if (b->threads)
        pthread_mutex_unlock(&b->locks[hash % LOCKS]);
}

/* The key's place, or the one that its bucket may have: that of the fullest. */
static struct place *find_place(struct set *s, uint64_t hash)
{
    struct place *fullest = s->places;

    for (struct place *p = s->places; p < s->places + WAYS; p++) {
        if (p->hash == hash)
            return p;
        if (p->bucket.full_at < fullest->bucket.full_at)
            fullest = p;
    }
    return fullest;
}

uint64_t buckets_take(struct buckets *b, const struct rate *r, struct slice key, uint64_t now_us, double n)
{
    uint64_t hash = map_hash(key);
    struct place *p = find_place(lock_set(b, hash), hash);

    if (p->hash != hash) {
        if (!bucket_is_full(&p->bucket, now_us))
            atomic_fetch_add_explicit(&b->forgotten, 1, memory_order_relaxed);
        *p = (struct place){.hash = hash};
    }
    bucket_cap(&p->bucket, r, now_us);
    uint64_t wait = bucket_take(&p->bucket, r, now_us, n);
    unlock_set(b, hash);
    return wait;
}

uint64_t buckets_forgotten(const struct buckets *b)
{
    return atomic_load_explicit(&b->forgotten, memory_order_relaxed);
}

void buckets_leave(struct buckets *b, struct slice key, uint64_t full_at)
{
    uint64_t hash = map_hash(key);
    struct place *p = find_place(lock_set(b, hash), hash);

    if (p->hash == hash || p->bucket.full_at < full_at)
        *p = (struct place){hash, {full_at}};
    unlock_set(b, hash);
}

uint64_t buckets_recall(struct buckets *b, struct slice key)
{
    uint64_t hash = map_hash(key);
    const struct place *p = find_place(lock_set(b, hash), hash);
    uint64_t full_at = p->hash == hash ? p->bucket.full_at : 0;

    unlock_set(b, hash);
    return full_at;
}

void buckets_cap(struct buckets *b, const struct rate *r, uint64_t now_us)
{
    for (uint64_t i = 0; i < SETS; i++) {
        struct set *s = lock_set(b, i);
        for (struct place *p = s->places; p < s->places + WAYS; p++)
            bucket_cap(&p->bucket, r, now_us);
        unlock_set(b, i);
    }
}
