/* hub.c - the hub as a whole: its start and end, sends to everybody, and the hooks that changes cause. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- hooks ---- */

/* The slices and the blob stay valid for the call: the member and its room are held, the info has a reference. */
static void run_hook(struct hub *h, struct member *m)
{
    void (*fn)(void *, struct slice, const struct person *) = m->present ? h->events->on_join : h->events->on_leave;
    struct person p = {user_id(m->user), m->conn, m->info};

    if (!fn)
        return;
    if (p.info)
        blob_ref(p.info);
    fn(h->arg, room_name(m->room), &p);
    blob_unref(p.info);
}

void hub_run_hooks(struct hub *h)
{
    if (h->in_hooks)
        return;
    h->in_hooks = true;
    for (int n = 0; n < HOOKS_PER_RUN && !list_empty(&h->hooks); n++) {
        struct member *m = list_entry(h->hooks.next, struct member, hook);
        list_remove(&m->hook);
        run_hook(h, m);
        member_unref(m);
    }
    h->in_hooks = false;
    if (!list_empty(&h->hooks) && !loop_timer_active(&h->more_hooks))
        loop_timer_start(h->loop, &h->more_hooks, 1);
}

static void on_more_hooks(struct loop_timer *t)
{
    hub_run_hooks(list_entry(t, struct hub, more_hooks));
}

/* ---- life ---- */

struct hub *hub_create(struct loop *loop, const struct hub_events *events, void *arg)
{
    struct hub *h = mem_zalloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->loop = loop;
    h->events = events;
    h->arg = arg;
    slots_init(&h->conns);
    kept_init(&h->kept);
    list_init(&h->hooks);
    loop_timer_init(&h->more_hooks, on_more_hooks);
    return h;
}

void hub_destroy(struct hub *h)
{
    size_t at = 0;
    struct room *r;

    if (!h)
        return;
    assert(h->conns.count == 0 && !h->in_hooks);
    h->closing = true;
    loop_timer_stop(h->loop, &h->more_hooks);
    while (!list_empty(&h->hooks)) {
        struct member *m = list_entry(h->hooks.next, struct member, hook);
        list_remove(&m->hook);
        member_unref(m);
    }
    while ((r = map_next(&h->rooms, &at, NULL))) {
        r->refs++; /* for the loop */
        while (!list_empty(&r->members))
            member_discard(list_entry(r->members.next, struct member, in_room));
        room_unref(r);
    }
    map_fini(&h->rooms);
    assert(h->users.count == 0);
    map_fini(&h->users);
    kept_fini(&h->kept);
    fan_fini(&h->everyone);
    slots_fini(&h->conns);
    mem_free(h);
}

size_t hub_count(const struct hub *h)
{
    return h->conns.count;
}

size_t hub_people(const struct hub *h)
{
    return h->people;
}

size_t hub_rooms(const struct hub *h)
{
    return h->rooms.count;
}

/* ---- to many ---- */

/* Take one connection out of the room's array (or everybody's, room NULL), or put it back. */
static void set_hidden(struct hub *h, struct room *r, const struct conn *c, bool hidden)
{
    struct membership *ms = r ? membership_find(c, r) : NULL;

    if (r && !ms)
        return;
    if (r)
        r->fan.sessions[ms->seat] = hidden ? NULL : c->session;
    else
        h->everyone.sessions[c->seat] = hidden ? NULL : c->session;
}

static void set_all_hidden(struct hub *h, struct room *r, const struct hub_except *except, bool hidden)
{
    for (size_t i = 0; i < except->conn_count; i++) {
        struct conn *c = conn_find(h, except->conns[i]);
        if (c)
            set_hidden(h, r, c, hidden);
    }
    for (size_t i = 0; i < except->user_count; i++) {
        struct user *u = user_find(h, except->users[i]);
        if (u)
            list_each(node, &u->conns) set_hidden(h, r, list_entry(node, struct conn, in_user), hidden);
    }
}

/* Those left out are few: they are taken out of the array for the moment, so that nobody has to be asked who it is. Safe because
 * nothing calls back from session_send_many. */
void hub_fan_out(struct hub *h, struct room *r, struct packet *p, const struct outbox_opts *o, const struct hub_except *except)
{
    struct fan *f = r ? &r->fan : &h->everyone;

    if (except)
        set_all_hidden(h, r, except, true);
    session_send_many(f->sessions, f->count, p, o);
    if (except)
        set_all_hidden(h, r, except, false);
}

void hub_broadcast(struct hub *h, struct packet *p, const struct outbox_opts *o, const struct hub_except *except)
{
    hub_fan_out(h, NULL, p, o, except);
}
