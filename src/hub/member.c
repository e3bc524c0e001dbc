/* member.c - who is in which room: people, and the connections that make them members. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- people in a room ---- */

/* Key of a map by pointer: the bytes of the pointer, where it is kept. */
static struct slice pointer_key(const void *at)
{
    return (struct slice){at, sizeof(void *)};
}

struct member *member_find(const struct room *r, const struct user *u)
{
    return u ? map_find(&r->users, pointer_key(&u)) : NULL;
}

static void on_grace_over(struct loop_timer *t);

/* A person who is to come to `r`; not in its list yet. NULL when memory runs out. */
static struct member *member_create(struct room *r, struct user *u, struct blob *info)
{
    struct member *m = mem_zalloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->room = r;
    m->user = u;
    m->info = info;
    m->refs = 1;
    list_init(&m->in_room);
    list_init(&m->seats);
    list_init(&m->hook);
    loop_timer_init(&m->grace, on_grace_over);
    if (u && map_put(&r->users, pointer_key(&m->user), m)) {
        mem_free(m);
        return NULL;
    }
    r->refs++;
    if (u)
        u->refs++;
    if (info)
        blob_ref(info);
    return m;
}

/* A member that is out of the room, or never was in it. */
static void member_free(struct member *m)
{
    blob_unref(m->info);
    user_unref(m->user);
    room_unref(m->room);
    mem_free(m);
}

void member_unref(struct member *m)
{
    if (--m->refs == 0)
        member_free(m);
}

void member_set_info(struct member *m, struct blob *info)
{
    blob_ref(info);
    blob_unref(m->info);
    m->info = info;
}

static void owe_hook(struct member *m)
{
    struct hub *h = m->room->hub;
    if (h->closing)
        return;
    m->refs++;
    list_add_tail(&h->hooks, &m->hook);
}

/* Into the list of the room; on_join is not owed yet. */
static void member_enter(struct member *m)
{
    list_add_tail(&m->room->members, &m->in_room);
    m->room->people++;
    m->present = true;
}

/* Out of the room for good. Who never was announced is not said goodbye to, either. Frees m where no hook is owed. */
static void member_leave(struct member *m)
{
    struct room *r = m->room;

    assert(m->present && list_empty(&m->seats));
    loop_timer_stop(r->hub->loop, &m->grace);
    list_remove(&m->in_room);
    if (m->user)
        map_take(&r->users, pointer_key(&m->user));
    m->present = false;
    if (list_empty(&m->hook)) {
        owe_hook(m);
    } else {
        list_remove(&m->hook);
        member_unref(m);
    }
    if (--r->people == 0)
        room_retire(r);
    member_unref(m);
}

static void on_grace_over(struct loop_timer *t)
{
    struct member *m = list_entry(t, struct member, grace);
    struct hub *h = m->room->hub;

    member_leave(m);
    hub_run_hooks(h);
}

void member_discard(struct member *m)
{
    loop_timer_stop(m->room->hub->loop, &m->grace);
    list_remove(&m->in_room);
    member_unref(m);
}

/* ---- the rooms of a connection ---- */

struct membership *membership_find(const struct conn *c, const struct room *r)
{
    if (c->index)
        return map_find(c->index, pointer_key(&r));
    for (struct membership *ms = c->rooms; ms; ms = ms->next) {
        c->hub->steps++;
        if (ms->room == r)
            return ms;
    }
    return NULL;
}

static void index_drop(struct conn *c)
{
    if (!c->index)
        return;
    map_fini(c->index);
    mem_free(c->index);
    c->index = NULL;
}

/* Keep the index as the list is. Without memory there is none, and searches walk the list. */
static void index_add(struct conn *c, struct membership *ms)
{
    if (c->index) {
        if (map_put(c->index, pointer_key(&ms->room), ms))
            index_drop(c);
        return;
    }
    if (c->room_count <= CONN_ROOMS_LISTED || !(c->index = mem_zalloc(1, sizeof(*c->index))))
        return;
    for (ms = c->rooms; ms && c->index; ms = ms->next) {
        c->hub->steps++;
        if (map_put(c->index, pointer_key(&ms->room), ms))
            index_drop(c);
    }
}

static void conn_link(struct conn *c, struct membership *ms)
{
    if (c->rooms) {
        ms->prev = c->rooms->prev;
        ms->prev->next = ms;
        c->rooms->prev = ms;
    } else {
        ms->prev = c->rooms = ms;
    }
    c->room_count++;
    index_add(c, ms);
}

static void conn_unlink(struct conn *c, struct membership *ms)
{
    if (ms == c->rooms)
        c->rooms = ms->next;
    else
        ms->prev->next = ms->next;
    if (ms->next)
        ms->next->prev = ms->prev;
    else if (c->rooms)
        c->rooms->prev = ms->prev;
    c->room_count--;
    if (c->room_count <= CONN_ROOMS_LISTED / 2)
        index_drop(c);
    else if (c->index)
        map_take(c->index, pointer_key(&ms->room));
}

/* ---- joining and leaving ---- */

/* `ms` becomes a seat of `m`, who is back if it was in grace. */
static void member_sit(struct member *m, struct membership *ms)
{
    loop_timer_stop(m->room->hub->loop, &m->grace);
    list_add_tail(&m->seats, &ms->in_member);
    m->conn = list_entry(m->seats.next, struct membership, in_member)->conn->id;
    ms->member = m;
}

int membership_add(struct conn *c, struct room *r, struct blob *info)
{
    struct membership *ms = mem_zalloc(1, sizeof(*ms));
    struct member *m = member_find(r, c->user), *fresh = NULL;

    if (!ms)
        return MT_ENOMEM;
    if (fan_add(&r->fan, c->session, &ms->seat)) {
        mem_free(ms);
        return MT_ENOMEM;
    }
    if (!m && !(m = fresh = member_create(r, c->user, info))) {
        fan_remove(&r->fan, ms->seat);
        mem_free(ms);
        return MT_ENOMEM;
    }
    ms->conn = c;
    ms->room = r;
    conn_link(c, ms);
    member_sit(m, ms);
    if (fresh) {
        member_enter(m);
        owe_hook(m);
    } else if (info) {
        member_set_info(m, info);
    }
    return 0;
}

/* The seat is given up. True when the person has no other. */
static bool member_rise(struct membership *ms)
{
    struct member *m = ms->member;
    list_remove(&ms->in_member);
    if (list_empty(&m->seats))
        return true;
    m->conn = list_entry(m->seats.next, struct membership, in_member)->conn->id;
    return false;
}

void membership_remove(struct membership *ms, bool with_grace)
{
    struct room *r = ms->room;
    struct hub *h = r->hub;
    struct member *m = ms->member;
    uint64_t grace = 0;

    fan_remove(&r->fan, ms->seat);
    conn_unlink(ms->conn, ms);
    bool was_last = member_rise(ms);
    mem_free(ms);
    if (!was_last)
        return;
    if (with_grace && h->events->grace)
        grace = h->events->grace(h->arg, room_name(r));
    if (grace)
        loop_timer_start(h->loop, &m->grace, grace);
    else
        member_leave(m);
}

void member_remove_all(struct room *r)
{
    r->refs++; /* ends with its last member otherwise */
    while (!list_empty(&r->members)) {
        struct member *m = list_entry(r->members.next, struct member, in_room);
        if (list_empty(&m->seats)) {
            member_leave(m);
            continue;
        }
        membership_remove(list_entry(m->seats.next, struct membership, in_member), false);
    }
    room_unref(r);
}

/* ---- another person ---- */

static void discard_fresh(struct list_node *fresh)
{
    list_each_safe(node, tmp, fresh)
    {
        struct member *m = list_entry(node, struct member, in_room);
        list_remove(&m->in_room);
        if (m->user)
            map_take(&m->room->users, pointer_key(&m->user));
        member_free(m);
    }
}

/* A member for every room of `c` where `u` is not one yet: all that can fail about the change. In the order of c's rooms. */
static int create_fresh(struct conn *c, struct user *u, struct list_node *fresh)
{
    for (struct membership *ms = c->rooms; ms; ms = ms->next) {
        if (member_find(ms->room, u))
            continue;
        struct member *m = member_create(ms->room, u, ms->member->info);
        if (!m) {
            discard_fresh(fresh);
            return MT_ENOMEM;
        }
        list_add_tail(fresh, &m->in_room);
    }
    return 0;
}

int member_change_user(struct conn *c, struct user *u)
{
    struct list_node fresh;

    list_init(&fresh);
    if (create_fresh(c, u, &fresh))
        return MT_ENOMEM;
    for (struct membership *ms = c->rooms; ms; ms = ms->next) {
        struct member *old = ms->member, *m = member_find(ms->room, u);
        if (!m)
            m = list_entry(fresh.next, struct member, in_room);
        bool comes = !m->present;
        bool was_last = member_rise(ms);

        member_sit(m, ms);
        if (comes) {
            list_remove(&m->in_room); /* of fresh */
            member_enter(m);
        }
        if (was_last)
            member_leave(old); /* first, so that it is told first; the room has the new one already and stays */
        if (comes)
            owe_hook(m);
    }
    assert(list_empty(&fresh));
    return 0;
}
