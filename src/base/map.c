/* map.c - open addressing with linear probing; removal shifts the run back, so there are no tombstones to wade through.
 *
 * Clients choose keys (room names, user names), so the hash is keyed: nobody outside can make a run long on purpose.
 */
#include "base/map.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

enum { FIRST_CAP = 8 };

struct map_slot {
    uint64_t hash;    /* 0: the slot is empty */
    struct slice key; /* borrowed */
    void *value;      /* never NULL in a used slot */
};

/* ---- SipHash-1-3 (Aumasson and Bernstein), after the paper ---- */

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    /* 16 bytes come in one piece or not at all; without them any client could flood the tables. */
    if (getrandom(hash_key, sizeof(hash_key), 0) != (ssize_t)sizeof(hash_key))
        abort();
}

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static uint64_t load_le(const unsigned char *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

uint64_t map_siphash(const uint64_t key[2], const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)len << 56;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word = load_le(p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    last |= load_le(p, len);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t map_hash(struct slice key)
{
    pthread_once(&hash_key_once, make_hash_key);
    return map_siphash(hash_key, key.data, key.len);
}

unsigned map_stripe(struct slice key, unsigned stripes)
{
    return (unsigned)((map_hash(key) >> 32) % stripes);
}

/* ---- the table ---- */

static uint64_t slot_hash(struct slice key)
{
    uint64_t hash = map_hash(key);
    return hash ? hash : 1;
}

/* The slot of `key`, or the empty one where it belongs. The load is below 1, so there is an empty one. */
static size_t probe(const struct map *m, struct slice key, uint64_t hash)
{
    size_t at = hash & (m->cap - 1);
    while (m->slots[at].hash && !(m->slots[at].hash == hash && slice_is(m->slots[at].key, key)))
        at = (at + 1) & (m->cap - 1);
    return at;
}

static int rehash(struct map *m, size_t cap)
{
    struct map_slot *slots = mem_zalloc(cap, sizeof(*slots));
    if (!slots)
        return MT_ENOMEM;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->slots[i].hash)
            continue;
        size_t at = m->slots[i].hash & (cap - 1);
        while (slots[at].hash)
            at = (at + 1) & (cap - 1);
        slots[at] = m->slots[i];
    }
    mem_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return 0;
}

void map_fini(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}

void *map_find(const struct map *m, struct slice key)
{
    if (!m->count)
        return NULL;
    return m->slots[probe(m, key, slot_hash(key))].value;
}

int map_put(struct map *m, struct slice key, void *value)
{
    assert(value);
    uint64_t hash = slot_hash(key);
    size_t at = 0;

    if (m->cap) {
        at = probe(m, key, hash);
        if (m->slots[at].hash) {
            m->slots[at].key = key;
            m->slots[at].value = value;
            return 0;
        }
    }
    if (m->count + 1 > m->cap / 4 * 3) {
        if (rehash(m, m->cap ? m->cap * 2 : FIRST_CAP) < 0)
            return MT_ENOMEM;
        at = probe(m, key, hash);
    }
    m->slots[at] = (struct map_slot){hash, key, value};
    m->count++;
    return 0;
}

/* Empty slot `hole`, moving back what probed past it. */
static void close_hole(struct map *m, size_t hole)
{
    size_t mask = m->cap - 1;
    for (size_t at = (hole + 1) & mask; m->slots[at].hash; at = (at + 1) & mask) {
        size_t home = m->slots[at].hash & mask;
        /* It may move only when its home is not behind the hole, counted around the table's end. */
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_take(struct map *m, struct slice key)
{
    if (!m->count)
        return NULL;
    size_t at = probe(m, key, slot_hash(key));
    void *value = m->slots[at].value;
    if (!value)
        return NULL;
    close_hole(m, at);
    m->count--;
    /* A table that was big once would make every walk slow; when there is no memory for a smaller one, it stays. */
    if (m->cap > 64 && m->count < m->cap / 8)
        (void)rehash(m, m->cap / 2);
    return value;
}

void *map_next(const struct map *m, size_t *at, struct slice *key)
{
    while (*at < m->cap) {
        const struct map_slot *slot = &m->slots[(*at)++];
        if (!slot->hash)
            continue;
        if (key)
            *key = slot->key;
        return slot->value;
    }
    return NULL;
}
