/* hub.c - the hub as a whole: its start and end, sends to many, and the hooks that changes cause. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- hooks ---- */

void hub_queue_hook(struct hub *h, struct letter *l)
{
    l->next = NULL;
    *h->hooks_end = l;
    h->hooks_end = &l->next;
}

static struct letter *take_hook(struct hub *h)
{
    struct letter *l = h->hooks;

    if (l && !(h->hooks = l->next))
        h->hooks_end = &h->hooks;
    return l;
}

/* With several workers always by letter, also to the own one: what others have posted about the same room comes first. */
void hub_owe_hook(struct hub *h, unsigned home, struct letter *l)
{
    struct inbox *inbox = h->crew->workers > 1 ? h->crew->inboxes[home - 1] : NULL;

    if (inbox)
        inbox_post(inbox, l);
    else
        hub_queue_hook(h, l); /* alone, or the server is coming to its end */
}

/* The slices stay valid for the call: the member and its room are held, the info has a reference. */
static void run_hook(struct hub *h, struct letter *l)
{
    void (*fn)(void *, struct slice, const struct person *);
    struct member *m;
    struct person p;
    struct blob *info;
    bool joined, due = member_announce(l, &m, &p, &info, &joined);

    fn = joined ? h->events->on_join : h->events->on_leave;
    if (due && fn)
        fn(h->arg, place_name(m->place), &p);
    blob_unref(info);
    member_unref(m);
}

void hub_run_hooks(struct hub *h)
{
    struct letter *l;

    if (h->in_hooks)
        return;
    h->in_hooks = true;
    for (int n = 0; n < HOOKS_PER_RUN && (l = take_hook(h)) != NULL; n++)
        run_hook(h, l);
    h->in_hooks = false;
    if (h->hooks && !loop_timer_active(&h->more_hooks))
        loop_timer_start(h->loop, &h->more_hooks, 1);
}

static void on_more_hooks(struct loop_timer *t)
{
    hub_run_hooks(list_entry(t, struct hub, more_hooks));
}

/* ---- life ---- */

struct hub *hub_create(struct loop *loop, const struct hub_events *events, void *arg, struct hub_crew *crew, unsigned worker)
{
    struct hub *h = mem_zalloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->alone = crew == NULL;
    h->crew = crew ? crew : hub_crew_create(1);
    if (!h->crew) {
        mem_free(h);
        return NULL;
    }
    h->loop = loop;
    h->events = events;
    h->arg = arg;
    h->worker = h->alone ? 1 : worker;
    h->bit = (uint64_t)1 << (h->worker - 1);
    h->hooks_end = &h->hooks;
    slots_init(&h->conns);
    list_init(&h->leavers);
    list_init(&h->aside);
    loop_timer_init(&h->more_hooks, on_more_hooks);
    assert(h->worker >= 1 && h->worker <= h->crew->workers && !h->crew->hubs[h->worker - 1]);
    h->crew->hubs[h->worker - 1] = h;
    return h;
}

/* Hooks that are owed to it are dropped from here on: letters to it find nobody. */
static void leave_crew(struct hub *h)
{
    h->crew->hubs[h->worker - 1] = NULL;
    h->crew->inboxes[h->worker - 1] = NULL;
    if (h->alone)
        hub_crew_destroy(h->crew);
}

void hub_destroy(struct hub *h)
{
    struct letter *l;

    if (!h)
        return;
    assert(h->conns.count == 0 && h->rooms.count == 0 && list_empty(&h->aside) && h->users.count == 0 && !h->in_hooks);
    loop_timer_stop(h->loop, &h->more_hooks);
    while ((l = take_hook(h)) != NULL)
        l->open(l, false);
    while (!list_empty(&h->leavers))
        member_discard(list_entry(h->leavers.next, struct leaver, node));
    map_fini(&h->questions);
    map_fini(&h->rounds);
    map_fini(&h->asked);
    map_fini(&h->rooms);
    map_fini(&h->users);
    fan_fini(&h->everyone);
    slots_fini(&h->conns);
    leave_crew(h);
    mem_free(h);
}

struct limits *hub_limits(const struct hub *h)
{
    return h->crew->limits;
}

size_t hub_count(const struct hub *h)
{
    return h->conns.count;
}

size_t hub_people(const struct hub *h)
{
    return atomic_load(&h->crew->people);
}

size_t hub_rooms(const struct hub *h)
{
    return atomic_load(&h->crew->rooms);
}

/* ---- letters that were refused ---- */

uint64_t hub_dropped(const struct hub *h)
{
    return h->dropped;
}

void hub_note_dropped(struct hub *h, unsigned worker)
{
    uint64_t now = loop_now(h->loop);

    h->dropped++;
    if (!h->events->on_dropped || (h->dropped_told && now - h->dropped_at < DROPPED_EVERY))
        return;
    h->events->on_dropped(h->arg, worker, h->dropped - h->dropped_told);
    h->dropped_told = h->dropped;
    h->dropped_at = now;
}

/* ---- to many, here ---- */

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
        const struct conn *c = conn_find(h, except->conns[i]);
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
