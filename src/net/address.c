/* address.c - binding and listening.
 *
 * With SO_REUSEPORT each worker has a socket and a queue of its own on the same port, and the kernel spreads connections over
 * them. The option also lets any process of the same user bind a port that is in use already, and then half of the connections go
 * astray. So the first socket of a port is preceded by one without the option, whose bind fails where somebody listens, and which
 * holds the port meanwhile.
 */
#include "net/address.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096 };

void address_v4(struct address *a, uint32_t ip, int port)
{
    memset(a, 0, sizeof *a);
    a->at.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(ip)};
    a->len = sizeof a->at.v4;
}

void address_v6(struct address *a, struct in6_addr ip, int port)
{
    memset(a, 0, sizeof *a);
    a->at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = ip};
    a->len = sizeof a->at.v6;
}

bool address_unix(struct address *a, struct slice path)
{
    memset(a, 0, sizeof *a);
    a->at.local.sun_family = AF_UNIX;
    a->len = sizeof a->at.local;
    if (path.len == 0 || path.len >= sizeof a->at.local.sun_path)
        return false;
    memcpy(a->at.local.sun_path, path.data, path.len);
    return true;
}

int address_port(const struct address *a)
{
    switch (a->at.any.sa_family) {
    case AF_INET:
        return ntohs(a->at.v4.sin_port);
    case AF_INET6:
        return ntohs(a->at.v6.sin6_port);
    default:
        return 0;
    }
}

void address_text(const struct address *a, bool secure, char *out, size_t size)
{
    const char *scheme = secure ? "https" : "http";
    char text[INET6_ADDRSTRLEN];

    if (a->at.any.sa_family == AF_INET)
        snprintf(out, size, "%s://%s:%d", scheme, inet_ntop(AF_INET, &a->at.v4.sin_addr, text, sizeof text), address_port(a));
    else if (a->at.any.sa_family == AF_INET6)
        snprintf(out, size, "%s://[%s]:%d", scheme, inet_ntop(AF_INET6, &a->at.v6.sin6_addr, text, sizeof text), address_port(a));
    else
        snprintf(out, size, "unix:%s", a->at.local.sun_path);
}

/* MT_E* for errno. */
static int bind_error(void)
{
    switch (errno) {
    case EADDRINUSE:
        return MT_EBUSY;
    case EACCES:
    case EPERM:
        return MT_EDENIED;
    default:
        return MT_EIO;
    }
}

static void close_quietly(int fd)
{
    int saved = errno;

    close(fd);
    errno = saved;
}

/* Bind a new socket; `a` gets the port. */
static int bind_one(struct address *a, bool shared, int *out)
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
    if ((shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one)) || bind(fd, &a->at.any, a->len)) {
        close_quietly(fd);
        return bind_error();
    }
    a->len = sizeof a->at;
    getsockname(fd, &a->at.any, &a->len);
    *out = fd;
    return 0;
}

static int bind_unix(struct address *a, unsigned count, int *fds)
{
    int rc = bind_one(a, false, &fds[0]);

    for (unsigned i = 1; !rc && i < count; i++)
        if ((fds[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0)) < 0)
            rc = MT_EIO;
    return rc;
}

static int bind_tcp(struct address *a, unsigned count, int *fds)
{
    int holder = -1, rc = count > 1 ? bind_one(a, false, &holder) : 0;

    for (unsigned i = 0; !rc && i < count; i++)
        rc = bind_one(a, count > 1, &fds[i]);
    if (holder >= 0)
        close_quietly(holder);
    return rc;
}

int address_bind(struct address *a, unsigned count, int *fds)
{
    bool local = a->at.any.sa_family == AF_UNIX;
    int rc = local ? bind_unix(a, count, fds) : bind_tcp(a, count, fds);

    for (unsigned i = 0; rc && i < count; i++) {
        if (local && i == 0 && fds[0] >= 0)
            unlink(a->at.local.sun_path);
        if (fds[i] >= 0)
            close_quietly(fds[i]);
        fds[i] = -1;
    }
    return rc;
}

int address_listen(int fd)
{
    return listen(fd, LISTEN_BACKLOG) ? bind_error() : 0;
}

void address_sweep(const struct address *a)
{
    struct stat st;

    if (lstat(a->at.local.sun_path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool dead = probe >= 0 && connect(probe, &a->at.any, a->len) < 0 && errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    if (dead)
        unlink(a->at.local.sun_path);
}
