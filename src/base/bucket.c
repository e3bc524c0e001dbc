/* bucket.c - token buckets as one time each. */
#include "base/bucket.h"

enum { US_PER_SECOND = 1000000 };
static const double longest_us = 1e15; /* thirty years: keeps sums far from the end of the type */

static uint64_t us_for(const struct rate *r, double n)
{
    double us = n / r->per_second * US_PER_SECOND;

    return us < longest_us ? (uint64_t)(us + 0.5) : (uint64_t)longest_us;
}

/* What is missing from a bucket, as the time that fills it. */
static uint64_t missing(uint64_t full_at, uint64_t now_us)
{
    return full_at > now_us ? full_at - now_us : 0;
}

/* As bucket_take, on a number that the caller keeps. */
static uint64_t take(uint64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint64_t gone = missing(*full_at, now_us), cost = us_for(r, n), room = us_for(r, r->burst);

    if (gone > 0 && gone + cost > room)
        return cost < room ? gone + cost - room : gone;
    *full_at = now_us + gone + cost;
    return 0;
}

uint64_t bucket_take(struct bucket *b, const struct rate *r, uint64_t now_us, double n)
{
    return r->per_second > 0 ? take(&b->full_at, r, now_us, n) : 0;
}

uint64_t bucket_charge(struct bucket *b, const struct rate *r, uint64_t now_us, double n)
{
    if (r->per_second <= 0)
        return 0;
    uint64_t gone = missing(b->full_at, now_us) + us_for(r, n), room = us_for(r, r->burst);

    if (gone > (uint64_t)longest_us)
        gone = (uint64_t)longest_us;
    b->full_at = now_us + gone;
    return gone > room ? gone - room : 0;
}

bool bucket_is_full(const struct bucket *b, uint64_t now_us)
{
    return b->full_at <= now_us;
}

uint64_t bucket_take_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint_least64_t seen = atomic_load_explicit(full_at, memory_order_relaxed);

    if (r->per_second <= 0)
        return 0;
    for (;;) { /* the number is all there is, so its order to other memory does not matter */
        uint64_t next = seen, wait = take(&next, r, now_us, n);
        if (wait || atomic_compare_exchange_weak_explicit(full_at, &seen, next, memory_order_relaxed, memory_order_relaxed))
            return wait;
    }
}
