/* listen.c - our own listeners: addresses as operators write them, paced accepting, and a pause instead of a spin when descriptors
 * run out. Accepted sockets go to libwebsockets (lws_host.c) and become sessions.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096, LISTEN_ACCEPTS_PER_TURN = 64, LISTEN_RETRY_MS = 100, LISTEN_QUIET_MS = 10000 };

struct listener {
    struct net *net;
    struct list_node node;      /* in net->listeners */
    struct loop_fd *watch;
    struct loop_timer retry;    /* after a pause */
    int fd;
    bool secure;
    bool paused;                /* descriptors or net_options.connections ran out */
    uint64_t quiet_until;       /* loop time until which further pauses are not logged: at the limit every close makes one */
    char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* to unlink; empty for TCP */
    char address[160];          /* for net_address */
};

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } at;
    socklen_t len;
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

static void listen_tell_pause(struct listener *l)
{
    uint64_t now = loop_now(l->net->loop);

    if (now < l->quiet_until)
        return;
    l->quiet_until = now + LISTEN_QUIET_MS;
    log_warn(l->net->log, NULL, "accepting pauses: %s",
             l->net->count >= l->net->options.connections ? "limits.connections is reached" : "no free descriptors");
}

static void listen_pause(struct listener *l)
{
    if (!l->paused) {
        l->paused = true;
        l->net->stats.accept_pauses++;
        listen_tell_pause(l);
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
    listen_resume(list_entry(t, struct listener, retry)); /* comes back here at once while nothing is free */
}

void listen_resume_all(struct net *n)
{
    list_each(node, &n->listeners)
    {
        struct listener *l = list_entry(node, struct listener, node);
        if (l->paused && n->count < n->options.connections)
            listen_resume(l);
    }
}

static void set_peer(struct session *s, const struct address *a)
{
    switch (a->at.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->at.v4.sin_addr, s->peer, sizeof s->peer);
        s->loopback = ntohl(a->at.v4.sin_addr.s_addr) >> 24 == 127;
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&a->at.v6.sin6_addr))
            inet_ntop(AF_INET, &a->at.v6.sin6_addr.s6_addr[12], s->peer, sizeof s->peer);
        else
            inet_ntop(AF_INET6, &a->at.v6.sin6_addr, s->peer, sizeof s->peer);
        s->loopback = IN6_IS_ADDR_LOOPBACK(&a->at.v6.sin6_addr) || strncmp(s->peer, "127.", 4) == 0;
        break;
    default:
        strcpy(s->peer, "unix");
        s->loopback = true;
    }
}

static void accepted(struct listener *l, int fd, const struct address *peer)
{
    struct session *s = session_create(l->net, fd, l->secure);
    if (!s) {
        l->net->stats.refused++;
        close(fd);
        return;
    }
    set_peer(s, peer);
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
        if (l->net->count >= l->net->options.connections) {
            listen_pause(l);
            return;
        }
        struct address peer = {.len = sizeof peer.at};
        int fd = accept4(l->fd, &peer.at.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(l, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listen_pause(l);
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
    if (l->fd >= 0)
        close(l->fd);
    if (l->unix_path[0])
        unlink(l->unix_path);
    loop_timer_stop(l->net->loop, &l->retry);
    list_remove(&l->node);
    mem_free(l);
}

static void describe(struct listener *l, const struct address *a)
{
    const char *scheme = l->secure ? "https" : "http";
    char text[INET6_ADDRSTRLEN];

    if (a->at.any.sa_family == AF_INET)
        snprintf(l->address, sizeof l->address, "%s://%s:%d", scheme, inet_ntop(AF_INET, &a->at.v4.sin_addr, text, sizeof text),
                 ntohs(a->at.v4.sin_port));
    else if (a->at.any.sa_family == AF_INET6)
        snprintf(l->address, sizeof l->address, "%s://[%s]:%d", scheme,
                 inet_ntop(AF_INET6, &a->at.v6.sin6_addr, text, sizeof text), ntohs(a->at.v6.sin6_port));
    else
        snprintf(l->address, sizeof l->address, "unix:%s", a->at.local.sun_path);
}

static int bind_error(int number)
{
    switch (number) {
    case EADDRINUSE:
        return MT_EBUSY;
    case EACCES:
    case EPERM:
        return MT_EDENIED;
    default:
        return MT_EIO;
    }
}

static int open_socket(const struct address *a, int *out)
{
    int one = 1, fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return MT_EIO;
    if (a->at.any.sa_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it on Linux */
    }
    if (a->at.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &a->at.any, a->len) || listen(fd, LISTEN_BACKLOG)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return bind_error(saved);
    }
    *out = fd;
    return 0;
}

/* Listen on exactly one address. `port`: the one that was bound. */
static int listen_at(struct net *n, struct address *a, bool secure, int *port)
{
    struct listener *l = mem_zalloc(1, sizeof *l);
    if (!l)
        return MT_ENOMEM;
    l->net = n;
    l->secure = secure;
    l->fd = -1;
    list_init(&l->node);
    loop_timer_init(&l->retry, listen_retry);
    int rc = open_socket(a, &l->fd);
    int saved = errno;
    if (!rc && a->at.any.sa_family == AF_UNIX)
        strcpy(l->unix_path, a->at.local.sun_path);
    if (!rc && !(l->watch = loop_fd_open(n->loop, l->fd, listen_event, l)))
        rc = MT_ENOMEM;
    if (rc) {
        listener_destroy(l);
        errno = saved;
        return rc;
    }
    a->len = sizeof a->at;
    getsockname(l->fd, &a->at.any, &a->len);
    *port = a->at.any.sa_family == AF_INET ? ntohs(a->at.v4.sin_port) : a->at.any.sa_family == AF_INET6 ? ntohs(a->at.v6.sin6_port) : 0;
    describe(l, a);
    list_add_tail(&n->listeners, &l->node);
    loop_fd_want(l->watch, LOOP_READ);
    return 0;
}

static void address_v4(struct address *a, uint32_t ip, int port)
{
    memset(a, 0, sizeof *a);
    a->at.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(ip)};
    a->len = sizeof a->at.v4;
}

static void address_v6(struct address *a, struct in6_addr ip, int port)
{
    memset(a, 0, sizeof *a);
    a->at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = ip};
    a->len = sizeof a->at.v6;
}

/* Both families on one port. Port 0: the first bind chooses; where the second family has that port in use, try another. A machine without
 * IPv6 listens on IPv4 only. */
static int listen_both(struct net *n, uint32_t v4, struct in6_addr v6, int wanted, bool secure)
{
    int rc = 0;

    for (int attempt = 0; attempt < 8; attempt++) {
        struct address a;
        int port = 0;
        address_v4(&a, v4, wanted);
        if ((rc = listen_at(n, &a, secure, &port)))
            return rc;
        struct listener *first = list_entry(n->listeners.prev, struct listener, node);
        address_v6(&a, v6, port);
        rc = listen_at(n, &a, secure, &port);
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
    struct slice path = {address.data + 5, address.len - 5}; /* behind "unix:" */
    struct address a = {.len = sizeof a.at.local};
    struct stat st;
    int port;

    a.at.local.sun_family = AF_UNIX;
    if (path.len == 0 || path.len >= sizeof a.at.local.sun_path)
        return listen_fail(error, MT_EINVALID, address, "a unix socket path has 1 to 107 bytes");
    memcpy(a.at.local.sun_path, path.data, path.len);
    /* A socket file that nobody answers on is left over from a server that was killed. */
    if (lstat(a.at.local.sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool dead = probe >= 0 && connect(probe, &a.at.any, a.len) < 0 && errno == ECONNREFUSED;
        if (probe >= 0)
            close(probe);
        if (dead)
            unlink(a.at.local.sun_path);
    }
    int rc = listen_at(n, &a, false, &port);
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
    return listen_at(n, &a, secure, &port);
}

int net_listen(struct net *n, struct slice address, bool tls, char **error)
{
    struct slice host = {address.data, 0}, port_text = address;
    int port;

    if (address.len > 5 && memcmp(address.data, "unix:", 5) == 0)
        return listen_unix(n, address, error);
    if (tls && !n->tls)
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
