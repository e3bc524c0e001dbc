/* test_net_listen.c - listeners of one and of several workers: ports, unix sockets, the limit of connections over all of them. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_net.h"
#include "net/address.h"
#include "net/net_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

static void start(struct fake_server *f, size_t workers, const char *address, const struct net_options *o)
{
    char *error = NULL;

    fake_server_create(f, workers, NULL, 0, o);
    if (fake_server_listen(f, address, 0, &error))
        fail_msg("%s", error);
    fake_server_run(f);
}

/* ---- ports ---- */

static void every_worker_gets_connections_of_one_port(void **state)
{
    struct fake_server f;
    unsigned answered[FAKE_NETS_MAX] = {0};

    start(&f, 3, "127.0.0.1:0", NULL);
    for (int i = 0; i < 90; i++) { /* the kernel spreads them by chance: one of the three is left out once in 10^15 runs */
        int fd = dial(fake_server_port(&f));
        answered[fake_server_ask(fd) - 1]++;
        close(fd);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(answered[i] > 0);
        assert_string_equal(net_address(f.nets[i].net, 0), net_address(f.nets[0].net, 0));
    }
    fake_server_destroy(&f);
}

static void all_workers_listen_on_all_addresses(void **state)
{
    struct fake_server f;
    char *error = NULL;
    const char *address;
    size_t i = 0;

    fake_server_create(&f, 2, NULL, 0, NULL);
    assert_int_equal(fake_server_listen(&f, "localhost:0", 0, &error), 0);
    assert_int_equal(fake_server_listen(&f, "127.0.0.1:0", 0, &error), 0);
    for (; (address = net_address(f.nets[0].net, i)) != NULL; i++) {
        assert_null(strstr(address, ":0")); /* the port that was chosen */
        assert_string_equal(net_address(f.nets[1].net, i), address);
    }
    assert_true(i == 2 || i == 3); /* localhost is two where the machine has IPv6 */
    assert_null(net_address(f.nets[1].net, i));
    fake_server_destroy(&f);
}

/* SO_REUSEPORT would let a second server have half the connections. */
static void a_port_in_use_is_an_error(void **state)
{
    static const size_t workers[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 2}};

    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        struct fake_server first, second;
        char *error = NULL, address[32];

        start(&first, workers[i][0], "127.0.0.1:0", NULL);
        snprintf(address, sizeof address, "127.0.0.1:%d", fake_server_port(&first));
        fake_server_create(&second, workers[i][1], NULL, 0, NULL);
        assert_int_equal(fake_server_listen(&second, address, 0, &error), MT_EBUSY);
        assert_non_null(strstr(error, "in use"));
        assert_null(net_address(second.nets[0].net, 0));
        mem_free(error);
        fake_server_destroy(&second);
        fake_server_destroy(&first);
        fake_server_create(&second, workers[i][1], NULL, 0, NULL); /* it is free again at once */
        assert_int_equal(fake_server_listen(&second, address, 0, &error), 0);
        fake_server_destroy(&second);
    }
}

static void addresses_that_are_none(void **state)
{
    static const struct {
        const char *address;
        bool tls;
        const char *why;
    } cases[] = {
        {"nowhere.example:1", false, "IP address"}, {"127.0.0.1:70000", false, "HOST:PORT"}, {"127.0.0.1:", false, "HOST:PORT"},
        {"127.0.0.1:0", true, "certificate"},       {"unix:", false, "HOST:PORT"},           {"", false, "HOST:PORT"},
    };
    struct fake_server f;

    fake_server_create(&f, 2, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *error = NULL;
        assert_int_equal(fake_server_listen(&f, cases[i].address, cases[i].tls, &error), MT_EINVALID);
        assert_non_null(strstr(error, cases[i].why));
        mem_free(error);
    }
    fake_server_destroy(&f);
}

/* Bound is not yet open: nobody waits in a queue that may never be served. */
static void nobody_connects_before_it_listens(void **state)
{
    struct fake_server f;
    char *error = NULL;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), holder = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof to;
    char address[32];

    assert_int_equal(bind(holder, (struct sockaddr *)&to, sizeof to), 0); /* a free port */
    assert_int_equal(getsockname(holder, (struct sockaddr *)&to, &len), 0);
    close(holder);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(to.sin_port));
    fake_server_create(&f, 2, NULL, 0, NULL);
    assert_int_equal(net_shared_bind(f.shared, slice_of(address), 0, 2, f.log, &error), 0);
    assert_null(net_address(f.nets[0].net, 0));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ECONNREFUSED);
    for (int i = 0; i < 2; i++)
        assert_int_equal(net_listen(f.nets[i].net, &error), 0);
    assert_non_null(net_address(f.nets[0].net, 0));
    assert_null(net_address(f.nets[0].net, 1));
    assert_int_equal(net_listen(f.nets[0].net, &error), 0); /* again: nothing is left */
    assert_null(net_address(f.nets[0].net, 1));
    close(dial(ntohs(to.sin_port)));
    close(fd);
    fake_server_destroy(&f);
}

/* ---- unix sockets ---- */

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A new folder, and "unix:" with a path in it. */
static void make_path(char folder[32], char address[64])
{
    strcpy(folder, "/tmp/moontide-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(address, 64, "unix:%s/s", folder);
}

static void a_unix_socket_is_shared_and_unlinked_once(void **state)
{
    char folder[32], address[64], *error = NULL;
    const char *path = address + 5;
    struct fake_server f;
    int before = count_descriptors();

    make_path(folder, address);
    start(&f, 3, address, NULL);
    for (int i = 0; i < 20; i++) {
        int fd = dial_unix(path);
        assert_in_range(fake_server_ask(fd), 1, 3);
        close(fd);
    }
    fake_server_destroy(&f);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(count_descriptors(), before);

    fake_server_create(&f, 3, NULL, 0, NULL);
    assert_int_equal(fake_server_listen(&f, address, 0, &error), 0);
    net_stop_listening(f.nets[0].net);
    assert_int_equal(access(path, F_OK), -1);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* stands for the socket of the next server */
    fake_server_destroy(&f);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    rmdir(folder);
}

static void a_unix_socket_in_use_is_an_error_and_a_dead_one_is_not(void **state)
{
    char folder[32], address[64], *error = NULL;
    const char *path = address + 5;
    struct fake_server first, second;

    make_path(folder, address);
    start(&first, 2, address, NULL);
    fake_server_create(&second, 2, NULL, 0, NULL);
    assert_int_equal(fake_server_listen(&second, address, 0, &error), MT_EBUSY);
    mem_free(error);
    fake_server_destroy(&second);
    close(dial_unix(path)); /* it was left alone */
    fake_server_destroy(&first);

    struct address dead;
    int fd;
    address_unix(&dead, slice_of(path));
    assert_int_equal(address_bind(&dead, 1, &fd), 0);
    assert_int_equal(address_listen(fd), 0);
    close(fd); /* as a server that was killed leaves it */
    start(&first, 2, address, NULL);
    fd = dial_unix(path);
    fake_server_ask(fd);
    close(fd);
    fake_server_destroy(&first);
    rmdir(folder);
}

/* ---- limits ---- */

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

static void connections_are_limited_over_all_workers(void **state)
{
    struct fake_server f;
    struct net_options o;
    int fds[5];
    char byte;

    net_defaults(&o);
    o.connections = 4;
    start(&f, 3, "127.0.0.1:0", &o);
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(fake_server_port(&f));
        fake_server_ask(fds[i]);
    }
    assert_in_range(net_shared_count(f.shared), 4, 6); /* 4, and what the other two try at the moment */
    fds[4] = dial(fake_server_port(&f));               /* the kernel takes it */
    wait_for_log(&f, "limits.connections is reached");
    put(fds[4], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    assert_int_equal(recv(fds[4], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    close(fds[0]);
    expect(fds[4], "HTTP/1.1 200", 12);
    fake_server_destroy(&f);
    for (int i = 1; i < 5; i++)
        close(fds[i]);
}

/* ---- the waiting line ---- */

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

static int dial_and_ask(const struct fake_server *f)
{
    int fd = dial(fake_server_port(f));

    put(fd, request, sizeof request - 1);
    return fd;
}

static void expect_silence(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* Whoever has a place asks again and again: all that the server was told before has happened when the answers have come. */
static void let_time_pass(int fd)
{
    for (int i = 0; i < 20; i++)
        fake_server_ask(fd);
}

static void who_waits_is_served_in_order(void **state)
{
    struct fake_server f;
    struct net_options o;
    int fds[6];

    net_defaults(&o);
    o.connections = 1;
    o.waiting = 3; /* the others wait in the kernel's queue */
    start(&f, 1, "127.0.0.1:0", &o);
    fds[0] = dial(fake_server_port(&f));
    fake_server_ask(fds[0]);
    for (int i = 1; i < 6; i++)
        fds[i] = dial_and_ask(&f);
    wait_for_log(&f, "clients wait in line");
    wait_for_log(&f, "limits.waiting is reached");
    let_time_pass(fds[0]);
    for (int i = 1; i < 6; i++) {
        char head[512];
        for (int k = i; k < 6; k++)
            expect_silence(fds[k]);
        close(fds[i - 1]);
        read_head(fds[i], head, sizeof head);
        assert_non_null(strstr(head, "200 OK"));
        expect(fds[i], "1", 1);
        let_time_pass(fds[i]);
    }
    close(fds[5]);
    fake_server_destroy(&f);
}

static void who_waits_too_long_hears_503(void **state)
{
    struct fake_server f;
    struct net_options o;
    char head[512], body[64];

    net_defaults(&o);
    o.connections = 1;
    o.wait = 100;
    start(&f, 1, "127.0.0.1:0", &o);
    int holder = dial(fake_server_port(&f));
    fake_server_ask(holder);
    int early = dial_and_ask(&f), late = dial(fake_server_port(&f));
    read_head(early, head, sizeof head);
    assert_non_null(strstr(head, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    assert_non_null(strstr(head, "Connection: close\r\n"));
    assert_in_range(receive(early, body, sizeof body), 10, 63); /* a sentence, then the end */
    wait_for_log(&f, "answered with 503");
    put(late, request, sizeof request - 1); /* it has not asked before its time was over */
    read_head(late, head, sizeof head);
    assert_non_null(strstr(head, "503"));
    fake_server_ask(holder);
    assert_int_equal(net_shared_count(f.shared), 1);
    close(holder);
    int next = dial(fake_server_port(&f)); /* and those who were refused have taken no place */
    fake_server_ask(next);
    fake_server_destroy(&f);
    close(early);
    close(late);
    close(next);
}

/* Each of three workers has a line, and the places come free wherever they do. */
static void places_go_to_the_lines_of_all_workers(void **state)
{
    enum { PLACES = 4, CLIENTS = 40 };
    struct fake_server f;
    struct net_options o;
    int fds[CLIENTS];

    net_defaults(&o);
    o.connections = PLACES;
    o.wait = o.handshake_timeout = 60000; /* on a slow machine it takes a while until everybody has asked */
    start(&f, 3, "127.0.0.1:0", &o);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(fake_server_port(&f));
    for (int left = CLIENTS; left > 0;) { /* whoever is answered goes */
        for (int i = 0; i < CLIENTS; i++) {
            char byte;
            if (fds[i] < 0)
                continue;
            send(fds[i], request, left == CLIENTS || rand() % 8 == 0 ? sizeof request - 1 : 0, MSG_NOSIGNAL);
            ssize_t n = recv(fds[i], &byte, 1, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN)
                continue;
            assert_int_equal(n, 1); /* closed without an answer */
            assert_int_equal(byte, 'H');
            close(fds[i]);
            fds[i] = -1;
            left--;
        }
        usleep(1000); /* waits for the event, bounded by the test's time limit */
    }
    fake_server_destroy(&f);
}

static void a_server_stops_while_some_wait(void **state)
{
    int before = count_descriptors();
    struct fake_server f;
    struct net_options o;
    int fds[20];

    net_defaults(&o);
    o.connections = 2;
    start(&f, 2, "127.0.0.1:0", &o);
    for (int i = 0; i < 20; i++)
        fds[i] = dial_and_ask(&f);
    wait_for_log(&f, "clients wait in line");
    fake_server_destroy(&f);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    assert_int_equal(count_descriptors(), before);
}

/* ---- memory ---- */

static void listening_without_memory(void **state)
{
    char folder[32], address[64];
    const char *path = address + 5;
    int before = count_descriptors(), failures = 0, rc = MT_ENOMEM;

    make_path(folder, address);
    for (unsigned long n = 1; rc; n++) {
        struct fake_server f;
        char *error = NULL;

        fake_server_create(&f, 2, NULL, 0, NULL);
        mem_fail_at(n);
        rc = fake_server_listen(&f, address, 0, &error);
        if (!rc)
            rc = fake_server_listen(&f, "127.0.0.1:0", 0, &error);
        mem_fail_at(0);
        failures += rc != 0;
        mem_free(error);
        fake_server_destroy(&f);
        assert_int_equal(count_descriptors(), before);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_true(failures >= 8); /* two listeners and a watcher for each of two workers, and what is left for the second */
    rmdir(folder);
}

/* A socket that comes while the n-th allocation fails, with a place or without; its address counts. Whether nothing failed. */
static bool arrive_without_memory(bool secure, bool place, unsigned long fails)
{
    struct arrival a = {.secure = secure, .ip = {{[10] = 0xff, 0xff, 203, 0, 113, 1}}};
    struct net_options o;
    struct fake_server f;
    int ends[2];
    char byte;

    net_defaults(&o);
    o.address_connections = 1;
    fake_server_create(&f, 1, NULL, 0, &o);
    struct net *n = f.nets[0].net;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_true(!place || arrive_has_place(n));
    a.fd = ends[1];
    mem_fail_at(fails);
    arrive(n, &a, place);
    bool fine = mem_fail_left() > 0;
    mem_fail_at(0);
    session_turn_end(n);
    size_t sessions = net_count(n) - n->refusing; /* an address without room to count it in is told 429 */
    assert_int_equal(net_shared_count(f.shared), sessions);
    assert_int_equal(quota_count(f.shared->addresses), sessions + net_waiting(n));
    assert_true(!fine || (place ? sessions : net_waiting(n)) == 1);
    if (net_count(n) + net_waiting(n) == 0)
        assert_true(recv(ends[0], &byte, 1, MSG_DONTWAIT) == 0);
    fake_server_destroy(&f);
    close(ends[0]);
    return fine;
}

static void arriving_without_memory(void **state)
{
    int before = count_descriptors();

    for (int kind = 0; kind < 4; kind++) {
        unsigned long n = 1;
        while (!arrive_without_memory(kind & 1, kind & 2, n))
            n++;
        assert_true(n > 3); /* its address, the session or its place in line, the watcher */
    }
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_gets_connections_of_one_port),
        cmocka_unit_test(all_workers_listen_on_all_addresses),
        cmocka_unit_test(a_port_in_use_is_an_error),
        cmocka_unit_test(addresses_that_are_none),
        cmocka_unit_test(nobody_connects_before_it_listens),
        cmocka_unit_test(a_unix_socket_is_shared_and_unlinked_once),
        cmocka_unit_test(a_unix_socket_in_use_is_an_error_and_a_dead_one_is_not),
        cmocka_unit_test(connections_are_limited_over_all_workers),
        cmocka_unit_test(who_waits_is_served_in_order),
        cmocka_unit_test(who_waits_too_long_hears_503),
        cmocka_unit_test(places_go_to_the_lines_of_all_workers),
        cmocka_unit_test(a_server_stops_while_some_wait),
        cmocka_unit_test(listening_without_memory),
        cmocka_unit_test(arriving_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
