/* member.c - who is in which room: people, and the connections that make them members. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- people in a place; under its lock ---- */

struct member *member_find(const struct place *p, struct slice user)
{
    return user.len ? map_find(&p->users, user) : NULL;
}

static void on_join_letter(struct letter *l, bool delivered);
static void on_leave_letter(struct letter *l, bool delivered);

/* A person who is to come to `p`; not in its list yet. The caller holds a reference of `who`. NULL when memory runs out. */
static struct member *member_create(struct place *p, struct identity *who, struct blob *info)
{
    struct member *m = mem_zalloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->place = p;
    m->who = who;
    m->refs = 1;
    m->join.open = on_join_letter;
    m->leave.open = on_leave_letter;
    list_init(&m->in_place);
    list_init(&m->seats);
    if (who && map_put(&p->users, identity_id(who), m)) {
        mem_free(m);
        return NULL;
    }
    p->refs++;
    if (who)
        atomic_fetch_add(&who->refs, 1);
    m->info = info ? blob_ref(info) : NULL;
    return m;
}

/* Into the list of the place; on_join is not owed yet. */
static void member_enter(struct member *m)
{
    struct place *p = m->place;

    list_add_tail(&p->members, &m->in_place);
    m->present = true;
    if (p->people++ == 0)
        atomic_fetch_add(&p->crew->rooms, 1);
}

static void owe_join(struct hub *h, struct member *m)
{
    m->refs++;
    hub_owe_hook(h, m->place->home, &m->join);
}

static void member_set_info(struct member *m, struct blob *info)
{
    blob_ref(info);
    blob_unref(m->info);
    m->info = info;
}

/* Its grace is over, one way or another. The watch of another worker only learns that it has nothing to do when it fires. */
static void end_grace(const struct hub *h, struct member *m)
{
    struct leaver *l = m->leaver;

    m->leaver = NULL;
    if (!l || l->hub != h)
        return;
    loop_timer_stop(h->loop, &l->timer);
    list_remove(&l->node);
    mem_free(l);
    m->refs--; /* not the last one: it is present */
}

/* Out of the list and the map. Its reference for being present becomes the caller's. */
static void member_take_out(struct hub *h, struct member *m)
{
    struct place *p = m->place;

    assert(m->present);
    end_grace(h, m);
    list_init(&m->seats);
    list_remove(&m->in_place);
    if (m->who)
        map_take(&p->users, identity_id(m->who));
    m->present = false;
    if (--p->people == 0)
        atomic_fetch_sub(&p->crew->rooms, 1);
}

void member_leave(struct hub *h, struct member *m)
{
    member_take_out(h, m);
    hub_owe_hook(h, m->place->home, &m->leave);
}

/* `ms` becomes a seat of `m`, who is back if it was in grace. */
static void member_sit(struct hub *h, struct member *m, struct membership *ms)
{
    end_grace(h, m);
    list_add_tail(&m->seats, &ms->in_member);
    m->conn = list_entry(m->seats.next, struct membership, in_member)->conn->id;
    ms->member = m;
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

/* ---- the end of a person in a place; no lock is held ---- */

/* Out of the place, or never in it, and nobody refers to it. */
static void member_free(struct member *m)
{
    blob_unref(m->info);
    identity_unref(m->who);
    place_unref(m->place, 0);
    mem_free(m);
}

void member_unref(struct member *m)
{
    struct place *p = m->place;

    crew_lock(p->crew, p->stripe);
    bool is_last = --m->refs == 0;
    crew_unlock(p->crew, p->stripe);
    if (is_last)
        member_free(m);
}

/* ---- hooks ---- */

static void hook_letter(struct letter *l, struct member *m, bool delivered)
{
    struct hub *h = m->place->crew->hubs[m->place->home - 1];

    if (!delivered) {
        member_unref(m);
        return;
    }
    hub_queue_hook(h, l);
    hub_run_hooks(h);
}

static void on_join_letter(struct letter *l, bool delivered)
{
    hook_letter(l, list_entry(l, struct member, join), delivered);
}

static void on_leave_letter(struct letter *l, bool delivered)
{
    hook_letter(l, list_entry(l, struct member, leave), delivered);
}

/* Who left before it was announced is not announced any more, and who never was is not said goodbye to, either. */
bool member_announce(struct letter *l, struct member **m, struct person *p, struct blob **info, bool *joined)
{
    *joined = l->open == on_join_letter;
    *m = *joined ? list_entry(l, struct member, join) : list_entry(l, struct member, leave);
    struct place *place = (*m)->place;
    crew_lock(place->crew, place->stripe);
    if (*joined)
        (*m)->announced = (*m)->present;
    bool due = (*m)->announced;
    *info = (*m)->info ? blob_ref((*m)->info) : NULL;
    *p = (struct person){identity_id((*m)->who), (*m)->conn, {NULL, 0}};
    crew_unlock(place->crew, place->stripe);
    if (*info)
        p->info = (struct slice){(const char *)(*info)->data, (*info)->len};
    return due;
}

/* ---- grace ---- */

static void on_grace_over(struct loop_timer *t)
{
    struct leaver *l = list_entry(t, struct leaver, timer);
    struct hub *h = l->hub;
    struct member *m = l->member;
    struct place *p = m->place;

    list_remove(&l->node);
    crew_lock(p->crew, p->stripe);
    if (m->leaver == l) {
        m->leaver = NULL; /* its reference is given back below */
        member_leave(h, m);
    }
    crew_unlock(p->crew, p->stripe);
    mem_free(l);
    member_unref(m);
    hub_run_hooks(h);
}

/* Under the lock. False when there is no memory to remember it by. */
static bool watch_leaver(struct hub *h, struct member *m, uint64_t grace)
{
    struct leaver *l = mem_zalloc(1, sizeof(*l));
    if (!l)
        return false;
    l->hub = h;
    l->member = m;
    m->leaver = l;
    m->refs++;
    list_add_tail(&h->leavers, &l->node);
    loop_timer_init(&l->timer, on_grace_over);
    loop_timer_start(h->loop, &l->timer, grace);
    return true;
}

void member_discard(struct leaver *l)
{
    struct member *m = l->member;
    struct place *p = m->place;

    loop_timer_stop(l->hub->loop, &l->timer);
    list_remove(&l->node);
    crew_lock(p->crew, p->stripe);
    bool is_watched = m->leaver == l;
    if (is_watched) {
        m->leaver = NULL;
        member_take_out(l->hub, m);
    }
    crew_unlock(p->crew, p->stripe);
    if (is_watched)
        member_unref(m); /* the reference for being present */
    member_unref(m);
    mem_free(l);
}

/* ---- the rooms of a connection ---- */

/* Key of a map by pointer: the bytes of the pointer, where it is kept. */
static struct slice pointer_key(const void *at)
{
    return (struct slice){at, sizeof(void *)};
}

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

/* Under the lock: the person of `ms` comes, or is here already. 0, MT_ENOMEM or PLACE_OVER; then nothing has changed. */
static int take_seat(struct membership *ms, struct blob *info, struct kept_list *kept)
{
    struct hub *h = ms->conn->hub;
    struct place *p = ms->room->place;
    struct identity *who = ms->conn->user ? ms->conn->user->identity : NULL;
    struct member *m = member_find(p, identity_id(who));
    bool comes = !m;

    if (p->over)
        return PLACE_OVER;
    if (kept_take_list(crew_kept(h->crew, p->stripe), place_name(p), kept))
        return MT_ENOMEM;
    if (!m && !(m = member_create(p, who, info))) {
        kept_send_list(kept, NULL);
        return MT_ENOMEM;
    }
    ms->joined = ms->room->last_joined = atomic_load(&h->crew->kept_clock);
    member_sit(h, m, ms);
    if (comes) {
        member_enter(m);
        owe_join(h, m);
    } else if (info) {
        member_set_info(m, info);
    }
    return 0;
}

int membership_add(struct conn *c, struct room *r, struct blob *info, struct kept_list *kept)
{
    struct membership *ms = mem_zalloc(1, sizeof(*ms));

    if (!ms || fan_add(&r->fan, c->session, &ms->seat)) {
        mem_free(ms);
        return MT_ENOMEM;
    }
    ms->conn = c;
    ms->room = r;
    crew_lock(c->hub->crew, r->place->stripe);
    int rc = take_seat(ms, info, kept);
    crew_unlock(c->hub->crew, r->place->stripe);
    if (rc) {
        fan_remove(&r->fan, ms->seat);
        mem_free(ms);
        return rc;
    }
    conn_link(c, ms);
    return 0;
}

int membership_renew(struct membership *ms, struct blob *info)
{
    struct place *p = ms->room->place;

    crew_lock(p->crew, p->stripe);
    bool over = p->over;
    if (!over)
        member_set_info(ms->member, info);
    crew_unlock(p->crew, p->stripe);
    return over ? PLACE_OVER : 0;
}

void membership_free(struct membership *ms)
{
    fan_remove(&ms->room->fan, ms->seat);
    conn_unlink(ms->conn, ms);
    mem_free(ms);
}

bool membership_remove(struct membership *ms, bool with_grace)
{
    struct room *r = ms->room;
    struct hub *h = r->hub;
    struct place *p = r->place;
    uint64_t grace = with_grace && h->events->grace ? h->events->grace(h->arg, place_name(p)) : 0;

    crew_lock(h->crew, p->stripe);
    bool was_member = !p->over;
    if (was_member && member_rise(ms) && !(grace && watch_leaver(h, ms->member, grace)))
        member_leave(h, ms->member);
    crew_unlock(h->crew, p->stripe);
    membership_free(ms);
    if (r->fan.count == 0)
        room_release(r);
    return was_member;
}

/* ---- another person ---- */

/* The locks of all rooms of a connection, in ascending order, as a mask of stripes: the change is one step for everybody. */
static uint64_t lock_rooms(const struct conn *c)
{
    struct hub_crew *crew = c->hub->crew;
    uint64_t mask = 0;

    for (const struct membership *ms = c->rooms; ms && crew->workers > 1; ms = ms->next)
        mask |= (uint64_t)1 << (ms->room->place->stripe - crew->rooms_by_name);
    for (unsigned i = 0; i < crew->stripes; i++)
        if (mask >> i & 1)
            crew_lock(crew, &crew->rooms_by_name[i]);
    return mask;
}

static void unlock_rooms(struct hub_crew *crew, uint64_t mask)
{
    for (unsigned i = 0; i < crew->stripes; i++)
        if (mask >> i & 1)
            crew_unlock(crew, &crew->rooms_by_name[i]);
}

/* Under the locks: those that will not come after all are not found any more. */
static void forget_fresh(struct list_node *fresh)
{
    list_each(node, fresh)
    {
        struct member *m = list_entry(node, struct member, in_place);
        if (m->who)
            map_take(&m->place->users, identity_id(m->who));
    }
}

static void free_fresh(struct list_node *fresh)
{
    list_each_safe(node, tmp, fresh)
    {
        list_remove(node);
        member_free(list_entry(node, struct member, in_place));
    }
}

/* A member for every room of `c` where `who` is not one yet: all that can fail about the change. In the order of c's rooms. */
static int create_fresh(struct conn *c, struct identity *who, struct list_node *fresh)
{
    for (struct membership *ms = c->rooms; ms; ms = ms->next) {
        struct place *p = ms->room->place;
        if (p->over || member_find(p, identity_id(who)))
            continue;
        struct member *m = member_create(p, who, ms->member->info);
        if (!m) {
            forget_fresh(fresh);
            return MT_ENOMEM;
        }
        list_add_tail(fresh, &m->in_place);
    }
    return 0;
}

static void move_seat(struct membership *ms, struct identity *who, struct list_node *fresh)
{
    struct hub *h = ms->conn->hub;
    struct member *old = ms->member, *m = member_find(ms->room->place, identity_id(who));

    if (!m)
        m = list_entry(fresh->next, struct member, in_place);
    bool comes = !m->present;
    bool was_last = member_rise(ms);
    member_sit(h, m, ms);
    if (comes) {
        list_remove(&m->in_place); /* of fresh */
        member_enter(m);
    }
    if (was_last)
        member_leave(h, old); /* first, so that it is told first */
    if (comes)
        owe_join(h, m);
}

int member_change_user(struct conn *c, struct user *u)
{
    struct identity *who = u ? u->identity : NULL;
    struct list_node fresh;

    list_init(&fresh);
    uint64_t locked = lock_rooms(c);
    int rc = create_fresh(c, who, &fresh);
    for (struct membership *ms = c->rooms; ms && rc == 0; ms = ms->next)
        if (!ms->room->place->over)
            move_seat(ms, who, &fresh);
    unlock_rooms(c->hub->crew, locked);
    free_fresh(&fresh);
    return rc;
}
