/* hub_impl.h - how connections, people and rooms hang together. For hub/ only.
 *
 * A `membership` is a connection's place in a room; a `member` is a person there and has one membership per connection, or none
 * while in grace. A member that has left lives on until its hook has run, and with it its room's struct, so that hooks
 * see names that are still there.
 *
 * Nothing that a client can make large is walked to find one thing in it. `steps` counts what lists have to be walked.
 */
#ifndef MT_HUB_HUB_IMPL_H
#define MT_HUB_HUB_IMPL_H
#include "hub/fan.h"
#include "hub/hub.h"
#include "hub/kept.h"

enum {
    CONN_ROOMS_LISTED = 8, /* a connection in more rooms gets an index of them */
    HOOKS_PER_RUN = 1000   /* more have to wait for a later turn */
};

struct hub {
    struct loop *loop;               /* borrowed */
    const struct hub_events *events; /* borrowed */
    void *arg;                       /* for events */
    struct slots conns;              /* every struct conn, by id */
    struct fan everyone;             /* their sessions */
    struct map users;                /* every struct user, by id */
    struct map rooms;                /* rooms with people, by name */
    struct kept_store kept;          /* current messages of all rooms */
    struct list_node hooks;          /* members that owe on_join or on_leave (member->hook), in order */
    struct loop_timer more_hooks;    /* runs those past HOOKS_PER_RUN */
    bool in_hooks;                   /* hooks are running further up the stack */
    bool closing;                    /* hub_destroy: no hooks */
    size_t people;                   /* users with a socket, and sockets without a user */
    uint64_t steps;                  /* list nodes looked at in searches */
};

struct user {
    struct hub *hub;
    uint32_t refs;          /* connections and members */
    uint32_t count;         /* connections with a socket */
    struct list_node conns; /* these, by conn->in_user */
    size_t len;             /* of id */
    char id[];              /* key in hub->users; not NUL-terminated */
};

struct room {
    struct hub *hub;
    uint32_t refs;            /* structs member, also those that have left and owe a hook */
    uint32_t people;          /* in members */
    struct list_node members; /* by member->in_room, in the order they came */
    struct map users;         /* members that are logged in, by the pointer to their user */
    struct fan fan;           /* sessions of the members; seats are those of memberships */
    size_t name_len;
    char name[]; /* key in hub->rooms while people > 0; not NUL-terminated */
};

struct member {
    struct room *room;        /* one of its refs */
    struct user *user;        /* one of its refs; NULL when not logged in */
    conn_id conn;             /* first connection; in grace the last one */
    struct blob *info;        /* a reference, NULL when none */
    struct list_node in_room; /* in room->members */
    struct list_node seats;   /* memberships, by in_member; empty in grace */
    struct list_node hook;    /* in hub->hooks */
    struct loop_timer grace;  /* runs while seats is empty */
    uint32_t refs;            /* one for the room, one for a hook that is owed or running */
    bool present;             /* in the room: an owed hook is on_join, else on_leave */
};

struct membership {
    struct conn *conn;
    struct room *room;
    struct member *member;
    struct membership *prev, *next; /* of the connection; the first one's prev is the last, the last one's next is NULL */
    struct list_node in_member;     /* in member->seats */
    uint32_t seat;                  /* in room->fan */
};

/* ---- hub.c ---- */
/* Tell what members owe, unless a hook is already running: then the run up the stack does it. Call it last: anything may be gone
 * then. */
void hub_run_hooks(struct hub *h);
/* To all sessions of a room, or of everybody (NULL). */
void hub_fan_out(struct hub *h, struct room *r, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);

/* ---- user.c ---- */
/* The user of that id, made when new, with one more reference; NULL when memory runs out. */
struct user *user_get(struct hub *h, struct slice id);
void user_unref(struct user *u);            /* NULL is allowed */
struct slice user_id(const struct user *u); /* empty for NULL */

/* ---- room.c ---- */
struct room *room_create(struct hub *h, struct slice name); /* in the map, with nobody in it; NULL when memory runs out */
/* Take a room without people out of the map; freed with its last member. */
void room_retire(struct room *r);
void room_unref(struct room *r);

/* ---- member.c ---- */
struct member *member_find(const struct room *r, const struct user *u); /* NULL when absent, also for u NULL */
void member_unref(struct member *m);
/* A hub_destroy without hooks: the person in grace is gone. */
void member_discard(struct member *m);
struct membership *membership_find(const struct conn *c, const struct room *r); /* NULL when c is no member */
/* `c` is not in `r` yet. Joins its person, who comes to the room or back from grace. 0 or MT_ENOMEM. */
int membership_add(struct conn *c, struct room *r, struct blob *info);
/* Without another connection the person leaves: at once, or after the room's grace. */
void membership_remove(struct membership *ms, bool with_grace);
void member_set_info(struct member *m, struct blob *info); /* takes its own reference */
/* Everybody leaves at once. */
void member_remove_all(struct room *r);
/* Make `u` (a reference the caller keeps, or NULL) the person behind all memberships of `c`. 0, or MT_ENOMEM and nothing has
 * changed. */
int member_change_user(struct conn *c, struct user *u);
#endif
