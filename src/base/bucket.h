/* bucket.h - token buckets (GCRA, ITU-T I.371): so many a second, and as many at once as a burst holds.
 *
 * A bucket is one number: the time at which it will be full again. So it costs eight bytes, fills without a timer, zeroed memory is
 * a full bucket, and threads can share one (bucket_shared_*). Times are microseconds of a clock that only goes forward (clock_us).
 */
#ifndef MT_BASE_BUCKET_H
#define MT_BASE_BUCKET_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate {
    double per_second; /* 0: no limit */
    double burst;      /* at least 1 */
};

struct bucket {
    uint64_t full_at; /* when it is full; in the past: it is */
};

/* Take `n` where there are that many, or where it is full (so what is larger than the burst passes too, and the debt is paid off
 * afterwards). 0: taken, or no limit; else nothing was taken, and the result is the microseconds until it would be. */
uint64_t bucket_take(struct bucket *b, const struct rate *r, uint64_t now_us, double n);
/* Take `n` in any case, into debt. The microseconds until it is out of debt, 0 when it is not in debt. */
uint64_t bucket_charge(struct bucket *b, const struct rate *r, uint64_t now_us, double n);
/* For a rate that has changed: what is missing is missing as time, and now no more than fills the whole bucket. */
void bucket_cap(struct bucket *b, const struct rate *r, uint64_t now_us);
bool bucket_is_full(const struct bucket *b, uint64_t now_us); /* nothing to remember: it may be forgotten */

/* The same on a bucket that several threads use. Never block. */
uint64_t bucket_take_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us, double n);
uint64_t bucket_charge_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us, double n);
void bucket_cap_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us);
#endif
