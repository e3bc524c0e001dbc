/* hub_impl.h - how connections, people and rooms hang together. For hub/ only.
 *
 * What belongs to one worker and is touched on its thread only: conns, their memberships, and a `room` and a `user` for each room
 * and user that has connections here; they keep what is sent to. What all workers share lies in the crew: a `place` is a room, an
 * `identity` a user, over all workers; a `member` is a person in a place and has one membership per connection, or none while in
 * grace. A member that has left lives on until its hooks have run, and with it its place, so that hooks see names that are still
 * there.
 *
 * Locks: each place, identity and live connection id has a stripe, chosen by its hash, whose lock guards it. With one worker
 * nothing is locked. Nobody holds two of them, but member_change_user, which takes those of several rooms in ascending order.
 * Under a lock nothing is called but this folder, base, timers of the own loop, and inbox_post, so that letters about a room come
 * in the order of its changes.
 *
 * Nothing that a client can make large is walked to find one thing in it. `steps` counts what lists have to be walked.
 */
#ifndef MT_HUB_HUB_IMPL_H
#define MT_HUB_HUB_IMPL_H
#include "hub/buckets.h"
#include "hub/fan.h"
#include "hub/hub.h"
#include "hub/kept.h"
#include "hub/limits.h"
#include "loop/inbox.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    CONN_ROOMS_LISTED = 8, /* a connection in more rooms gets an index of them */
    HOOKS_PER_RUN = 1000,  /* more have to wait for a later turn */
    CREW_STRIPES = 64,     /* at most, as there are bits in a mask of them */
    DROPPED_EVERY = 10000, /* milliseconds between two calls of on_dropped */
    PLACE_OVER = 1         /* the room was emptied meanwhile: look for it again */
};

struct stripe {
    pthread_mutex_t lock;
    struct map map; /* rooms: struct place by name; users: struct identity by id; conns: struct conn by the bytes of its id */
};

struct hub_crew {
    unsigned workers;
    unsigned stripes;                         /* of each kind in use: one while there is one worker */
    struct hub *hubs[HUB_WORKERS_MAX];        /* by worker - 1, NULL while there is none; constant while threads run */
    struct inbox *inboxes[HUB_WORKERS_MAX];   /* the same */
    atomic_size_t people;                     /* identities with a socket, and sockets without a user */
    atomic_size_t rooms;                      /* places with people */
    atomic_size_t kept_bytes;                 /* of all stores */
    atomic_uint_fast64_t kept_clock;          /* the stamp given last */
    atomic_uint_fast64_t places;              /* the serial given last */
    struct stripe rooms_by_name[CREW_STRIPES];
    struct stripe users_by_id[CREW_STRIPES];
    struct stripe conns_by_id[CREW_STRIPES];  /* those with a socket, for other workers to ask; unused with one worker */
    struct kept_store kept[CREW_STRIPES];     /* current messages, under the lock of rooms_by_name at the same place */
    struct limits *limits;                    /* owned: tide.limit */
    struct buckets *gone;                     /* owned: identity->messages of those who are gone: coming back is no way around it */
};

struct hub {
    struct loop *loop;               /* borrowed */
    const struct hub_events *events; /* borrowed */
    void *arg;                       /* for events */
    struct hub_crew *crew;           /* borrowed, or its own */
    bool alone;                      /* the crew is its own */
    struct user_limits user_limits;
    unsigned worker;                 /* from 1 */
    uint64_t bit;                    /* of the worker, in masks of workers */
    struct slots conns;              /* every struct conn, by the id without the worker */
    struct fan everyone;             /* their sessions */
    struct map users;                /* every struct user, by id */
    struct map rooms;                /* every struct room, by name, but for those in aside */
    struct map questions;            /* every struct question of an asker here, by its id */
    struct map rounds;               /* every struct round (ask.c): what connections here were asked, by the question's id */
    struct map asked;                /* every struct asked in them, by connection and id */
    uint64_t questions_asked;        /* so far */
    struct list_node aside;          /* rooms that others have emptied and whose letter is not here yet, by room->aside */
    struct letter *hooks;            /* members' join and leave letters whose hooks are to run here, oldest first */
    struct letter **hooks_end;       /* where the next one is linked */
    struct list_node leavers;        /* people in grace that this worker watches, by leaver->node */
    struct loop_timer more_hooks;    /* runs those past HOOKS_PER_RUN */
    bool in_hooks;                   /* hooks are running further up the stack */
    uint64_t steps;                  /* list nodes looked at in searches */
    uint64_t dropped;                /* letters that were refused */
    uint64_t dropped_told;           /* those of them that on_dropped knows of */
    uint64_t dropped_at;             /* loop_now() of the last on_dropped, 0: never */
};

struct identity {
    struct hub_crew *crew;
    struct stripe *stripe;
    atomic_uint refs;         /* users and members. Who has one may take more without the lock; they are given back under it */
    atomic_uint conns;        /* connections with a socket; changed under the lock */
    _Atomic uint64_t workers; /* where these are; changed under the lock */
    atomic_uint_least64_t messages; /* what they may send: a bucket_take_shared, 0 while nothing limits them */
    size_t len;               /* of id */
    char id[];                /* key in the stripe; not NUL-terminated */
};

struct user {
    struct hub *hub;
    struct identity *identity; /* one of its refs; has the key in hub->users */
    uint32_t refs;             /* connections, also those without a socket */
    uint32_t count;            /* connections with a socket */
    struct list_node conns;    /* these, by conn->in_user */
};

struct place {
    struct hub_crew *crew;
    struct stripe *stripe;
    unsigned home;            /* the worker that runs its hooks */
    uint64_t serial;          /* no other place of the crew has it, also none of the same name; from 1 */
    uint32_t refs;            /* rooms, members, joins on their way; under the lock like all that follows but for `workers` */
    uint32_t people;          /* in members */
    uint32_t coming;          /* joins that other workers have asked for and that are on their way */
    uint64_t bound, expected; /* workers that have a room for it; workers that joins are on their way to */
    _Atomic uint64_t workers; /* both, for those who send and have no lock; 0 once it is over */
    bool over;                /* emptied: no longer in the stripe, and the memberships of it are void */
    struct list_node members; /* by member->in_place, in the order they came */
    struct map users;         /* members that are logged in, by user id */
    size_t name_len;
    char name[]; /* key in the stripe; not NUL-terminated */
};

struct room {
    struct hub *hub;
    struct place *place; /* one of its refs; has the key in hub->rooms */
    struct fan fan;      /* sessions of the connections here; seats are those of memberships. Not empty, but for a moment */
    uint64_t last_joined; /* the largest `joined` of memberships there were */
    struct list_node aside; /* in hub->aside: over, and no longer found by its name; else in no list */
};

/* A person in a place. Under the place's lock, but for place and who, which never change. */
struct member {
    struct place *place;       /* one of its refs */
    struct identity *who;      /* one of its refs; NULL when not logged in */
    conn_id conn;              /* first connection; in grace the last one */
    struct blob *info;         /* a reference, NULL when none */
    struct list_node in_place; /* in place->members */
    struct list_node seats;    /* memberships, by in_member; empty in grace */
    struct leaver *leaver;     /* in grace: what watches it; owned by its hub */
    struct letter join, leave; /* to the home of the place: the hook may be due */
    uint32_t refs;             /* being present or the leave letter, the join letter, and leavers */
    bool present;              /* in the place */
    bool announced;            /* on_join has run, or runs: on_leave will be owed */
};

/* A person in grace, as the worker watches it that had the last connection. */
struct leaver {
    struct loop_timer timer;
    struct hub *hub;
    struct member *member; /* one of its refs; its leaver is another one, or NULL, when the person has come back elsewhere */
    struct list_node node; /* in hub->leavers */
};

struct membership {
    struct conn *conn;
    struct room *room;
    struct member *member;          /* under the place's lock; dangles once the place is over */
    struct membership *prev, *next; /* of the connection; the first one's prev is the last, the last one's next is NULL */
    struct list_node in_member;     /* in member->seats; under the place's lock */
    uint64_t joined;                /* the crew's kept_clock then: older current messages were sent to it */
    uint32_t seat;                  /* in room->fan */
};

/* ---- crew.c ---- */
struct stripe *crew_stripe(struct hub_crew *crew, struct stripe *stripes, struct slice key);
static inline void crew_lock(struct hub_crew *crew, struct stripe *s)
{
    if (crew->workers > 1)
        pthread_mutex_lock(&s->lock);
}
static inline void crew_unlock(struct hub_crew *crew, struct stripe *s)
{
    if (crew->workers > 1)
        pthread_mutex_unlock(&s->lock);
}
int crew_add_conn(struct hub_crew *crew, struct conn *c); /* 0 or MT_ENOMEM; its socket is there */
void crew_remove_conn(struct hub_crew *crew, const struct conn *c);
bool crew_has_conn(struct hub_crew *crew, conn_id id);
/* The store of current messages of a room, to be used under the lock of the room's stripe. */
struct kept_store *crew_kept(struct hub_crew *crew, const struct stripe *of_room);
/* A store had `before` bytes: count what it has now. Under the same lock, so that the sum is never less than nothing. */
void crew_kept_count(struct hub_crew *crew, const struct kept_store *k, size_t before);
/* Let go of the oldest messages past the limit. No lock is held. */
void crew_kept_trim(struct hub_crew *crew);

/* ---- hub.c ---- */
/* A hook may be due: its letter goes to the home of the place, or to this hub's queue. Under the place's lock. */
void hub_owe_hook(struct hub *h, unsigned home, struct letter *l);
void hub_queue_hook(struct hub *h, struct letter *l);
/* Tell what is owed, unless a hook is already running: then the run up the stack does it. Call it last: anything may be gone
 * then. */
void hub_run_hooks(struct hub *h);
/* To all sessions of a room, or of everybody (NULL). */
void hub_fan_out(struct hub *h, struct room *r, struct packet *p, const struct outbox_opts *o, const struct hub_except *except);
void hub_note_dropped(struct hub *h, unsigned worker);

/* ---- whom.c ---- */
uint64_t whom_workers(struct hub *h, const struct whom *w); /* that have open connections of them */

/* ---- user.c ---- */
/* The user of that id, made when new, with one more reference; NULL when memory runs out. */
struct user *user_get(struct hub *h, struct slice id);
void user_unref(struct user *u); /* NULL is allowed */
struct user *user_find(const struct hub *h, struct slice id); /* NULL when nobody of that id has a socket here */
uint64_t user_workers(struct hub *h, struct slice id);        /* where somebody of that id has a socket */
/* One connection with a socket more is this user's: 0, or MT_ELIMITED. Then it goes into u->conns. */
int user_admit(struct user *u);
void user_dismiss(struct user *u); /* one less; it is not in u->conns any more */
struct slice identity_id(const struct identity *i); /* empty for NULL */
void identity_unref(struct identity *i);            /* NULL is allowed */

/* ---- place.c ---- */
struct place *place_get(struct hub_crew *crew, struct slice name); /* with one more reference; NULL when memory runs out */
/* Takes away one reference, and from its workers those in `bound`. */
void place_unref(struct place *p, uint64_t bound);
void place_bind(struct place *p, uint64_t bit); /* a worker has a room for it now */
static inline struct slice place_name(const struct place *p)
{
    return (struct slice){p->name, p->name_len};
}
/* Under its lock: the workers that senders are to think of. */
void place_publish(struct place *p);
/* A join is on its way to these workers, who are sent everything from now on. Its reference is what place_arrived gives back,
 * once per worker. NULL when memory runs out. */
struct place *place_expect(struct hub_crew *crew, struct slice name, uint64_t workers);
void place_arrived(struct place *p);
/* Whether it was emptied while a join was on its way. */
static inline bool place_is_over(const struct place *p)
{
    return !atomic_load_explicit(&p->workers, memory_order_acquire);
}
/* Where members of that room have connections, and its *serial (NULL: not wanted; 0: there is no such room). */
uint64_t place_workers(struct hub_crew *crew, struct slice name, uint64_t *serial);

/* ---- room.c ---- */
/* The worker's room of that name, NULL when there is none. What a room_empty elsewhere has left of one is set aside: who was in
 * it still has to hear what was sent before. */
struct room *room_find(struct hub *h, struct slice name);
void room_release(struct room *r); /* nobody is in it any more */
/* Whether another worker has emptied it. */
static inline bool room_is_over(const struct room *r)
{
    return !(atomic_load_explicit(&r->place->workers, memory_order_acquire) & r->hub->bit);
}

/* ---- member.c ---- */
struct member *member_find(const struct place *p, struct slice user); /* under the lock; NULL when absent, also for an empty id */
/* Takes the lock. Frees it with the last reference. */
void member_unref(struct member *m);
/* Under the lock: out of the place for good, whatever seats it has. */
void member_leave(struct hub *h, struct member *m);
/* The hook's letter `l`, whose reference it takes: *m and true when there is something to tell, which is then in *p (with *info
 * to be given back); m is to be unref'd in any case. */
bool member_announce(struct letter *l, struct member **m, struct person *p, struct blob **info, bool *joined);
/* hub_destroy: the person in grace is gone, without a hook. */
void member_discard(struct leaver *l);
struct membership *membership_find(const struct conn *c, const struct room *r); /* NULL when c is no member */
/* `c` is not in `r` yet. Joins its person, who comes to the room or back from grace; *kept is what it is to be sent. 0, MT_ENOMEM
 * or PLACE_OVER. */
int membership_add(struct conn *c, struct room *r, struct blob *info, struct kept_list *kept);
int membership_renew(struct membership *ms, struct blob *info); /* takes its own reference; 0 or PLACE_OVER */
/* Without another connection the person leaves: at once, or after the room's grace. False when it was none any more. */
bool membership_remove(struct membership *ms, bool with_grace);
/* The connection is in no such room any more: gives up the seat in the fan. The room may be left without any. */
void membership_free(struct membership *ms);
/* Make `u` (a reference the caller keeps, or NULL) the person behind all memberships of `c`. 0, or MT_ENOMEM and nothing has
 * changed. */
int member_change_user(struct conn *c, struct user *u);
#endif
