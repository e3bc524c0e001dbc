/* session.c - the life of a session: bytes in, bytes out, timers, the end of a turn, the end.
 *
 * What the bytes mean is in session_http.c and session_ws.c. Ending has two steps: session_kill marks and stops everything at once;
 * the flush hook tells the owner and closes the socket, outside of all callbacks.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

enum { SESSION_LINGER_MS = 1000, SESSION_LINGER_BYTES = 8 * 1024 * 1024, SESSION_FLUSH_ROUNDS = 8, SESSION_TLS_RECORD = 16 * 1024 };
enum { TRANSPORT_AGAIN = -1, TRANSPORT_DEAD = -2 };

static void session_timer(struct loop_timer *t);

struct session *session_create(struct net *n, int fd, bool secure)
{
    struct session *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->net = n;
    s->secure = secure;
    s->state = secure ? SESSION_TLS : SESSION_HEAD;
    s->latency = -1;
    list_init(&s->woken);
    list_init(&s->ended);
    list_init(&s->drained);
    list_add_tail(&n->sessions, &s->in_net);
    loop_timer_init(&s->timer, session_timer);
    n->count++;
    return s;
}

void session_set_peer(struct session *s, const struct ip *ip)
{
    s->from_unix = !ip;
    s->from = ip ? *ip : (struct ip){{0}};
    session_set_client(s, ip);
}

void session_set_client(struct session *s, const struct ip *ip)
{
    s->unix_client = !ip;
    s->loopback = !s->hidden && (!ip || ip_is_loopback(ip));
    s->ip = ip ? *ip : (struct ip){{0}};
    if (ip)
        ip_text(ip, s->peer);
    else
        strcpy(s->peer, "unix");
}

void session_start(struct session *s)
{
    s->state = SESSION_HEAD; /* the timer of its arrival goes on: it bounds TLS and the head together */
    session_update_poll(s);
    if (s->unread.len || s->ssl)
        session_wake(s); /* the first request may be inside OpenSSL already */
}

void session_set_timer(struct session *s, uint64_t ms)
{
    if (ms)
        loop_timer_start(s->net->loop, &s->timer, ms);
    else
        loop_timer_stop(s->net->loop, &s->timer);
}

/* ---- polling ---- */

bool session_reads(const struct session *s)
{
    switch (s->state) {
    case SESSION_HEAD:
        return s->outbox.bytes < NET_PIPELINE_MAX;
    case SESSION_BODY:
    case SESSION_CLOSING:
    case SESSION_LINGER:
        return true;
    case SESSION_OPEN:
        return s->pauses == 0;
    default:
        return false;
    }
}

/* A handshake that waits for its answer: when the client goes nobody is left to hear it. Who waits for a page may have shut only its
 * own side. */
static bool is_undecided(const struct session *s)
{
    return s->state == SESSION_PENDING && s->exchange->upgrade;
}

void session_update_poll(struct session *s)
{
    if (!s->fd || s->state == SESSION_TLS)
        return;
    int events = session_reads(s) ? LOOP_READ : 0;
    if (s->blocked || s->want_write)
        events |= LOOP_WRITE;
    if (is_undecided(s))
        events |= LOOP_HANGUP;
    if (s->state == SESSION_DEAD)
        events = 0;
    if (loop_fd_want(s->fd, events))
        session_kill(s);
}

/* ---- the transport: plain or TLS ---- */

/* Bytes read, 0 at the end of the stream, TRANSPORT_AGAIN or TRANSPORT_DEAD. */
static ssize_t transport_read(struct session *s, void *data, size_t size)
{
    if (!s->ssl) {
        ssize_t n = recv(loop_fd_fileno(s->fd), data, size, 0);
        return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? TRANSPORT_AGAIN : TRANSPORT_DEAD;
    }
    ERR_clear_error();
    int n = SSL_read(s->ssl, data, size > INT32_MAX ? INT32_MAX : (int)size);
    if (n > 0)
        return n;
    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        return TRANSPORT_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->want_write = true;
        return TRANSPORT_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        ERR_clear_error();
        return TRANSPORT_DEAD;
    }
}

/* One SSL_write of `len` bytes: taken, 0 when it blocks (the caller repeats the same bytes), negative when dead. */
static ssize_t tls_write(struct session *s, const void *data, size_t len)
{
    ERR_clear_error();
    int n = SSL_write(s->ssl, data, (int)len);
    if (n > 0)
        return n;
    int why = SSL_get_error(s->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : TRANSPORT_DEAD;
}

/* The record that SSL_write could not send: it must see the same bytes again. 1 when it is out, 0 blocked, negative dead. */
static int tls_flush_record(struct session *s)
{
    while (s->record.len) {
        ssize_t n = tls_write(s, s->record.data, s->record.len);
        if (n <= 0)
            return (int)n;
        buf_drop(&s->record, (size_t)n);
    }
    buf_fini(&s->record);
    return 1;
}

/* Merge up to one record of bytes into OpenSSL. */
static ssize_t tls_writev(struct session *s, const struct iovec *iov, int n)
{
    unsigned char record[SESSION_TLS_RECORD];
    size_t len = 0;

    int rc = tls_flush_record(s);
    if (rc <= 0)
        return rc;
    const void *data = iov[0].iov_base;
    if (n == 1 || iov[0].iov_len >= sizeof record) {
        len = iov[0].iov_len < sizeof record ? iov[0].iov_len : sizeof record;
    } else {
        for (int i = 0; i < n && len < sizeof record; i++) {
            size_t piece = iov[i].iov_len < sizeof record - len ? iov[i].iov_len : sizeof record - len;
            memcpy(record + len, iov[i].iov_base, piece);
            len += piece;
        }
        data = record;
    }
    ssize_t sent = tls_write(s, data, len);
    if (sent != 0)
        return sent;
    return buf_add(&s->record, data, len) ? TRANSPORT_DEAD : (ssize_t)len;
}

/* outbox_write_fn */
static ssize_t session_writev(void *arg, const struct iovec *iov, int n)
{
    struct session *s = arg;
    ssize_t sent;

    if (s->ssl) {
        sent = tls_writev(s, iov, n);
    } else {
        struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
        int fd = loop_fd_fileno(s->fd);
        sent = n == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL) : sendmsg(fd, &m, MSG_NOSIGNAL);
        if (sent < 0)
            sent = errno == EAGAIN || errno == EINTR ? 0 : TRANSPORT_DEAD;
    }
    if (sent > 0) {
        s->sent += (uint64_t)sent;
        s->net->stats.bytes_out += (uint64_t)sent;
    }
    return sent;
}

/* ---- reading ---- */

/* Bytes behind the end are dropped, for a while: a client that goes on sending is reset. */
static void drop_lingering(struct session *s, size_t len)
{
    s->lingered += (uint32_t)len;
    if (s->lingered > SESSION_LINGER_BYTES)
        session_kill(s);
}

size_t session_consume(struct session *s, unsigned char *data, size_t len)
{
    size_t used = 0;

    while (used < len) {
        size_t n;
        switch (s->state) {
        case SESSION_HEAD:
        case SESSION_BODY:
            n = session_http_consume(s, data + used, len - used);
            break;
        case SESSION_OPEN:
        case SESSION_CLOSING:
            n = session_ws_consume(s, data + used, len - used);
            break;
        case SESSION_LINGER:
            drop_lingering(s, len - used);
            return len;
        case SESSION_DEAD:
            return len;
        default:
            return used;
        }
        used += n;
        if (n == 0)
            break;
    }
    return used;
}

/* Bytes are in the read buffer; keep what nobody takes yet. */
static void session_take(struct session *s, unsigned char *data, size_t len)
{
    buf_clear(&s->unread); /* they are in `data`: what is in unread came behind the bytes at hand */
    size_t used = session_consume(s, data, len);

    if (used == len || s->state == SESSION_DEAD)
        buf_fini(&s->unread); /* an idle connection holds no buffer */
    else if (buf_add(&s->unread, data + used, len - used))
        session_kill(s);
}

void session_retire(struct session *s)
{
    bool answered = s->state == SESSION_HEAD || (s->state == SESSION_LINGER && !s->write_shut);

    if (answered && session_buffered(s)) {
        s->state = SESSION_ANSWERING; /* reads no more */
        session_finish(s);
        session_update_poll(s);
    } else {
        session_kill(s);
    }
}

static void session_read(struct session *s)
{
    struct net *n = s->net;

    size_t most = s->rates ? NET_RATED_READ : NET_READ_SIZE;

    do {
        size_t have = s->unread.len;
        if (have)
            memcpy(n->read_buffer, s->unread.data, have);
        ssize_t got = have < most ? transport_read(s, n->read_buffer + have, most - have) : TRANSPORT_AGAIN;
        if (got == TRANSPORT_AGAIN)
            break;
        if (got <= 0) {
            session_retire(s); /* a client may shut its write side down behind its last request and still read the answer */
            return;
        }
        s->ping_waits = false;
        n->stats.bytes_in += (uint64_t)got;
        session_take(s, n->read_buffer, have + (size_t)got);
    } while (s->ssl && session_reads(s) && SSL_pending(s->ssl) > 0);
    session_update_poll(s);
}

void session_wake(struct session *s)
{
    if (list_empty(&s->woken) && s->state != SESSION_DEAD) {
        list_add_tail(&s->net->woken, &s->woken);
        loop_again(s->net->loop);
    }
}

/* After a pause: first what was read before it, then what OpenSSL holds (no poll event comes for that). */
static void session_go_on(struct session *s)
{
    if (s->state == SESSION_DEAD || s->state == SESSION_TLS)
        return;
    if (s->unread.len && session_reads(s)) {
        size_t len = s->unread.len;
        memcpy(s->net->read_buffer, s->unread.data, len);
        session_take(s, s->net->read_buffer, len);
    }
    if (s->ssl && session_reads(s))
        session_read(s);
    else
        session_update_poll(s);
}

void session_fd_event(struct loop_fd *w, int events, void *arg)
{
    struct session *s = arg;

    if (events & (LOOP_WRITE | LOOP_HANGUP)) { /* HANGUP: who does not read now learns of the end by writing */
        s->blocked = s->want_write = false;
        session_mark_dirty(s);
    }
    if (s->state == SESSION_DEAD)
        return;
    if ((events & LOOP_HANGUP) && is_undecided(s))
        session_kill(s);
    else if (session_reads(s))
        session_read(s); /* also after HANGUP: reads to the end, then the end shows as 0 or an error */
    else
        session_update_poll(s);
}

/* ---- writing ---- */

void session_mark_dirty(struct session *s)
{
    struct net *n = s->net;

    if (s->is_dirty)
        return;
    s->is_dirty = true;
    s->next_dirty = NULL;
    *n->dirty_tail = s;
    n->dirty_tail = &s->next_dirty;
}

static void session_shut_write(struct session *s)
{
    s->write_shut = true;
    s->state = SESSION_LINGER;
    if (s->ssl) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        ERR_clear_error();
    }
    shutdown(loop_fd_fileno(s->fd), SHUT_WR);
    session_set_timer(s, SESSION_LINGER_MS);
    buf_fini(&s->unread);
    session_update_poll(s);
}

void session_finish(struct session *s)
{
    s->finish = true;
    session_mark_dirty(s);
}

/* Everything queued has left. */
static void session_sent(struct session *s)
{
    if (s->state == SESSION_ANSWERING)
        session_http_sent(s);
    else if (s->state == SESSION_OPEN)
        session_ws_sent(s);
    if (!outbox_empty(&s->outbox))
        return;
    stall_end(s);
    if (s->finish && !s->write_shut) {
        session_shut_write(s);
        return;
    }
    if (s->want_drain && list_empty(&s->drained)) {
        s->want_drain = false;
        list_add_tail(&s->net->drained, &s->drained);
    }
    if (s->state == SESSION_HEAD && s->unread.len)
        session_wake(s); /* a pipelining client waited for its answers to leave */
}

static void session_flush(struct session *s)
{
    if (s->state == SESSION_DEAD || s->state == SESSION_TLS || s->write_shut)
        return;
    if (s->blocked) {
        if (stall_applies(s))
            stall_watch(s);
        return;
    }
    int rc = s->record.len ? tls_flush_record(s) : 1;
    if (rc > 0)
        rc = outbox_flush(&s->outbox, s->net->pool, session_writev, s);
    if (rc > 0 && s->record.len)
        rc = 0; /* OpenSSL took the bytes but the socket did not */
    if (rc < 0) {
        session_kill(s);
        return;
    }
    if (rc == 0) {
        s->blocked = true;
        if (stall_applies(s))
            stall_watch(s);
    } else {
        session_sent(s);
    }
    session_update_poll(s);
}

static void flush_dirty(struct net *n)
{
    while (n->dirty) {
        struct session *s = n->dirty;
        n->dirty = s->next_dirty;
        if (!n->dirty)
            n->dirty_tail = &n->dirty;
        s->is_dirty = false;
        session_flush(s);
    }
    outbox_pool_turn_end(n->pool);
}

/* ---- ending ---- */

static void owe_end(struct session *s)
{
    if (list_empty(&s->ended)) {
        list_add_tail(&s->net->ended, &s->ended);
        loop_again(s->net->loop);
    }
}

void session_owe_closed(struct session *s, unsigned code, struct slice reason)
{
    if (!s->accepted || s->closed_told || s->close_due)
        return;
    s->close_due = true;
    s->close_code = (uint16_t)code;
    s->close_reason = reason.len ? mem_strdup(reason.data, reason.len) : NULL;
    owe_end(s);
}

void session_kill(struct session *s)
{
    if (s->state == SESSION_DEAD)
        return;
    session_owe_closed(s, 1006, (struct slice){NULL, 0});
    if (s->state == SESSION_TLS)
        s->net->stats.tls_failed++;
    s->state = SESSION_DEAD;
    loop_timer_stop(s->net->loop, &s->timer);
    session_update_poll(s);
    owe_end(s);
}

void session_on_host_closed(struct session *s)
{
    s->wsi = NULL;
    s->ssl = NULL;
    s->fd = NULL;
    session_kill(s);
}

static void session_unlink_dirty(struct session *s)
{
    struct session **at = &s->net->dirty;

    if (!s->is_dirty)
        return;
    while (*at != s)
        at = &(*at)->next_dirty;
    *at = s->next_dirty;
    if (!*at)
        s->net->dirty_tail = at;
}

static void session_reap(struct session *s)
{
    struct net *n = s->net;

    if (s->told)
        n->events->on_gone(n->events_arg, s);
    if (s->wsi || s->fd)
        host_close(s);
    loop_timer_stop(n->loop, &s->timer);
    session_unlink_dirty(s);
    list_remove(&s->woken);
    list_remove(&s->ended);
    list_remove(&s->drained);
    list_remove(&s->in_net);
    outbox_clear(&s->outbox, n->pool);
    slow_free(s);
    session_http_free(s);
    buf_fini(&s->unread);
    buf_fini(&s->message);
    buf_fini(&s->record);
    session_rate_free(s);
    arrive_gone(s);
    mem_free(s->close_reason);
    mem_free(s);
    n->count--;
    n->stats.closed++;
}

static void session_tell_closed(struct session *s)
{
    struct net *n = s->net;

    s->close_due = false;
    s->closed_told = true;
    n->events->on_closed(n->events_arg, s, s->close_code, slice_of(s->close_reason));
}

static void serve_ended(struct net *n)
{
    struct list_node now;

    list_init(&now);
    list_take(&now, &n->ended);
    if (list_empty(&now))
        return;
    while (!list_empty(&now)) {
        struct session *s = list_entry(now.next, struct session, ended);
        list_remove(&s->ended);
        if (s->close_due)
            session_tell_closed(s);
        if (s->state == SESSION_DEAD)
            session_reap(s);
    }
    line_place_freed(n);
    listen_resume_all(n);
}

/* ---- the end of a turn ---- */

static void serve_woken(struct net *n)
{
    struct list_node now;

    list_init(&now);
    list_take(&now, &n->woken);
    while (!list_empty(&now)) {
        struct session *s = list_entry(now.next, struct session, woken);
        list_remove(&s->woken);
        session_go_on(s);
    }
}

static void serve_drained(struct net *n)
{
    struct list_node now;

    list_init(&now);
    list_take(&now, &n->drained);
    while (!list_empty(&now)) {
        struct session *s = list_entry(now.next, struct session, drained);
        list_remove(&s->drained);
        if (s->state != SESSION_DEAD && s->told)
            n->events->on_drain(n->events_arg, s);
    }
}

void session_turn_end(struct net *n)
{
    for (int round = 0; round < SESSION_FLUSH_ROUNDS; round++) {
        serve_woken(n);
        flush_dirty(n);
        serve_drained(n);
        serve_ended(n);
        if (!n->dirty && list_empty(&n->woken) && list_empty(&n->drained) && list_empty(&n->ended))
            return;
    }
    loop_again(n->loop); /* busy callbacks: let the loop poll before going on */
}

/* ---- timers ---- */

void session_timed_out(struct session *s)
{
    s->net->stats.timed_out++;
    session_kill(s);
}

static void session_timer(struct loop_timer *t)
{
    struct session *s = list_entry(t, struct session, timer);

    if (s->watched && stall_applies(s)) {
        stall_timer(s);
        return;
    }
    switch (s->state) {
    case SESSION_OPEN:
        session_ws_timer(s);
        break;
    case SESSION_HEAD:
        if (s->unread.len)
            session_http_late(s, "the request head took too long");
        else if (s->served)
            session_kill(s); /* idle keep-alive */
        else
            session_timed_out(s); /* a client that never spoke */
        break;
    case SESSION_BODY:
        session_http_body_timer(s);
        break;
    case SESSION_LINGER:
        session_kill(s); /* all was said */
        break;
    default:
        session_timed_out(s); /* TLS handshake, close without reply */
    }
}

/* ---- session.h ---- */

void session_set_owner(struct session *s, void *owner)
{
    s->owner = owner;
}

void *session_owner(const struct session *s)
{
    return s->owner;
}

void session_abort(struct session *s)
{
    session_kill(s);
}

void session_want_drain(struct session *s)
{
    s->want_drain = true;
    session_mark_dirty(s);
}

size_t session_buffered(const struct session *s)
{
    return s->outbox.bytes + s->record.len;
}

uint32_t session_missed(const struct session *s)
{
    return s->missed;
}

double session_latency(const struct session *s)
{
    return s->latency;
}

struct slice session_peer(const struct session *s)
{
    return slice_of(s->peer);
}
