/* test_net_proxied.c - listeners for proxies: who the client is, and what becomes of connections without a header. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_net.h"
#include "net/access.h"
#include "net/net_impl.h"
#include "net/proxied.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define NAMED "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"
#define OTHER "PROXY TCP4 203.0.112.9 192.0.2.1 56324 443\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n"

static struct access *make_access(const char *const *proxies, const char *const *deny)
{
    const struct access_lists lists = {.proxies = proxies, .deny = deny};
    struct access *a;
    char *error;

    assert_int_equal(access_create(&lists, &a, &error), 0);
    return a;
}

static void start(struct fake_server *f, const char *address, const char *proxy, const char *denied, const struct net_options *o)
{
    const char *const proxies[] = {proxy, NULL}, *const deny[] = {denied, NULL};
    struct access *a = make_access(proxies, deny);
    char *error = NULL;

    fake_server_create(f, 1, NULL, 0, o);
    net_set_access(f->nets[0].net, a);
    access_unref(a);
    if (fake_server_listen(f, address, NET_PROXY, &error))
        fail_msg("%s", error);
    fake_server_run(f);
}

static void start_local(struct fake_server *f, const struct net_options *o)
{
    start(f, "127.0.0.1:0", "127.0.0.1", NULL, o);
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* The address that a request on `fd` came from, as the server sees it. */
static void check_peer(int fd, const char *peer)
{
    char head[512], line[80], digit;

    put(fd, REQUEST, sizeof REQUEST - 1);
    read_head(fd, head, sizeof head);
    snprintf(line, sizeof line, "X-Peer: %s\r\n", peer);
    if (!strstr(head, line))
        fail_msg("no %s in %s", line, head);
    assert_int_equal(receive(fd, &digit, 1), 1);
}

static void wait_for_log(const struct fake_server *f, const char *text)
{
    char line[512];

    for (size_t len = 0; len + 1 < sizeof line;) {
        assert_int_equal(read(f->log_out, line + len, 1), 1); /* bounded by the test's time limit */
        line[++len] = 0;
        if (line[len - 1] == '\n') {
            if (strstr(line, text))
                return;
            len = 0;
        }
    }
    fail();
}

/* A connection that is served from its beginning to its end. */
static void check_one_more(const struct fake_server *f)
{
    int fd = dial(fake_server_port(f));

    put(fd, NAMED, sizeof NAMED - 1);
    check_peer(fd, "203.0.113.9");
    close(fd);
}

/* The server has closed without a word; where it left bytes unread, by a reset. */
static void check_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

static struct net_stats end(struct fake_server *f)
{
    struct net_stats stats;

    fake_server_stop(f);
    net_stats(f->nets[0].net, &stats);
    fake_server_destroy(f);
    return stats;
}

/* ---- who the client is ---- */

static void the_client_is_who_the_header_says(void **state)
{
    static const struct {
        struct slice header;
        const char *peer;
    } cases[] = {
        {SLICE(NAMED), "203.0.113.9"},
        {SLICE("PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"), "2001:db8::7"},
        {SLICE("PROXY UNKNOWN\r\n"), "127.0.0.1"},
        {SLICE(V2 "\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\2\1\0\1\0\2"), "203.0.113.9"},
        {SLICE(V2 "\x21\x11\0\x0f\xcb\0\x71\x09\xc0\0\2\1\0\1\0\2\4\0\0"), "203.0.113.9"},
        {SLICE(V2 "\x21\0\0\0"), "127.0.0.1"},
        {SLICE(V2 "\x20\0\0\0"), "127.0.0.1"},
        {SLICE(V2 "\x20\x11\0\x0c\xcb\0\x71\x09\xc0\0\2\1\0\1\0\2"), "127.0.0.1"},
    };
    struct fake_server f;

    start_local(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = dial(fake_server_port(&f));
        put(fd, cases[i].header.data, cases[i].header.len);
        check_peer(fd, cases[i].peer);
        check_peer(fd, cases[i].peer); /* one header is for all requests of the connection */
        close(fd);
    }
    struct net_stats stats = end(&f);
    assert_int_equal(stats.accepted, sizeof cases / sizeof *cases);
    assert_int_equal(stats.proxy_refused, 0);
}

static void a_header_comes_in_pieces_and_with_the_request(void **state)
{
    static const struct slice headers[] = {SLICE(NAMED), SLICE(V2 "\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\2\1\0\1\0\2")};
    struct fake_server f;

    start_local(&f, NULL);
    for (size_t i = 0; i < 2; i++) {
        char both[256];
        size_t len = headers[i].len + sizeof REQUEST - 1;
        memcpy(both, headers[i].data, headers[i].len);
        memcpy(both + headers[i].len, REQUEST, sizeof REQUEST - 1);
        for (size_t size = 1; size <= len; size += size < 4 ? 1 : 17) {
            int fd = dial(fake_server_port(&f)), on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            for (size_t at = 0; at < len; at += size) {
                put(fd, both + at, size < len - at ? size : len - at);
                sched_yield();
            }
            char head[512], digit;
            read_head(fd, head, sizeof head);
            assert_non_null(strstr(head, "X-Peer: 203.0.113.9\r\n"));
            assert_int_equal(receive(fd, &digit, 1), 1);
            close(fd);
        }
    }
    assert_int_equal(end(&f).proxy_refused, 0);
}

static void over_a_unix_socket(void **state)
{
    char folder[32] = "/tmp/moontide-test-XXXXXX", address[64];
    struct fake_server f;

    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    start(&f, address, "unix", NULL, NULL);
    assert_memory_equal(net_address(f.nets[0].net, 0), "proxy+unix:/tmp/", 16);
    int fd = dial_unix(address + 5);
    put(fd, NAMED, sizeof NAMED - 1);
    check_peer(fd, "203.0.113.9");
    close(fd);
    fd = dial_unix(address + 5);
    put(fd, V2 "\x20\0\0\0", 16);
    check_peer(fd, "unix");
    close(fd);
    fake_server_destroy(&f);
    start(&f, address, "127.0.0.1", NULL, NULL); /* it is no proxy here */
    check_closed(dial_unix(address + 5));
    wait_for_log(&f, "it comes from no address in `proxies`");
    assert_int_equal(end(&f).proxy_refused, 1);
    rmdir(folder);
}

/* ---- who is refused ---- */

static void what_begins_with_no_header_is_closed_unanswered(void **state)
{
    static const struct slice cases[] = {
        SLICE(REQUEST), SLICE("PROXY TCP4 1.1.1.1\r\n" REQUEST), SLICE("PROXY UNKNOWN\n" REQUEST), SLICE("\x16\x03\x01\x02"),
        SLICE(V2 "\x11\x11\0\x0c"), SLICE(V2 "\x21\x11\xff\xff"),
    };
    struct fake_server f;

    start_local(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = dial(fake_server_port(&f));
        put(fd, cases[i].data, cases[i].len);
        check_closed(fd);
    }
    wait_for_log(&f, "it begins with no PROXY header");
    int fd = dial(fake_server_port(&f));
    put(fd, "PROXY TCP4", 10);
    shutdown(fd, SHUT_WR);
    check_closed(fd);
    fd = dial(fake_server_port(&f)); /* a look whether the port is open is nothing to be told */
    shutdown(fd, SHUT_WR);
    check_closed(fd);
    struct net_stats stats = end(&f);
    assert_int_equal(stats.proxy_refused, sizeof cases / sizeof *cases + 1);
    assert_int_equal(stats.accepted, 0);
}

static void who_is_no_proxy_is_closed(void **state)
{
    struct fake_server f;

    start(&f, "127.0.0.1:0", "127.0.0.2", NULL, NULL);
    int fd = dial(fake_server_port(&f));
    check_closed(fd);
    wait_for_log(&f, "it comes from no address in `proxies`");
    assert_int_equal(end(&f).proxy_refused, 1);
}

static void the_client_has_to_be_admitted(void **state)
{
    struct fake_server f;

    start(&f, "127.0.0.1:0", "127.0.0.1", "203.0.113.0/24", NULL);
    int fd = dial(fake_server_port(&f));
    put(fd, NAMED REQUEST, sizeof NAMED + sizeof REQUEST - 2);
    check_closed(fd);
    fd = dial(fake_server_port(&f));
    put(fd, OTHER, sizeof OTHER - 1);
    check_peer(fd, "203.0.112.9");
    close(fd);
    assert_int_equal(end(&f).denied, 1);
}

/* ---- time ---- */

static void a_slow_header_is_cut_off(void **state)
{
    struct fake_server f;
    struct net_options o;

    net_defaults(&o);
    o.handshake_timeout = 200;
    start_local(&f, &o);
    int silent = dial(fake_server_port(&f)), slow = dial(fake_server_port(&f));
    for (size_t i = 0; i < 100; i++) { /* a byte now and then does not help */
        if (send(slow, &V2 "\x20\0\1\0"[i < 15 ? i : 15], 1, MSG_NOSIGNAL) < 0)
            break;
        usleep(20000);
    }
    check_closed(slow);
    check_closed(silent);
    wait_for_log(&f, "its PROXY header took longer than handshake.timeout");
    assert_int_equal(end(&f).proxy_refused, 2);
}

static void what_the_header_took_is_gone_from_the_handshake(void **state)
{
    struct fake_server f;

    start_local(&f, NULL);
    int fd = dial(fake_server_port(&f));
    put(fd, "PROXY ", 6);
    while (net_shared_count(f.shared) == 0) /* not accepted yet */
        sched_yield();
    usleep(50000);
    uint64_t sent = clock_ms();
    put(fd, &NAMED[6], sizeof NAMED - 7);
    put(fd, "GET", 3);
    check_one_more(&f); /* the server has come to all that was sent before */
    fake_server_stop(&f);
    struct session *s = list_entry(f.nets[0].net->sessions.next, struct session, in_net); /* the oldest */
    assert_true(loop_timer_active(&s->timer));
    assert_true(s->timer.due < sent + 10000); /* begun anew it would be due then or later */
    fake_server_destroy(&f);
    close(fd);
}

/* ---- places, memory, the end ---- */

static void those_that_wait_have_places(void **state)
{
    struct fake_server f;
    struct net_options o;
    int before = count_descriptors();

    net_defaults(&o);
    o.connections = 2;
    start_local(&f, &o);
    int first = dial(fake_server_port(&f)), second = dial(fake_server_port(&f)), third = dial(fake_server_port(&f));
    put(third, NAMED, sizeof NAMED - 1);
    put(third, REQUEST, sizeof REQUEST - 1);
    put(first, "x", 1); /* refused: its place is free */
    char head[512];
    read_head(third, head, sizeof head);
    assert_non_null(strstr(head, "X-Peer: 203.0.113.9\r\n"));
    check_closed(first);
    put(second, NAMED, sizeof NAMED - 1);
    check_peer(second, "203.0.113.9");
    close(second);
    close(third);
    fake_server_destroy(&f);
    assert_int_equal(count_descriptors(), before);
}

/* Of the client and not of the proxy, which has all of them. */
static void connections_count_for_the_address_in_the_header(void **state)
{
    struct fake_server f;
    struct net_options o;
    char head[512];
    int fds[3];

    net_defaults(&o);
    o.address_connections = 1;
    start_local(&f, &o);
    for (int i = 0; i < 3; i++)
        fds[i] = dial(fake_server_port(&f));
    put(fds[0], NAMED, sizeof NAMED - 1);
    check_peer(fds[0], "203.0.113.9");
    put(fds[1], NAMED, sizeof NAMED - 1);
    put(fds[1], REQUEST, sizeof REQUEST - 1);
    read_head(fds[1], head, sizeof head);
    assert_non_null(strstr(head, "HTTP/1.1 429 "));
    put(fds[2], OTHER, sizeof OTHER - 1);
    check_peer(fds[2], "203.0.112.9");
    close(fds[0]);
    close(fds[1]);
    close(fds[2]);
    assert_int_equal(end(&f).limited, 1);
}

/* What came in front of its request is read then, and nothing is owed afterwards. */
static void who_waited_in_line_for_too_long_hears_so(void **state)
{
    struct fake_server f;
    struct net_options o;
    char head[512];

    net_defaults(&o);
    o.connections = 1;
    o.wait = 100;
    start_local(&f, &o);
    int served = dial(fake_server_port(&f)), waits = dial(fake_server_port(&f));
    put(served, NAMED, sizeof NAMED - 1);
    check_peer(served, "203.0.113.9");
    put(waits, NAMED REQUEST, sizeof NAMED + sizeof REQUEST - 2);
    read_head(waits, head, sizeof head);
    assert_non_null(strstr(head, " 503 "));
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    close(waits);
    int silent = dial(fake_server_port(&f)), wrong = dial(fake_server_port(&f));
    put(wrong, REQUEST, sizeof REQUEST - 1);
    check_closed(wrong);
    check_closed(silent);
    check_peer(served, "203.0.113.9");
    close(served);
    fake_server_stop(&f);
    assert_int_equal(f.nets[0].net->refusing, 0);
    assert_int_equal(end(&f).unserved, 3);
}

static void those_that_wait_are_closed_with_the_listeners(void **state)
{
    struct fake_server f;
    int before = count_descriptors();

    start_local(&f, NULL);
    int fd = dial(fake_server_port(&f)), begun = dial(fake_server_port(&f));
    put(begun, "PROXY TCP4", 10);
    check_one_more(&f);
    fake_server_stop(&f);
    assert_true(net_count(f.nets[0].net) >= 2);
    net_stop_listening(f.nets[0].net);
    session_turn_end(f.nets[0].net);
    assert_int_equal(net_count(f.nets[0].net), 0);
    assert_int_equal(net_shared_count(f.shared), 0);
    check_closed(fd);
    check_closed(begun);
    fake_server_destroy(&f);
    assert_int_equal(count_descriptors(), before);
}

/* A socket whose other end has sent `text`, taken over while the n-th allocation fails. */
static bool open_without_memory(struct net *n, const char *text, size_t len, unsigned long fails)
{
    struct arrival a = {.ip = {{[10] = 0xff, 0xff, 127, 0, 0, 1}}, .proxied = true};
    int ends[2];
    struct net_stats before, after;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    put(ends[0], text, len);
    net_stats(n, &before);
    assert_true(shared_take_socket(n->shared, 10));
    mem_fail_at(fails);
    a.fd = ends[1];
    proxied_open(n, &a);
    mem_fail_at(0);
    net_stats(n, &after);
    close(ends[0]);
    return after.refused > before.refused || after.proxy_refused > before.proxy_refused;
}

static void without_memory(void **state)
{
    const char *const proxies[] = {"127.0.0.1", NULL}, *const none[] = {NULL};
    int before = count_descriptors();
    struct access *a = make_access(proxies, none);
    struct fake_server f;
    unsigned long n = 1;

    fake_server_create(&f, 1, NULL, 0, NULL);
    net_set_access(f.nets[0].net, a);
    access_unref(a);
    while (open_without_memory(f.nets[0].net, NAMED, sizeof NAMED - 1, n))
        n++;
    assert_true(n > 3); /* the socket's own, its watcher, the session */
    for (n = 1; open_without_memory(f.nets[0].net, "PROXY ", 6, n);)
        n++;
    assert_true(n > 3); /* the same without the session, and the piece that has come */
    fake_server_destroy(&f);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_is_who_the_header_says),
        cmocka_unit_test(a_header_comes_in_pieces_and_with_the_request),
        cmocka_unit_test(over_a_unix_socket),
        cmocka_unit_test(what_begins_with_no_header_is_closed_unanswered),
        cmocka_unit_test(who_is_no_proxy_is_closed),
        cmocka_unit_test(the_client_has_to_be_admitted),
        cmocka_unit_test(a_slow_header_is_cut_off),
        cmocka_unit_test(what_the_header_took_is_gone_from_the_handshake),
        cmocka_unit_test(those_that_wait_have_places),
        cmocka_unit_test(connections_count_for_the_address_in_the_header),
        cmocka_unit_test(who_waited_in_line_for_too_long_hears_so),
        cmocka_unit_test(those_that_wait_are_closed_with_the_listeners),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
