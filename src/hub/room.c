/* room.c - rooms by name: joining, leaving, sending. A worker has a `room` where connections of its own are in it. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/parcel.h"

#include <assert.h>

/* ---- life: a room comes with its first membership here and goes with its last ---- */

static struct room *room_create(struct hub *h, struct slice name)
{
    struct room *r = mem_zalloc(1, sizeof(*r));
    if (!r || !(r->place = place_get(h->crew, name))) {
        mem_free(r);
        return NULL;
    }
    r->hub = h;
    list_init(&r->aside);
    if (map_put(&h->rooms, room_name(r), r)) {
        place_unref(r->place, 0);
        mem_free(r);
        return NULL;
    }
    place_bind(r->place, h->bit);
    return r;
}

void room_release(struct room *r)
{
    assert(r->fan.count == 0);
    if (list_empty(&r->aside))
        map_take(&r->hub->rooms, room_name(r));
    list_remove(&r->aside);
    place_unref(r->place, r->hub->bit);
    fan_fini(&r->fan);
    mem_free(r);
}

/* The memberships of an emptied room are void. */
static void room_sweep(struct room *r)
{
    while (r->fan.count > 0)
        membership_free(list_entry(r->fan.seats[r->fan.count - 1], struct membership, seat));
    room_release(r);
}

struct room *room_find(struct hub *h, struct slice name)
{
    struct room *r = map_find(&h->rooms, name);

    if (r && room_is_over(r)) {
        map_take(&h->rooms, name);
        list_add_tail(&h->aside, &r->aside);
        return NULL;
    }
    return r;
}

/* The room of that serial, also when it is over; NULL when nobody here is in it. */
static struct room *find_serial(struct hub *h, struct slice name, uint64_t serial)
{
    struct room *r = map_find(&h->rooms, name);

    if (r && r->place->serial == serial)
        return r;
    list_each(node, &h->aside)
    {
        h->steps++;
        r = list_entry(node, struct room, aside);
        if (r->place->serial == serial)
            return r;
    }
    return NULL;
}

struct slice room_name(const struct room *r)
{
    return place_name(r->place);
}

/* ---- joining and leaving ---- */

/* As room_join, but PLACE_OVER when the room was emptied meanwhile. */
static int try_join(struct conn *c, struct slice name, struct blob *info)
{
    struct room *r = room_find(c->hub, name);
    struct membership *ms = r ? membership_find(c, r) : NULL;
    struct kept_list kept;

    if (ms)
        return info ? membership_renew(ms, info) : 0;
    if (c->room_count >= HUB_ROOMS_MAX)
        return MT_EFULL;
    if (!r && !(r = room_create(c->hub, name)))
        return MT_ENOMEM;
    int rc = membership_add(c, r, info, &kept);
    if (rc && r->fan.count == 0)
        room_release(r);
    if (rc)
        return rc;
    kept_send_list(&kept, c->session);
    hub_run_hooks(c->hub);
    return 0;
}

int room_join(struct conn *c, struct slice name, struct blob *info)
{
    int rc;

    if (!c->session || !session_is_open(c->session))
        return MT_ECLOSED;
    if (name.len == 0 || name.len > HUB_NAME_MAX)
        return MT_EINVALID;
    do
        rc = try_join(c, name, info);
    while (rc == PLACE_OVER);
    return rc;
}

bool room_leave(struct conn *c, struct slice name)
{
    struct hub *h = c->hub;
    struct room *r = room_find(h, name);
    struct membership *ms = r ? membership_find(c, r) : NULL;

    if (!ms)
        return false;
    bool was_member = membership_remove(ms, false);
    hub_run_hooks(h);
    return was_member;
}

bool room_has_conn(struct hub *h, struct slice room, const struct conn *c)
{
    const struct room *r = room_find(h, room);

    return r && membership_find(c, r);
}

/* ---- emptying ---- */

static void sweep(struct hub *h, struct slice name, uint64_t serial)
{
    struct room *r = find_serial(h, name, serial);

    if (r)
        room_sweep(r);
}

/* A letter: the room was emptied elsewhere. One of that name that has begun since then stays. */
static void sweep_here(struct hub *h, const struct parcel *p)
{
    sweep(h, p->t.name, p->t.serial);
}

/* Everybody out, in one step. The workers that have connections there, and the serial. */
static uint64_t empty_place(struct hub *h, struct place *p, uint64_t *serial)
{
    uint64_t workers = p->bound;

    *serial = p->serial;
    while (!list_empty(&p->members))
        member_leave(h, list_entry(p->members.next, struct member, in_place));
    map_take(&p->stripe->map, place_name(p));
    p->over = true;
    place_publish(p);
    return workers;
}

void room_empty(struct hub *h, struct slice room)
{
    struct stripe *s = crew_stripe(h->crew, h->crew->rooms_by_name, room);
    uint64_t workers = 0, serial = 0;

    crew_lock(h->crew, s);
    struct place *p = map_find(&s->map, room);
    if (p && (p->people || p->coming))
        workers = empty_place(h, p, &serial);
    crew_unlock(h->crew, s);
    if (workers & h->bit)
        sweep(h, room, serial);
    if (workers & ~h->bit) {
        struct parcel *parcel = parcel_create(h, &(struct parcel_text){.fn = sweep_here, .name = room, .serial = serial});
        if (parcel) /* without it what is left elsewhere is not seen, and goes with the connections */
            parcel_send(h, parcel, workers);
    }
    hub_run_hooks(h);
}

/* ---- sending ---- */

/* The conflation key in outboxes: rooms share them, so both names count. Keyed hashes, so nobody can find two that collide. */
static uint64_t outbox_key(struct slice room, struct slice key)
{
    uint64_t hashes[2] = {map_hash(room), map_hash(key)};
    uint64_t hash = key.len ? map_hash((struct slice){(const char *)hashes, sizeof(hashes)}) : 0;
    return key.len && !hash ? 1 : hash;
}

/* Who joined after a message was kept has had it, or what came after it, with the room's other current messages. */
static void hide_late(struct room *r, uint64_t stamp, bool hidden)
{
    for (uint32_t i = 0; i < r->fan.count; i++) {
        const struct membership *ms = list_entry(r->fan.seats[i], struct membership, seat);
        if (ms->joined >= stamp)
            r->fan.sessions[i] = hidden ? NULL : ms->conn->session;
    }
}

static bool is_replaced(struct hub *h, const struct parcel_text *t)
{
    struct stripe *s = crew_stripe(h->crew, h->crew->rooms_by_name, t->name);

    crew_lock(h->crew, s);
    bool replaced = kept_stamp(crew_kept(h->crew, s), t->name, t->key) > t->stamp;
    crew_unlock(h->crew, s);
    return replaced;
}

/* A letter. A message that was kept and is replaced by now is not sent: its successor is here already, or on its way. One that
 * was sent before the room was emptied is heard by those who were in it. */
static void send_here(struct hub *h, const struct parcel *p)
{
    struct room *r = find_serial(h, p->t.name, p->t.serial);
    bool late = r && p->t.stamp && r->last_joined >= p->t.stamp;

    if (!r || (p->t.stamp && is_replaced(h, &p->t)))
        return;
    if (late)
        hide_late(r, p->t.stamp, true);
    hub_fan_out(h, r, p->t.packet, &p->t.opts, &p->t.except);
    if (late)
        hide_late(r, p->t.stamp, false);
}

/* What goes to the other workers; NULL when memory runs out. Not inlined: most sends stay here and do without it. */
static __attribute__((noinline)) struct parcel *make_parcel(struct hub *h, struct slice room, struct packet *p, struct slice key,
                                                            const struct outbox_opts *o, const struct hub_except *except)
{
    struct parcel_text t = {.fn = send_here, .packet = p, .opts = *o, .name = room, .key = key};

    if (except)
        t.except = *except;
    return parcel_create(h, &t);
}

/* The workers that have members of a room, as far as senders know, and its serial. */
struct route {
    uint64_t workers, serial;
};

/* Keep it for those who join; *to are those who had members at this moment, all others find it when they join. 0 or MT_ENOMEM. */
static int keep(struct hub *h, struct slice room, struct slice key, uint64_t hash, struct packet *p, uint64_t *stamp,
                struct route *to)
{
    struct stripe *s = crew_stripe(h->crew, h->crew->rooms_by_name, room);
    struct kept_store *k = crew_kept(h->crew, s);

    crew_lock(h->crew, s);
    const struct place *place = map_find(&s->map, room);
    *stamp = atomic_fetch_add(&h->crew->kept_clock, 1) + 1;
    *to = place ? (struct route){atomic_load(&place->workers), place->serial} : (struct route){0};
    size_t before = k->bytes;
    int rc = kept_put(k, room, key, hash, *stamp, p);
    crew_kept_count(h->crew, k, before);
    crew_unlock(h->crew, s);
    crew_kept_trim(h->crew);
    return rc;
}

/* `r` is the room here, NULL when there is none. */
static struct route route_to(struct hub *h, const struct room *r, struct slice name)
{
    struct route to = {0};

    if (r)
        to = (struct route){atomic_load_explicit(&r->place->workers, memory_order_acquire), r->place->serial};
    else if (h->crew->workers > 1)
        to.workers = place_workers(h->crew, name, &to.serial);
    return to;
}

int room_send(struct hub *h, struct slice room, struct packet *p, struct slice key, bool is_volatile,
              const struct hub_except *except)
{
    struct outbox_opts opts = {.is_volatile = is_volatile, .key = outbox_key(room, key)};
    struct room *r = room_find(h, room);
    bool keeps = key.len && h->events->current && h->events->current(h->arg, room);
    struct route to = route_to(h, r, room);
    uint64_t stamp = 0;
    struct parcel *parcel = NULL;

    /* First of all, so that nothing is sent without memory. A kept one learns only below where it has to go. */
    if ((to.workers & ~h->bit) || (keeps && h->crew->workers > 1))
        if (!(parcel = make_parcel(h, room, p, keeps ? key : SLICE(""), &opts, except)))
            return MT_ENOMEM;
    if (keeps && keep(h, room, key, opts.key, p, &stamp, &to)) {
        parcel_drop(parcel);
        return MT_ENOMEM;
    }
    if (r)
        hub_fan_out(h, r, p, &opts, except);
    if (parcel) {
        parcel->t.serial = to.serial;
        parcel->t.stamp = stamp;
        parcel_send(h, parcel, to.workers);
    }
    return 0;
}

bool room_is_heard(struct hub *h, struct slice room)
{
    return room_find(h, room) || route_to(h, NULL, room).workers;
}

bool room_forget(struct hub *h, struct slice room, struct slice key)
{
    struct stripe *s = crew_stripe(h->crew, h->crew->rooms_by_name, room);
    struct kept_store *k = crew_kept(h->crew, s);

    crew_lock(h->crew, s);
    size_t before = k->bytes;
    bool found = kept_forget(k, room, key);
    crew_kept_count(h->crew, k, before);
    crew_unlock(h->crew, s);
    return found;
}

/* ---- closing ---- */

static void close_here(struct hub *h, const struct parcel *p)
{
    const struct room *r = find_serial(h, p->t.name, p->t.serial);

    for (uint32_t i = 0; r && i < r->fan.count; i++) /* nothing calls back from session_close */
        if (r->fan.sessions[i])
            session_close(r->fan.sessions[i], p->t.code, p->t.reason);
}

int room_close(struct hub *h, struct slice room, unsigned code, struct slice reason)
{
    struct route to = route_to(h, room_find(h, room), room);
    struct parcel *p = parcel_create(
        h, &(struct parcel_text){.fn = close_here, .name = room, .serial = to.serial, .code = code, .reason = reason});

    if (!p)
        return MT_ENOMEM;
    close_here(h, p);
    parcel_send(h, p, to.workers);
    return 0;
}
