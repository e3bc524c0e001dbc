/* map.h - hash map from byte strings to pointers. Open addressing, keyed SipHash (clients choose keys such as room names).
 *
 * Keys are borrowed: they live in the value (a room keeps its name), as long as the entry is in the map. One thread.
 */
#ifndef MT_BASE_MAP_H
#define MT_BASE_MAP_H
#include "base/slice.h"
#include <stdint.h>

struct map_slot;
struct map {
    struct map_slot *slots; /* owned; NULL while empty */
    size_t count;           /* entries */
    size_t cap;             /* slots, a power of two or 0 */
};

void map_fini(struct map *m);                                /* frees the table, not the values */
void *map_find(const struct map *m, struct slice key);       /* borrowed, NULL when absent */
int map_put(struct map *m, struct slice key, void *value);   /* replaces key and value of an equal key; 0 or MT_ENOMEM */
void *map_take(struct map *m, struct slice key);             /* removes; the value, or NULL when absent */
/* Walk: `*at` starts at 0; NULL at the end; `key` may be NULL. The map must not change between calls. */
void *map_next(const struct map *m, size_t *at, struct slice *key);
/* SipHash-1-3 of `key` under the process' random key: stable within one process, unknown to clients. */
uint64_t map_hash(struct slice key);
/* Which of `stripes` maps a key belongs to, where many share the load. Not by the bits of the hash that its place in the map
 * comes from: all keys of a map would begin in the same few slots. */
unsigned map_stripe(struct slice key, unsigned stripes);
/* The same under a given key: for tests against the published vectors. */
uint64_t map_siphash(const uint64_t key[2], const void *data, size_t len);
#endif
