/* session_access.c - a session at the door: is its address admitted, who is its client, may the page in front of it be here?
 *
 * Three places ask: accepting (an address by itself), each request (what a proxy says of it, and the page), and a reload, which
 * looks at all that is open.
 */
#include "net/access.h"
#include "net/net_impl.h"

enum { LOGGED_MAX = 200 }; /* bytes of what a client sent */

static const struct ip *other_end(const struct session *s)
{
    return s->from_unix ? NULL : &s->from;
}

static const struct ip *client_of(const struct session *s)
{
    return s->unix_client ? NULL : &s->ip;
}

/* ---- accepting ---- */

bool session_may_open(struct net *n, const struct ip *peer)
{
    char text[IP_TEXT_SIZE] = "unix";

    if (access_opens(n->access, peer))
        return true;
    n->stats.denied++;
    if (peer)
        ip_text(peer, text);
    net_tell(n, &n->denials, slice_of(text), "a connection was closed: allow and deny do not admit its address");
    return false;
}

/* ---- requests ---- */

/* One connection of a proxy may carry requests of many. */
static void set_client(struct session *s, const struct ip *client)
{
    const struct ip *now = client_of(s);

    if (client ? !now || memcmp(now, client, sizeof *client) != 0 : now != NULL)
        session_set_client(s, client);
}

/* Somebody on this machine hands on the requests of others: limits by address do not hold for any of them. From elsewhere it may be
 * a client's lie, and is nothing to tell. */
static void tell_unlisted(struct session *s)
{
    const struct http_request *r = &s->exchange->request;

    if (!s->loopback || access_is_proxy(s->net->access, other_end(s)))
        return;
    if (http_find(r, SLICE("X-Forwarded-For")).data || http_find(r, SLICE("X-Real-IP")).data)
        net_tell(s->net, &s->net->unlisted, session_peer(s),
                 "a request says that it is of another client, and its sender is not in the setting proxies: it is not believed, and "
                 "limits per address do not hold for this machine");
}

static bool find_client(struct session *s)
{
    struct ip client;

    switch (s->hidden ? ACCESS_SILENT : access_client(s->net->access, other_end(s), &s->exchange->request, &client)) {
    case ACCESS_CLIENT:
        set_client(s, &client);
        return true;
    case ACCESS_SILENT:
        set_client(s, other_end(s));
        tell_unlisted(s);
        return true;
    default:
        set_client(s, other_end(s));
        net_tell(s->net, &s->net->unclear, session_peer(s),
             "a proxy named no client, or two: let it set both X-Forwarded-For and X-Real-IP, or remove the one that it does not "
             "set");
        session_http_fail(s, 400, "the proxy in front does not tell who the client is");
        return false;
    }
}

static bool is_admitted(struct session *s)
{
    if (access_admits(s->net->access, client_of(s)))
        return true;
    s->net->stats.denied++;
    net_tell(s->net, &s->net->denials, session_peer(s), "a request was refused: allow and deny do not admit its address");
    session_http_refuse(s, 403, "", "this address may not use this server");
    return false;
}

/* For a line of the log. */
static struct slice cut(struct slice s)
{
    return (struct slice){s.data ? s.data : "", s.len < LOGGED_MAX ? s.len : LOGGED_MAX};
}

static bool is_page_welcome(struct session *s)
{
    const struct http_request *r = &s->exchange->request;
    bool secure = s->exchange->secure;

    if (access_origin(s->net->access, r, secure))
        return true;
    struct slice origin = cut(http_find(r, SLICE("Origin"))), host = cut(r->host);
    s->net->stats.foreign++;
    net_tell(s->net, &s->net->foreign, session_peer(s),
         "a page of \"%.*s\" was refused at %s://%.*s: it is another origin, and not in the setting origins", (int)origin.len,
         origin.data, secure ? "https" : "http", (int)host.len, host.data);
    session_http_refuse(s, 403, "", "pages of this origin may not use this server");
    return false;
}

static bool came_by_tls(const struct session *s)
{
    bool secure = s->secure || s->proxy_tls;

    return s->hidden ? secure : access_is_secure(s->net->access, other_end(s), &s->exchange->request, secure);
}

bool session_admit(struct session *s)
{
    s->exchange->secure = came_by_tls(s);
    return find_client(s) && is_admitted(s) && is_page_welcome(s);
}

/* ---- a reload ---- */

/* Whether `s` may stay. Between two requests on a proxy's connection nobody is its client. */
static bool may_stay(const struct session *s)
{
    const struct access *a = s->net->access;
    bool between = s->state == SESSION_TLS || s->state == SESSION_HEAD;

    return access_opens(a, other_end(s)) && (between || access_admits(a, client_of(s)));
}

void net_set_access(struct net *n, struct access *a)
{
    size_t closed = 0;

    access_ref(a);
    access_unref(n->access);
    n->access = a;
    list_each(node, &n->sessions)
    {
        struct session *s = list_entry(node, struct session, in_net);
        if (s->state == SESSION_DEAD || s->state == SESSION_CLOSING || s->state == SESSION_LINGER || may_stay(s))
            continue;
        closed++;
        if (session_close(s, 1008, SLICE("this address is not admitted any more")))
            session_kill(s);
    }
    n->stats.denied += closed;
    if (closed)
        log_info(n->log, NULL, "%zu connection%s closed: allow and deny do not admit their addresses any more", closed,
                 closed == 1 ? " was" : "s were");
}
