/* fake_net.c - the client and the server of the tests of net. */
#include "fake_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

/* ---- the client ---- */

int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 10};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

void put(int fd, const char *text, size_t len)
{
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* The loop of another thread may use io_uring, which interrupts what this one waits
 * for. */
size_t receive(int fd, void *out, size_t len)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = recv(fd, (char *)out + have, len - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    return have;
}

void expect(int fd, const void *want, size_t len)
{
    unsigned char got[70000];

    assert_int_equal(receive(fd, got, len), len);
    assert_memory_equal(got, want, len);
}

void expect_end(int fd)
{
    char byte;

    assert_int_equal(receive(fd, &byte, 1), 0);
}

size_t read_head(int fd, char *out, size_t size)
{
    size_t n = 0;

    while (n + 1 < size && receive(fd, out + n, 1) == 1) {
        out[++n] = 0;
        if (n >= 4 && memcmp(out + n - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    return n;
}

int dial_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(strlen(path) < sizeof a.sun_path);
    strcpy(a.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* ---- the server ---- */

static void on_request(void *arg, struct session *s, const struct session_request *r)
{
    struct fake_net *net = arg;
    char digit = (char)('0' + net->worker), head[80];
    struct slice peer = session_peer(s);
    int len = snprintf(head, sizeof head, "X-Peer: %.*s\r\n", (int)peer.len, peer.data);

    session_respond(s, 200, (struct slice){head, (size_t)len}, (struct slice){&digit, 1});
}

static void on_message(void *arg, struct session *s, enum frame_op op, const char *data, size_t len)
{
    fail(); /* nobody upgrades */
}

static void on_drain(void *arg, struct session *s)
{
}

static void on_silent(void *arg, struct session *s) {}

static void on_closed(void *arg, struct session *s, unsigned code, struct slice reason)
{
    fail();
}

static void on_gone(void *arg, struct session *s)
{
}

static const struct session_events events = {on_request, on_message, on_drain, on_silent, on_closed, on_gone};

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void *run(void *arg)
{
    loop_run(((struct fake_net *)arg)->loop);
    return NULL;
}

void fake_server_create(struct fake_server *f, size_t count, const struct net_tls_file *tls, size_t tls_count,
                        const struct net_options *o)
{
    char *error;
    int pipe_ends[2];

    *f = (struct fake_server){.count = count};
    assert_int_equal(pipe(pipe_ends), 0);
    f->log_out = pipe_ends[0];
    f->log_in = pipe_ends[1];
    f->log = log_create(f->log_in, LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    f->shared = net_shared_create(tls, tls_count, &error);
    if (!f->shared)
        fail_msg("net_shared_create: %s", error);
    for (size_t i = 0; i < count; i++) {
        struct fake_net *n = &f->nets[i];
        n->worker = (unsigned)i + 1;
        n->loop = loop_create();
        struct net_config c = {.loop = n->loop, .log = f->log, .events = &events, .events_arg = n, .shared = f->shared};
        c.worker = n->worker;
        net_defaults(&c.options);
        if (o)
            c.options = *o;
        if (net_create(&c, &n->net, &error))
            fail_msg("net_create: %s", error);
        n->stop = loop_wake_open(n->loop, stop_loop, n->loop);
    }
}

int fake_server_listen(struct fake_server *f, const char *address, unsigned how, char **error)
{
    int rc = net_shared_bind(f->shared, slice_of(address), how, (unsigned)f->count, f->log, error);

    for (size_t i = 0; rc == 0 && i < f->count; i++)
        rc = net_listen(f->nets[i].net, error);
    return rc;
}

void fake_server_run(struct fake_server *f)
{
    f->runs = true;
    for (size_t i = 0; i < f->count; i++)
        assert_int_equal(pthread_create(&f->nets[i].thread, NULL, run, &f->nets[i]), 0);
}

void fake_server_stop(struct fake_server *f)
{
    for (size_t i = 0; f->runs && i < f->count; i++)
        loop_wake_send(f->nets[i].stop);
    for (size_t i = 0; f->runs && i < f->count; i++)
        pthread_join(f->nets[i].thread, NULL);
    f->runs = false;
}

void fake_server_destroy(struct fake_server *f)
{
    fake_server_stop(f);
    for (size_t i = 0; i < f->count; i++) {
        net_destroy(f->nets[i].net);
        loop_wake_close(f->nets[i].stop);
        loop_destroy(f->nets[i].loop);
    }
    assert_int_equal(net_shared_count(f->shared), 0);
    net_shared_destroy(f->shared);
    log_destroy(f->log);
    close(f->log_in);
    close(f->log_out);
}

int fake_server_port(const struct fake_server *f)
{
    return atoi(strrchr(net_address(f->nets[0].net, 0), ':') + 1);
}

unsigned fake_server_ask(int fd)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    char head[512], digit;

    put(fd, request, sizeof request - 1);
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "200 OK"));
    assert_int_equal(receive(fd, &digit, 1), 1);
    return (unsigned)(digit - '0');
}
