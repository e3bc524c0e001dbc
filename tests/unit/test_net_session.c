/* test_net_session.c - sessions over real sockets: the server runs in a thread of its own, the client here blocks. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_net.h"
#include "net/net.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

/* What the server does with what it hears. */
enum mode { MODE_ECHO, MODE_FLOOD, MODE_CLOSE, MODE_LATER, MODE_STREAM, MODE_FAN };

struct server {
    struct loop *loop;
    struct log *log;
    struct net_shared *shared;
    struct net *net;
    struct loop_wake *stop;
    struct session *later; /* MODE_LATER: answered when the next connection comes */
    struct session *fan[8]; /* MODE_FAN: every message goes to all of these; NULL where one has closed */
    size_t fan_count;
    enum mode mode;
    pthread_t thread;
    int port;
    atomic_int closed_code; /* of the last on_closed */
    atomic_int closed, gone, requests;
};

static void on_request(void *arg, struct session *s, const struct session_request *r)
{
    struct server *sv = arg;

    sv->requests++;
    if (!r->upgrade) {
        if (sv->mode == MODE_STREAM) {
            session_stream_begin(s, 200, SLICE("X-A: b\r\n"));
            session_stream_write(s, SLICE("one"));
            session_stream_write(s, SLICE("two"));
            session_stream_end(s, true);
            return;
        }
        struct buf body = {0};
        buf_addf(&body, "%.*s|%.*s", (int)r->http->path.len, r->http->path.data, (int)r->body.len, r->body.data);
        session_respond(s, 200, (struct slice){NULL, 0}, buf_slice(&body));
        buf_fini(&body);
        return;
    }
    if (sv->mode == MODE_LATER && !sv->later) {
        sv->later = s;
        return;
    }
    struct session_accept a = {0};
    session_accept(s, &a);
    if (sv->mode == MODE_FAN)
        sv->fan[sv->fan_count++] = s;
    if (sv->later) {
        session_accept(sv->later, &a);
        sv->later = NULL;
    }
}

static void on_message(void *arg, struct session *s, enum frame_op op, const char *data, size_t len)
{
    struct server *sv = arg;

    if (sv->mode == MODE_CLOSE) {
        session_send(s, FRAME_TEXT, "before", 6, NULL);
        session_close(s, 4001, SLICE("bye"));
        assert_int_equal(session_send(s, FRAME_TEXT, "after", 5, NULL), MT_ECLOSED);
    } else if (sv->mode == MODE_FLOOD) {
        static char block[32768];
        memset(block, 'x', sizeof block);
        int rc = 0;
        for (int i = 0; i < 4000 && !rc; i++)
            rc = session_send(s, FRAME_BINARY, block, sizeof block, NULL);
    } else if (sv->mode == MODE_FAN) {
        struct packet *p = packet_create(op, data, len);
        session_send_many(sv->fan, sv->fan_count, p, NULL);
        packet_unref(p);
    } else {
        session_send(s, op, data, len, NULL);
    }
}

static void on_drain(void *arg, struct session *s) {}

static void on_silent(void *arg, struct session *s) {}

static void on_closed(void *arg, struct session *s, unsigned code, struct slice reason)
{
    struct server *sv = arg;

    for (size_t i = 0; i < sv->fan_count; i++)
        if (sv->fan[i] == s)
            sv->fan[i] = NULL;
    sv->closed_code = (int)code;
    sv->closed++;
}

static void on_gone(void *arg, struct session *s)
{
    struct server *sv = arg;

    if (sv->later == s)
        sv->later = NULL;
    sv->gone++;
}

static const struct session_events events = {on_request, on_message, on_drain, on_silent, on_closed, on_gone};

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void *run(void *arg)
{
    loop_run(((struct server *)arg)->loop);
    return NULL;
}

/* `o`: NULL for the defaults. */
static struct server *server_start_with(enum mode mode, const struct net_options *o)
{
    struct server *sv = calloc(1, sizeof *sv);
    char *error = NULL;

    sv->mode = mode;
    sv->loop = loop_create();
    sv->log = log_create(2, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    sv->shared = net_shared_create(NULL, 0, &error);
    struct net_config c = {.loop = sv->loop, .log = sv->log, .events = &events, .events_arg = sv, .shared = sv->shared};
    net_defaults(&c.options);
    if (o)
        c.options = *o;
    if (net_create(&c, &sv->net, &error))
        fail_msg("net_create: %s", error);
    if (net_shared_bind(sv->shared, SLICE("127.0.0.1:0"), 0, 1, NULL, &error) || net_listen(sv->net, &error))
        fail_msg("net_listen: %s", error);
    sv->port = atoi(strrchr(net_address(sv->net, 0), ':') + 1);
    sv->stop = loop_wake_open(sv->loop, stop_loop, sv->loop);
    pthread_create(&sv->thread, NULL, run, sv);
    return sv;
}

static struct server *server_start(enum mode mode)
{
    return server_start_with(mode, NULL);
}

static void server_stop(struct server *sv)
{
    loop_wake_send(sv->stop);
    pthread_join(sv->thread, NULL);
    net_destroy(sv->net);
    net_shared_destroy(sv->shared);
    loop_wake_close(sv->stop);
    loop_destroy(sv->loop);
    log_destroy(sv->log);
    free(sv);
}

/* ---- the client ---- */

static const char handshake[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static int upgrade(const struct server *sv)
{
    char head[1024];
    int fd = dial(sv->port);

    put(fd, handshake, sizeof handshake - 1);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "101 Switching Protocols"));
    assert_non_null(strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455 section 1.3 */
    return fd;
}

/* A masked frame (mask 0: the payload as it is). */
static void put_frame(int fd, int first, const char *data, size_t len)
{
    unsigned char out[70000] = {(unsigned char)first, 0x80 | (len < 126 ? (unsigned char)len : 126)};
    size_t n = 2;

    if (len >= 126) {
        out[n++] = (unsigned char)(len >> 8);
        out[n++] = (unsigned char)len;
    }
    n += 4;
    memcpy(out + n, data, len);
    put(fd, (char *)out, n + len);
}

/* ---- tests ---- */

static void test_echo(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    int fd = upgrade(sv);

    put_frame(fd, 0x81, "hello", 5);
    expect(fd, "\x81\x05hello", 7);
    put_frame(fd, 0x01, "he", 2);
    put_frame(fd, 0x89, "p", 1);
    put_frame(fd, 0x80, "y", 1);
    expect(fd, "\x8a\x01p\x81\x03hey", 8);
    put_frame(fd, 0x88, "\x03\xe8"
                        "ok",
              4);
    expect(fd, "\x88\x02\x03\xe8", 4);
    expect_end(fd);
    close(fd);
    server_stop(sv);
}

static void test_many_in_one_read_keep_order(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    int fd = upgrade(sv);
    char in[1000 * 8], want[1000 * 4];

    for (int i = 0; i < 1000; i++) {
        char text[3];
        snprintf(text, sizeof text, "%02d", i % 100);
        memcpy(in + i * 8, "\x81\x82\0\0\0\0", 6);
        memcpy(in + i * 8 + 6, text, 2);
        memcpy(want + i * 4, "\x81\x02", 2);
        memcpy(want + i * 4 + 2, text, 2);
    }
    put(fd, in, sizeof in);
    expect(fd, want, sizeof want);
    close(fd);
    server_stop(sv);
}

static void test_close_goes_out_behind_what_was_sent(void **state)
{
    struct server *sv = server_start(MODE_CLOSE);
    int fd = upgrade(sv);

    put_frame(fd, 0x81, "x", 1);
    expect(fd, "\x81\x06"
               "before\x88\x05\x0f\xa1"
               "bye",
           15);
    put_frame(fd, 0x88, "\x0f\xa1", 2);
    expect_end(fd);
    close(fd);
    server_stop(sv);
}

static void test_protocol_error_gets_its_code(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    int fd = upgrade(sv);
    unsigned char head[4];

    put(fd, "\x81\x01z", 3); /* no mask */
    assert_int_equal(receive(fd, head, 4), 4);
    assert_int_equal(head[0], 0x88);
    assert_int_equal(head[2] << 8 | head[3], 1002);
    close(fd);
    server_stop(sv);
}

static void test_message_limit(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    int fd = upgrade(sv);
    static char big[65535];
    unsigned char head[4];

    memset(big, 'a', sizeof big);
    put_frame(fd, 0x01, big, sizeof big);
    put_frame(fd, 0x80, "bc", 2);
    assert_int_equal(receive(fd, head, 4), 4);
    assert_int_equal(head[0], 0x88);
    assert_int_equal(head[2] << 8 | head[3], 1009);
    close(fd);
    server_stop(sv);
}

static void test_never_reader_ends_with_1013(void **state)
{
    struct server *sv = server_start(MODE_FLOOD);
    int fd = upgrade(sv);

    put_frame(fd, 0x81, "go", 2);
    while (atomic_load(&sv->closed) == 0)
        usleep(1000); /* waits for the event, bounded by the test's time limit */
    assert_int_equal(sv->closed_code, 1013);
    close(fd);
    server_stop(sv);
}

/* ---- rates ---- */

/* Of 20 a second five at once: what comes behind them waits its time, and loses nothing. */
static void test_rates_delay(void **state)
{
    static const struct {
        struct rate messages, bytes;
        int first; /* byte of each frame */
        unsigned parts;
    } cases[] = {
        {{20, 5}, {0, 0}, 0x81, 1}, {{0, 0}, {240, 60}, 0x81, 1}, /* 12 bytes each */
        {{20, 5}, {0, 0}, 0x89, 1}, /* pings */
        {{0, 0}, {480, 120}, 0x01, 2}, /* fragments: 24 bytes a message */
        {{1000, 1000}, {240, 60}, 0x81, 1}, /* both: the one that takes longer */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_options o;
        net_defaults(&o);
        o.messages = cases[i].messages;
        o.bytes = cases[i].bytes;
        struct server *sv = server_start_with(MODE_ECHO, &o);
        int fd = upgrade(sv);
        uint64_t begin = clock_ms();
        for (int n = 0; n < 15; n++) {
            char text[7];
            snprintf(text, sizeof text, "%06d", n);
            put_frame(fd, cases[i].first, text, 6);
            if (cases[i].parts == 2)
                put_frame(fd, 0x80, text, 6);
        }
        for (int n = 0; n < 15; n++) {
            char want[16];
            int len = snprintf(want, sizeof want, "%c%c%06d", cases[i].first == 0x89 ? 0x8a : 0x81, 6 * (int)cases[i].parts, n);
            if (cases[i].parts == 2)
                len += snprintf(want + len, sizeof want - (size_t)len, "%06d", n);
            expect(fd, want, (size_t)len);
        }
        uint64_t took = clock_ms() - begin;
        if (took < 440 || took > 5000)
            fail_msg("case %zu took %d ms", i, (int)took);
        close(fd);
        server_stop(sv);
    }
}

static void expect_flooded(int fd)
{
    unsigned char close_frame[4], rest[128];

    assert_int_equal(receive(fd, close_frame, 4), 4);
    assert_int_equal(close_frame[0], 0x88);
    assert_int_equal(close_frame[2] << 8 | close_frame[3], 1008);
    assert_int_equal(receive(fd, rest, sizeof rest), close_frame[1] - 2); /* the reason, and the end */
}

static void test_rates_close(void **state)
{
    struct net_options o;

    net_defaults(&o);
    o.exceeded_closes = true;
    o.messages = (struct rate){0.001, 5};
    struct server *sv = server_start_with(MODE_ECHO, &o);
    int fd = upgrade(sv);
    for (int n = 0; n < 6; n++) /* also pings count, and an unasked pong */
        put_frame(fd, n == 2 ? 0x89 : n == 3 ? 0x8a : 0x81, "x", 1);
    expect(fd, "\x81\x01x\x81\x01x\x8a\x01x\x81\x01x", 12);
    expect_flooded(fd);
    while (atomic_load(&sv->closed) == 0)
        usleep(1000); /* waits for the event, bounded by the test's time limit */
    assert_int_equal(sv->closed_code, 1008);
    close(fd);
    server_stop(sv);

    o.messages = (struct rate){0, 0};
    o.bytes = (struct rate){0.001, 100};
    sv = server_start_with(MODE_ECHO, &o);
    fd = upgrade(sv);
    char text[80] = {0};
    put_frame(fd, 0x82, text, 80);
    assert_int_equal(receive(fd, text, 2), 2);
    assert_int_equal(receive(fd, text, 80), 80);
    put_frame(fd, 0x02, text, 20);
    expect_flooded(fd);
    close(fd);
    server_stop(sv);
}

/* Three messages, and answers to all pings of the server that come meanwhile and then, 20 at least. */
static void talk_and_answer_pings(const struct rate *messages, uint64_t ping_timeout)
{
    struct net_options o;

    net_defaults(&o);
    o.ping_interval = 20;
    o.ping_timeout = ping_timeout;
    o.messages = *messages;
    struct server *sv = server_start_with(MODE_ECHO, &o);
    int fd = upgrade(sv);
    put_frame(fd, 0x81, "a", 1);
    put_frame(fd, 0x81, "b", 1);
    put_frame(fd, 0x81, "c", 1);
    for (int said = 0, pings = 0; said < 3 || pings < 20;) {
        unsigned char frame[10];
        assert_int_equal(receive(fd, frame, 2), 2);
        assert_int_equal(receive(fd, frame + 2, frame[1]), frame[1]);
        if (frame[0] == 0x81) {
            assert_int_equal(frame[2], 'a' + said);
            said++;
        } else {
            assert_int_equal(frame[0], 0x89);
            put_frame(fd, 0x8a, (char *)frame + 2, 8);
            pings++;
        }
    }
    close(fd);
    server_stop(sv);
}

/* Our pings ask for their answers: there is no room for any more messages, and these come through. */
static void test_answers_to_pings_cost_nothing(void **state)
{
    talk_and_answer_pings(&(struct rate){0.001, 3}, 8000);
}

/* Each of two messages is read after a second, which is more than the time for an answer. */
static void test_who_is_delayed_is_not_silent(void **state)
{
    talk_and_answer_pings(&(struct rate){1, 1}, 700);
}

static const char deflate_handshake[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                        "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/* One message to many: in order, each in the form that was negotiated, and without those who are gone. */
static void test_send_many(void **state)
{
    struct server *sv = server_start(MODE_FAN);
    int fds[4];
    char head[1024];
    static char text[2000];
    unsigned char start[2];

    for (int i = 0; i < 3; i++)
        fds[i] = upgrade(sv);
    fds[3] = dial(sv->port);
    put(fds[3], deflate_handshake, sizeof deflate_handshake - 1);
    read_head(fds[3], head, sizeof head);
    assert_non_null(strstr(head, "permessage-deflate"));
    memset(text, 'a', sizeof text);
    put_frame(fds[0], 0x81, "one", 3);
    put_frame(fds[0], 0x82, "two", 3);
    put_frame(fds[0], 0x81, text, sizeof text);
    for (int i = 0; i < 4; i++) {
        expect(fds[i], "\x81\x03one\x82\x03two", 10);
        assert_int_equal(receive(fds[i], start, 2), 2);
        assert_int_equal(start[0], i == 3 ? 0xc1 : 0x81);
        assert_int_equal(start[1] < 126, i == 3);
        if (i < 3) {
            expect(fds[i], "\x07\xd0", 2);
            expect(fds[i], text, sizeof text);
        }
    }
    close(fds[1]);
    while (atomic_load(&sv->gone) == 0)
        usleep(1000);
    put_frame(fds[0], 0x81, "three", 5);
    expect(fds[0], "\x81\x05three", 7);
    expect(fds[2], "\x81\x05three", 7);
    for (int i = 0; i < 4; i++)
        if (i != 1)
            close(fds[i]);
    server_stop(sv);
}

/* Who does not read is closed with 1013; the others go on and get everything. */
static void test_send_many_with_one_that_never_reads(void **state)
{
    struct server *sv = server_start(MODE_FAN);
    int stuck = upgrade(sv), fd = upgrade(sv);
    static char text[32768];

    memset(text, 'b', sizeof text);
    for (int i = 0; i < 4000 && atomic_load(&sv->closed) == 0; i++) {
        put_frame(fd, 0x81, text, sizeof text);
        expect(fd, "\x81\x7e\x80\x00", 4);
        expect(fd, text, sizeof text);
    }
    assert_int_equal(sv->closed_code, 1013);
    put_frame(fd, 0x81, "on", 2);
    expect(fd, "\x81\x02on", 4);
    close(stuck);
    close(fd);
    server_stop(sv);
}

static void test_abnormal_end_is_1006_and_gone(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    int fd = upgrade(sv);

    close(fd);
    while (atomic_load(&sv->gone) == 0)
        usleep(1000);
    assert_int_equal(sv->closed_code, 1006);
    assert_int_equal(sv->closed, 1);
    server_stop(sv);
}

static void test_handshake_may_wait(void **state)
{
    struct server *sv = server_start(MODE_LATER);
    int first = dial(sv->port);
    char head[1024];

    put(first, handshake, sizeof handshake - 1);
    while (atomic_load(&sv->requests) == 0)
        usleep(1000);
    int second = upgrade(sv); /* its request makes the server answer the first one */
    read_head(first, head, sizeof head);
    assert_non_null(strstr(head, " 101 "));
    close(first);
    close(second);
    server_stop(sv);
}

static void test_early_bytes_are_refused(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    char both[512], head[1024];
    int fd = dial(sv->port);

    int len = snprintf(both, sizeof both, "%s%s", handshake, "\x81\x81");
    put(fd, both, (size_t)len);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "HTTP/1.1 400 "));
    close(fd);
    server_stop(sv);
}

static void test_http_pipelining_and_bodies(void **state)
{
    struct server *sv = server_start(MODE_ECHO);
    char head[1024];
    int fd = dial(sv->port);
    static const char three[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
                                "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
                                "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

    for (size_t i = 0; i < sizeof three - 1; i += 7) /* in small pieces */
        put(fd, three + i, sizeof three - 1 - i < 7 ? sizeof three - 1 - i : 7);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "200 OK"));
    expect(fd, "/a|", 3);
    read_head(fd, head, sizeof head);
    expect(fd, "/b|xyz", 6);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "Connection: close"));
    expect(fd, "/c|hi", 5);
    expect_end(fd);
    close(fd);
    server_stop(sv);
}

static void test_http_stream(void **state)
{
    struct server *sv = server_start(MODE_STREAM);
    char head[1024];
    int fd = dial(sv->port);

    put(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "Transfer-Encoding: chunked"));
    expect(fd, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", 21);
    close(fd);
    server_stop(sv);
}

static void test_two_servers_and_again(void **state)
{
    struct server *a = server_start(MODE_ECHO), *b = server_start(MODE_ECHO);
    int one = upgrade(a), two = upgrade(b);

    put_frame(one, 0x81, "1", 1);
    put_frame(two, 0x81, "2", 1);
    expect(one, "\x81\x01\x31", 3);
    expect(two, "\x81\x01\x32", 3);
    server_stop(a); /* with a connection open */
    expect_end(one);
    put_frame(two, 0x81, "3", 1);
    expect(two, "\x81\x01\x33", 3);
    server_stop(b);
    a = server_start(MODE_ECHO);
    int three = upgrade(a);
    put_frame(three, 0x81, "4", 1);
    expect(three, "\x81\x01\x34", 3);
    server_stop(a);
    close(one);
    close(two);
    close(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_many_in_one_read_keep_order),
        cmocka_unit_test(test_close_goes_out_behind_what_was_sent),
        cmocka_unit_test(test_protocol_error_gets_its_code),
        cmocka_unit_test(test_message_limit),
        cmocka_unit_test(test_rates_delay),
        cmocka_unit_test(test_rates_close),
        cmocka_unit_test(test_answers_to_pings_cost_nothing),
        cmocka_unit_test(test_who_is_delayed_is_not_silent),
        cmocka_unit_test(test_never_reader_ends_with_1013),
        cmocka_unit_test(test_send_many),
        cmocka_unit_test(test_send_many_with_one_that_never_reads),
        cmocka_unit_test(test_abnormal_end_is_1006_and_gone),
        cmocka_unit_test(test_handshake_may_wait),
        cmocka_unit_test(test_early_bytes_are_refused),
        cmocka_unit_test(test_http_pipelining_and_bodies),
        cmocka_unit_test(test_http_stream),
        cmocka_unit_test(test_two_servers_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
