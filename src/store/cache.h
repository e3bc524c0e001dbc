/* cache.h - what is known of a durable store's keys without asking it: values, and that there is none. Bounded; what was used
 * least lately goes first.
 *
 * Thread-safe: stripes with a mutex each. It never knows anything that is not durable, or not any more: whoever commits puts what
 * is committed, under a new generation of the stripe; whoever reads fills in only what no commit can have overtaken; and while
 * writes of a key are under way nothing is found of it, so that a get behind a set waits for its turn.
 */
#ifndef MT_STORE_CACHE_H
#define MT_STORE_CACHE_H
#include "base/buf.h"
#include "store/value.h"
#include <stdbool.h>

struct store_cache;

/* Keeps so many bytes, none with 0. `now` is the wall clock in milliseconds. NULL when memory runs out. */
struct store_cache *store_cache_create(size_t bytes, int64_t (*now)(void));
void store_cache_destroy(struct store_cache *c); /* NULL is allowed */

/* The value of a key, its bytes appended to *copy. False: not known, or no memory. */
bool store_cache_find(struct store_cache *c, struct slice key, struct store_value *out, struct buf *copy);

/* A write of the key has been sent; it is over. */
void store_cache_begin_write(struct store_cache *c, struct slice key);
void store_cache_end_write(struct store_cache *c, struct slice key);
bool store_cache_is_writing(const struct store_cache *c, struct slice key);

/* What was committed; `ends`: when it expires by that clock, 0 = never. */
void store_cache_put(struct store_cache *c, struct slice key, const struct store_value *value, int64_t ends);
/* A reader takes the generation before it begins to read, and fills in what it read then. */
uint64_t store_cache_generation(struct store_cache *c, struct slice key);
void store_cache_fill(struct store_cache *c, struct slice key, const struct store_value *value, int64_t ends,
                      uint64_t generation);
#endif
