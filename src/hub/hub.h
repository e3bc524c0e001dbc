/* hub.h - who is connected and who hears what: connections, people, rooms of one worker. Knows neither lws nor Lua.
 *
 * A person is a user id, or a connection without one ("#" and its id): several tabs of one user are one person. A room exists
 * while it has members or somebody in grace. All of it on the worker's thread. Names and ids are copied by the hub.
 */
#ifndef MT_HUB_HUB_H
#define MT_HUB_HUB_H
#include "base/blob.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slots.h"
#include "loop/loop.h"
#include "net/session.h"

enum {
    HUB_NAME_MAX = 256,               /* bytes of a room name or user id */
    HUB_ROOMS_MAX = 10000,            /* rooms of one connection */
    HUB_CURRENT_MAX = 64 * 1024 * 1024 /* bytes of "current" messages in all rooms; past it those not renewed for longest go */
};

struct hub;
struct room;
struct user;
struct membership;
typedef slot_id conn_id;

/* One open (or closing) WebSocket connection. Fields are read-only outside of hub/, those at the end its own business. */
struct conn {
    conn_id id;
    struct hub *hub;
    struct session *session;        /* NULL once the socket is gone */
    struct user *user;              /* NULL while nobody logged in */
    void *owner;                    /* the script's part; set with conn_set_owner */
    double expires;                 /* unix seconds at which the credentials end; 0 = never; set with conn_set_expires */
    struct list_node in_user;       /* in user->conns while it has a socket */
    struct membership *rooms;       /* first of its memberships in the order of joining, NULL when none */
    struct map *index;              /* its memberships by room, when there are more than a few; NULL otherwise */
    uint32_t room_count;            /* memberships */
    uint32_t seat;                  /* its place among all connections */
};

/* A person in a room, as hooks and member lists see it. Borrowed for the call. */
struct person {
    struct slice user;  /* empty when nobody logged in */
    conn_id conn;       /* first connection of the person in this room */
    struct blob *info;  /* JSON text given at join, NULL when none */
};

/* Each may be NULL. grace and current only answer: they must not change the hub. */
struct hub_events {
    /* A person came to a room, or left it for good (after grace). The hub is consistent: everything may be called. The call that
     * made the change returns when they have run; changes made inside a hook are told after it, so hooks never nest. Past 1000
     * in one go (a hook that makes hooks) the loop goes on with other things first. */
    void (*on_join)(void *arg, struct slice room, const struct person *p);
    void (*on_leave)(void *arg, struct slice room, const struct person *p);
    /* Milliseconds that a person who lost the last connection stays a member (asked at that time). */
    uint64_t (*grace)(void *arg, struct slice room);
    /* Whether the room keeps the newest message per key for those who join later (asked at each keyed send). */
    bool (*current)(void *arg, struct slice room);
};

struct hub *hub_create(struct loop *loop, const struct hub_events *events, void *arg); /* NULL when memory runs out */
/* All connections must have been closed. People in grace leave without a hook. */
void hub_destroy(struct hub *h);

/* ---- connections ---- */
/* A new connection of `session`; `user` may be empty. The session's owner is not touched. 0, MT_EINVALID (user over
 * HUB_NAME_MAX), MT_ENOMEM. */
int conn_open(struct hub *h, struct session *session, struct slice user, struct conn **out);
/* The socket is gone (session pointer dies now); still a member everywhere until conn_close. */
/* A person of whom no other connection has a socket is offline from here on. */
void conn_detach(struct conn *c);
/* After on_close has run: leaves every room (with grace), then the struct is freed and the id is dead. */
void conn_close(struct conn *c);
struct conn *conn_find(const struct hub *h, conn_id id);    /* borrowed, NULL when gone */
struct conn *conn_next(const struct hub *h, uint32_t *at); /* walk, *at = 0 first, NULL at the end; changes in between are fine */
size_t hub_count(const struct hub *h);
size_t hub_people(const struct hub *h); /* who has a socket: users, and connections without one */
size_t hub_rooms(const struct hub *h);  /* rooms that exist */
void conn_set_owner(struct conn *c, void *owner);
void conn_set_expires(struct conn *c, double at);
/* Log in, change or (empty) log out. Memberships move to the new person, who takes over the info where it is new:
 * on_leave (no grace) and on_join run where that makes a difference. 0, MT_EINVALID, MT_ENOMEM (nothing has changed). */
int conn_set_user(struct conn *c, struct slice user);
struct slice conn_user(const struct conn *c); /* empty when none */
/* Text form of an id, for logs, scripts and clients: "c" and base 36, NUL-terminated; and back (0 when malformed). */
enum { CONN_NAME_SIZE = 16 };
void conn_name(conn_id id, char out[CONN_NAME_SIZE]);
conn_id conn_parse(struct slice name);
/* To one connection; MT_ECLOSED when its socket is gone. Results of session_send. */
int conn_send(struct conn *c, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts);

/* ---- people: by the connections that have a socket ---- */
struct user *user_find(const struct hub *h, struct slice id); /* NULL when nobody of that id is connected */
size_t user_count(const struct user *u);                      /* open connections */
/* Walk over a user's connections; *node NULL first. The current one may be closed between calls, no other one: see user_conns. */
struct conn *user_next(const struct user *u, struct list_node **node);
/* Snapshot of their ids into a mem_alloc'ed array (*count of them); NULL when out of memory. For callers that close them. */
conn_id *user_conns(const struct user *u, size_t *count);

/* ---- who is left out of a send ---- */
struct hub_except {
    const conn_id *conns;
    size_t conn_count;
    const struct slice *users;
    size_t user_count;
};

/* To all connections of a user (except NULL = all). 0 (also when all are excepted), or MT_EOFFLINE when there is none. */
int user_send(struct hub *h, struct slice user, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);
/* To all connections of this worker. */
void hub_broadcast(struct hub *h, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);

/* ---- rooms ---- */
/* Make `c` a member (again: new info, taken only when not NULL, and nothing else). Kept "current" messages are sent to it first,
 * then on_join runs when the person is new. 0, MT_ECLOSED, MT_EINVALID (name empty or over HUB_NAME_MAX), MT_EFULL (over
 * HUB_ROOMS_MAX), MT_ENOMEM. */
int room_join(struct conn *c, struct slice name, struct blob *info);
bool room_leave(struct conn *c, struct slice name); /* no grace; false when it was no member */
struct room *room_find(const struct hub *h, struct slice name); /* NULL when nobody is in it */
/* To every member's connections. `key` (may be empty) is the conflation key of this room; it also replaces the room's current
 * message of that key where hub_events.current says so. A room without members is fine, and its current messages are kept.
 * 0, or MT_ENOMEM (nothing sent). */
int room_send(struct hub *h, struct slice room, struct packet *p, struct slice key, bool is_volatile,
              const struct hub_except *except);
bool room_forget(struct hub *h, struct slice room, struct slice key); /* the current message of key */
bool room_has_conn(const struct room *r, const struct conn *c);
bool room_has_user(const struct room *r, struct slice user); /* also while in grace */
size_t room_count(const struct room *r);                     /* people, those in grace too */
size_t room_conns(const struct room *r);                     /* connections, until conn_close */
struct slice room_name(const struct room *r);
/* Walk over people in the order they came; *node NULL first. The room must not change between calls. */
bool room_next_person(const struct room *r, struct list_node **node, struct person *out);
/* Snapshot of the members' ids into a mem_alloc'ed array (*count of them); NULL when empty or out of memory. For callers that
 * change the room. */
conn_id *room_members(const struct room *r, size_t *count);
/* Every member leaves at once (on_leave runs, no grace). */
void room_empty(struct hub *h, struct slice room);
/* Walk over rooms whose name starts with prefix; *at = 0 first. The hub must not change between calls. */
struct room *room_next(const struct hub *h, struct slice prefix, size_t *at);
/* Walk over the rooms of a connection; *m NULL first. */
struct room *conn_next_room(const struct conn *c, struct membership **m);
#endif
