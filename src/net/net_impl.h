/* net_impl.h - what the .c files of sessions, listeners and the libwebsockets host share. Not for other layers.
 *
 * One `struct net` per worker. Everything runs on the worker's thread. Callbacks to the layers above are only made from two places: while bytes
 * of a session are consumed (on_request, on_message) and from the flush at the end of a turn (on_drain, on_closed, on_gone), so that
 * no call of session.h ever calls back into its caller.
 */
#ifndef MT_NET_NET_IMPL_H
#define MT_NET_NET_IMPL_H
#include "base/ip.h"
#include "base/seldom.h"
#include "net/address.h"
#include "net/deflate.h"
#include "net/net.h"
#include "net/quota.h"
#include "net/slow.h"
#include "net/tls_line.h"
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
    NET_PIPELINE_MAX = 64 * 1024, /* queued answers past which a pipelining client has to wait */
    NET_RATED_READ = 16 * 1024, /* read at a time where rates may leave it waiting in memory */
    NET_REFUSING_MS = 3000, /* that each socket past a limit has for its request, and for a PROXY header */
    NET_ADDRESSES_MAX = 65536, /* remembered for their handshakes alone */
    NET_BYTES_PER_MS = 1 /* slower than this nobody sends a body or takes an answer, on average */
};

/* An address that was bound, with a socket for each net. */
struct bound {
    struct address address; /* with the port that was chosen */
    int *fds;               /* owned; by worker, -1 where that one has taken it. Those of unix sockets are copies of one */
    unsigned count;         /* of fds */
    unsigned how;           /* NET_TLS, NET_PROXY */
};

/* Addresses are written and read before the nets are at work, so they need no lock. */
struct net_shared {
    struct tls_store *tls; /* certificates and ticket keys, NULL without TLS */
    atomic_size_t sockets; /* with a place in any of the nets, and being accepted */
    atomic_size_t waiting; /* in the lines of all nets */
    struct quota *addresses; /* what each takes */
    struct bound *bounds;  /* owned */
    size_t bound_count;
};

/* Why a session gets an answer and nothing else. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_ADDRESS, /* its address has too many sockets: 429 */
    REFUSAL_FULL     /* waited in line for too long: 503 */
};

/* An accepted socket that is no session yet. */
struct arrival {
    int fd;       /* owned */
    bool secure;  /* through a TLS listener */
    bool local;   /* a unix socket */
    bool counted; /* for its address: quota_leave is owed */
    bool proxied; /* a PROXY header is to come */
    bool hidden, proxy_tls; /* as in struct session */
    enum refusal refusal;   /* as there; with one it has no place */
    uint64_t handshake_ms;  /* what is left for TLS and the request head; 0: all of handshake_timeout */
    struct ip ip; /* of the peer, or of the client that the PROXY header names */
};

/* Those that wait for a place. */
struct line {
    struct list_node waiters;
    size_t count;
    struct loop_timer tick; /* runs while somebody waits */
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
    struct seldom unlisted;         /* lines about what looks like a proxy on this machine and is not listed */
    struct seldom unproxied;        /* lines about what came to proxy+ listeners */
    struct seldom bad_certs;        /* lines about client certificates that were refused */
    struct net_shared *shared;      /* borrowed: certificates, addresses, the count of all sockets */
    unsigned worker;                /* number of this one, from 1; 0: the only one */
    struct deflate *deflate;        /* shared by all sessions */
    struct outbox_pool *pool;       /* shared by all outboxes */
    struct buf inflated;            /* the incoming message at hand; apart from deflated, which its handler may need */
    struct buf deflated;            /* the outgoing message at hand */
    unsigned char *read_buffer;     /* NET_READ_SIZE */
    struct list_node listeners;     /* struct listener */
    struct list_node proxied;       /* struct proxied: sockets whose PROXY header is to come */
    struct list_node sessions;      /* every struct session */
    struct list_node woken;         /* sessions with read bytes to go on with (session->woken) */
    struct tls_line tls_line;       /* TLS handshakes that wait for their turn */
    struct seldom storms;           /* lines about more of them than can be served */
    struct slow_readers slow;       /* WebSocket sessions whose outbox is over its limit */
    struct list_node ended;         /* sessions that owe on_closed or are to be reaped (session->ended) */
    struct list_node drained;       /* sessions that owe on_drain (session->drained) */
    struct session *dirty;          /* first of the sessions with bytes to flush, linked by next_dirty */
    struct session **dirty_tail;
    size_t count;                   /* open sockets, without those in line */
    struct line line;
    size_t refusing;                /* sockets that are told of a limit */
    struct seldom delays, floods, crowds, lines, unserved; /* lines about rates, addresses and the waiting line */
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

struct session_rates;

/* One HTTP exchange; lives from the head to the end of the answer. */
struct exchange {
    struct http_request request; /* slices into head */
    struct buf head;             /* its bytes */
    struct buf body;             /* decoded */
    uint64_t body_since;         /* loop time at which the head was complete */
    size_t scanned;              /* how far the search for the end of the head went */
    struct http_chunks chunks;
    struct upgrade_deflate deflate; /* negotiated for an upgrade */
    bool upgrade, chunked_answer, keep_alive;
    bool secure;                 /* the client came by TLS */
    int file;                    /* static file on its way, -1 for none */
    off_t file_at;
    uint64_t file_left;
};

struct session {
    struct net *net;
    struct lws *wsi;             /* owns the socket and ssl; NULL before a TLS handshake begins, and once libwebsockets has closed it */
    SSL *ssl;                    /* NULL on plain sockets */
    struct loop_fd *fd;          /* polls the socket; owned by the host */
    void *owner;                 /* of the layer above */
    struct exchange *exchange;   /* NULL between requests and after the upgrade */
    struct list_node in_net;     /* in net->sessions */
    struct list_node woken;      /* in net->woken; before that, while TLS waits for its turn, in net->tls_line */
    struct list_node ended;      /* in net->ended */
    struct list_node drained;    /* in net->drained */
    struct session *next_dirty;  /* in net->dirty */
    struct loop_timer timer;     /* handshake, idle, ping or close, by state */
    struct outbox outbox;
    struct slow *slow;           /* owned; NULL while it keeps up */
    struct frame_decoder decoder;
    struct session_rates *rates; /* how much it may send, NULL without limits */
    struct buf unread;           /* read from the socket, not consumed yet */
    struct buf message;          /* fragments of the message under way */
    struct buf record;           /* TLS bytes that SSL_write wants to see again */
    uint64_t sent;               /* bytes that the system has taken */
    int64_t taken;               /* those of them that the client had taken when stall.c looked last */
    uint64_t line_since;         /* loop time at which it came into net->tls_line */
    uint64_t ping_at;            /* clock_us of the ping that is out, 0 while none is */
    float latency;               /* seconds, negative when unknown */
    uint32_t utf8;               /* state over the text message under way */
    uint32_t message_limit;      /* bytes of one message */
    uint32_t missed;             /* messages that were dropped because it read too slowly */
    uint32_t lingered;           /* bytes dropped in SESSION_LINGER */
    uint16_t pauses;             /* session_pause minus session_resume */
    uint16_t close_code;         /* for on_closed */
    uint8_t state;               /* enum session_state */
    uint8_t deflate_bits;        /* window we compress with, 0 without permessage-deflate */
    uint8_t refusal;             /* enum refusal; one that is refused has no place among the connections */
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
    bool proxy_tls : 1;          /* the client came by TLS to a proxy that said so in its PROXY header */
    bool hidden : 1;             /* a proxy did not say who the client is: what its requests say of that is not believed either */
    bool from_unix : 1;          /* the other end is a unix socket */
    bool unix_client : 1;        /* and so is the client: no proxy has named another */
    bool loopback : 1;           /* the client is known to be on this machine */
    bool counts_from : 1;        /* for the address in `from`: quota_leave is owed */
    bool counts_client : 1;      /* for the one in `ip`, which no request changes after that */
    bool ping_waits : 1;         /* a ping is out and nothing was received since */
    bool served : 1;             /* at least one request was answered: idle_timeout applies */
    bool watched : 1;            /* it has to take its answer (stall.c) */
    bool grace_spent : 1;        /* net_options.outbox_grace is over, and the outbox has not been empty since */
    bool want_write : 1;         /* TLS wants POLLOUT to go on reading */
    struct ip from;              /* of the other end: the client or a proxy; zero on unix sockets */
    struct ip ip;                /* of the client, for the request at hand; zero on unix sockets */
    char peer[IP_TEXT_SIZE];     /* the same as text, or "unix" */
    char *close_reason;          /* for on_closed, NULL for none */
};

/* ---- session.c: life, bytes in and out ---- */
/* NULL when memory runs out; the caller starts its timer and hands fd to the host. At its end comes arrive_gone. */
struct session *session_create(struct net *n, int fd, bool secure);
/* Who is at the other end of the connection: `ip` NULL is a unix socket. Until a proxy says otherwise that is the client. After
 * s->hidden is known. */
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
void session_timed_out(struct session *s);                    /* killed, and counted as such */
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
void session_http_late(struct session *s, const char *reason); /* the same with 408 */
void session_http_body_timer(struct session *s);

/* ---- session_access.c ---- */
/* The head of a request is there: who sent it (s->ip, s->peer and s->loopback are the client's from here on), and may they? False:
 * it was refused. Whatever else depends on the client's address belongs behind this. */
bool session_admit(struct session *s);
/* A connection from a stranger, before anything else: false when it is to be closed at once, unanswered. */
bool session_may_open(struct net *n, const struct ip *peer);

/* ---- stall.c ---- */
bool stall_applies(const struct session *s); /* an HTTP answer is on its way, or was */
void stall_watch(struct session *s);         /* the socket takes no more of it */
void stall_timer(struct session *s);         /* the timer has fired while it is watched */
void stall_end(struct session *s);           /* all has left */

/* ---- session_ws.c ---- */
size_t session_ws_consume(struct session *s, unsigned char *data, size_t len);
void session_ws_opened(struct session *s);
void session_ws_timer(struct session *s);
void session_ws_fail(struct session *s, unsigned code, const char *reason); /* the peer broke a rule: close frame, then linger */
void session_ws_end(struct session *s, unsigned code, const char *reason); /* the same where no rule was broken */
void session_ws_sent(struct session *s);                      /* the outbox is empty: tell of dropped messages */
void session_ws_overflow(struct session *s);                  /* it reads too slowly: what is queued is lost, 1013 */
void session_ws_missed(struct session *s, uint32_t count);    /* so many messages for it were dropped */
void session_ws_pong(struct session *s, const void *data, size_t len);

/* ---- session_rate.c: only session_rate_set and _update for sessions without s->rates ---- */
/* The limits of its route; those of net_options count besides. 0 or MT_ENOMEM. */
int session_rate_set(struct session *s, const struct rate *messages, const struct rate *bytes);
void session_rate_update(struct session *s); /* net_options have changed */
/* Before more of what was read is looked at. False: reading is paused until there is room again. */
bool session_rate_ready(struct session *s);
/* After `bytes` were taken, with so many whole messages. False: the session was ended with 1008. */
bool session_rate_charge(struct session *s, unsigned messages, size_t bytes);
void session_rate_free(struct session *s);

/* ---- arrive.c ---- */
/* Take a place, before accept(); false: whoever comes has to wait in line. */
bool arrive_has_place(struct net *n);
bool arrive_has_room(const struct net *n); /* for one more socket, with a place or in line */
void arrive(struct net *n, struct arrival *a, bool place);        /* `place`: arrive_has_place took one */
void arrive_begin(struct net *n, struct arrival *a);              /* with a place, or to be refused */
void arrive_refuse(struct net *n, struct arrival *a, enum refusal why);
void arrive_drop(struct net *n, struct arrival *a);               /* close it */
void arrive_leave(struct net *n, struct arrival *a);              /* it is about to get another address, or to end */
void arrive_gone(struct session *s);                              /* gives back what it had */
void arrive_answer(struct session *s);                            /* to the request of a session that is refused */
/* A handshake, its client is known. False: that has enough, and heard so. */
bool arrive_handshake(struct session *s);

/* ---- line.c ---- */
void line_init(struct net *n);
bool line_has_room(const struct net *n);
int line_add(struct net *n, const struct arrival *a); /* 0; MT_ENOMEM or MT_EIO, and the socket stays the caller's */
void line_serve(struct net *n);       /* with the places that are free */
void line_place_freed(struct net *n); /* by a session of this net */
void line_clear(struct net *n);       /* close all */

/* ---- net.c ---- */
/* A warning about a client, as seldom.h says. */
void net_tell(struct net *n, struct seldom *kind, struct slice peer, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- listen.c ---- */
void listen_close_all(struct net *n);
void listen_resume_all(struct net *n); /* where there is room: accepting goes on */

/* ---- lws_host.c: the only file that includes libwebsockets ---- */
int host_create(struct net *n, char **error);
void host_destroy(struct lws_host *h);
/* Take an accepted socket over; the host owns fd from here on, also on failure. A plain one goes to libwebsockets at once, one with TLS
 * when its client has said something and its turn has come (tls_line.h). 0 or MT_EIO. */
int host_adopt(struct lws_host *h, struct session *s, int fd);
/* The next step of a TLS handshake whose socket is ready. */
void host_handshake(struct session *s);
/* The session of a socket that was adopted, NULL when there is none. */
struct session *host_session(const struct lws_host *h, int fd);
/* Close the socket and free the wsi, at once. Never inside one of its callbacks. */
void host_close(struct session *s);

/* ---- shared.c ---- */
/* Count one more socket; false at the limit. Taken before accept(), so that the workers never pass it together: what one holds
 * for the moment may make a client of another wait in line without need, for a moment. Given back when the session is reaped.
 * Any thread. */
bool shared_take_socket(struct net_shared *s, size_t limit);
void shared_give_socket(struct net_shared *s);
void shared_enter_line(struct net_shared *s);
void shared_leave_line(struct net_shared *s);
size_t shared_waiting(const struct net_shared *s); /* in all lines. Any thread */
/* Room for `count` sockets of one address, without any yet. NULL when memory runs out. Valid until the next. */
struct bound *shared_add_bound(struct net_shared *s, unsigned count);
void shared_drop_bound(struct net_shared *s);               /* close the newest again */
struct bound *shared_bound(struct net_shared *s, size_t i); /* NULL past the end */

/* ---- tls.c: all but attach for any thread ---- */
/* `now` gives milliseconds that only go forward (clock_ms). */
int tls_store_create(const struct net_tls_file *files, size_t count, uint64_t (*now)(void), struct tls_store **out, char **error);
void tls_store_destroy(struct tls_store *t);
int tls_store_reload(struct tls_store *t, char **error);
/* From now on ask clients for certificates too. Before the first attach. Same results. */
int tls_store_ask_clients(struct tls_store *t, const struct net_tls_clients *c, char **error);
/* Certificate choice, client certificates, tickets, protocol versions, ciphers. Borrows t, and n for what it counts and logs. */
void tls_store_attach(struct tls_store *t, SSL_CTX *ctx, struct net *n);
#endif
