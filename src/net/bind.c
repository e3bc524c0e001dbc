/* bind.c - addresses as operators write them, and a socket for each worker on each. Binding is apart from listening, since only
 * root may bind some ports, and it is not root who serves.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What one call of net_shared_bind is about. */
struct binding {
    struct net_shared *shared;
    struct log *log;
    unsigned workers;
    unsigned how;
};

static int bind_fail(char **error, int rc, struct slice address, const char *why)
{
    struct buf text = {0};

    buf_addf(&text, "cannot listen on %.*s: %s", (int)address.len, address.data, why);
    buf_add_byte(&text, 0);
    *error = (char *)text.data;
    return rc;
}

/* Bind exactly one address; `a` gets the port that was bound. */
static int bind_at(const struct binding *b, struct address *a)
{
    struct bound *fresh = shared_add_bound(b->shared, b->workers);

    if (!fresh)
        return MT_ENOMEM;
    int rc = address_bind(a, b->workers, fresh->fds);
    fresh->address = *a;
    fresh->how = b->how;
    if (rc)
        shared_drop_bound(b->shared);
    return rc;
}

/* Both families on one port. Port 0: the first bind chooses; where the second family has that port in use, try another. A machine
 * without IPv6 listens on IPv4 only. */
static int bind_both(const struct binding *b, uint32_t v4, struct in6_addr v6, int wanted)
{
    int rc = 0;

    for (int attempt = 0; attempt < 8; attempt++) {
        struct address a;
        address_v4(&a, v4, wanted);
        if ((rc = bind_at(b, &a)))
            return rc;
        address_v6(&a, v6, address_port(&a));
        rc = bind_at(b, &a);
        if (!rc)
            return 0;
        if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) {
            log_info(b->log, NULL, "no IPv6 on this machine: listening on IPv4 only");
            return 0;
        }
        shared_drop_bound(b->shared);
        errno = EADDRINUSE;
        if (wanted != 0)
            break;
    }
    return rc;
}

static int bind_unix(const struct binding *b, struct slice address, char **error)
{
    struct address a;

    if (!address_unix(&a, (struct slice){address.data + 5, address.len - 5})) /* behind "unix:" */
        return bind_fail(error, MT_EINVALID, address, "a unix socket path has 1 to 107 bytes");
    address_sweep(&a);
    int rc = bind_at(b, &a);
    return rc ? bind_fail(error, rc, address, rc == MT_ENOMEM ? err_text(rc) : strerror(errno)) : 0;
}

static bool parse_port(struct slice text, int *port)
{
    unsigned long long value;

    if (!slice_to_uint(text, 65535, &value))
        return false;
    *port = (int)value;
    return true;
}

static int bind_host(const struct binding *b, struct slice host, int port)
{
    struct address a;
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN + 1] = "";

    if (host.len == 0 || slice_is(host, SLICE("localhost")))
        return bind_both(b, INADDR_LOOPBACK, in6addr_loopback, port);
    if (slice_is(host, SLICE("*")))
        return bind_both(b, INADDR_ANY, in6addr_any, port);
    if (host.len >= sizeof text)
        return MT_EINVALID;
    memcpy(text, host.data, host.len);
    if (inet_pton(AF_INET, text, &v4) == 1)
        address_v4(&a, ntohl(v4.s_addr), port);
    else if (inet_pton(AF_INET6, text, &v6) == 1)
        address_v6(&a, v6, port);
    else
        return MT_EINVALID;
    return bind_at(b, &a);
}

/* Why a socket could not be bound. */
static const char *reason_of(int rc)
{
    return rc == MT_EBUSY ? "the port is in use" : rc == MT_ENOMEM ? err_text(rc) : strerror(errno);
}

int net_shared_bind(struct net_shared *s, struct slice address, unsigned how, unsigned workers, struct log *log, char **error)
{
    struct binding b = {.shared = s, .log = log, .workers = workers, .how = how};
    struct slice host = {address.data, 0}, port_text = address;
    int port;

    if (address.len > 5 && memcmp(address.data, "unix:", 5) == 0) {
        b.how &= NET_PROXY;
        return bind_unix(&b, address, error);
    }
    if ((how & NET_TLS) && !s->tls)
        return bind_fail(error, MT_EINVALID, address, "TLS needs a certificate");
    for (size_t i = address.len; i > 0; i--)
        if (address.data[i - 1] == ':') {
            host.len = i - 1;
            port_text = (struct slice){address.data + i, address.len - i};
            break;
        }
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = (struct slice){host.data + 1, host.len - 2};
    if (!parse_port(port_text, &port))
        return bind_fail(error, MT_EINVALID, address, "expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH");
    int rc = bind_host(&b, host, port);
    if (rc == MT_EINVALID)
        return bind_fail(error, rc, address, "the host must be an IP address, localhost or *");
    return rc ? bind_fail(error, rc, address, reason_of(rc)) : 0;
}
