/* conn.c - connections: their ids, their people, their end. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/ask.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- life ---- */

enum { SLOT_BITS = 26 }; /* of an id; above them come 6 bits for the worker, and the generation in the other half */

static const conn_id worker_mask = (conn_id)(HUB_WORKERS_MAX - 1) << SLOT_BITS;

unsigned conn_worker(conn_id id)
{
    return (unsigned)((id & worker_mask) >> SLOT_BITS) + 1;
}

/* One connection with a socket more counts for `u`; without a login (NULL) it is a person of its own. 0 or MT_ELIMITED. */
static int person_admit(struct hub *h, struct user *u)
{
    if (u)
        return user_admit(u);
    atomic_fetch_add(&h->crew->people, 1);
    return 0;
}

/* What person_admit has counted. */
static void person_dismiss(struct hub *h, struct user *u)
{
    if (u)
        user_dismiss(u);
    else
        atomic_fetch_sub(&h->crew->people, 1);
}

/* It was admitted: it is among those of its user from here on. */
static void person_add(struct conn *c)
{
    if (c->user)
        list_add_tail(&c->user->conns, &c->in_user);
}

static void person_remove(struct conn *c)
{
    list_remove(&c->in_user);
    person_dismiss(c->hub, c->user);
}

/* An id of this worker that others can find. 0 or MT_ENOMEM. */
static int take_id(struct conn *c)
{
    struct hub *h = c->hub;
    slot_id slot = slots_put(&h->conns, c);

    c->id = slot | (conn_id)(h->worker - 1) << SLOT_BITS;
    if (slot && !(slot & worker_mask) && crew_add_conn(h->crew, c) == 0)
        return 0;
    if (slot)
        slots_take(&h->conns, slot);
    return MT_ENOMEM;
}

/* Among all connections, with an id. 0 or MT_ENOMEM. */
static int take_seat(struct conn *c)
{
    struct fan *everyone = &c->hub->everyone;

    if (fan_add(everyone, c->session, &c->seat))
        return MT_ENOMEM;
    if (take_id(c) == 0)
        return 0;
    fan_remove(everyone, c->seat);
    return MT_ENOMEM;
}

int conn_open(struct hub *h, struct session *session, struct slice user, struct conn **out)
{
    if (user.len > HUB_NAME_MAX)
        return MT_EINVALID;
    int rc = MT_ENOMEM;
    struct conn *c = mem_zalloc(1, sizeof(*c));
    if (!c)
        return MT_ENOMEM;
    c->hub = h;
    c->session = session;
    list_init(&c->in_user);
    if (user.len && !(c->user = user_get(h, user)))
        goto out;
    if ((rc = person_admit(h, c->user)) != 0)
        goto out;
    if ((rc = take_seat(c)) != 0) {
        person_dismiss(h, c->user);
        goto out;
    }
    person_add(c);
    *out = c;
    return 0;
out:
    user_unref(c->user);
    mem_free(c);
    return rc;
}

void conn_detach(struct conn *c)
{
    if (!c->session)
        return;
    c->session = NULL;
    ask_conn_gone(c);
    c->hub->everyone.sessions[c->seat] = NULL;
    for (struct membership *ms = c->rooms; ms; ms = ms->next)
        ms->room->fan.sessions[ms->seat] = NULL;
    crew_remove_conn(c->hub->crew, c);
    person_remove(c);
}

void conn_close(struct conn *c)
{
    struct hub *h = c->hub;

    conn_detach(c);
    while (c->rooms)
        membership_remove(c->rooms, true);
    fan_remove(&h->everyone, c->seat);
    slots_take(&h->conns, c->id & ~worker_mask);
    user_unref(c->user);
    mem_free(c->asked);
    mem_free(c);
    hub_run_hooks(h);
}

struct conn *conn_find(const struct hub *h, conn_id id)
{
    return conn_worker(id) == h->worker ? slots_find(&h->conns, id & ~worker_mask) : NULL;
}

struct conn *conn_next(const struct hub *h, uint32_t *at)
{
    return slots_next(&h->conns, at);
}

void conn_set_owner(struct conn *c, void *owner)
{
    c->owner = owner;
}

void conn_set_expires(struct conn *c, double at)
{
    c->expires = at;
}

int conn_set_user(struct conn *c, struct slice user)
{
    struct hub *h = c->hub;
    struct user *u = NULL, *old = c->user;

    if (user.len > HUB_NAME_MAX)
        return MT_EINVALID;
    if (slice_is(user, conn_user(c)))
        return 0;
    if (user.len && !(u = user_get(h, user)))
        return MT_ENOMEM;
    int rc = c->session ? person_admit(h, u) : 0;
    if (rc == 0 && (rc = member_change_user(c, u)) != 0 && c->session)
        person_dismiss(h, u);
    if (rc) {
        user_unref(u);
        return rc;
    }
    if (c->session)
        person_remove(c);
    c->user = u;
    if (c->session)
        person_add(c);
    user_unref(old);
    hub_run_hooks(h);
    return 0;
}

struct slice conn_user(const struct conn *c)
{
    return identity_id(c->user ? c->user->identity : NULL);
}

int conn_send(struct conn *c, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts)
{
    return c->session ? session_send(c->session, op, data, len, opts) : MT_ECLOSED;
}

struct room *conn_next_room(const struct conn *c, struct membership **m)
{
    do
        *m = *m ? (*m)->next : c->rooms;
    while (*m && room_is_over((*m)->room)); /* emptied elsewhere; what is left of it goes when its letter comes */
    return *m ? (*m)->room : NULL;
}

/* ---- names ---- */

void conn_name(conn_id id, char out[CONN_NAME_SIZE])
{
    char digits[CONN_NAME_SIZE];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[id % 36];
        id /= 36;
    } while (id);
    *out++ = 'c';
    while (n)
        *out++ = digits[--n];
    *out = '\0';
}

conn_id conn_parse(struct slice name)
{
    conn_id id = 0;

    if (name.len < 2 || name.len >= CONN_NAME_SIZE || name.data[0] != 'c' || name.data[1] == '0')
        return 0;
    for (size_t i = 1; i < name.len; i++) {
        char c = name.data[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 36;
        if (digit == 36 || id > (UINT64_MAX - digit) / 36)
            return 0;
        id = id * 36 + digit;
    }
    return id;
}
