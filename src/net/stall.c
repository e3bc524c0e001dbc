/* stall.c - HTTP clients that do not take their answer: who takes too little over net_options.idle_timeout is cut off.
 *
 * What counts is what the client's system has acknowledged, not what left the outbox: the system's own buffer holds megabytes, so a slow
 * line shows nothing there for minutes, and a client that takes a byte now and then would look alive. It is looked at once per
 * interval, and only while the socket is full.
 */
#include "net/net_impl.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* Only good to be compared with what it was before: it may be negative, since what waits is counted with what TLS adds, and many
 * small records become several times as long. */
static int64_t taken(const struct session *s)
{
    int waiting = 0; /* in the system's buffer: not sent, or not acknowledged */

    if (ioctl(loop_fd_fileno(s->fd), SIOCOUTQ, &waiting) < 0)
        waiting = 0;
    return (int64_t)s->sent - waiting;
}

bool stall_applies(const struct session *s)
{
    return s->state == SESSION_ANSWERING || s->state == SESSION_HEAD ||
           (s->state == SESSION_LINGER && !s->accepted && !s->write_shut);
}

void stall_watch(struct session *s)
{
    if (!s->watched) {
        s->watched = true;
        s->taken = taken(s);
        session_set_timer(s, s->net->options.idle_timeout);
    } else if (!loop_timer_active(&s->timer)) {
        session_set_timer(s, s->net->options.idle_timeout); /* a next request had stopped it */
    }
}

void stall_timer(struct session *s)
{
    int64_t now = taken(s);
    uint64_t interval = s->net->options.idle_timeout;

    if (now - s->taken < (int64_t)(interval * NET_BYTES_PER_MS)) {
        session_timed_out(s);
        return;
    }
    s->taken = now;
    session_set_timer(s, interval);
}

void stall_end(struct session *s)
{
    const struct net_options *o = &s->net->options;

    if (!s->watched)
        return;
    s->watched = false;
    if (s->state == SESSION_ANSWERING)
        session_set_timer(s, 0); /* it has taken all: how long the owner needs for more is its own matter */
    else if (s->state == SESSION_HEAD)
        session_set_timer(s, s->exchange ? o->handshake_timeout : o->idle_timeout);
}
