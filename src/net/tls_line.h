/* tls_line.h - TLS handshakes wait in line: a storm of reconnects must not starve the open connections of the same worker.
 *
 * One handshake costs as much as hundreds of messages (half a millisecond and more of a core, in one piece). So a socket that is ready for the
 * next step of its handshake is only put in line, and at the end of a turn the line is served until a small budget of time is spent; the
 * rest waits for the next turn, and open connections have theirs in between.
 *
 * Who comes first:
 * - Handshakes that are under way, in their order: what was spent on them is lost when their client gives up, and their last step is cheap.
 * - Then new ones, the oldest first, as long as nobody has waited half of handshake.timeout. When somebody has, more come than can be
 *   served, and the oldest first would serve each right before it gives up: all would wait, and few get in. Then the newest goes first.
 *   Whoever is left over is served when the storm has passed, or ends with handshake.timeout, which runs from the accept.
 * - Last those who are only to be told of a limit (session->refusal), so that it protects the handshakes of others too.
 * - Who hangs up while it waits is gone at once, and nothing was spent on it.
 *
 * One per net, on its thread.
 */
#ifndef MT_NET_TLS_LINE_H
#define MT_NET_TLS_LINE_H
#include "base/list.h"
#include <stddef.h>
#include <stdint.h>

struct net;
struct session;

struct tls_line {
    struct list_node begun; /* sessions by session->woken: libwebsockets has their sockets */
    struct list_node fresh; /* nothing was done for them yet */
    struct list_node refused; /* the same, and they have no place */
    bool stayed;            /* not everybody was served in the last turn: who comes now is not polled for more */
    uint64_t left_us;       /* clock_us at the end of that turn */
};

void tls_line_init(struct tls_line *l);
/* The socket of a session in SESSION_TLS is ready; with LOOP_HANGUP in `events` its client may have left. */
void tls_line_join(struct session *s, int events);
/* Who is served next, by the rules above, taken out of the line; NULL when it is empty. `now`: loop_now; `patience`: milliseconds of
 * waiting after which the newest goes first. */
struct session *tls_line_next(struct tls_line *l, uint64_t now, uint64_t patience);
/* The flush hook: serves the line until the budget is spent. */
void tls_line_turn_end(void *net);
size_t tls_line_count(const struct tls_line *l); /* a walk: for status */
#endif
