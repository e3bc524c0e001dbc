/* listen.c - our own listeners, on what bind.c has bound: paced accepting, and a pause instead of a spin when descriptors run out.
 * Accepted sockets go to libwebsockets (lws_host.c) and become sessions.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/proxied.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_ACCEPTS_PER_TURN = 64, LISTEN_RETRY_MS = 100 };

struct listener {
    struct net *net;
    struct list_node node;      /* in net->listeners */
    struct loop_fd *watch;
    struct loop_timer retry;    /* after a pause */
    int fd;
    unsigned how;               /* NET_TLS, NET_PROXY */
    bool paused;                /* descriptors or places in line ran out */
    struct seldom pauses;       /* lines about them: at the limit every close makes one */
    char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* to unlink; empty for TCP, and where worker 1 does it */
    char address[160];          /* for net_address */
};

/* ---- accepting ---- */

static void listen_tell_pause(struct listener *l, const char *why)
{
    if (seldom_count(&l->pauses, loop_now(l->net->loop)))
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
        if (l->paused && arrive_has_room(n))
            listen_resume(l);
    }
}

static void accepted(struct listener *l, int fd, const struct address *peer, bool place)
{
    struct arrival a = {.fd = fd, .secure = l->how & NET_TLS, .proxied = l->how & NET_PROXY};

    a.local = !ip_from_sockaddr(&peer->at.any, &a.ip);
    if (session_may_open(l->net, a.local ? NULL : &a.ip)) {
        arrive(l->net, &a, place);
        return;
    }
    if (place)
        shared_give_socket(l->net->shared);
    l->net->stats.refused++;
    close(fd);
}

static void listen_event(struct loop_fd *w, int events, void *arg)
{
    struct listener *l = arg;

    for (int i = 0; i < LISTEN_ACCEPTS_PER_TURN; i++) {
        bool place = arrive_has_place(l->net);
        if (!place && !line_has_room(l->net)) {
            listen_pause(l, l->net->options.waiting ? "limits.waiting is reached" : "limits.connections is reached");
            return;
        }
        struct address peer = {.len = sizeof peer.at};
        int fd = accept4(l->fd, &peer.at.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(l, fd, &peer, place);
            continue;
        }
        if (place)
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

/* As net_address tells it. */
static void listener_text(const struct bound *b, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "%s", b->how & NET_PROXY ? "proxy+" : "");

    address_text(&b->address, b->how & NET_TLS, out + at, size - at);
}

/* A listener around a socket that listens, which it owns from here on, also when it fails. 0 or MT_ENOMEM. `owns` says that the
 * file of a unix socket is this net's to unlink. */
static int listener_create(struct net *n, const struct bound *b, int fd, bool owns)
{
    struct listener *l = mem_zalloc(1, sizeof *l);
    const char *path = owns && b->address.at.any.sa_family == AF_UNIX ? b->address.at.local.sun_path : "";

    if (!l) {
        close(fd);
        if (*path)
            unlink(path);
        return MT_ENOMEM;
    }
    l->net = n;
    l->how = b->how;
    l->fd = fd;
    list_init(&l->node);
    loop_timer_init(&l->retry, listen_retry);
    strcpy(l->unix_path, path);
    l->watch = loop_fd_open(n->loop, fd, listen_event, l);
    if (!l->watch) {
        listener_destroy(l);
        return MT_ENOMEM;
    }
    listener_text(b, l->address, sizeof l->address);
    list_add_tail(&n->listeners, &l->node);
    loop_fd_want(l->watch, LOOP_READ);
    return 0;
}

static int listen_fail(char **error, int rc, const struct bound *b)
{
    struct buf text = {0};
    char address[160];
    const char *why = rc == MT_EBUSY ? "the port is in use" : rc == MT_ENOMEM ? err_text(rc) : strerror(errno);

    listener_text(b, address, sizeof address);
    buf_addf(&text, "cannot listen on %s: %s", address, why);
    buf_add_byte(&text, 0);
    *error = (char *)text.data;
    return rc;
}

int net_listen(struct net *n, char **error)
{
    unsigned place = n->worker ? n->worker - 1 : 0;
    struct bound *b;

    for (size_t i = 0; (b = shared_bound(n->shared, i)) != NULL; i++) {
        int fd = place < b->count ? b->fds[place] : -1;
        if (fd < 0)
            continue; /* listens already */
        int rc = address_listen(fd);
        if (rc)
            return listen_fail(error, rc, b);
        b->fds[place] = -1;
        rc = listener_create(n, b, fd, place == 0);
        if (rc)
            return listen_fail(error, rc, b);
    }
    return 0;
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
