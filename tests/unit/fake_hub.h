/* fake_hub.h - what the hub stands on, as its tests need it: sessions that write down what they were sent, a loop whose time
 * moves when told to, hooks that write down who came and went, and inboxes that are opened when told to. One world is one worker;
 * several are a crew, each to be used by one thread at a time.
 */
#ifndef MT_TESTS_FAKE_HUB_H
#define MT_TESTS_FAKE_HUB_H
#include "hub/hub.h"

enum { FAKE_SENT_MAX = 4096 };

struct session {
    bool closed;              /* sends fail with MT_ECLOSED */
    unsigned close_code;      /* of session_close, 0 before */
    char sent[FAKE_SENT_MAX]; /* payloads, each with a blank behind; what does not fit is only counted */
    size_t len;
    unsigned messages;
    struct outbox_opts opts;                                        /* of the last one */
    void (*heard)(struct session *s, const char *data, size_t len); /* called for each one, may be NULL */
    void *heard_arg;
};

struct fake_world {
    struct loop *loop;
    struct hub *hub;
    struct inbox *inbox; /* NULL for a world that is alone */
    /* "+room/who " for on_join, "-room/who " for on_leave, "!name/value " for on_signal; who is the user, or #connection of this
     * world, or #?, with =info */
    char log[FAKE_SENT_MAX];
    size_t log_len;
    unsigned joins, leaves;
    unsigned asked;         /* calls of on_asked */
    unsigned dropped_calls; /* of on_dropped */
    uint64_t dropped;       /* what they told */
    uint64_t grace;         /* what the grace hook answers */
    bool current;           /* what the current hook answers */
    struct session *sessions[64];
    size_t session_count;
    struct conn *conns[64]; /* by name, see fake_conn */
    conn_id ids[64];
    void (*hook)(struct fake_world *w, bool join, struct slice room, const struct person *p); /* runs in the hooks, may be NULL */
    void *hook_arg;
};

/* cmocka setup and teardown: *state is a struct fake_world with an empty hub. Teardown closes what is open. */
int fake_setup(void **state);
int fake_teardown(void **state);
/* The same for a crew: *state is an array of FAKE_CREW worlds, of workers 1 to FAKE_CREW. */
enum { FAKE_CREW = 3 };
int fake_crew_setup(void **state);
int fake_crew_teardown(void **state);
/* The worker that runs the hooks of a room. */
struct fake_world *fake_home(struct fake_world *crew, const char *room);
/* Open the letters that wait. True when there were some. */
bool fake_open_letters(struct fake_world *w);
void fake_set_inbox_limit(struct fake_world *w, size_t letters); /* more are refused where they may be */
/* Letters of all worlds, until none is left. */
void fake_settle(struct fake_world *crew);
/* Open a connection of `user` ("" for nobody) with a fake session, and number it from 0: w->conns[n]. */
struct conn *fake_open(struct fake_world *w, const char *user);
void fake_close(struct fake_world *w, int n); /* conn_close, as the layer above does it */
int fake_join(struct fake_world *w, int n, const char *room);
/* The people of a room: "user=info user ... ", # for nobody in particular. */
void fake_people(struct fake_world *w, const char *room, char *text, size_t size);
/* Compare and forget what happened. */
void fake_expect_log(struct fake_world *w, const char *expected);
void fake_expect_sent(struct fake_world *w, int n, const char *expected);
struct packet *fake_packet(const char *text);
/* Send `text` to a room, without key. */
void fake_room_send(struct fake_world *w, const char *room, const char *text, const struct hub_except *except);
/* Time goes by: timers run in their order. */
void fake_advance(struct fake_world *w, uint64_t ms);
#endif
