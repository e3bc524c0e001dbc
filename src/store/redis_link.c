/* redis_link.c */
#include "store/redis_link.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/redis_op.h"
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ADDRESSES_MAX = 8,
    CONNECT_MS = 3000,     /* for the name, or one address with the greeting */
    PIECE = 65536,         /* bytes read at once */
    REPLY_MAX = 256 << 20, /* bytes of a reply that is not whole yet: a page of a scan has 4 MiB and a bit */
};

enum link_state { LINK_OFF, LINK_RESOLVING, LINK_CONNECTING, LINK_GREETING, LINK_READY };

struct address {
    struct sockaddr_storage bytes;
    socklen_t len;
};

/* The name's addresses; getaddrinfo blocks, so this is done off the loop. */
struct resolve {
    struct redis_link *link; /* NULL: it is no more. Loop thread */
    char *host, *port;       /* owned */
    int error;               /* of getaddrinfo */
    struct address addresses[ADDRESSES_MAX];
    size_t count;
};

struct redis_link {
    struct loop *loop;
    const struct redis_url *url;
    const struct redis_link_events *events;
    void *arg;
    enum link_state state;
    struct resolve *resolve; /* under way, or NULL. One that takes too long serves the attempt that waits when it ends */
    struct address addresses[ADDRESSES_MAX];
    size_t count, at;        /* addresses, and the one that is tried next */
    int fd;                  /* -1: none */
    struct loop_fd *watch;   /* NULL: none */
    struct loop_timer timer; /* ends an attempt, or begins one */
    redisReader *reader;     /* of this connection */
    struct buf out;          /* what was not sent yet */
    unsigned greeting;       /* replies that are still to come before it is ready */
    bool telling;            /* `reply` is running: it may have dropped us */
};

/* ---- the end ---- */

static void close_socket(struct redis_link *k)
{
    if (k->watch)
        loop_fd_close(k->watch);
    if (k->fd >= 0)
        close(k->fd);
    k->watch = NULL;
    k->fd = -1;
}

static void switch_off(struct redis_link *k)
{
    close_socket(k);
    loop_timer_stop(k->loop, &k->timer);
    if (k->reader && !k->telling) /* inside of its reply it is freed on the way out */
        redisReaderFree(k->reader);
    k->reader = NULL;
    buf_clear(&k->out);
    k->state = LINK_OFF;
}

void redis_link_drop(struct redis_link *k, int code, const char *why)
{
    switch_off(k);
    k->events->lost(k->arg, code, why);
}

/* ---- reading ---- */

static bool greet(struct redis_link *k, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        int code = redis_op_error((struct slice){reply->str, (size_t)reply->len});
        redis_link_drop(k, code == MT_EINVALID ? MT_EREFUSED : code, reply->str); /* "ERR max number of clients reached" */
        return true;
    }
    if (reply->type != REDIS_REPLY_STATUS)
        return false;
    if (--k->greeting == 0) {
        k->state = LINK_READY;
        loop_timer_stop(k->loop, &k->timer);
        k->events->ready(k->arg);
    }
    return true;
}

/* Everything that is whole. False: the connection is gone, or another one. */
static bool take_replies(struct redis_link *k)
{
    redisReader *reader = k->reader;
    void *reply = NULL;
    bool fine = true;

    while (k->reader == reader && redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        k->telling = true;
        fine = k->state == LINK_READY ? k->events->reply(k->arg, reply) : greet(k, reply);
        k->telling = false;
        freeReplyObject(reply);
        if (!fine)
            break;
    }
    if (k->reader != reader) {
        redisReaderFree(reader);
        return false;
    }
    if (fine && !reader->err && reader->len - reader->pos < REPLY_MAX)
        return true;
    redis_link_drop(k, MT_EMALFORMED, "what answers there does not speak like Redis");
    return false;
}

static void read_socket(struct redis_link *k)
{
    static _Thread_local char piece[PIECE];
    ssize_t n = 1;

    while (n > 0 || (n < 0 && errno == EINTR)) {
        n = recv(k->fd, piece, sizeof(piece), 0);
        if (n > 0 && redisReaderFeed(k->reader, piece, (size_t)n) != REDIS_OK) {
            redis_link_drop(k, MT_ENOMEM, err_text(MT_ENOMEM));
            return;
        }
        if (n > 0 && !take_replies(k))
            return;
        if (n > 0 && n < (ssize_t)sizeof(piece))
            return; /* that was all for now */
    }
    if (n == 0)
        redis_link_drop(k, MT_ECLOSED, "the server closed the connection");
    else if (errno != EAGAIN)
        redis_link_drop(k, MT_ECLOSED, strerror(errno));
}

/* ---- writing ---- */

void redis_link_flush(struct redis_link *k)
{
    size_t sent = 0;
    ssize_t n = 0;

    while (sent < k->out.len && (n >= 0 || errno == EINTR)) {
        n = send(k->fd, k->out.data + sent, k->out.len - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        redis_link_drop(k, MT_ECLOSED, strerror(errno));
        return;
    }
    buf_drop(&k->out, sent);
    loop_fd_want(k->watch, k->out.len ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

struct buf *redis_link_out(struct redis_link *k)
{
    return &k->out;
}

bool redis_link_is_ready(const struct redis_link *k)
{
    return k->state == LINK_READY;
}

/* ---- connecting ---- */

static int add_login(struct redis_link *k)
{
    const struct redis_url *u = k->url;
    struct slice words[3] = {SLICE("AUTH"), buf_slice(&u->user), buf_slice(&u->password)};

    if (u->password.len == 0 && u->user.len == 0)
        return 0;
    k->greeting++;
    if (u->user.len)
        return redis_op_add(&k->out, words, 3);
    words[1] = words[2];
    return redis_op_add(&k->out, words, 2);
}

static int add_database(struct redis_link *k)
{
    char number[16];

    if (k->url->database == 0)
        return 0;
    k->greeting++;
    snprintf(number, sizeof(number), "%u", k->url->database);
    return redis_op_add(&k->out, (struct slice[]){SLICE("SELECT"), slice_of(number)}, 2);
}

static void start_greeting(struct redis_link *k)
{
    k->state = LINK_GREETING;
    k->greeting = 1;
    k->reader = redisReaderCreate();
    int rc = k->reader ? add_login(k) : MT_ENOMEM;
    if (rc == 0)
        rc = add_database(k);
    if (rc == 0)
        rc = redis_op_add(&k->out, &SLICE("PING"), 1); /* says whether it is still loading, or wants a password */
    if (rc != 0)
        redis_link_drop(k, rc, err_text(rc));
    else
        redis_link_flush(k);
}

static void on_socket(struct loop_fd *w, int events, void *arg);

static int code_of(int error)
{
    return error == ETIMEDOUT ? MT_ETIMEOUT : error == EACCES ? MT_EDENIED : MT_EREFUSED;
}

/* A connection that has begun, or an errno value. */
static int start_connect(struct redis_link *k, const struct address *a)
{
    int one = 1;

    k->fd = socket(a->bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (k->fd < 0)
        return errno;
    if (a->bytes.ss_family != AF_UNIX)
        setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(k->fd, (const struct sockaddr *)&a->bytes, a->len) != 0 && errno != EINPROGRESS)
        return errno;
    if (!(k->watch = loop_fd_open(k->loop, k->fd, on_socket, k)))
        return ENOMEM;
    loop_fd_want(k->watch, LOOP_WRITE);
    loop_timer_start(k->loop, &k->timer, CONNECT_MS);
    return 0;
}

/* The next address that lets itself be tried; after the last one it is lost, with what the last one said. */
static void try_next(struct redis_link *k, int error)
{
    k->state = LINK_CONNECTING;
    do {
        close_socket(k);
        if (k->at == k->count) {
            redis_link_drop(k, code_of(error), strerror(error));
            return;
        }
        error = start_connect(k, &k->addresses[k->at++]);
    } while (error != 0);
}

static void on_connected(struct redis_link *k)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0)
        try_next(k, error);
    else
        start_greeting(k);
}

static void on_socket(struct loop_fd *w, int events, void *arg)
{
    struct redis_link *k = arg;

    if (k->state == LINK_CONNECTING)
        on_connected(k);
    else if (events & LOOP_WRITE)
        redis_link_flush(k);
    if (k->watch == w && k->state >= LINK_GREETING && (events & (LOOP_READ | LOOP_HANGUP)))
        read_socket(k);
}

/* ---- names ---- */

static void resolve_name(void *arg)
{
    struct resolve *r = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *list = NULL;

    r->error = getaddrinfo(r->host, r->port, &hints, &list);
    for (struct addrinfo *a = r->error ? NULL : list; a && r->count < ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&r->addresses[r->count].bytes, a->ai_addr, a->ai_addrlen);
        r->addresses[r->count++].len = a->ai_addrlen;
    }
    if (list)
        freeaddrinfo(list);
}

static void free_resolve(struct resolve *r)
{
    mem_free(r->host);
    mem_free(r->port);
    mem_free(r);
}

static void on_resolved(void *arg, bool cancelled)
{
    struct resolve *r = arg;
    struct redis_link *k = r->link;

    if (k)
        k->resolve = NULL;
    if (k && !cancelled && k->state == LINK_RESOLVING) {
        memcpy(k->addresses, r->addresses, sizeof(k->addresses));
        k->count = r->count;
        k->at = 0;
        if (r->error)
            redis_link_drop(k, MT_EDNS, gai_strerror(r->error));
        else
            try_next(k, ENOENT);
    }
    free_resolve(r);
}

static bool ask_for_addresses(struct redis_link *k)
{
    struct resolve *r = mem_zalloc(1, sizeof(*r));

    if (!r)
        return false;
    r->link = k;
    r->host = mem_strdup((char *)k->url->host.data, k->url->host.len);
    r->port = mem_strdup((char *)k->url->port.data, k->url->port.len);
    if (!r->host || !r->port || loop_work(k->loop, resolve_name, on_resolved, r) != 0) {
        free_resolve(r);
        return false;
    }
    k->resolve = r;
    return true;
}

/* A name server that does not answer may keep getaddrinfo for long: nobody waits for it, and no second one is asked meanwhile. */
static bool start_resolve(struct redis_link *k)
{
    if (!k->resolve && !ask_for_addresses(k))
        return false;
    k->state = LINK_RESOLVING;
    loop_timer_start(k->loop, &k->timer, CONNECT_MS);
    return true;
}

static void use_unix_socket(struct redis_link *k)
{
    struct sockaddr_un *a = (struct sockaddr_un *)&k->addresses[0].bytes;

    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path, k->url->path.data, k->url->path.len);
    k->addresses[0].len = sizeof(*a);
    k->count = 1;
    k->at = 0;
    try_next(k, ENOENT);
}

/* It begins in a turn of its own, so that nobody is told inside of his own call. */
static void on_timer(struct loop_timer *timer)
{
    struct redis_link *k = list_entry(timer, struct redis_link, timer);

    if (k->state == LINK_CONNECTING)
        try_next(k, ETIMEDOUT);
    else if (k->state == LINK_GREETING)
        redis_link_drop(k, MT_ETIMEOUT, "the server does not answer");
    else if (k->state == LINK_RESOLVING)
        redis_link_drop(k, MT_EDNS, "looking up its name takes too long");
    else if (k->url->path.len)
        use_unix_socket(k);
    else if (!start_resolve(k))
        redis_link_drop(k, MT_ENOMEM, err_text(MT_ENOMEM));
}

void redis_link_connect(struct redis_link *k)
{
    assert(k->state == LINK_OFF);
    loop_timer_start(k->loop, &k->timer, 0);
}

/* ---- life ---- */

struct redis_link *redis_link_create(struct loop *l, const struct redis_url *url, const struct redis_link_events *events,
                                     void *arg)
{
    struct redis_link *k = mem_zalloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->loop = l;
    k->url = url;
    k->events = events;
    k->arg = arg;
    k->fd = -1;
    loop_timer_init(&k->timer, on_timer);
    return k;
}

void redis_link_destroy(struct redis_link *k)
{
    if (!k)
        return;
    switch_off(k);
    if (k->resolve)
        k->resolve->link = NULL;
    buf_fini(&k->out);
    mem_free(k);
}
