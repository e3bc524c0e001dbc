/* net.h - a worker's sockets: its libwebsockets context, its listeners, its sessions. Hides libwebsockets and OpenSSL's TLS. */
#ifndef MT_NET_NET_H
#define MT_NET_NET_H
#include "base/bucket.h"
#include "base/log.h"
#include "loop/loop.h"
#include "net/session.h"
#include "net/shared.h"

struct access;
struct net;
struct static_root;

enum { NET_REFUSING_MAX = 1000 }; /* sockets past a limit that are being told so, per net: without a place, and not in line */

/* Every number has a safe default, set by net_defaults. Times are milliseconds. */
struct net_options {
    size_t message_limit;       /* 65536 bytes of one message */
    size_t outbox_limit;        /* 1 MiB queued per connection */
    size_t body_limit;          /* 1 MiB of one HTTP request body */
    size_t deflate_threshold;   /* 1024: messages below are not compressed; SIZE_MAX turns deflate off */
    size_t connections;         /* sockets served at once by all nets that share; past it they wait in line. 100000 */
    uint64_t handshake_timeout; /* 10000: TLS and request head together */
    uint64_t body_timeout;      /* 30000: from the head of a request to the end of its body, and a second more for each 1000 bytes of it */
    uint64_t idle_timeout;      /* 60000: HTTP keep-alive without a request. And over so long an answer has to move: 1000 bytes a second */
    uint64_t close_timeout;     /* 5000: waiting for the reply to a close frame */
    uint64_t ping_interval;     /* 25000; 0 = no pings */
    uint64_t ping_timeout;      /* 10000: without any byte after a ping the session ends with 1006 */
    uint64_t outbox_grace;      /* 1000: how long an outbox may hold up to twice outbox_limit; 0 = not at all */
    size_t waiting;             /* 1000: sockets in line for one of `connections`, per net; past it accepting pauses */
    uint64_t wait;              /* 5000: how long each waits, for 503 then */
    size_t address_connections; /* sockets of one address (quota.h) in all nets that share, past it 429; 0 = no limit */
    struct rate messages, bytes; /* of one WebSocket session; none */
    struct rate handshakes;     /* of one address, past it 429; none */
    bool exceeded_closes;       /* past messages or bytes: close with 1008; false: read more slowly */
};
void net_defaults(struct net_options *o);

struct net_config {
    struct loop *loop;
    struct log *log;
    const struct session_events *events;
    void *events_arg;
    struct net_options options;
    struct static_root *files; /* NULL: no static files. Borrowed; may be lent to several nets */
    struct net_shared *shared; /* borrowed: what all nets of the server have in common */
    struct access *access;     /* who may connect; the net takes a reference. NULL: everybody, and pages of this server only */
    unsigned worker;           /* number of this net's worker, from 1; 0: the only one */
};

/* Make the context. Several nets: one after the other, on one thread, before any of them is at work. *error: a sentence for the
 * operator (mem_free it) when the result is not 0: MT_EINVALID, MT_ETLS, MT_ENOMEM, MT_EIO. */
int net_create(const struct net_config *c, struct net **out, char **error);
/* All sessions must be gone or are reset here (on_closed and on_gone come); listeners are closed. */
void net_destroy(struct net *n);

/* Listen on all that was bound for this net (net_shared_bind) and that it does not listen on yet. Before any net is at work. 0,
 * MT_EBUSY (in use), MT_EIO or MT_ENOMEM, with *error. */
int net_listen(struct net *n, char **error);
/* URL-like text of the i-th bound address, "http://127.0.0.1:40123" or "https://...", "unix:/path", with "proxy+" in front
 * for NET_PROXY; NULL past the end. */
const char *net_address(const struct net *n, size_t i);
/* Stop accepting, and close the listeners. Sessions live on; idle keep-alive HTTP sockets close. */
void net_stop_listening(struct net *n);
/* Change the limits and times for what comes after; messages and bytes of open sessions too. */
void net_set_options(struct net *n, const struct net_options *o);
/* Who may connect from now on; takes a reference. Connections whose client is not admitted any more, or that could not be opened
 * now, are closed: WebSockets with 1008, others at once. */
void net_set_access(struct net *n, struct access *a);
size_t net_count(const struct net *n);   /* sockets of this net that are open, without those in line */
size_t net_waiting(const struct net *n); /* in line for a place */

/* Counters since the start, for status and tests. */
struct net_stats {
    uint64_t accepted, refused, upgraded, closed, messages_in, messages_out, bytes_in, bytes_out, dropped, overflowed, malformed, accept_pauses;
    uint64_t delayed;  /* times that a session was not read further because of its rates */
    uint64_t flooded;  /* sessions that were closed with 1008 because of them */
    uint64_t limited;  /* sockets and handshakes that got 429, or were closed, because their address has enough */
    uint64_t unserved; /* sockets that waited in line for too long */
    uint64_t certs_refused; /* TLS handshakes that ended for want of a good client certificate */
    uint64_t denied;  /* connections and requests from addresses that are not admitted, and connections closed by net_set_access */
    uint64_t foreign; /* requests from pages of other origins */
    uint64_t proxy_refused; /* sockets of proxy+ listeners that were closed: from no proxy, without a header, with a wrong one, too slow */
    uint64_t timed_out; /* sockets that were closed because a client took too long: all times but idle_timeout between requests */
    uint64_t tls_handshakes, tls_failed; /* the second: refused by either side, or left by the client, or too late */
    uint64_t tls_waiting;                /* at this moment, for their turn (tls_line.h) */
    uint64_t slow;                       /* at this moment, WebSocket sessions whose outbox is over its limit (slow.h) */
};
void net_stats(const struct net *n, struct net_stats *out);
#endif
