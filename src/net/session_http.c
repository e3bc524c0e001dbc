/* session_http.c - a session while it speaks HTTP/1.1: one exchange at a time, answers in the order of the requests, and the 101. */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/static.h"

#include <sys/socket.h>
#include <unistd.h>

static const struct outbox_opts uncounted = {.control = true}; /* answers are bounded by their own pacing */

static int push_bytes(struct session *s, const void *data, size_t len)
{
    static const unsigned char none[1];
    int rc = len ? outbox_push_copy(&s->outbox, s->net->pool, none, 0, data, len, SIZE_MAX, &uncounted) : 0;

    if (rc)
        session_kill(s);
    else
        session_mark_dirty(s);
    return rc;
}

void session_http_free(struct session *s)
{
    struct exchange *e = s->exchange;

    if (!e)
        return;
    s->exchange = NULL;
    buf_fini(&e->head);
    buf_fini(&e->body);
    if (e->file >= 0)
        close(e->file);
    mem_free(e);
}

/* The answer is queued: on to the next request, or to the end of the connection. */
static void answer_done(struct session *s)
{
    bool keep = s->exchange->keep_alive && !s->net->stopped;

    session_http_free(s);
    s->served = true;
    s->state = keep ? SESSION_HEAD : SESSION_LINGER;
    session_set_timer(s, s->net->options.idle_timeout);
    if (!keep)
        session_finish(s);
    else if (s->unread.len || s->ssl)
        session_wake(s);
    session_update_poll(s);
}

/* ---- answers ---- */

static int put_connection(const struct session *s, struct buf *out)
{
    const struct exchange *e = s->exchange;
    bool keep = e && e->keep_alive && !s->net->stopped;

    if (!keep)
        return buf_add_text(out, "Connection: close\r\n");
    return e->request.minor == 0 ? buf_add_text(out, "Connection: keep-alive\r\n") : 0;
}

static bool has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static bool is_head_request(const struct session *s)
{
    return s->exchange && slice_is(s->exchange->request.method, SLICE("HEAD"));
}

/* Status line, the caller's header lines, ours, and the empty line. `length` < 0: chunked (or until close). */
static int put_head(struct session *s, struct buf *out, int status, struct slice extra, long long length)
{
    int rc = http_put_status(out, status);

    if (!rc)
        rc = buf_add(out, extra.data, extra.len);
    if (!rc && length >= 0 && !has_no_body(status))
        rc = buf_addf(out, "Content-Length: %lld\r\n", length);
    if (!rc && length < 0 && s->exchange->chunked_answer)
        rc = buf_add_text(out, "Transfer-Encoding: chunked\r\n");
    if (!rc)
        rc = put_connection(s, out);
    return rc ? rc : http_put_end(out);
}

int session_respond(struct session *s, int status, struct slice head, struct slice body)
{
    struct buf out = {0};

    if (s->state != SESSION_PENDING)
        return s->state == SESSION_ANSWERING ? MT_EBUSY : MT_ECLOSED;
    if (s->exchange->upgrade)
        s->exchange->keep_alive = false; /* a refused handshake: nothing else is expected on this connection */
    int rc = put_head(s, &out, status, head, (long long)body.len);
    if (!rc && !has_no_body(status) && !is_head_request(s))
        rc = buf_add(&out, body.data, body.len);
    if (!rc)
        rc = push_bytes(s, out.data, out.len);
    buf_fini(&out);
    if (!rc)
        answer_done(s);
    return rc;
}

void session_http_fail(struct session *s, int status, const char *reason)
{
    const char *head = status == 426   ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                       : status == 405 ? "Allow: GET\r\n"
                                       : "";

    s->net->stats.malformed++;
    session_http_refuse(s, status, head, reason);
}

void session_http_refuse(struct session *s, int status, const char *head, const char *reason)
{
    struct buf out = {0}, answer = {0};

    if (s->exchange)
        s->exchange->keep_alive = false;
    int rc = buf_addf(&out, "Content-Type: text/plain; charset=utf-8\r\n%s", head);
    if (!rc)
        rc = put_head(s, &answer, status, buf_slice(&out), (long long)strlen(reason) + 1);
    if (!rc && !is_head_request(s))
        rc = buf_addf(&answer, "%s\n", reason);
    if (!rc)
        rc = push_bytes(s, answer.data, answer.len);
    buf_fini(&out);
    buf_fini(&answer);
    if (rc) {
        session_kill(s);
        return;
    }
    s->state = SESSION_LINGER;
    session_set_timer(s, s->net->options.close_timeout);
    session_finish(s);
    session_update_poll(s);
}

/* ---- files ---- */

static void push_file_piece(struct session *s)
{
    struct exchange *e = s->exchange;
    size_t want = e->file_left < NET_FILE_PIECE ? (size_t)e->file_left : NET_FILE_PIECE;
    struct blob *piece = blob_create(want);
    ssize_t got = piece ? pread(e->file, piece->data, want, e->file_at) : -1;

    if (got != (ssize_t)want || outbox_push(&s->outbox, s->net->pool, piece, SIZE_MAX, &uncounted)) {
        blob_unref(piece);
        session_kill(s); /* the file shrank or the disk failed: a short body must not look complete */
        return;
    }
    blob_unref(piece);
    e->file_at += got;
    e->file_left -= (uint64_t)got;
    session_mark_dirty(s);
    if (e->file_left == 0)
        answer_done(s);
}

void session_http_sent(struct session *s)
{
    if (s->exchange && s->exchange->file >= 0)
        push_file_piece(s);
}

static void respond_file_found(struct session *s, struct buf *head, const struct static_answer *a)
{
    struct exchange *e = s->exchange;

    e->file = a->fd;
    e->file_at = a->offset;
    e->file_left = a->length;
    if (put_connection(s, head) || http_put_end(head) || push_bytes(s, head->data, head->len))
        return;
    if (a->fd < 0 || a->length == 0) {
        answer_done(s);
        return;
    }
    s->state = SESSION_ANSWERING;
    push_file_piece(s);
}

bool session_respond_file(struct session *s)
{
    struct buf head = {0};
    struct static_answer a;

    if (s->state != SESSION_PENDING || !s->net->files || s->exchange->upgrade)
        return false;
    int rc = static_answer(s->net->files, &s->exchange->request, &head, &a);
    if (rc == 0)
        respond_file_found(s, &head, &a);
    else if (rc == MT_EMALFORMED)
        session_http_fail(s, 400, "bad path");
    else if (rc == MT_ENOMEM || rc == MT_EIO)
        session_http_fail(s, 500, "the file cannot be read");
    buf_fini(&head);
    return rc == 0 || rc == MT_EMALFORMED || rc == MT_ENOMEM || rc == MT_EIO;
}

/* ---- streams ---- */

int session_stream_begin(struct session *s, int status, struct slice head)
{
    struct buf out = {0};

    if (s->state != SESSION_PENDING)
        return s->state == SESSION_ANSWERING ? MT_EBUSY : MT_ECLOSED;
    s->exchange->chunked_answer = s->exchange->request.minor > 0;
    if (!s->exchange->chunked_answer)
        s->exchange->keep_alive = false;
    int rc = put_head(s, &out, status, head, -1);
    if (!rc)
        rc = push_bytes(s, out.data, out.len);
    buf_fini(&out);
    if (!rc)
        s->state = SESSION_ANSWERING;
    return rc;
}

int session_stream_write(struct session *s, struct slice piece)
{
    struct buf out = {0};

    if (s->state != SESSION_ANSWERING)
        return MT_ECLOSED;
    if (piece.len == 0 || is_head_request(s))
        return 0; /* an empty chunk would end the body */
    if (!s->exchange->chunked_answer)
        return push_bytes(s, piece.data, piece.len);
    int rc = buf_addf(&out, "%zx\r\n", piece.len);
    if (!rc)
        rc = buf_add(&out, piece.data, piece.len);
    if (!rc)
        rc = buf_add_text(&out, "\r\n");
    if (!rc)
        rc = push_bytes(s, out.data, out.len);
    buf_fini(&out);
    return rc;
}

int session_stream_end(struct session *s, bool complete)
{
    if (s->state != SESSION_ANSWERING)
        return MT_ECLOSED;
    if (!complete) {
        session_kill(s); /* without the last chunk the client sees that the body is broken off */
        return 0;
    }
    if (s->exchange->chunked_answer && !is_head_request(s) && push_bytes(s, "0\r\n\r\n", 5))
        return MT_ECLOSED;
    answer_done(s);
    return 0;
}

/* ---- the upgrade ---- */

/* Bytes behind the head, before our 101: an attack on a proxy in between, or a broken client. */
static bool client_sent_early(const struct session *s)
{
    char byte;

    if (s->unread.len)
        return true;
    if (s->ssl)
        return SSL_peek(s->ssl, &byte, 1) > 0;
    return recv(loop_fd_fileno(s->fd), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int put_101(struct session *s, struct buf *out, const struct session_accept *a)
{
    struct exchange *e = s->exchange;
    char accept[29];

    int rc = upgrade_accept(&e->request, accept);
    if (rc)
        return rc;
    rc = buf_addf(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
                      accept);
    if (!rc && a->protocol)
        rc = http_put_header(out, SLICE("Sec-WebSocket-Protocol"), slice_of(a->protocol));
    if (!rc && e->deflate.on) {
        rc = buf_add_text(out, "Sec-WebSocket-Extensions: ");
        if (!rc)
            rc = upgrade_put_deflate(out, &e->deflate);
        if (!rc)
            rc = buf_add_text(out, "\r\n");
    }
    for (size_t i = 0; !rc && i < a->header_count; i++)
        rc = http_put_header(out, a->headers[i].name, a->headers[i].value);
    return rc ? rc : http_put_end(out);
}

static void become_websocket(struct session *s, const struct session_accept *a)
{
    size_t limit = a->message_limit ? a->message_limit : s->net->options.message_limit;

    s->deflate_bits = s->exchange->deflate.on ? s->exchange->deflate.server_bits : 0;
    s->decoder.allow_rsv1 = s->exchange->deflate.on;
    s->message_limit = limit > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)limit;
    session_http_free(s);
    s->state = SESSION_OPEN;
    s->accepted = true;
    s->net->stats.upgraded++;
    session_ws_opened(s);
    if (s->ssl)
        session_wake(s);
    session_update_poll(s);
}

int session_accept(struct session *s, const struct session_accept *a)
{
    struct buf out = {0};

    if (s->state != SESSION_PENDING || !s->exchange->upgrade)
        return MT_ECLOSED;
    if (client_sent_early(s)) {
        session_http_fail(s, 400, "bytes came before the handshake was answered");
        return MT_ECLOSED;
    }
    if (a->protocol && !http_has_token(&s->exchange->request, SLICE("Sec-WebSocket-Protocol"), slice_of(a->protocol)))
        return MT_EINVALID;
    if (s->net->options.deflate_threshold != SIZE_MAX)
        upgrade_deflate(&s->exchange->request, &s->exchange->deflate);
    int rc = put_101(s, &out, a);
    if (!rc)
        rc = push_bytes(s, out.data, out.len);
    buf_fini(&out);
    if (!rc)
        become_websocket(s, a);
    return rc;
}

/* ---- requests ---- */

/* The slices of a request point into the shared read buffer; move them to the exchange's own copy of the head. */
static int keep_head(struct exchange *e, const char *data, size_t len)
{
    struct http_request *r = &e->request;

    if (buf_add(&e->head, data, len))
        return MT_ENOMEM;
    ptrdiff_t by = (const char *)e->head.data - data;
    struct slice *fixed[] = {&r->method, &r->target, &r->path, &r->query, &r->host};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (fixed[i]->data >= data && fixed[i]->data <= data + len)
            fixed[i]->data += by;
    for (size_t i = 0; i < r->header_count; i++) {
        r->headers[i].name.data += by;
        r->headers[i].value.data += by;
    }
    return 0;
}

static void tell_request(struct session *s)
{
    struct exchange *e = s->exchange;
    struct session_request r = {.http = &e->request, .body = buf_slice(&e->body), .upgrade = e->upgrade};

    s->state = SESSION_PENDING;
    s->told = true;
    session_set_timer(s, 0); /* how long the owner takes is its own matter */
    s->net->events->on_request(s->net->events_arg, s, &r);
}

/* The head is complete: what comes next? `more`: bytes are waiting behind it. */
static void head_done(struct session *s, bool more)
{
    struct exchange *e = s->exchange;
    const struct http_request *r = &e->request;
    const char *reason = "";

    e->keep_alive = r->keep_alive;
    if (!session_admit(s))
        return;
    /* also without Connection: upgrade, which such a client forgot: it hears so instead of getting a page */
    if (http_has_token(r, SLICE("Upgrade"), SLICE("websocket"))) {
        int status = upgrade_check(r, &reason);
        e->upgrade = true;
        if (status)
            session_http_fail(s, status, reason);
        else if (more)
            session_http_fail(s, 400, "bytes came before the handshake was answered");
        else
            tell_request(s);
        return;
    }
    if (r->has_length && r->length > s->net->options.body_limit) {
        session_http_fail(s, 413, "the body is too big");
    } else if (r->chunked || (r->has_length && r->length > 0)) {
        s->state = SESSION_BODY;
        session_set_timer(s, s->net->options.handshake_timeout);
        if (r->expect_continue && !more)
            push_bytes(s, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    } else {
        tell_request(s); /* without a length there is no body, whatever the method (RFC 9112 6.3) */
    }
}

static size_t consume_head(struct session *s, const char *data, size_t len)
{
    const char *reason = "bad request";

    if (!session_reads(s))
        return 0; /* too many answers are queued already */
    if (!s->exchange) {
        if (!(s->exchange = mem_zalloc(1, sizeof *s->exchange))) {
            session_kill(s);
            return len;
        }
        s->exchange->file = -1;
        if (s->served)
            session_set_timer(s, s->net->options.handshake_timeout);
    }
    struct exchange *e = s->exchange;
    long used = http_parse_head(data, len, HTTP_HEAD_MAX, &e->scanned, &e->request, &reason);
    if (used == 0)
        return 0;
    if (used < 0) {
        session_http_fail(s, (int)-used, reason);
        return len;
    }
    if (keep_head(e, data, (size_t)used)) {
        session_kill(s);
        return len;
    }
    head_done(s, (size_t)used < len);
    return (size_t)used;
}

static size_t consume_body(struct session *s, const char *data, size_t len)
{
    struct exchange *e = s->exchange;
    size_t used = len;
    int done;

    if (e->request.chunked) {
        done = http_chunks_feed(&e->chunks, data, len, &used, &e->body, s->net->options.body_limit);
    } else {
        size_t left = (size_t)e->request.length - e->body.len;
        used = len < left ? len : left;
        done = buf_add(&e->body, data, used) ? -500 : e->body.len == e->request.length;
    }
    if (done < 0) {
        session_http_fail(s, -done, done == -413 ? "the body is too big" : done == -400 ? "bad chunk" : "out of memory");
        return len;
    }
    session_set_timer(s, s->net->options.handshake_timeout); /* bytes keep coming */
    if (done)
        tell_request(s);
    return used;
}

size_t session_http_consume(struct session *s, unsigned char *data, size_t len)
{
    return s->state == SESSION_HEAD ? consume_head(s, (char *)data, len) : consume_body(s, (char *)data, len);
}
