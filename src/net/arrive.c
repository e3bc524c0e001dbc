/* arrive.c - from an accepted socket to a session: what its address may have, places and the waiting line, and refusals.
 *
 * Who is refused still hears why: such a socket becomes a session without a place among net_options.connections, which answers
 * whatever it is asked first, 429 or 503, and ends. There are NET_REFUSING_MAX of these at most; past that they are closed at
 * once.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "net/access.h"
#include "net/net_impl.h"
#include "net/proxied.h"

#include <stdio.h>
#include <unistd.h>

enum { RETRY_ADDRESS_S = 5 };

/* ---- addresses: a client's by the other end of its connection, or by what a proxy says at the handshake ---- */

static void leave_address(struct net *n, const struct ip *ip)
{
    quota_leave(n->shared->addresses, ip, clock_us());
}

/* Count a socket for its address. False: that has enough of them. */
static bool enter_address(struct net *n, const struct ip *ip)
{
    return quota_enter(n->shared->addresses, ip, n->options.address_connections);
}

static void refuse(struct session *s, int status, unsigned seconds, const char *reason)
{
    char head[40];

    snprintf(head, sizeof head, "Retry-After: %u\r\n", seconds);
    session_http_refuse(s, status, head, reason);
}

static void refuse_crowd(struct session *s)
{
    refuse(s, 429, RETRY_ADDRESS_S, "too many connections of this address");
}

static void tell_crowd(struct net *n, struct slice peer)
{
    n->stats.limited++;
    net_tell(n, &n->crowds, peer, "limits.address_connections is reached: answered with 429");
}

static bool admit_handshake(struct session *s)
{
    struct net *n = s->net;
    uint64_t wait = quota_handshake(n->shared->addresses, &s->ip, clock_us());

    if (wait == 0)
        return true;
    n->stats.limited++;
    net_tell(n, &n->crowds, session_peer(s), "limits.rate.handshakes is reached: answered with 429");
    refuse(s, 429, (unsigned)(wait / 1000000 + 1), "too many handshakes of this address");
    return false;
}

/* Counted when it was accepted, unless a proxy has brought it. */
static bool admit_client(struct session *s)
{
    if (s->counts_client || (s->counts_from && memcmp(&s->from, &s->ip, sizeof s->ip) == 0))
        return true;
    s->counts_client = enter_address(s->net, &s->ip);
    if (s->counts_client)
        return true;
    tell_crowd(s->net, session_peer(s));
    refuse_crowd(s);
    return false;
}

bool arrive_handshake(struct session *s)
{
    const struct net_options *o = &s->net->options;

    if (s->loopback)
        return true;
    return (o->handshakes.per_second <= 0 || admit_handshake(s)) && (o->address_connections == 0 || admit_client(s));
}

/* ---- sockets ---- */

void arrive_leave(struct net *n, struct arrival *a)
{
    if (a->counted)
        leave_address(n, &a->ip);
    a->counted = false;
}

void arrive_drop(struct net *n, struct arrival *a)
{
    arrive_leave(n, a);
    close(a->fd);
}

void arrive_gone(struct session *s)
{
    struct net *n = s->net;

    if (s->counts_from)
        leave_address(n, &s->from);
    if (s->counts_client)
        leave_address(n, &s->ip);
    if (s->refusal)
        n->refusing--;
    else
        shared_give_socket(n->shared);
}

/* A session around it, with a place or to be refused. What it holds is the session's from here on, also when it fails. */
static void start(struct net *n, struct arrival *a)
{
    struct session *s = session_create(n, a->fd, a->secure);
    uint64_t allowed = a->handshake_ms ? a->handshake_ms : n->options.handshake_timeout;

    if (!s) {
        if (!a->refusal)
            shared_give_socket(n->shared);
        n->stats.refused++;
        arrive_drop(n, a);
        return;
    }
    s->hidden = a->hidden;
    session_set_peer(s, a->local ? NULL : &a->ip);
    s->counts_from = a->counted;
    s->proxy_tls = a->proxy_tls;
    s->refusal = a->refusal;
    n->refusing += a->refusal != REFUSAL_NONE;
    n->stats.accepted++;
    session_set_timer(s, a->refusal && allowed > NET_REFUSING_MS ? NET_REFUSING_MS : allowed);
    if (host_adopt(n->host, s, a->fd)) {
        n->stats.refused++;
        session_kill(s);
    } else if (!a->secure) {
        session_start(s);
    }
}

void arrive_begin(struct net *n, struct arrival *a)
{
    if (a->proxied)
        proxied_open(n, a);
    else
        start(n, a);
}

void arrive_refuse(struct net *n, struct arrival *a, enum refusal why)
{
    char peer[IP_TEXT_SIZE] = "unix";

    if (!a->local)
        ip_text(&a->ip, peer);
    if (why == REFUSAL_FULL) {
        n->stats.unserved++;
        net_tell(n, &n->unserved, slice_of(peer), "no place came free within limits.wait: answered with 503");
    } else {
        tell_crowd(n, slice_of(peer));
    }
    a->refusal = why;
    if (n->refusing < NET_REFUSING_MAX) {
        arrive_begin(n, a);
    } else {
        n->stats.refused++;
        arrive_drop(n, a);
    }
}

bool arrive_has_place(struct net *n)
{
    return shared_waiting(n->shared) == 0 && shared_take_socket(n->shared, n->options.connections);
}

/* A proxy's connections are those of its clients: who they are shows at their handshakes. */
static bool counts(const struct net *n, const struct arrival *a)
{
    return n->options.address_connections && !a->local && !ip_is_loopback(&a->ip) && !access_is_proxy(n->access, &a->ip);
}

void arrive(struct net *n, struct arrival *a, bool place)
{
    bool counted = counts(n, a);

    a->counted = counted && enter_address(n, &a->ip);
    if (counted && !a->counted) {
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
    if (s->refusal == REFUSAL_FULL)
        refuse(s, 503, (unsigned)((s->net->options.wait + 999) / 1000), "the server is full: try again later");
    else
        refuse_crowd(s);
}
