/* bucket.c - token buckets as one time each. */
#include "base/bucket.h"

enum { US_PER_SECOND = 1000000 };
static const double longest_us = 1e15; /* thirty years: keeps sums far from the end of the type */

/* What `n` cost. Rounded down, and the room up: a burst taken one by one has to fit into the room for it. */
static uint64_t cost_of(const struct rate *r, double n)
{
    double us = n / r->per_second * US_PER_SECOND;

    return us < longest_us ? (uint64_t)us : (uint64_t)longest_us;
}

static uint64_t room_of(const struct rate *r)
{
    double us = r->burst / r->per_second * US_PER_SECOND;
    uint64_t down = cost_of(r, r->burst);

    return us > (double)down && us < longest_us ? down + 1 : down;
}

/* What is missing from a bucket, as the time that fills it. */
static uint64_t missing(uint64_t full_at, uint64_t now_us)
{
    return full_at > now_us ? full_at - now_us : 0;
}

/* As bucket_take, on a number that the caller keeps. */
static uint64_t take(uint64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint64_t gone = missing(*full_at, now_us), cost = cost_of(r, n), room = room_of(r);

    if (gone > 0 && gone + cost > room)
        return cost < room ? gone + cost - room : gone;
    *full_at = now_us + gone + cost;
    return 0;
}

uint64_t bucket_take(struct bucket *b, const struct rate *r, uint64_t now_us, double n)
{
    return r->per_second > 0 ? take(&b->full_at, r, now_us, n) : 0;
}

/* As bucket_charge, on a number that the caller keeps. */
static uint64_t charge(uint64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint64_t gone = missing(*full_at, now_us) + cost_of(r, n), room = room_of(r);

    if (gone > (uint64_t)longest_us)
        gone = (uint64_t)longest_us;
    *full_at = now_us + gone;
    return gone > room ? gone - room : 0;
}

uint64_t bucket_charge(struct bucket *b, const struct rate *r, uint64_t now_us, double n)
{
    return r->per_second > 0 ? charge(&b->full_at, r, now_us, n) : 0;
}

/* As bucket_cap, on a number that the caller keeps. */
static void cap(uint64_t *full_at, const struct rate *r, uint64_t now_us)
{
    uint64_t room = r->per_second > 0 ? room_of(r) : 0;

    if (missing(*full_at, now_us) > room)
        *full_at = now_us + room;
}

void bucket_cap(struct bucket *b, const struct rate *r, uint64_t now_us)
{
    cap(&b->full_at, r, now_us);
}

bool bucket_is_full(const struct bucket *b, uint64_t now_us)
{
    return b->full_at <= now_us;
}

/* ---- shared ----
 * The number is all there is, so its order to other memory does not matter. */

static bool swap(atomic_uint_least64_t *full_at, uint_least64_t *seen, uint64_t next)
{
    return atomic_compare_exchange_weak_explicit(full_at, seen, next, memory_order_relaxed, memory_order_relaxed);
}

uint64_t bucket_take_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint_least64_t seen = atomic_load_explicit(full_at, memory_order_relaxed);

    if (r->per_second <= 0)
        return 0;
    for (;;) {
        uint64_t next = seen, wait = take(&next, r, now_us, n);
        if (wait || swap(full_at, &seen, next))
            return wait;
    }
}

uint64_t bucket_charge_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us, double n)
{
    uint_least64_t seen = atomic_load_explicit(full_at, memory_order_relaxed);

    if (r->per_second <= 0)
        return 0;
    for (;;) {
        uint64_t next = seen, wait = charge(&next, r, now_us, n);
        if (swap(full_at, &seen, next))
            return wait;
    }
}

void bucket_cap_shared(atomic_uint_least64_t *full_at, const struct rate *r, uint64_t now_us)
{
    uint_least64_t seen = atomic_load_explicit(full_at, memory_order_relaxed);
    uint64_t next;

    do {
        next = seen;
        cap(&next, r, now_us);
    } while (next != seen && !swap(full_at, &seen, next));
}
