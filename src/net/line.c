/* line.c - the waiting line: accepted sockets for which net_options.connections has no place yet, in the order of their coming.
 *
 * They are not read and cost a descriptor and some hundred bytes each. A place that a session of this worker leaves goes to the
 * first in line at once, unless other workers have a line too: then all of them look for free places every few milliseconds, so
 * that none starves where its own sessions stay. That is also how a place of another worker is found.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

enum { LINE_TICK_MS = 25, LINE_PER_TURN = 64 };

struct waiter {
    struct net *net;
    struct list_node node; /* in line->waiters */
    struct loop_fd *watch; /* tells when the client leaves */
    struct loop_timer due; /* it has waited long enough */
    struct arrival arrival;
};

static void line_tick(struct loop_timer *t)
{
    struct net *n = list_entry(t, struct net, line.tick);

    line_serve(n);
    listen_resume_all(n);
}

void line_init(struct net *n)
{
    list_init(&n->line.waiters);
    loop_timer_init(&n->line.tick, line_tick);
}

/* Out of the line; its socket is the caller's. */
static struct arrival take_out(struct waiter *w)
{
    struct net *n = w->net;
    struct arrival a = w->arrival;

    loop_fd_close(w->watch);
    loop_timer_stop(n->loop, &w->due);
    list_remove(&w->node);
    mem_free(w);
    shared_leave_line(n->shared);
    if (--n->line.count == 0)
        loop_timer_stop(n->loop, &n->line.tick);
    return a;
}

static void waited_long_enough(struct loop_timer *t)
{
    struct waiter *w = list_entry(t, struct waiter, due);
    struct net *n = w->net;
    struct arrival a = take_out(w);

    arrive_refuse(n, &a, REFUSAL_FULL);
    listen_resume_all(n);
}

/* Only LOOP_HANGUP is wanted. A client that has shut down its write side may still read, but nearly always it has closed, and a
 * socket that was not read does not show the difference. */
static void client_left(struct loop_fd *fd, int events, void *arg)
{
    struct waiter *w = arg;
    struct net *n = w->net;
    struct arrival a = take_out(w);

    arrive_drop(n, &a);
    listen_resume_all(n);
}

bool line_has_room(const struct net *n)
{
    return n->line.count < n->options.waiting;
}

int line_add(struct net *n, const struct arrival *a)
{
    struct waiter *w = mem_zalloc(1, sizeof *w);

    if (!w || !(w->watch = loop_fd_open(n->loop, a->fd, client_left, w))) {
        mem_free(w);
        return MT_ENOMEM;
    }
    if (loop_fd_want(w->watch, LOOP_HANGUP)) {
        loop_fd_close(w->watch);
        mem_free(w);
        return MT_EIO;
    }
    w->net = n;
    w->arrival = *a;
    loop_timer_init(&w->due, waited_long_enough);
    loop_timer_start(n->loop, &w->due, n->options.wait);
    list_add_tail(&n->line.waiters, &w->node);
    shared_enter_line(n->shared);
    if (n->line.count++ == 0) {
        loop_timer_start(n->loop, &n->line.tick, LINE_TICK_MS);
        net_tell(n, &n->lines, (struct slice){NULL, 0}, "limits.connections is reached: clients wait in line");
    }
    return 0;
}

static struct waiter *first(struct net *n)
{
    return list_entry(n->line.waiters.next, struct waiter, node);
}

void line_serve(struct net *n)
{
    int served = 0;

    while (n->line.count && served < LINE_PER_TURN && shared_take_socket(n->shared, n->options.connections)) {
        struct arrival a = take_out(first(n));
        served++;
        if (session_may_open(n, a.local ? NULL : &a.ip)) { /* a reload may have shut its address out since it came */
            arrive_begin(n, &a);
            continue;
        }
        n->stats.refused++;
        shared_give_socket(n->shared);
        arrive_drop(n, &a);
    }
    if (n->line.count)
        loop_timer_start(n->loop, &n->line.tick, served == LINE_PER_TURN ? 1 : LINE_TICK_MS);
}

void line_place_freed(struct net *n)
{
    if (n->line.count && n->line.count == shared_waiting(n->shared))
        line_serve(n);
}

void line_clear(struct net *n)
{
    while (n->line.count) {
        struct arrival a = take_out(first(n));
        arrive_drop(n, &a);
    }
}
