/* session.h - one accepted socket, from the first byte to the close: HTTP/1.1 requests, the upgrade, WebSocket messages.
 *
 * A session belongs to one worker's `net` and its thread. The layers above hear of it through struct session_events and hold
 * the pointer from on_request to on_gone, never longer: when on_gone has returned the session is freed on a later turn, and calls made inside
 * callbacks are always safe (the session stays, its calls fail with MT_ECLOSED).
 *
 * Life: on_request for every HTTP request and every handshake, one at a time and in order; the owner answers it now or later with
 * session_respond (HTTP), session_accept (upgrade: 101) or session_stream_*. After session_accept: on_message, on_drain, on_closed. on_gone comes
 * last, exactly once, for each session of which anything was told.
 */
#ifndef MT_NET_SESSION_H
#define MT_NET_SESSION_H
#include "base/bucket.h"
#include "net/frame.h"
#include "net/http.h"
#include "net/outbox.h"
#include "net/packet.h"

struct session;
struct net;

/* A request as the owner sees it. Slices live until the answer (or on_gone). */
struct session_request {
    const struct http_request *http;
    struct slice body;     /* whole, decoded; empty for handshakes */
    bool secure;           /* the client came by TLS, here or to a proxy that is believed */
    bool upgrade;          /* a checked WebSocket handshake: answer with session_accept or an error status */
};

struct session_header {
    struct slice name, value;
};

struct session_accept {
    const char *protocol;               /* chosen subprotocol, NULL for none; must be one the client listed (net checks) */
    const struct session_header *headers; /* extra response headers */
    size_t header_count;
    size_t message_limit;               /* bytes of one message, after inflating; 0 = the default of net */
    struct rate messages, bytes;        /* what the client may send; the limits of net count besides. Zero: only they */
};

struct session_events {
    /* A request is complete. The session reads on only when it was answered. */
    void (*on_request)(void *arg, struct session *s, const struct session_request *r);
    /* A whole message. `data` is borrowed until the call returns. UTF-8 of text was checked. */
    void (*on_message)(void *arg, struct session *s, enum frame_op op, const char *data, size_t len);
    /* The outbox went empty after session_want_drain. */
    void (*on_drain)(void *arg, struct session *s);
    /* A ping was not answered in time: on_closed with 1006 follows. For the log: who it is only the owner knows. */
    void (*on_silent)(void *arg, struct session *s);
    /* The WebSocket connection is over: code as RFC 6455 7.1.5 (1006 abnormal, 1005 none given). Once per accepted session. Comes before on_gone. */
    void (*on_closed)(void *arg, struct session *s, unsigned code, struct slice reason);
    /* The socket is gone; the pointer is invalid after this call. Also ends a pending request (nobody waits for its answer). */
    void (*on_gone)(void *arg, struct session *s);
};

/* The owner's pointer, NULL at first. */
void session_set_owner(struct session *s, void *owner);
void *session_owner(const struct session *s);

/* ---- answering a request ---- */
/* Complete answer. `head` has extra header lines only (http_put_header), may be empty; Content-Length, Date and Connection are added; HEAD
 * keeps the length and drops the body. 0, MT_ECLOSED, MT_EBUSY (already answered), MT_ENOMEM. */
int session_respond(struct session *s, int status, struct slice head, struct slice body);
/* The static folder, when there is one: true when it answered (also with an error). */
bool session_respond_file(struct session *s);
/* Answer in pieces (chunked for 1.1, until close for 1.0). begin: as session_respond without a body. */
int session_stream_begin(struct session *s, int status, struct slice head);
int session_stream_write(struct session *s, struct slice piece); /* 0, MT_ECLOSED, MT_ENOMEM; use session_want_drain to pace */
int session_stream_end(struct session *s, bool complete);        /* false: the body is broken off, the connection closes */
/* 101. 0, MT_ECLOSED, MT_EINVALID (bad header or protocol; nothing was sent), MT_ENOMEM. Messages may come from the next turn on. */
int session_accept(struct session *s, const struct session_accept *a);

/* ---- a WebSocket session ---- */
/* Queue one message for this reader. opts NULL = none. Text must be UTF-8 (callers check). 0, MT_ECLOSED (also after session_close), MT_EDROPPED, MT_EOVERFLOW (the
 * session is closing with 1013), MT_ENOMEM. */
int session_send(struct session *s, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts);
int session_send_packet(struct session *s, struct packet *p, const struct outbox_opts *opts);
/* The same packet to many sessions of one worker, NULLs are skipped, none twice: as session_send_packet to each, but results are only
 * counted. Nothing calls back before it returns. */
void session_send_many(struct session *const *list, size_t count, struct packet *p, const struct outbox_opts *opts);
/* Start the closing handshake behind what is queued; on_closed comes when it is over (bounded by close.timeout). Code must be one that
 * may be sent, reason at most 123 bytes of UTF-8: else MT_EINVALID. 0 or MT_ECLOSED (closing already). */
int session_close(struct session *s, unsigned code, struct slice reason);
/* No frame, no wait: reset. on_closed(1006) and on_gone come on a later turn. Any state. */
void session_abort(struct session *s);
/* Stop and go on delivering messages (counted: as many resumes as pauses). What was read stays in the session; the socket is not polled. */
void session_pause(struct session *s);
void session_resume(struct session *s);
/* on_drain once the outbox is empty; at once (later this turn) when it is already. */
void session_want_drain(struct session *s);

size_t session_buffered(const struct session *s);       /* bytes in the outbox */
uint32_t session_missed(const struct session *s);       /* messages for it that were dropped, because it read too slowly */
double session_latency(const struct session *s);        /* seconds of the last ping's round trip; negative when unknown */
struct slice session_peer(const struct session *s);     /* "203.0.113.9", "::1", "unix" */
bool session_is_open(const struct session *s);          /* accepted, and no close sent or received */

/* TLS facts of the socket; false on plain ones. Strings live as long as the session. */
struct session_tls {
    const char *version; /* "TLSv1.3" */
    const char *cipher;
    const char *sni;     /* NULL when none was sent, or something else than a host name */
};
bool session_tls(const struct session *s, struct session_tls *out);

/* A client's certificate that was verified. Texts are owned, without zero bytes and control characters. */
struct session_client {
    char *subject, *issuer; /* RFC 2253: what is not plain ASCII is escaped */
    char *cn;               /* UTF-8; NULL where the subject has none, several, or one with control characters */
    char *fingerprint;      /* SHA-256 of the certificate, 64 hexadecimal digits in lower case */
    char *serial;           /* hexadecimal, upper case */
    double not_after;       /* unix seconds */
    struct buf names;       /* alternative names: "DNS:a.example", "email:", "URI:", each with a zero byte behind it */
};
/* 0, MT_ENOT_FOUND (none, or no TLS) or MT_ENOMEM; *out is empty then. */
int session_client(const struct session *s, struct session_client *out);
void session_client_fini(struct session_client *c); /* empty is allowed */
#endif
