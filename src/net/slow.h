/* slow.h - slow readers: whose outbox is over its limit, since when, and what becomes of it.
 *
 * An outbox may hold up to twice net_options.outbox_limit, as a burst may need, but no longer than outbox_grace. When that is over and it
 * still holds more than the limit, volatile messages are dropped, the oldest first; where that is not enough the connection ends with
 * 1013. There is no second grace before the outbox has been empty. So the worst that N readers can cost is N times twice the limit.
 *
 * Who keeps up costs nothing but a pointer: the record is made when an outbox goes over its limit, and one timer per net is for all of
 * them, in the order in which they went over.
 */
#ifndef MT_NET_SLOW_H
#define MT_NET_SLOW_H
#include "net/frame.h"
#include "net/net.h"

struct slow;

/* Of a net. */
struct slow_readers {
    struct list_node over;   /* struct slow, those over the limit, by the time since which they are */
    struct loop_timer timer; /* for the first of them; stopped while there is none */
};

void slow_init(struct net *n);
void slow_fini(struct net *n);
/* The options have changed: a shorter grace holds for those who are over at the moment too. */
void slow_options_changed(struct net *n);
size_t slow_count(const struct net *n); /* over the limit at this moment; a walk */

/* A push has brought the outbox over outbox_limit, from `before` bytes. */
void slow_note_over(struct session *s, size_t before);
/* Keep a ping whose pong has to wait: of several that wait the newest is answered (RFC 6455 5.5.3). */
void slow_keep_ping(struct session *s, const void *data, size_t len);
/* The outbox is empty: the grace is there again, a ping that waits is answered. */
void slow_caught_up(struct session *s);
void slow_free(struct session *s);
#endif
