/* proxied.c - reads the PROXY header of a socket, in the time that its handshake has. */
#include "net/proxied.h"

#include "base/mem.h"
#include "net/access.h"
#include "net/net_impl.h"
#include "net/proxy.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct proxied {
    struct net *net;
    struct list_node node;   /* in net->proxied */
    struct loop_fd *watch;   /* NULL before the socket had to be waited for */
    struct loop_timer timer; /* handshake_timeout from accept on; what is left of it is the session's */
    struct buf head;         /* of a header that came in pieces; empty as a rule */
    struct ip peer;          /* the proxy's address; zero for a unix socket */
    int fd;
    bool local;              /* came by a unix socket */
    bool secure;
};

/* ---- the end: the socket goes on to a session, or is closed ---- */

static void proxied_free(struct proxied *p)
{
    loop_fd_close(p->watch);
    loop_timer_stop(p->net->loop, &p->timer);
    list_remove(&p->node);
    buf_fini(&p->head);
    p->net->count--;
    mem_free(p);
}

static void proxied_close(struct proxied *p)
{
    struct net *n = p->net;

    close(p->fd);
    proxied_free(p);
    shared_give_socket(n->shared);
    n->stats.closed++;
    listen_resume_all(n);
}

/* Count what had to be refused, and tell it, at a bounded rate: the operator has set up something else than the proxies have. */
static void proxied_refuse(struct proxied *p, const char *why)
{
    struct net *n = p->net;
    char peer[IP_TEXT_SIZE] = "unix";
    uint64_t unsaid;

    n->stats.proxy_refused++;
    if (!p->local)
        ip_text(&p->peer, peer);
    if (net_tells(n, &n->unproxied, &unsaid))
        log_warn(n->log, &(struct log_about){.peer = slice_of(peer)},
                 "a proxy+ listener closed a connection: %s (and %llu more since the last line of this kind)", why,
                 (unsigned long long)unsaid);
    proxied_close(p);
}

static void proxied_done(struct proxied *p, const struct proxy_header *h)
{
    struct net *n = p->net;
    uint64_t now = loop_now(n->loop);
    struct client client = {
        .ip = h->client == PROXY_NAMED ? &h->ip : p->local ? NULL : &p->peer,
        .hidden = h->client == PROXY_UNKNOWN,
        .proxy_tls = h->tls,
        .handshake_ms = p->timer.due > now ? p->timer.due - now : 1,
    };
    struct ip peer = p->peer;
    int fd = p->fd;
    bool secure = p->secure;

    if (client.ip == &p->peer)
        client.ip = &peer;
    proxied_free(p); /* its watcher has to be gone before libwebsockets watches the socket */
    listen_begin(n, fd, secure, &client);
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
    ssize_t seen = recv(p->fd, bytes + have, sizeof bytes - have, MSG_PEEK);
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
    if (recv(p->fd, bytes + have, take, 0) != (ssize_t)take || (len == 0 && buf_add(&p->head, bytes + have, take)))
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

void proxied_open(struct net *n, int fd, const struct ip *peer, bool secure)
{
    struct proxied *p = mem_zalloc(1, sizeof *p);

    if (!p) {
        n->stats.refused++;
        n->stats.closed++;
        shared_give_socket(n->shared);
        close(fd);
        return;
    }
    p->net = n;
    p->fd = fd;
    p->local = !peer;
    p->secure = secure;
    if (peer)
        p->peer = *peer;
    n->count++;
    list_add_tail(&n->proxied, &p->node);
    loop_timer_init(&p->timer, proxied_timer);
    loop_timer_start(n->loop, &p->timer, n->options.handshake_timeout);
    p->watch = loop_fd_open(n->loop, fd, proxied_event, p);
    if (!access_is_proxy(n->access, peer))
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
