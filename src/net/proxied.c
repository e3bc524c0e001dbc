/* proxied.c - reads the PROXY header of a socket, in the time that its handshake has. */
#include "net/proxied.h"

#include "base/mem.h"
#include "net/access.h"
#include "net/net_impl.h"
#include "net/proxy.h"

#include <errno.h>
#include <sys/socket.h>

struct proxied {
    struct net *net;
    struct list_node node;   /* in net->proxied */
    struct loop_fd *watch;
    struct loop_timer timer; /* runs from here on; what is left of it is the session's */
    struct buf head;         /* of a header that came in pieces; empty as a rule */
    struct arrival arrival;
};

/* ---- the end: the socket goes on to a session, or is closed ---- */

/* The socket is the caller's, with its place. */
static struct arrival take_out(struct proxied *p)
{
    struct arrival a = p->arrival;

    loop_fd_close(p->watch);
    loop_timer_stop(p->net->loop, &p->timer);
    list_remove(&p->node);
    buf_fini(&p->head);
    p->net->count--;
    p->net->refusing -= a.refusal != REFUSAL_NONE;
    mem_free(p);
    return a;
}

/* Who waits in line finds the place at its next tick: served from here, a line of those that are closed at once would be a recursion. */
static void give_up(struct net *n, struct arrival *a)
{
    arrive_drop(n, a);
    if (a->refusal)
        return;
    shared_give_socket(n->shared);
    listen_resume_all(n);
}

static void proxied_close(struct proxied *p)
{
    struct net *n = p->net;
    struct arrival a = take_out(p);

    give_up(n, &a);
}

static void proxied_refuse(struct proxied *p, const char *why)
{
    char peer[IP_TEXT_SIZE] = "unix";

    if (!p->arrival.local)
        ip_text(&p->arrival.ip, peer);
    p->net->stats.proxy_refused++;
    net_tell(p->net, &p->net->unproxied, slice_of(peer), "a proxy+ listener closed a connection: %s", why);
    proxied_close(p);
}

static void proxied_done(struct proxied *p, const struct proxy_header *h)
{
    struct net *n = p->net;
    uint64_t now = loop_now(n->loop), due = p->timer.due;
    struct arrival a = take_out(p); /* its watcher has to be gone before libwebsockets watches the socket */

    arrive_leave(n, &a);
    if (h->client == PROXY_NAMED) {
        a.ip = h->ip;
        a.local = false;
    }
    a.proxied = false;
    a.hidden = h->client == PROXY_UNKNOWN;
    a.proxy_tls = h->tls;
    a.handshake_ms = due > now ? due - now : 1;
    if (!session_may_open(n, a.local ? NULL : &a.ip)) {
        n->stats.refused++;
        give_up(n, &a);
    } else if (a.refusal) {
        arrive_begin(n, &a);
    } else {
        arrive(n, &a, true);
    }
}

/* ---- reading ---- */

/* The bytes are looked at first and then taken, as many as belong to the header. Nobody else judges them, so there are no two
 * opinions of where it ends. */
static void proxied_read(struct proxied *p)
{
    unsigned char bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    size_t have = p->head.len;

    if (have)
        memcpy(bytes, p->head.data, have);
    ssize_t seen = recv(p->arrival.fd, bytes + have, sizeof bytes - have, MSG_PEEK);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (seen <= 0 && !have) {
        proxied_close(p); /* a load balancer that looks whether the port is open */
        return;
    }
    int len = seen > 0 ? proxy_parse(bytes, have + (size_t)seen, &header) : -1;
    if (len < 0) {
        proxied_refuse(p, seen > 0 ? "it begins with no PROXY header" : "it ended within its PROXY header");
        return;
    }
    size_t take = len > 0 ? (size_t)len - have : (size_t)seen;
    if (recv(p->arrival.fd, bytes + have, take, 0) != (ssize_t)take || (len == 0 && buf_add(&p->head, bytes + have, take)))
        proxied_refuse(p, "its PROXY header could not be read");
    else if (len > 0)
        proxied_done(p, &header);
}

static void proxied_event(struct loop_fd *w, int events, void *arg)
{
    proxied_read(arg);
}

static void proxied_timer(struct loop_timer *t)
{
    proxied_refuse(list_entry(t, struct proxied, timer), "its PROXY header took longer than handshake.timeout");
}

/* ---- the start ---- */

void proxied_open(struct net *n, struct arrival *a)
{
    struct proxied *p = mem_zalloc(1, sizeof *p);
    uint64_t allowed = n->options.handshake_timeout;

    if (!p) {
        n->stats.refused++;
        give_up(n, a);
        return;
    }
    p->net = n;
    p->arrival = *a;
    n->count++;
    n->refusing += a->refusal != REFUSAL_NONE;
    list_add_tail(&n->proxied, &p->node);
    loop_timer_init(&p->timer, proxied_timer);
    loop_timer_start(n->loop, &p->timer, a->refusal && allowed > NET_REFUSING_MS ? NET_REFUSING_MS : allowed);
    p->watch = loop_fd_open(n->loop, a->fd, proxied_event, p);
    if (!access_is_proxy(n->access, a->local ? NULL : &a->ip))
        proxied_refuse(p, "it comes from no address in `proxies`");
    else if (!p->watch || loop_fd_want(p->watch, LOOP_READ))
        proxied_refuse(p, "the loop could not watch it");
    else
        proxied_read(p); /* as a rule it is there: what connects speaks at once */
}

void proxied_close_all(struct net *n)
{
    list_each_safe(node, tmp, &n->proxied)
    {
        proxied_close(list_entry(node, struct proxied, node));
    }
}
