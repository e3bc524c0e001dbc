/* net_impl.h - what the .c files of sessions, listeners and the libwebsockets host share. Not for other layers.
 *
 * One `struct net` per worker. Everything runs on the worker's thread. Callbacks to the layers above are only made from two places: while bytes
 * of a session are consumed (on_request, on_message) and from the flush at the end of a turn (on_drain, on_closed, on_gone), so that
 * no call of session.h ever calls back into its caller.
 */
#ifndef MT_NET_NET_IMPL_H
#define MT_NET_NET_IMPL_H
#include "base/ip.h"
#include "net/address.h"
#include "net/deflate.h"
#include "net/net.h"
#include "net/upgrade.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct access;
struct lws;
struct lws_host;
struct tls_store;
struct listener;

enum {
    NET_READ_SIZE = 128 * 1024, /* of the read buffer that all sessions of a worker share */
    NET_FILE_PIECE = 64 * 1024, /* of a static file at a time */
    NET_PIPELINE_MAX = 64 * 1024 /* queued answers past which a pipelining client has to wait */
};

/* What worker 1 listens on, for the other workers. */
struct bound {
    struct address address; /* with the port that was chosen */
    size_t call;            /* which net_listen it came from, counted from 0 */
    unsigned takers;        /* workers that have not taken it up yet */
    int fd;                 /* unix sockets: a copy of the descriptor, -1 when the last has taken it. TCP: -1 */
    bool secure;
};

/* Addresses are written and read before the nets are at work, so they need no lock. */
struct net_shared {
    struct tls_store *tls; /* certificates and ticket keys, NULL without TLS */
    atomic_size_t sockets; /* open in all nets, and being accepted */
    struct bound *bounds;  /* owned */
    size_t bound_count;
};

/* What strangers can make happen as often as they like is told now and then. Zeroed memory is the start. */
struct seldom {
    uint64_t quiet_until; /* loop time */
    uint64_t unsaid;      /* since the last line */
};

struct net {
    struct loop *loop;
    struct log *log;
    const struct session_events *events;
    void *events_arg;
    struct net_options options;
    struct static_root *files;      /* borrowed, NULL for none */
    struct lws_host *host;          /* owns the libwebsockets context */
    struct access *access;          /* one reference, never NULL */
    struct seldom denials, foreign, unclear; /* lines about addresses, origins, and proxies that name no client */
    struct net_shared *shared;      /* borrowed: certificates, addresses, the count of all sockets */
    unsigned workers;               /* nets that share, at least 1 */
    bool several;                   /* more than 1 */
    bool follows;                   /* not the first of them: listens where that one does */
    size_t listen_calls;            /* of net_listen so far */
    struct deflate *deflate;        /* shared by all sessions */
    struct outbox_pool *pool;       /* shared by all outboxes */
    struct buf inflated;            /* the incoming message at hand; apart from deflated, which its handler may need */
    struct buf deflated;            /* the outgoing message at hand */
    unsigned char *read_buffer;     /* NET_READ_SIZE */
    struct list_node listeners;     /* struct listener */
    struct list_node sessions;      /* every struct session */
    struct list_node woken;         /* sessions with read bytes to go on with (session->woken) */
    struct list_node ended;         /* sessions that owe on_closed or are to be reaped (session->ended) */
    struct list_node drained;       /* sessions that owe on_drain (session->drained) */
    struct session *dirty;          /* first of the sessions with bytes to flush, linked by next_dirty */
    struct session **dirty_tail;
    size_t count;                   /* open sockets */
    bool stopped;                   /* no longer listening */
    struct net_stats stats;
};

enum session_state {
    SESSION_TLS,       /* libwebsockets does the handshake */
    SESSION_HEAD,      /* waits for a request head */
    SESSION_BODY,      /* reads its body */
    SESSION_PENDING,   /* the owner owes an answer */
    SESSION_ANSWERING, /* the answer is leaving (stream or file) */
    SESSION_OPEN,      /* WebSocket */
    SESSION_CLOSING,   /* our close frame is queued or sent; waits for the peer's */
    SESSION_LINGER,    /* write side shut down; reads and drops until the peer closes */
    SESSION_DEAD       /* to be reaped at the end of the turn */
};

/* One HTTP exchange; lives from the head to the end of the answer. */
struct exchange {
    struct http_request request; /* slices into head */
    struct buf head;             /* its bytes */
    struct buf body;             /* decoded */
    size_t scanned;              /* how far the search for the end of the head went */
    struct http_chunks chunks;
    struct upgrade_deflate deflate; /* negotiated for an upgrade */
    bool upgrade, chunked_answer, keep_alive;
    int file;                    /* static file on its way, -1 for none */
    off_t file_at;
    uint64_t file_left;
};

struct session {
    struct net *net;
    struct lws *wsi;             /* owns fd and ssl; NULL once libwebsockets has closed it */
    SSL *ssl;                    /* NULL on plain sockets */
    struct loop_fd *fd;          /* polls the socket; owned by the host */
    void *owner;                 /* of the layer above */
    struct exchange *exchange;   /* NULL between requests and after the upgrade */
    struct list_node in_net;     /* in net->sessions */
    struct list_node woken;      /* in net->woken */
    struct list_node ended;      /* in net->ended */
    struct list_node drained;    /* in net->drained */
    struct session *next_dirty;  /* in net->dirty */
    struct loop_timer timer;     /* handshake, idle, ping or close, by state */
    struct outbox outbox;
    struct frame_decoder decoder;
    struct buf unread;           /* read from the socket, not consumed yet */
    struct buf message;          /* fragments of the message under way */
    struct buf record;           /* TLS bytes that SSL_write wants to see again */
    uint64_t ping_at;            /* clock_us of the ping that is out, 0 while none is */
    float latency;               /* seconds, negative when unknown */
    uint32_t utf8;               /* state over the text message under way */
    uint32_t message_limit;      /* bytes of one message */
    uint32_t lingered;           /* bytes dropped in SESSION_LINGER */
    uint16_t pauses;             /* session_pause minus session_resume */
    uint16_t close_code;         /* for on_closed */
    uint8_t state;               /* enum session_state */
    uint8_t deflate_bits;        /* window we compress with, 0 without permessage-deflate */
    bool is_dirty : 1;           /* in net->dirty */
    bool want_drain : 1;         /* the owner waits for an empty outbox */
    bool accepted : 1;           /* WebSocket: on_closed is owed or was told */
    bool told : 1;               /* the owner knows it: on_gone is owed */
    bool closed_told : 1;        /* on_closed was called */
    bool close_due : 1;          /* on_closed is to be called at the end of the turn */
    bool finish : 1;             /* once the outbox is empty: shut down and linger */
    bool write_shut : 1;         /* the write side was shut down */
    bool blocked : 1;            /* the socket takes no more bytes now */
    bool secure : 1;             /* came in through a TLS listener */
    bool from_unix : 1;          /* the other end is a unix socket */
    bool unix_client : 1;        /* and so is the client: no proxy has named another */
    bool loopback : 1;           /* the client is on this machine */
    bool ping_waits : 1;         /* a ping is out and nothing was received since */
    bool served : 1;             /* at least one request was answered: idle_timeout applies */
    bool want_write : 1;         /* TLS wants POLLOUT to go on reading */
    struct ip from;              /* of the other end: the client or a proxy; zero on unix sockets */
    struct ip ip;                /* of the client, for the request at hand; zero on unix sockets */
    char peer[IP_TEXT_SIZE];     /* the same as text, or "unix" */
    char *close_reason;          /* for on_closed, NULL for none */
};

/* ---- session.c: life, bytes in and out ---- */
/* For a socket that shared_take_socket has counted; the session gives that back. NULL when memory runs out; the caller hands fd
 * to the host. */
struct session *session_create(struct net *n, int fd, bool secure);
/* Who is at the other end of the connection: `ip` NULL is a unix socket. Until a proxy says otherwise that is the client. */
void session_set_peer(struct session *s, const struct ip *ip);
/* Who the client is, from here on. */
void session_set_client(struct session *s, const struct ip *ip);
void session_start(struct session *s);                        /* plain: at once; TLS: when the handshake is done */
void session_on_host_closed(struct session *s);               /* libwebsockets closed the socket */
void session_mark_dirty(struct session *s);
void session_wake(struct session *s);                         /* go on with s->unread at the end of this turn */
void session_update_poll(struct session *s);                  /* poll for what the state wants */
void session_kill(struct session *s);                         /* dead: on_closed(1006) where owed, reaped at the end of the turn */
void session_retire(struct session *s);                       /* no more requests: what is queued leaves, then the end */
void session_finish(struct session *s);                       /* flush, shut down, linger */
void session_owe_closed(struct session *s, unsigned code, struct slice reason);
void session_set_timer(struct session *s, uint64_t ms);
bool session_reads(const struct session *s);
size_t session_consume(struct session *s, unsigned char *data, size_t len);
void session_turn_end(struct net *n);                         /* the flush hook */
void session_fd_event(struct loop_fd *w, int events, void *arg);

/* ---- session_http.c ---- */
size_t session_http_consume(struct session *s, unsigned char *data, size_t len);
void session_http_sent(struct session *s);                    /* the outbox is empty: next piece of a file */
void session_http_free(struct session *s);
void session_http_fail(struct session *s, int status, const char *reason); /* the request is malformed: answer and close */
/* Answer and close: it is understood, but may not. `head` has further header lines, each with its CRLF. */
void session_http_refuse(struct session *s, int status, const char *head, const char *reason);

/* ---- session_access.c ---- */
/* The head of a request is there: who sent it (s->ip, s->peer and s->loopback are the client's from here on), and may they? False:
 * it was refused. Whatever else depends on the client's address belongs behind this. */
bool session_admit(struct session *s);
/* A connection from a stranger, before anything else: false when it is to be closed at once, unanswered. */
bool session_may_open(struct net *n, const struct ip *peer);

/* ---- session_ws.c ---- */
size_t session_ws_consume(struct session *s, unsigned char *data, size_t len);
void session_ws_opened(struct session *s);
void session_ws_timer(struct session *s);
void session_ws_fail(struct session *s, unsigned code, const char *reason); /* the peer broke a rule: close frame, then linger */
void session_ws_sent(struct session *s);                      /* the outbox is empty: tell of dropped messages */

/* ---- net.c ---- */
/* Whether to write a line now, at most one in ten seconds; then *unsaid are those that were left out before it. */
bool net_tells(struct net *n, struct seldom *kind, uint64_t *unsaid);

/* ---- listen.c ---- */
void listen_close_all(struct net *n);
void listen_resume_all(struct net *n); /* after a socket was closed: accepting may go on */

/* ---- lws_host.c: the only file that includes libwebsockets ---- */
int host_create(struct net *n, char **error);
void host_destroy(struct lws_host *h);
/* Give an accepted socket to libwebsockets; it owns fd from here on, also on failure. 0 or MT_EIO. */
int host_adopt(struct lws_host *h, struct session *s, int fd);
/* Close the socket and free the wsi, at once. Never inside one of its callbacks. */
void host_close(struct session *s);

/* ---- shared.c ---- */
/* Count one more socket; false at the limit. Taken before accept(), so that the workers never pass it together: what one holds
 * for the moment may make another pause without need. Given back when the session is reaped. Any thread. */
bool shared_take_socket(struct net_shared *s, size_t limit);
void shared_give_socket(struct net_shared *s);
int shared_add_bound(struct net_shared *s, const struct bound *b); /* takes b->fd, also when it fails: MT_ENOMEM */
struct bound *shared_bound(struct net_shared *s, size_t i);        /* NULL past the end */

/* ---- tls.c: all but attach for any thread ---- */
/* `now` gives milliseconds that only go forward (clock_ms). */
int tls_store_create(const struct net_tls_file *files, size_t count, uint64_t (*now)(void), struct tls_store **out, char **error);
void tls_store_destroy(struct tls_store *t);
int tls_store_reload(struct tls_store *t, char **error);
void tls_store_attach(struct tls_store *t, SSL_CTX *ctx); /* certificate choice, tickets, protocol versions, ciphers. Borrows t */
const struct net_tls_file *tls_store_default(const struct tls_store *t);
const char *tls_passphrase(void);
#endif
