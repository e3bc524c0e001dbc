/* room.c - rooms by name: joining, leaving, sending, and looking at who is there. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- life: a room comes with its first member and goes with its last ---- */

struct room *room_create(struct hub *h, struct slice name)
{
    struct room *r = mem_zalloc(1, sizeof(*r) + name.len);
    if (!r)
        return NULL;
    r->hub = h;
    list_init(&r->members);
    r->name_len = name.len;
    memcpy(r->name, name.data, name.len);
    if (map_put(&h->rooms, room_name(r), r)) {
        mem_free(r);
        return NULL;
    }
    return r;
}

void room_retire(struct room *r)
{
    assert(list_empty(&r->members) && r->fan.count == 0);
    map_take(&r->hub->rooms, room_name(r));
}

void room_unref(struct room *r)
{
    if (--r->refs)
        return;
    map_fini(&r->users);
    fan_fini(&r->fan);
    mem_free(r);
}

/* ---- joining and leaving ---- */

int room_join(struct conn *c, struct slice name, struct blob *info)
{
    struct hub *h = c->hub;

    if (!c->session || !session_is_open(c->session))
        return MT_ECLOSED;
    if (name.len == 0 || name.len > HUB_NAME_MAX)
        return MT_EINVALID;
    struct room *r = room_find(h, name);
    struct membership *ms = r ? membership_find(c, r) : NULL;
    if (ms) {
        if (info)
            member_set_info(ms->member, info);
        return 0;
    }
    if (c->room_count >= HUB_ROOMS_MAX)
        return MT_EFULL;
    if (!r && !(r = room_create(h, name)))
        return MT_ENOMEM;
    r->refs++; /* a new room without its first member must go again */
    int rc = membership_add(c, r, info);
    if (rc && r->people == 0)
        room_retire(r);
    room_unref(r);
    if (rc)
        return rc;
    kept_send(&h->kept, name, c->session);
    hub_run_hooks(h);
    return 0;
}

bool room_leave(struct conn *c, struct slice name)
{
    struct hub *h = c->hub;
    struct room *r = room_find(h, name);
    struct membership *ms = r ? membership_find(c, r) : NULL;

    if (!ms)
        return false;
    membership_remove(ms, false);
    hub_run_hooks(h);
    return true;
}

void room_empty(struct hub *h, struct slice room)
{
    struct room *r = room_find(h, room);

    if (!r)
        return;
    member_remove_all(r);
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

int room_send(struct hub *h, struct slice room, struct packet *p, struct slice key, bool is_volatile,
              const struct hub_except *except)
{
    struct outbox_opts opts = {.is_volatile = is_volatile, .key = outbox_key(room, key)};
    struct room *r = room_find(h, room);

    if (key.len && h->events->current && h->events->current(h->arg, room) && kept_put(&h->kept, room, key, opts.key, p))
        return MT_ENOMEM;
    if (r)
        hub_fan_out(h, r, p, &opts, except);
    return 0;
}

bool room_forget(struct hub *h, struct slice room, struct slice key)
{
    return kept_forget(&h->kept, room, key);
}

/* ---- looking ---- */

struct room *room_find(const struct hub *h, struct slice name)
{
    return map_find(&h->rooms, name);
}

bool room_has_conn(const struct room *r, const struct conn *c)
{
    return membership_find(c, r) != NULL;
}

bool room_has_user(const struct room *r, struct slice user)
{
    return member_find(r, map_find(&r->hub->users, user)) != NULL;
}

size_t room_count(const struct room *r)
{
    return r->people;
}

size_t room_conns(const struct room *r)
{
    return r->fan.count;
}

struct slice room_name(const struct room *r)
{
    return (struct slice){r->name, r->name_len};
}

bool room_next_person(const struct room *r, struct list_node **node, struct person *out)
{
    *node = *node ? (*node)->next : r->members.next;
    if (*node == &r->members)
        return false;
    const struct member *m = list_entry(*node, struct member, in_room);
    *out = (struct person){user_id(m->user), m->conn, m->info};
    return true;
}

conn_id *room_members(const struct room *r, size_t *count)
{
    *count = 0;
    if (!r->fan.count)
        return NULL;
    conn_id *ids = mem_alloc(r->fan.count * sizeof(*ids));
    if (!ids)
        return NULL;
    for (; *count < r->fan.count; ++*count)
        ids[*count] = list_entry(r->fan.seats[*count], struct membership, seat)->conn->id;
    return ids;
}

struct room *room_next(const struct hub *h, struct slice prefix, size_t *at)
{
    struct slice name;
    struct room *r;

    while ((r = map_next(&h->rooms, at, &name)))
        if (name.len >= prefix.len && (!prefix.len || memcmp(name.data, prefix.data, prefix.len) == 0))
            return r;
    return NULL;
}
