/* limits.h - what a name and a key may take: tide.limit. For all workers, kept over reloads.
 *
 * A limit is a table of buckets with a name. The rate belongs to who takes: two versions of a script may use one limit with
 * different rates, and the one that goes live brings its own. Limits are found by name once and then used by pointer. One that
 * nobody has open keeps its buckets for the next who opens it, until its place is needed for another name.
 */
#ifndef MT_HUB_LIMITS_H
#define MT_HUB_LIMITS_H
#include "base/bucket.h"
#include "base/slice.h"

enum { LIMITS_MAX = 100 };
#define LIMIT_NEVER UINT64_MAX

struct limits;
struct limit;

/* `threads`: several use it. NULL when memory runs out. */
struct limits *limits_create(bool threads);
void limits_destroy(struct limits *all); /* NULL is allowed. Nobody has one open */

/* Any thread. 0 and one more reference in *out; MT_EFULL: so many others are open; MT_ENOMEM. */
int limit_open(struct limits *all, struct slice name, struct limit **out);
void limit_close(struct limit *l);
/* Take `n` from the key's bucket; any bytes are a key. 0: taken; else the microseconds until that many are there, or LIMIT_NEVER:
 * more than a burst never are. Any thread. */
uint64_t limit_take(struct limit *l, const struct rate *r, struct slice key, uint64_t now_us, double n);
struct slice limit_name(const struct limit *l);
/* Buckets that had to go for others before they were full, see buckets.h. */
uint64_t limit_forgotten(const struct limit *l);
uint64_t limits_forgotten(struct limits *all); /* of all, also of those that are gone */
#endif
