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

struct level;

/* What the owner pointer of a session points to, by its first member. */
enum session_owner_kind { OWNER_REQ, OWNER_PEER };

/* What happened on a connection, for its handlers. */
enum peer_event_kind { PEER_OPEN, PEER_TEXT, PEER_BINARY, PEER_CLOSE };
struct peer_event {
    struct peer_event *next; /* in the queue */
    enum peer_event_kind kind;
    unsigned code; /* PEER_CLOSE */
    size_t len;
    const char *data; /* message, or reason of the close; behind the struct when the event waits in a queue */
};

struct peer_param {
    struct slice name, value; /* of the route: ":id" and what stood there, decoded */
};

struct peer {
    enum session_owner_kind owner_kind; /* OWNER_PEER; must be first */
    struct script *script;
    struct conn *conn;         /* the hub's part; lives at least as long */
    struct session *session;   /* NULL once the socket is gone */
    const struct level *level; /* handlers of its route in the live version; use peer_level */
    uint64_t level_epoch;      /* script->epoch for which `level` was looked up */
    struct slice ip;           /* the address, also when the session is gone; this and the next five lie behind the struct */
    struct slice raw_path;     /* as it came, for routes */
    struct slice path;         /* decoded */
    struct slice query;        /* raw, without the ?; req_push_query makes a table of it */
    struct slice protocol;     /* chosen subprotocol, empty for none */
    struct peer_param *params;
    size_t param_count;
    int ref;     /* the conn userdata, LUA_NOREF until a script has seen it. Set by api_conn_push, released by peer.c */
    bool busy;   /* a handler of it is at work: events queue */
    bool paused; /* session_pause was called for the queue */
    bool slow;   /* session_pause was called by pace.c */
    bool closed; /* on_closed was told: sends give "closed" */
    unsigned char failures;          /* handlers that raised in a row */
    uint32_t queued;                 /* events that wait */
    size_t queued_bytes;             /* of their messages */
    struct peer_event *first, *last; /* events that wait, oldest first */
    struct peer_event *current;      /* owned: the one whose handler is at work, when it came from the queue */
    struct peer_event close_event;   /* stands in for PEER_CLOSE when there is no memory for a copy: the end must be told */
    const struct peer_event *event;  /* the one whose handler is starting; valid until that first waits */
    enum peer_event_kind working_on; /* kind of the event whose handler is at work */
    struct list_node tasks;          /* conn:spawn, by task.owned: cancelled at the close */
    struct list_node drainers;       /* tasks in conn:drain, by task.queue */
    uint64_t slow_until;             /* loop time at which that ends */
    struct loop_timer slow_timer;    /* looks at it */
    struct loop_timer *expiry;       /* owned; NULL while conn->expires is 0 */
};

/* What a new peer is about. Borrowed for the call. */
struct peer_facts {
    struct slice raw_path, path, query, protocol;
    const struct peer_param *params; /* values decoded */
    size_t param_count;
};
/* The script's part of an accepted connection. NULL when memory runs out. */
struct peer *peer_create(struct script *s, struct conn *c, struct session *session, const struct peer_facts *facts);
/* After on_close: leaves the rooms and frees it, and the hub's part. */
void peer_destroy(struct peer *p);
/* The handlers of its route in the live version; an empty level when the route is gone. */
const struct level *peer_level(struct peer *p);
/* Put a copy of the event behind those that wait; past the limit the socket is paused. False when memory runs out; never for
 * PEER_CLOSE, whose reason is lost instead. */
bool peer_enqueue(struct peer *p, const struct peer_event *e);
/* The oldest event that waits, now the caller's (peer_free_event), or NULL. */
struct peer_event *peer_dequeue(struct peer *p);
/* It was asked something: as long as that is open more events may wait, so that the answer behind them is read. */
void peer_asked(struct peer *p);
void peer_free_event(struct peer *p, struct peer_event *e); /* NULL is allowed */
/* The connection is over: what ran for it alone is cancelled, who waited for the outbox hears "closed". */
void peer_closed(struct peer *p);
/* The outbox is empty. */
void peer_drained(struct peer *p);
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
/* conn:drain: wait until the outbox is empty. Raises where waiting is impossible. Use as `return peer_drain(...)`. ms < 0: no
 * limit. */
int peer_drain(lua_State *L, struct peer *p, int64_t ms);
#endif
