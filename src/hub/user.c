/* user.c - people by their id: who has a connection here, and in which workers. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- over all workers ---- */

/* Under the stripe's lock. NULL when memory runs out. */
static struct identity *identity_create(struct hub_crew *crew, struct stripe *s, struct slice id)
{
    struct identity *i = mem_zalloc(1, sizeof(*i) + id.len);
    if (!i)
        return NULL;
    i->crew = crew;
    i->stripe = s;
    i->len = id.len;
    memcpy(i->id, id.data, id.len);
    atomic_init(&i->messages, buckets_recall(crew->gone, id));
    if (map_put(&s->map, identity_id(i), i)) {
        mem_free(i);
        return NULL;
    }
    return i;
}

/* With one more reference; NULL when memory runs out. */
static struct identity *identity_get(struct hub_crew *crew, struct slice id)
{
    struct stripe *s = crew_stripe(crew, crew->users_by_id, id);

    crew_lock(crew, s);
    struct identity *i = map_find(&s->map, id);
    if (!i)
        i = identity_create(crew, s, id);
    if (i)
        atomic_fetch_add(&i->refs, 1);
    crew_unlock(crew, s);
    return i;
}

/* Under the stripe's lock: the last reference is given back. */
static void identity_leave(struct identity *i)
{
    uint64_t messages = atomic_load(&i->messages);

    if (messages)
        buckets_leave(i->crew->gone, identity_id(i), messages);
    map_take(&i->stripe->map, identity_id(i));
}

void identity_unref(struct identity *i)
{
    if (!i)
        return;
    struct hub_crew *crew = i->crew;
    struct stripe *s = i->stripe;
    crew_lock(crew, s);
    bool is_last = atomic_fetch_sub(&i->refs, 1) == 1;
    if (is_last)
        identity_leave(i);
    crew_unlock(crew, s);
    if (is_last)
        mem_free(i);
}

struct slice identity_id(const struct identity *i)
{
    return i ? (struct slice){i->id, i->len} : (struct slice){"", 0};
}

/* A connection with a socket more, or one less, in a worker that has `here` of them then. Under the lock, so that handshakes in
 * several workers at once are never more than the limit. 0 or MT_ELIMITED (nothing has changed). */
static int identity_count(struct identity *i, const struct hub *h, int change, uint32_t here)
{
    struct hub_crew *crew = i->crew;
    size_t limit = h->user_limits.connections;

    crew_lock(crew, i->stripe);
    unsigned conns = atomic_load(&i->conns) + (unsigned)change;
    uint64_t workers = atomic_load(&i->workers);
    bool full = change > 0 && limit && conns > limit;
    if (!full) {
        atomic_store(&i->conns, conns);
        atomic_store(&i->workers, here ? workers | h->bit : workers & ~h->bit);
        if (change > 0 ? conns == 1 : conns == 0)
            atomic_fetch_add(&crew->people, (size_t)change); /* wraps to one less */
    }
    crew_unlock(crew, i->stripe);
    return full ? MT_ELIMITED : 0;
}

/* ---- of this worker ---- */

struct user *user_get(struct hub *h, struct slice id)
{
    struct user *u = map_find(&h->users, id);
    if (u) {
        u->refs++;
        return u;
    }
    u = mem_zalloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->hub = h;
    u->refs = 1;
    list_init(&u->conns);
    u->identity = identity_get(h->crew, id);
    if (!u->identity || map_put(&h->users, identity_id(u->identity), u)) {
        identity_unref(u->identity);
        mem_free(u);
        return NULL;
    }
    return u;
}

void user_unref(struct user *u)
{
    if (!u || --u->refs)
        return;
    assert(list_empty(&u->conns));
    map_take(&u->hub->users, identity_id(u->identity));
    identity_unref(u->identity);
    mem_free(u);
}

int user_admit(struct user *u)
{
    int rc = identity_count(u->identity, u->hub, 1, u->count + 1);

    u->count += rc == 0;
    return rc;
}

void user_dismiss(struct user *u)
{
    (void)identity_count(u->identity, u->hub, -1, --u->count);
}

struct user *user_find(const struct hub *h, struct slice id)
{
    struct user *u = map_find(&h->users, id);
    return u && u->count ? u : NULL;
}

/* ---- what they may take ---- */

/* Debts of the old rate do not outlive it. */
static void change_rate(struct hub *h, const struct rate *r)
{
    const uint64_t now_us = loop_now(h->loop) * 1000;
    const struct user *u;
    size_t at = 0;

    while ((u = map_next(&h->users, &at, NULL)) != NULL)
        bucket_cap_shared(&u->identity->messages, r, now_us);
    buckets_cap(h->crew->gone, r, now_us);
}

void hub_set_user_limits(struct hub *h, const struct user_limits *l)
{
    const struct rate old = h->user_limits.messages;

    h->user_limits = *l;
    if (old.per_second > 0 && (old.per_second != l->messages.per_second || old.burst != l->messages.burst))
        change_rate(h, &l->messages);
}

uint64_t conn_charge_message(const struct conn *c, uint64_t now_us)
{
    const struct user_limits *l = &c->hub->user_limits;

    if (!c->user)
        return 0;
    atomic_uint_least64_t *bucket = &c->user->identity->messages;
    return l->refuse ? bucket_take_shared(bucket, &l->messages, now_us, 1)
                     : bucket_charge_shared(bucket, &l->messages, now_us, 1);
}

uint64_t conn_message_debt(const struct conn *c, uint64_t now_us)
{
    return c->user ? bucket_charge_shared(&c->user->identity->messages, &c->hub->user_limits.messages, now_us, 0) : 0;
}

/* ---- asking ---- */

/* What the directory says of a user: connections, and the workers that have them. */
static unsigned look_up(struct hub *h, struct slice id, uint64_t *workers)
{
    struct stripe *s = crew_stripe(h->crew, h->crew->users_by_id, id);

    crew_lock(h->crew, s);
    const struct identity *i = map_find(&s->map, id);
    unsigned conns = i ? atomic_load(&i->conns) : 0;
    *workers = i ? atomic_load(&i->workers) : 0;
    crew_unlock(h->crew, s);
    return conns;
}

uint64_t user_workers(struct hub *h, struct slice id)
{
    const struct user *u = user_find(h, id);
    uint64_t workers;

    if (u)
        return atomic_load(&u->identity->workers);
    if (h->crew->workers == 1)
        return 0;
    look_up(h, id, &workers);
    return workers;
}

size_t user_count(struct hub *h, struct slice id)
{
    const struct user *u = user_find(h, id);
    uint64_t workers;

    return u ? atomic_load(&u->identity->conns) : look_up(h, id, &workers);
}
