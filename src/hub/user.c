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

void identity_unref(struct identity *i)
{
    if (!i)
        return;
    struct hub_crew *crew = i->crew;
    struct stripe *s = i->stripe;
    crew_lock(crew, s);
    bool is_last = atomic_fetch_sub(&i->refs, 1) == 1;
    if (is_last)
        map_take(&s->map, identity_id(i));
    crew_unlock(crew, s);
    if (is_last)
        mem_free(i);
}

struct slice identity_id(const struct identity *i)
{
    return i ? (struct slice){i->id, i->len} : (struct slice){"", 0};
}

/* A connection with a socket more, or one less, in a worker that has `here` of them then. */
static void identity_count(struct identity *i, const struct hub *h, int change, uint32_t here)
{
    struct hub_crew *crew = i->crew;

    crew_lock(crew, i->stripe);
    unsigned conns = atomic_load(&i->conns) + (unsigned)change;
    uint64_t workers = atomic_load(&i->workers);
    atomic_store(&i->conns, conns);
    atomic_store(&i->workers, here ? workers | h->bit : workers & ~h->bit);
    if (change > 0 ? conns == 1 : conns == 0)
        atomic_fetch_add(&crew->people, (size_t)change); /* wraps to one less */
    crew_unlock(crew, i->stripe);
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

void user_add_conn(struct user *u, struct conn *c)
{
    list_add_tail(&u->conns, &c->in_user);
    identity_count(u->identity, u->hub, 1, ++u->count);
}

void user_remove_conn(struct user *u, struct conn *c)
{
    list_remove(&c->in_user);
    identity_count(u->identity, u->hub, -1, --u->count);
}

struct user *user_find(const struct hub *h, struct slice id)
{
    struct user *u = map_find(&h->users, id);
    return u && u->count ? u : NULL;
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
