/* arrive.c - from an accepted socket to a session: what its address may have, places and the waiting line, and refusals.
 *
 * Who is refused still hears why: such a socket becomes a session without a place among net_options.connections, which answers
 * whatever it is asked first, 429 or 503, and ends. There are NET_REFUSING_MAX of these at most; past that they are closed at once.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <unistd.h>

enum { REFUSING_MS = 3000, RETRY_ADDRESS_S = 5 };

/* ---- addresses ---- */

/* Whether what this client does counts for its address. */
static bool is_counted(bool loopback, const struct net_options *o)
{
    return !loopback && (o->address_connections || o->handshakes.per_second > 0);
}

static void leave_address(struct net *n, const struct ip *ip)
{
    quota_leave(n->shared->addresses, ip, clock_us());
}

/* Count a socket for its address. False: that has enough of them. */
static bool enter_address(struct net *n, const struct ip *ip, bool *counted)
{
    size_t limit = n->options.address_connections;

    *counted = limit && quota_enter(n->shared->addresses, ip, limit);
    return *counted || !limit;
}

static void tell_limited(struct net *n, struct slice peer, const char *what)
{
    n->stats.limited++;
    net_tell(n, NET_TOLD_LIMITED, peer, what);
}

unsigned arrive_handshake(struct session *s)
{
    struct net *n = s->net;

    if (!is_counted(s->loopback, &n->options))
        return 0;
    uint64_t wait = quota_handshake(n->shared->addresses, &s->ip, clock_us());
    if (wait) {
        tell_limited(n, session_peer(s), "limits.rate.handshakes is reached: answered with 429");
        return (unsigned)(wait / 1000000 + 1);
    }
    bool counted = s->counted;
    if (!counted && !enter_address(n, &s->ip, &counted)) {
        tell_limited(n, session_peer(s), "limits.address_connections is reached: answered with 429");
        return RETRY_ADDRESS_S;
    }
    s->counted = counted;
    return 0;
}

/* ---- sockets ---- */

void arrive_drop(struct net *n, const struct arrival *a)
{
    if (a->counted)
        leave_address(n, &a->ip);
    close(a->fd);
}

void arrive_gone(struct session *s)
{
    struct net *n = s->net;

    if (s->counted)
        leave_address(n, &s->ip);
    if (s->refusal)
        n->refusing--;
    else
        shared_give_socket(n->shared);
}

/* A session around it, with a place or to be refused. What it holds is the session's from here on, also when it fails. */
static void start(struct net *n, const struct arrival *a, enum refusal why)
{
    struct session *s = session_create(n, a->fd, a->secure);

    if (!s) {
        if (!why)
            shared_give_socket(n->shared);
        n->stats.refused++;
        arrive_drop(n, a);
        return;
    }
    session_set_peer(s, a->local ? NULL : &a->ip);
    s->counted = a->counted;
    s->refusal = why;
    n->refusing += why != REFUSAL_NONE;
    n->stats.accepted++;
    if (why && n->options.handshake_timeout > REFUSING_MS)
        session_set_timer(s, REFUSING_MS);
    if (host_adopt(n->host, s, a->fd)) {
        n->stats.refused++;
        session_kill(s);
    } else if (!a->secure) {
        session_start(s);
    }
}

void arrive_begin(struct net *n, const struct arrival *a)
{
    start(n, a, REFUSAL_NONE);
}

void arrive_refuse(struct net *n, const struct arrival *a, enum refusal why)
{
    char peer[IP_TEXT_SIZE] = "unix";

    if (!a->local)
        ip_text(&a->ip, peer);
    if (why == REFUSAL_FULL) {
        n->stats.unserved++;
        net_tell(n, NET_TOLD_UNSERVED, slice_of(peer), "no place came free within limits.wait: answered with 503");
    } else {
        tell_limited(n, slice_of(peer), "limits.address_connections is reached: answered with 429");
    }
    if (n->refusing < NET_REFUSING_MAX) {
        start(n, a, why);
    } else {
        n->stats.refused++;
        arrive_drop(n, a);
    }
}

bool arrive_has_place(struct net *n)
{
    return shared_waiting(n->shared) == 0 && shared_take_socket(n->shared, n->options.connections);
}

void arrive(struct net *n, struct arrival *a, bool place)
{
    bool loopback = a->local || ip_is_loopback(&a->ip);

    if (is_counted(loopback, &n->options) && !enter_address(n, &a->ip, &a->counted)) {
        if (place)
            shared_give_socket(n->shared);
        arrive_refuse(n, a, REFUSAL_ADDRESS);
    } else if (place) {
        arrive_begin(n, a);
    } else if (line_add(n, a)) {
        n->stats.refused++;
        arrive_drop(n, a);
    }
}

bool arrive_has_room(const struct net *n)
{
    return line_has_room(n) || (shared_waiting(n->shared) == 0 && net_shared_count(n->shared) < n->options.connections);
}

void arrive_answer(struct session *s)
{
    uint64_t wait = (s->net->options.wait + 999) / 1000;

    if (s->refusal == REFUSAL_FULL)
        session_http_refuse(s, 503, (unsigned)wait, "the server is full: try again later");
    else
        session_http_refuse(s, 429, RETRY_ADDRESS_S, "too many connections of this address");
}
