/* user.c - people by their id: who has a connection, and for rooms who is in grace. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

struct user *user_get(struct hub *h, struct slice id)
{
    struct user *u = map_find(&h->users, id);
    if (u) {
        u->refs++;
        return u;
    }
    u = mem_zalloc(1, sizeof(*u) + id.len);
    if (!u)
        return NULL;
    u->hub = h;
    u->refs = 1;
    list_init(&u->conns);
    u->len = id.len;
    memcpy(u->id, id.data, id.len);
    if (map_put(&h->users, user_id(u), u)) {
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
    map_take(&u->hub->users, user_id(u));
    mem_free(u);
}

struct slice user_id(const struct user *u)
{
    return u ? (struct slice){u->id, u->len} : (struct slice){"", 0};
}

struct user *user_find(const struct hub *h, struct slice id)
{
    struct user *u = map_find(&h->users, id);
    return u && u->count ? u : NULL;
}

size_t user_count(const struct user *u)
{
    return u->count;
}

/* *node is the next one, so that the current one may go; the head stands for the end and is compared only, for the user may be
 * gone with its last connection. */
struct conn *user_next(const struct user *u, struct list_node **node)
{
    struct list_node *at = *node ? *node : u->conns.next;
    if (at == &u->conns) {
        *node = at;
        return NULL;
    }
    *node = at->next;
    return list_entry(at, struct conn, in_user);
}

conn_id *user_conns(const struct user *u, size_t *count)
{
    conn_id *ids = mem_alloc(u->count * sizeof(*ids));
    *count = 0;
    if (!ids)
        return NULL;
    list_each(node, &u->conns) ids[(*count)++] = list_entry(node, struct conn, in_user)->id;
    return ids;
}

static bool is_excepted(const struct conn *c, const struct hub_except *except)
{
    for (size_t i = 0; except && i < except->conn_count; i++)
        if (except->conns[i] == c->id)
            return true;
    return false;
}

int user_send(struct hub *h, struct slice user, struct packet *p, const struct outbox_opts *o, const struct hub_except *except)
{
    struct user *u = user_find(h, user);
    if (!u)
        return MT_EOFFLINE;
    for (size_t i = 0; except && i < except->user_count; i++)
        if (slice_is(except->users[i], user))
            return 0;
    list_each(node, &u->conns)
    {
        struct conn *c = list_entry(node, struct conn, in_user);
        if (!is_excepted(c, except))
            (void)session_send_packet(c->session, p, o); /* who is gone or too slow does not count here */
    }
    return 0;
}
