/* buckets.h - token buckets by key, for all workers: a table of fixed size that forgets.
 *
 * A bucket that is full carries nothing and needs no place. So a key costs no allocation and nothing has to be swept: the place
 * of a full bucket is free for the next key. A key has sixteen places to be in. Where all of them hold buckets of others that are
 * not full, the fullest is forgotten and counted: so many keys at once that this happens are more than BUCKETS_COMFORT.
 *
 * Keys are any bytes, of any length. Only their hash is kept (SipHash under the key of the process, 64 bits, so clients cannot
 * make two keys share a bucket). Any thread.
 */
#ifndef MT_HUB_BUCKETS_H
#define MT_HUB_BUCKETS_H
#include "base/bucket.h"
#include "base/slice.h"

enum { BUCKETS_COMFORT = 50000 }; /* keys whose buckets are not full; past it some are forgotten */

struct buckets;

/* 2 MiB of zeroed memory, of which the system provides what is used. `threads`: several use it. NULL when memory runs out. */
struct buckets *buckets_create(bool threads);
void buckets_destroy(struct buckets *b); /* NULL is allowed */
/* bucket_take of the key's bucket, which lacks at most what it would with this rate: rates may change. */
uint64_t buckets_take(struct buckets *b, const struct rate *r, struct slice key, uint64_t now_us, double n);
/* How many buckets that were not full had to go for others in buckets_take. */
uint64_t buckets_forgotten(const struct buckets *b);

/* For a bucket that is kept elsewhere most of the time: leave what there is of it, and get that (0: nothing). */
void buckets_leave(struct buckets *b, struct slice key, uint64_t full_at);
uint64_t buckets_recall(struct buckets *b, struct slice key);
/* bucket_cap of all of them: looks at each place, half a millisecond. */
void buckets_cap(struct buckets *b, const struct rate *r, uint64_t now_us);
#endif
