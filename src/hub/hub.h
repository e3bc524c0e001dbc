/* hub.h - who is connected and who hears what: connections, people, rooms. Knows neither lws nor Lua.
 *
 * A person is a user id, or a connection without one ("#" and its id): several tabs of one user are one person. A room exists
 * while it has members or somebody in grace. Names and ids are copied by the hub.
 *
 * Each worker has a hub and calls it on its own thread only. The hubs of one server belong to one crew: people, rooms and users
 * are those of all workers, and what is said about them is exact at once. A hub changes connections of its own worker only; what
 * concerns those of others goes there by letter and takes effect when the letter is opened, in the order in which this hub sent
 * them.
 */
#ifndef MT_HUB_HUB_H
#define MT_HUB_HUB_H
#include "base/blob.h"
#include "base/bucket.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slots.h"
#include "hub/crew.h"
#include "loop/loop.h"
#include "net/session.h"

enum {
    HUB_NAME_MAX = 256,               /* bytes of a room name or user id */
    HUB_ROOMS_MAX = 10000,            /* rooms of one connection */
    HUB_CURRENT_MAX = 64 * 1024 * 1024 /* bytes of "current" messages in all rooms; past it those not renewed for longest go */
};

struct hub;
struct limits;
struct room;
struct user;
struct membership;
struct conn_asked;
typedef slot_id conn_id; /* of all workers: the top bits of its slot tell whose it is, see conn_worker */

/* One open (or closing) WebSocket connection. Fields are read-only outside of hub/, those at the end its own business. */
struct conn {
    conn_id id;
    struct hub *hub;
    struct session *session;        /* NULL once the socket is gone */
    struct user *user;              /* NULL while nobody logged in */
    void *owner;                    /* the script's part; set with conn_set_owner */
    double expires;                 /* unix seconds at which the credentials end; 0 = never; set with conn_set_expires */
    struct list_node in_user;       /* in user->conns while it has a socket */
    struct conn_asked *asked;       /* what it was asked, owned; NULL: nothing so far, see ask.h */
    struct membership *rooms;       /* first of its memberships in the order of joining, NULL when none */
    struct map *index;              /* its memberships by room, when there are more than a few; NULL otherwise */
    uint32_t room_count;            /* memberships */
    uint32_t seat;                  /* its place among all connections */
};

/* A person in a room, as hooks and member lists see it. Borrowed for the call. */
struct person {
    struct slice user; /* empty when nobody logged in */
    conn_id conn;      /* first connection of the person in this room */
    struct slice info; /* JSON text given at join, without data when none */
};

/* Each may be NULL. grace and current only answer: they must not change the hub. */
struct hub_events {
    /* A person came to a room, or left it for good (after grace), once over all workers. All hooks of one room run in the same
     * worker, in order, wherever its people are. The hub is consistent: everything may be called. With one worker the call that
     * made the change returns when they have run; changes made inside a hook are told after it, so hooks never nest. Past 1000
     * in one go (a hook that makes hooks) the loop goes on with other things first. */
    void (*on_join)(void *arg, struct slice room, const struct person *p);
    void (*on_leave)(void *arg, struct slice room, const struct person *p);
    /* Milliseconds that a person who lost the last connection stays a member (asked before the connection goes). */
    uint64_t (*grace)(void *arg, struct slice room);
    /* Whether the room keeps the newest message per key for those who join later (asked at each keyed send). */
    bool (*current)(void *arg, struct slice room);
    /* Somebody called hub_signal, here or in another worker. */
    void (*on_signal)(void *arg, struct slice name, struct blob *value);
    /* A connection was asked something, see ask.h: its answer should be read, whatever it sends before. Must not change the hub. */
    void (*on_asked)(void *arg, struct conn *c);
    /* The inbox of another worker is full and refused letters, `count` of them since the last call. Once in ten seconds. */
    void (*on_dropped)(void *arg, unsigned worker, uint64_t count);
};

/* `worker` is from 1. `crew` is borrowed; NULL: a hub that is alone. NULL when memory runs out. */
struct hub *hub_create(struct loop *loop, const struct hub_events *events, void *arg, struct hub_crew *crew, unsigned worker);
/* All connections must have been closed, and no thread of the crew may run. People whose grace this worker watches leave without
 * a hook. */
void hub_destroy(struct hub *h);

/* ---- connections ---- */
/* A new connection of `session`; `user` may be empty. The session's owner is not touched. 0, MT_EINVALID (user over
 * HUB_NAME_MAX), MT_ELIMITED (the user has as many as may be), MT_ENOMEM. */
int conn_open(struct hub *h, struct session *session, struct slice user, struct conn **out);
/* The socket is gone (session pointer dies now); still a member everywhere until conn_close. */
/* A person of whom no other connection has a socket is offline from here on. */
void conn_detach(struct conn *c);
/* After on_close has run: leaves every room (with grace), then the struct is freed and the id is dead. */
void conn_close(struct conn *c);
struct conn *conn_find(const struct hub *h, conn_id id);    /* borrowed; NULL when gone, or of another worker */
struct conn *conn_next(const struct hub *h, uint32_t *at); /* walk, *at = 0 first, NULL at the end; changes in between are fine */
unsigned conn_worker(conn_id id);                          /* from 1 */
size_t hub_count(const struct hub *h);                     /* connections of this worker */
size_t hub_people(const struct hub *h);                    /* over all workers, who has a socket: users, and connections without one */
size_t hub_rooms(const struct hub *h);                     /* over all workers, rooms that exist */
uint64_t hub_dropped(const struct hub *h);                 /* letters of this hub that inboxes refused */
void conn_set_owner(struct conn *c, void *owner);
void conn_set_expires(struct conn *c, double at);
/* Log in, change or (empty) log out. Memberships move to the new person, who takes over the info where it is new:
 * on_leave (no grace) and on_join run where that makes a difference. 0, MT_EINVALID, MT_ELIMITED (as conn_open), MT_ENOMEM
 * (nothing has changed). */
int conn_set_user(struct conn *c, struct slice user);
struct slice conn_user(const struct conn *c); /* empty when none */
/* Text form of an id, for logs, scripts and clients: "c" and base 36, NUL-terminated; and back (0 when malformed). */
enum { CONN_NAME_SIZE = 16 };
void conn_name(conn_id id, char out[CONN_NAME_SIZE]);
conn_id conn_parse(struct slice name);
/* To one connection; MT_ECLOSED when its socket is gone. Results of session_send. */
int conn_send(struct conn *c, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts);
/* Walk over the rooms of a connection; *m NULL first. */
struct room *conn_next_room(const struct conn *c, struct membership **m);
struct slice room_name(const struct room *r);

/* ---- what a user may take, over all workers ---- */
/* Each worker is told the same. Zeroed memory is no limit. Connections are counted while they have a socket; a lower limit closes
 * none that are there. */
struct user_limits {
    size_t connections;   /* 0: no limit */
    struct rate messages; /* of all of them together */
    bool refuse;          /* a message past the rate is not taken; false: into debt */
};
void hub_set_user_limits(struct hub *h, const struct user_limits *l);
/* A message of `c` is there. 0: the rate has room for it, or nobody is logged in. Else the microseconds until it has: for this
 * message, which was refused, or for the next one. One atomic number per user: no lock. */
uint64_t conn_charge_message(const struct conn *c, uint64_t now_us);
uint64_t conn_message_debt(const struct conn *c, uint64_t now_us); /* microseconds until its user owes nothing */
struct limits *hub_limits(const struct hub *h); /* of all workers: tide.limit, see limits.h */

/* ---- who is left out of a send ---- */
struct hub_except {
    const conn_id *conns;
    size_t conn_count;
    const struct slice *users;
    size_t user_count;
};

/* ---- somebody, in whatever worker: a connection, or all connections of a user that have a socket ---- */
struct whom {
    conn_id conn;      /* 0: `user` counts */
    struct slice user; /* empty: nobody */
};
/* The calls give MT_EOFFLINE where nobody is there. With a connection of this worker, the results of what is done to it; of a user
 * who has several the first failure of a join, and no failures of sends and closes. What happens in other workers is not waited
 * for; MT_ENOMEM when it cannot be asked for. */
int whom_send(struct hub *h, const struct whom *w, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);
int whom_close(struct hub *h, const struct whom *w, unsigned code, struct slice reason);
int whom_join(struct hub *h, const struct whom *w, struct slice room, struct blob *info);
/* 1 when one of them was a member, as far as that is known here, else 0. */
int whom_leave(struct hub *h, const struct whom *w, struct slice room);
size_t user_count(struct hub *h, struct slice user); /* connections that have a socket */

/* ---- everybody ---- */
/* 0, or MT_ENOMEM (nothing sent). */
int hub_broadcast(struct hub *h, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);
/* on_signal in every worker, here before it returns. `value` is shared. 0, or MT_ENOMEM (nobody hears it). */
int hub_signal(struct hub *h, struct slice name, struct blob *value);

/* ---- rooms ---- */
/* Make `c` a member (again: new info, taken only when not NULL, and nothing else). Kept "current" messages are sent to it first,
 * then on_join runs when the person is new. 0, MT_ECLOSED, MT_EINVALID (name empty or over HUB_NAME_MAX), MT_EFULL (over
 * HUB_ROOMS_MAX), MT_ENOMEM. */
int room_join(struct conn *c, struct slice name, struct blob *info);
bool room_leave(struct conn *c, struct slice name); /* no grace; false when it was no member */
/* To every member's connections. `key` (may be empty) is the conflation key of this room; it also replaces the room's current
 * message of that key where hub_events.current says so. Two workers that send the same key at the same moment: all readers end
 * with the same one. A room without members is fine, and its current messages are kept. 0, or MT_ENOMEM (nothing sent). */
int room_send(struct hub *h, struct slice room, struct packet *p, struct slice key, bool is_volatile,
              const struct hub_except *except);
bool room_is_heard(struct hub *h, struct slice room);              /* whether a message without key would reach anybody */
bool room_forget(struct hub *h, struct slice room, struct slice key); /* the current message of key */
/* Every member leaves at once (on_leave runs, no grace). */
void room_empty(struct hub *h, struct slice room);
/* Close the connections of all members. 0, or MT_ENOMEM (some were not). */
int room_close(struct hub *h, struct slice room, unsigned code, struct slice reason);
bool room_has_conn(struct hub *h, struct slice room, const struct conn *c);
bool room_has_user(struct hub *h, struct slice room, struct slice user); /* also while in grace */
size_t room_count(struct hub *h, struct slice room);                     /* people, those in grace too */
/* Everybody in the room, in the order they came, as bytes behind what is in `out`; the count, or MT_ENOMEM. Read them with
 * person_next: *list is what is left of the bytes, false at the end. The slices point into them. */
int room_members(struct hub *h, struct slice room, struct buf *out);
bool person_next(struct slice *list, struct person *out);
/* The rooms whose name starts with `prefix` and how many people they have, in the same manner. */
int room_list(struct hub *h, struct slice prefix, struct buf *out);
bool room_list_next(struct slice *list, struct slice *name, size_t *people);
#endif
