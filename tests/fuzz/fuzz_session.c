/* fuzz_session.c - a whole session over a real socket: any bytes of a client, from the request head over the upgrade to frames with
 * and without deflate, cut anywhere. However they are cut, the same answers come back, and nothing of a session is left over.
 *
 * Input: one byte that chooses the cuts, then what the client sends. */
#include "base/buf.h"
#include "base/log.h"
#include "fuzz.h"
#include "net/net.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TURNS_MAX = 2000, QUIET_TURNS = 3 };

static struct loop *loop;
static struct net *net;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* ---- the server: answers requests with what they were, accepts every handshake, sends messages back ---- */

static void on_request(void *arg, struct session *s, const struct session_request *r)
{
    struct buf body = {0};

    if (r->upgrade) {
        FUZZ_CHECK(slice_is(r->http->method, SLICE("GET")) && r->body.len == 0);
        FUZZ_CHECK(session_accept(s, &(struct session_accept){.message_limit = 20000}) == 0);
        return;
    }
    FUZZ_CHECK(buf_addf(&body, "%.*s %zu %zu", (int)r->http->path.len, r->http->path.data, r->http->header_count, r->body.len) == 0);
    FUZZ_CHECK(session_respond(s, 200, (struct slice){NULL, 0}, buf_slice(&body)) == 0);
    buf_fini(&body);
}

static void on_message(void *arg, struct session *s, enum frame_op op, const char *data, size_t len)
{
    FUZZ_CHECK(len <= 20000);
    session_send(s, op, data, len, NULL);
    if (len == 5 && memcmp(data, "close", 5) == 0)
        session_close(s, 4000, SLICE("asked for"));
}

static void on_drain(void *arg, struct session *s) {}
static void on_silent(void *arg, struct session *s) {}

static void on_closed(void *arg, struct session *s, unsigned code, struct slice reason)
{
    FUZZ_CHECK(code >= 1000 && code <= 4999 && reason.len <= 123);
}

static void on_gone(void *arg, struct session *s) {}

static const struct session_events events = {on_request, on_message, on_drain, on_silent, on_closed, on_gone};

/* ---- the loop, one turn at a time ---- */

static bool turning;

static void stop_after_turn(void *arg)
{
    if (turning) /* before the poll, which then does not block; behind it the hook runs once more */
        loop_stop(loop);
    turning = false;
}

static void turn(void)
{
    turning = true;
    loop_run(loop);
}

static void remove_socket(void)
{
    unlink(address.sun_path);
}

static void start(void)
{
    struct net_config c = {.events = &events};
    char text[128], *error = NULL;

    if (net)
        return;
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/moontide-fuzz-%d.sock", (int)getpid());
    snprintf(text, sizeof text, "unix:%s", address.sun_path);
    c.loop = loop = loop_create();
    c.log = log_create(STDERR_FILENO, LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    c.shared = net_shared_create(NULL, 0, &error);
    net_defaults(&c.options);
    c.options.body_limit = 3000;
    c.options.deflate_threshold = 20;
    FUZZ_CHECK(net_create(&c, &net, &error) == 0);
    FUZZ_CHECK(net_listen(net, slice_of(text), false, &error) == 0);
    FUZZ_CHECK(loop_add_flush(loop, stop_after_turn, NULL) == 0);
    atexit(remove_socket);
}

/* ---- the client ---- */

/* What has come so far, behind `out`. False at the end of the stream. */
static bool receive(int fd, struct buf *out)
{
    char bytes[65536];

    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return false;
        if (n < 0)
            return true;
        FUZZ_CHECK(buf_add(out, bytes, (size_t)n) == 0);
    }
}

/* Turns until a few of them have brought nothing. False at the end of the stream. */
static bool settle(int fd, struct buf *out)
{
    size_t len = out->len;

    for (int quiet = 0, turns = 0; quiet < QUIET_TURNS; quiet++, turns++) {
        FUZZ_CHECK(turns < TURNS_MAX);
        turn();
        if (!receive(fd, out))
            return false;
        if (out->len > len)
            quiet = 0;
        len = out->len;
    }
    return true;
}

/* False when the server wants no more. */
static bool send_part(int fd, const uint8_t *data, size_t size, uint32_t *seed, struct buf *out)
{
    while (size > 0) {
        size_t piece = fuzz_piece(seed, size);
        ssize_t n = send(fd, data, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
        if (!settle(fd, out))
            return false;
    }
    return true;
}

/* Behind an empty line the client waits for what the server says: bytes that come before the 101 are refused (RFC 6455 4.1), and
 * whether they do depends on the cuts. */
static void send_all(int fd, const uint8_t *data, size_t size, uint32_t seed, struct buf *out)
{
    size_t len;

    do {
        const uint8_t *mark = memmem(data, size, "\r\n\r\n", 4);
        len = mark ? (size_t)(mark - data) + 4 : size;
        if (!send_part(fd, data, len, &seed, out))
            return;
        data += len;
        size -= len;
    } while (size > 0);
}

/* Dates differ between two runs. */
static void drop_dates(struct buf *out)
{
    char *at = (char *)out->data, *end;

    while (at && (at = memmem(at, (size_t)((char *)out->data + out->len - at), "\r\nDate: ", 8)) != NULL) {
        if (!(end = memmem(at + 2, (size_t)((char *)out->data + out->len - at - 2), "\r\n", 2)))
            return;
        memmove(at, end, (size_t)((char *)out->data + out->len - end));
        out->len -= (size_t)(end - at);
    }
}

static void talk(const uint8_t *data, size_t size, uint32_t seed, struct buf *out)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    if (settle(fd, out)) {
        send_all(fd, data, size, seed, out);
        shutdown(fd, SHUT_WR);
        for (int turns = 0; receive(fd, out); turns++) {
            FUZZ_CHECK(turns < TURNS_MAX); /* whoever has said all is not kept */
            turn();
        }
    }
    close(fd);
    for (int turns = 0; net_count(net) > 0; turns++) {
        FUZZ_CHECK(turns < TURNS_MAX);
        turn();
    }
    drop_dates(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, cut = {0};
    uint32_t seed = fuzz_byte(&data, &size) * 2u + 1;

    start();
    talk(data, size, 0, &whole);
    talk(data, size, seed, &cut);
    FUZZ_CHECK(slice_is(buf_slice(&whole), buf_slice(&cut)));
    FUZZ_CHECK(whole.len == 0 || (whole.len > 9 && memcmp(whole.data, "HTTP/1.1 ", 9) == 0));
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
