/* peer.h - the script's part of a connection: what its userdata shows beyond the hub's struct conn, and its queue of events.
 *
 * Made when the handshake was accepted, before on_open; freed when on_close has returned. Found from a conn_id with peer_find, so
 * userdata never hold a pointer to it. While it exists the conn userdata, once a script has seen it, is held strongly by `ref`.
 */
#ifndef MT_SCRIPT_PEER_H
#define MT_SCRIPT_PEER_H
#include "base/list.h"
#include "hub/hub.h"
#include "script/state.h"

struct peer_event;
struct level;

struct peer_param {
    struct slice name, value; /* of the route: ":id" and what stood there, decoded */
};

struct peer {
    struct script *script;
    struct conn *conn;          /* the hub's part; lives at least as long */
    struct session *session;    /* NULL once the socket is gone */
    const struct level *level;  /* handlers of its route in `level_of`; use peer_level */
    struct version *level_of;   /* the version that `level` belongs to; compared only */
    char *text;                 /* owned: path, query, protocol and params point into it */
    struct slice path;          /* decoded, as the route saw it */
    struct slice query;         /* raw, without the ? */
    struct slice protocol;      /* chosen subprotocol, empty for none */
    struct peer_param *params;  /* owned by text */
    size_t param_count;
    int ref;                    /* the conn userdata, LUA_NOREF until a script has seen it. Set by api_conn_push, released by peer.c */
    bool busy;                  /* a handler of it is at work: events queue */
    bool paused;                /* session_pause was called for the queue */
    bool closed;                /* on_closed was told: sends give "closed" */
    unsigned char failures;     /* handlers that raised in a row */
    uint32_t queued;
    struct peer_event *first, *last; /* events that wait, oldest first */
    struct list_node tasks;     /* conn:spawn, by task.owned: cancelled at the close */
    struct list_node drainers;  /* tasks in conn:drain, by task.queue */
    struct loop_timer *expiry;  /* owned; NULL while conn->expires is 0 */
};

/* NULL when the connection is gone, and once on_close has returned. */
static inline struct peer *peer_find(struct script *s, conn_id id)
{
    struct conn *c = conn_find(s->hub, id);
    return c ? c->owner : NULL;
}
/* Set when the credentials end (unix seconds, 0 = never): the connection is then closed with 4401 "expired". 0 or MT_ENOMEM. */
int peer_set_expires(struct peer *p, double at);
/* What a log line about this connection says: its id, address and path. Nothing when it is gone. */
void peer_fill_about(struct script *s, conn_id id, struct script_about *out);
/* conn:drain: wait until the outbox is empty. Raises where waiting is impossible. Use as `return peer_drain(...)`. ms < 0: no limit. */
int peer_drain(lua_State *L, struct peer *p, int64_t ms);
#endif
