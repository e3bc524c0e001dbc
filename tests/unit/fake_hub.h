/* fake_hub.h - what the hub stands on, as its tests need it: sessions that write down what they were sent, a loop whose time
 * moves when told to, and hooks that write down who came and went.
 */
#ifndef MT_TESTS_FAKE_HUB_H
#define MT_TESTS_FAKE_HUB_H
#include "hub/hub.h"

enum { FAKE_SENT_MAX = 4096 };

struct session {
    bool closed;              /* sends fail with MT_ECLOSED */
    char sent[FAKE_SENT_MAX]; /* payloads, each with a blank behind; what does not fit is only counted */
    size_t len;
    unsigned messages;
    struct outbox_opts opts; /* of the last one */
};

struct fake_world {
    struct loop *loop;
    struct hub *hub;
    char log[FAKE_SENT_MAX]; /* "+room/who " for on_join, "-room/who " for on_leave; who is user or #connection, and =info */
    size_t log_len;
    unsigned joins, leaves;
    uint64_t grace; /* what the grace hook answers */
    bool current;   /* what the current hook answers */
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
/* Open a connection of `user` ("" for nobody) with a fake session, and number it from 0: w->conns[n]. */
struct conn *fake_open(struct fake_world *w, const char *user);
void fake_close(struct fake_world *w, int n); /* conn_close, as the layer above does it */
int fake_join(struct fake_world *w, int n, const char *room);
/* Compare and forget what happened. */
void fake_expect_log(struct fake_world *w, const char *expected);
void fake_expect_sent(struct fake_world *w, int n, const char *expected);
struct packet *fake_packet(const char *text);
/* Send `text` to a room, without key. */
void fake_room_send(struct fake_world *w, const char *room, const char *text, const struct hub_except *except);
/* Time goes by: timers run in their order. */
void fake_advance(struct fake_world *w, uint64_t ms);
#endif
