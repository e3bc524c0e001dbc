/* listen.c - our own listeners: addresses as operators write them, paced accepting, and a pause instead of a spin when
 * descriptors run out. Accepted sockets go to libwebsockets (lws_host.c) and become sessions.
 *
 * Where several workers listen, worker 1 reads the addresses, finds what is free and leaves in net_shared what it has bound; the
 * others open sockets of their own on the same ports, and share its unix sockets.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_ACCEPTS_PER_TURN = 64, LISTEN_RETRY_MS = 100 };

struct listener {
    struct net *net;
    struct list_node node;      /* in net->listeners */
    struct loop_fd *watch;
    struct loop_timer retry;    /* after a pause */
    struct address bound;       /* with the port that was chosen */
    int fd;
    bool secure;
    bool paused;                /* descriptors or net_options.connections ran out */
    struct seldom pauses;       /* lines about them: at the limit every close makes one */
    char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* to unlink; empty for TCP, and where another worker does it */
    char address[160];          /* for net_address */
};

static int listen_fail(char **error, int rc, struct slice address, const char *why)
{
    struct buf text = {0};

    buf_addf(&text, "cannot listen on %.*s: %s", (int)address.len, address.data, why);
    buf_add_byte(&text, 0);
    *error = (char *)text.data;
    return rc;
}

/* ---- accepting ---- */

static void listen_tell_pause(struct listener *l, const char *why)
{
    uint64_t unsaid;

    if (net_tells(l->net, &l->pauses, &unsaid))
        log_warn(l->net->log, NULL, "accepting pauses: %s", why);
}

static void listen_pause(struct listener *l, const char *why)
{
    if (!l->paused) {
        l->paused = true;
        l->net->stats.accept_pauses++;
        listen_tell_pause(l, why);
    }
    loop_fd_want(l->watch, 0);
    loop_timer_start(l->net->loop, &l->retry, LISTEN_RETRY_MS);
}

static void listen_resume(struct listener *l)
{
    l->paused = false;
    loop_timer_stop(l->net->loop, &l->retry);
    loop_fd_want(l->watch, LOOP_READ);
}

static void listen_retry(struct loop_timer *t)
{
    listen_resume(list_entry(t, struct listener, retry)); /* pauses again at once while nothing is free */
}

void listen_resume_all(struct net *n)
{
    list_each(node, &n->listeners)
    {
        struct listener *l = list_entry(node, struct listener, node);
        if (l->paused && net_shared_count(n->shared) < n->options.connections)
            listen_resume(l);
    }
}

static void accepted(struct listener *l, int fd, const struct address *peer)
{
    struct ip ip;
    const struct ip *from = ip_from_sockaddr(&peer->at.any, &ip) ? &ip : NULL;
    struct session *s = session_may_open(l->net, from) ? session_create(l->net, fd, l->secure) : NULL;
    if (!s) {
        shared_give_socket(l->net->shared);
        l->net->stats.refused++;
        close(fd);
        return;
    }
    session_set_peer(s, from);
    l->net->stats.accepted++;
    if (host_adopt(l->net->host, s, fd)) {
        l->net->stats.refused++;
        session_kill(s);
    } else if (!l->secure) {
        session_start(s);
    }
}

static void listen_event(struct loop_fd *w, int events, void *arg)
{
    struct listener *l = arg;

    for (int i = 0; i < LISTEN_ACCEPTS_PER_TURN; i++) {
        if (!shared_take_socket(l->net->shared, l->net->options.connections)) {
            listen_pause(l, "limits.connections is reached");
            return;
        }
        struct address peer = {.len = sizeof peer.at};
        int fd = accept4(l->fd, &peer.at.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(l, fd, &peer);
            continue;
        }
        shared_give_socket(l->net->shared);
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listen_pause(l, "no free descriptors");
        else if (errno == ECONNABORTED || errno == EINTR)
            continue;
        return; /* EAGAIN: all taken */
    }
}

/* ---- opening ---- */

static void listener_destroy(struct listener *l)
{
    if (l->watch)
        loop_fd_close(l->watch);
    close(l->fd);
    if (l->unix_path[0])
        unlink(l->unix_path);
    loop_timer_stop(l->net->loop, &l->retry);
    list_remove(&l->node);
    mem_free(l);
}

/* Whether the file of a unix socket is this net's to unlink: the first that listens there has made it. */
static bool listener_owns_path(const struct net *n, const struct address *a)
{
    return a->at.any.sa_family == AF_UNIX && !n->follows;
}

/* A listener around a socket that listens, which it owns from here on, also when it fails. 0 or MT_ENOMEM. */
static int listener_create(struct net *n, const struct address *a, int fd, bool secure)
{
    struct listener *l = mem_zalloc(1, sizeof *l);

    if (!l) {
        close(fd);
        if (listener_owns_path(n, a))
            unlink(a->at.local.sun_path);
        return MT_ENOMEM;
    }
    l->net = n;
    l->secure = secure;
    l->fd = fd;
    l->bound = *a;
    list_init(&l->node);
    loop_timer_init(&l->retry, listen_retry);
    if (listener_owns_path(n, a))
        strcpy(l->unix_path, a->at.local.sun_path);
    l->watch = loop_fd_open(n->loop, fd, listen_event, l);
    if (!l->watch) {
        listener_destroy(l);
        return MT_ENOMEM;
    }
    address_text(a, secure, l->address, sizeof l->address);
    list_add_tail(&n->listeners, &l->node);
    loop_fd_want(l->watch, LOOP_READ);
    return 0;
}

/* Listen on exactly one address; `a` gets the port that was bound. */
static int listen_at(struct net *n, struct address *a, bool secure)
{
    int fd;
    enum address_share share = !n->several ? ADDRESS_ALONE : n->follows ? ADDRESS_FURTHER : ADDRESS_FIRST;
    int rc = address_listen(a, share, &fd);

    return rc ? rc : listener_create(n, a, fd, secure);
}

/* Both families on one port. Port 0: the first bind chooses; where the second family has that port in use, try another. A machine
 * without IPv6 listens on IPv4 only. */
static int listen_both(struct net *n, uint32_t v4, struct in6_addr v6, int wanted, bool secure)
{
    int rc = 0;

    for (int attempt = 0; attempt < 8; attempt++) {
        struct address a;
        address_v4(&a, v4, wanted);
        if ((rc = listen_at(n, &a, secure)))
            return rc;
        struct listener *first = list_entry(n->listeners.prev, struct listener, node);
        address_v6(&a, v6, address_port(&a));
        rc = listen_at(n, &a, secure);
        if (!rc)
            return 0;
        if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) {
            log_info(n->log, NULL, "no IPv6 on this machine: listening on IPv4 only");
            return 0;
        }
        listener_destroy(first);
        errno = EADDRINUSE;
        if (wanted != 0)
            break;
    }
    return rc;
}

static int listen_unix(struct net *n, struct slice address, char **error)
{
    struct address a;

    if (!address_unix(&a, (struct slice){address.data + 5, address.len - 5})) /* behind "unix:" */
        return listen_fail(error, MT_EINVALID, address, "a unix socket path has 1 to 107 bytes");
    address_sweep(&a);
    int rc = listen_at(n, &a, false);
    return rc ? listen_fail(error, rc, address, strerror(errno)) : 0;
}

static bool parse_port(struct slice text, int *port)
{
    unsigned long long value;

    if (!slice_to_uint(text, 65535, &value))
        return false;
    *port = (int)value;
    return true;
}

static int listen_host(struct net *n, struct slice host, int port, bool secure)
{
    struct address a;
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN + 1] = "";

    if (host.len == 0 || slice_is(host, SLICE("localhost")))
        return listen_both(n, INADDR_LOOPBACK, in6addr_loopback, port, secure);
    if (slice_is(host, SLICE("*")))
        return listen_both(n, INADDR_ANY, in6addr_any, port, secure);
    if (host.len >= sizeof text)
        return MT_EINVALID;
    memcpy(text, host.data, host.len);
    if (inet_pton(AF_INET, text, &v4) == 1)
        address_v4(&a, ntohl(v4.s_addr), port);
    else if (inet_pton(AF_INET6, text, &v6) == 1)
        address_v6(&a, v6, port);
    else
        return MT_EINVALID;
    return listen_at(n, &a, secure);
}

static int listen_text(struct net *n, struct slice address, bool tls, char **error)
{
    struct slice host = {address.data, 0}, port_text = address;
    int port;

    if (address.len > 5 && memcmp(address.data, "unix:", 5) == 0)
        return listen_unix(n, address, error);
    if (tls && !n->shared->tls)
        return listen_fail(error, MT_EINVALID, address, "TLS needs a certificate");
    for (size_t i = address.len; i > 0; i--)
        if (address.data[i - 1] == ':') {
            host.len = i - 1;
            port_text = (struct slice){address.data + i, address.len - i};
            break;
        }
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = (struct slice){host.data + 1, host.len - 2};
    if (!parse_port(port_text, &port))
        return listen_fail(error, MT_EINVALID, address, "expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH");
    int rc = listen_host(n, host, port, tls);
    if (rc == MT_EINVALID)
        return listen_fail(error, rc, address, "the host must be an IP address, localhost or *");
    return rc ? listen_fail(error, rc, address, rc == MT_EBUSY ? "the port is in use" : strerror(errno)) : 0;
}

/* ---- several workers ---- */

/* Leave what was bound behind `last` for the other workers. 0 or MT_ENOMEM. */
static int publish(struct net *n, struct list_node *last, size_t call)
{
    int rc = 0;

    for (struct list_node *node = last->next; !rc && node != &n->listeners; node = node->next) {
        struct listener *l = list_entry(node, struct listener, node);
        struct bound b = {.address = l->bound, .call = call, .takers = n->workers - 1, .fd = -1, .secure = l->secure};
        if (l->unix_path[0] && (b.fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0)) < 0)
            return MT_EIO;
        rc = shared_add_bound(n->shared, &b);
    }
    return rc;
}

/* A socket for what worker 1 has bound: of a unix socket the same one; the last worker takes the copy that was kept for this. */
static int listen_bound(struct net *n, struct bound *b)
{
    int fd = b->fd;

    b->takers--;
    if (fd < 0)
        return listen_at(n, &b->address, b->secure);
    if (b->takers > 0)
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    else
        b->fd = -1;
    return fd < 0 ? MT_EIO : listener_create(n, &b->address, fd, b->secure);
}

/* All that worker 1 has bound in its net_listen of the same number. */
static int listen_follow(struct net *n, struct slice address, size_t call, char **error)
{
    struct bound *b;
    bool any = false;

    for (size_t i = 0; (b = shared_bound(n->shared, i)) != NULL; i++) {
        if (b->call != call || b->takers == 0)
            continue;
        int rc = listen_bound(n, b);
        if (rc)
            return listen_fail(error, rc, address, rc == MT_ENOMEM ? err_text(rc) : strerror(errno));
        any = true;
    }
    return any ? 0 : listen_fail(error, MT_EINVALID, address, "worker 1 does not listen there");
}

int net_listen(struct net *n, struct slice address, bool tls, char **error)
{
    struct list_node *last = n->listeners.prev;
    size_t call = n->listen_calls++;

    if (n->follows)
        return listen_follow(n, address, call, error);
    int rc = listen_text(n, address, tls, error);
    if (rc || !n->several)
        return rc;
    rc = publish(n, last, call);
    return rc ? listen_fail(error, rc, address, err_text(rc)) : 0;
}

const char *net_address(const struct net *n, size_t i)
{
    list_each(node, (struct list_node *)&n->listeners)
    {
        if (i-- == 0)
            return list_entry(node, struct listener, node)->address;
    }
    return NULL;
}

void listen_close_all(struct net *n)
{
    list_each_safe(node, tmp, &n->listeners)
    {
        listener_destroy(list_entry(node, struct listener, node));
    }
}
