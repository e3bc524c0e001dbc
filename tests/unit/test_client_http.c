/* test_client_http.c - calls on a real loop against a small server: kept connections, streams that pause, ends in the middle,
 * memory that runs out. What servers can do wrong is in tests/e2e/test_http_client.py. Here 127.0.0.2 is public and 127.0.0.1 is
 * not, so that a redirect can lead from the one to the other.
 */
#include "base/err.h"
#include "base/mem.h"
#include "client/guard.h"
#include "client/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

bool guard_is_public_text(const char *ip)
{
    return strcmp(ip, "127.0.0.2") == 0;
}

bool guard_is_public(const struct sockaddr *address)
{
    char text[INET_ADDRSTRLEN] = "";

    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof(text));
    return guard_is_public_text(text);
}

/* ---- the server: a thread for all connections, one after the other ---- */

enum { STREAM_BYTES = 8 << 20, LINE_BYTES = 1 << 20 };

struct world {
    int listener, port;
    pthread_t server;
    atomic_int accepted, closed; /* connections */
    atomic_size_t sent;          /* bytes of /stream */
    struct loop *loop;
    struct loop_timer alarm;
    struct http_settings settings;
    struct http_client *client;
    bool late;
    unsigned changes; /* calls of on_change */
};

static void say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_stream(struct world *w, int fd)
{
    static char line[LINE_BYTES];

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (size_t n = 0; n < STREAM_BYTES; n += sizeof(line))
        for (size_t at = 0; at < sizeof(line);) {
            ssize_t got = send(fd, line + at, sizeof(line) - at < 65536 ? sizeof(line) - at : 65536, MSG_NOSIGNAL);
            if (got <= 0)
                return;
            at += (size_t)got;
            atomic_fetch_add(&w->sent, (size_t)got);
        }
}

/* Answers one request; false when nothing more comes on this connection. */
static bool answer(struct world *w, int fd)
{
    char head[4096], text[256];
    size_t len = 0;
    ssize_t got;

    do {
        if ((got = recv(fd, head + len, sizeof(head) - 1 - len, 0)) <= 0)
            return false;
        len += (size_t)got;
        head[len] = '\0';
    } while (!strstr(head, "\r\n\r\n"));
    if (strstr(head, " /hello "))
        say(fd, "HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello");
    if (strstr(head, " /half "))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    if (strstr(head, " /inside ")) {
        snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/hello\r\nContent-Length: 0\r\n\r\n",
                 w->port);
        say(fd, text);
    }
    if (strstr(head, " /stream ")) {
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", STREAM_BYTES);
        say(fd, text);
        say_stream(w, fd);
    }
    return true; /* anything else is not answered */
}

static void *serve(void *arg)
{
    struct world *w = arg;
    int fd;

    while ((fd = accept(w->listener, NULL, NULL)) >= 0) {
        atomic_fetch_add(&w->accepted, 1);
        while (answer(w, fd))
            ;
        close(fd);
        atomic_fetch_add(&w->closed, 1);
    }
    return NULL;
}

/* ---- the world ---- */

static void on_alarm(struct loop_timer *t)
{
    struct world *w = list_entry(t, struct world, alarm);

    w->late = true;
    loop_stop(w->loop);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);

    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(w->listener, 64), 0);
    getsockname(w->listener, (struct sockaddr *)&at, &len);
    w->port = ntohs(at.sin_port);
    pthread_create(&w->server, NULL, serve, w);
    w->loop = loop_create();
    loop_timer_init(&w->alarm, on_alarm);
    http_settings_default(&w->settings);
    w->client = http_client_create(w->loop, &w->settings);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    http_client_destroy(w->client);
    loop_timer_stop(w->loop, &w->alarm);
    loop_destroy(w->loop);
    shutdown(w->listener, SHUT_RDWR);
    pthread_join(w->server, NULL);
    close(w->listener);
    free(w);
    return 0;
}

static void on_change(void *arg)
{
    struct world *w = arg;

    w->changes++;
    loop_stop(w->loop);
}

/* Runs the loop until something has changed. */
static void run(struct world *w)
{
    loop_timer_start(w->loop, &w->alarm, 10000);
    loop_run(w->loop);
    loop_timer_stop(w->loop, &w->alarm);
    assert_false(w->late);
}

static void run_for(struct world *w, uint64_t ms)
{
    loop_timer_start(w->loop, &w->alarm, ms);
    while (!w->late)
        loop_run(w->loop);
    w->late = false;
}

/* Until so many connections have been closed, as the server sees them. */
static void run_until_closed(struct world *w, int count)
{
    for (int i = 0; i < 1000 && atomic_load(&w->closed) < count; i++)
        run_for(w, 10);
    assert_int_equal(atomic_load(&w->closed), count);
}

static int try_start(struct world *w, const char *host, const char *path, bool stream, bool guarded, struct http_call **out)
{
    char url[128];
    const struct http_call_config config = {
        .method = SLICE("GET"), .url = {url, 0}, .limit = 100, .patience_ms = 5000, .stream = stream, .guarded = guarded};
    struct http_call_config c = config;

    snprintf(url, sizeof(url), "http://%s:%d%s", host, w->port, path);
    c.url = slice_of(url);
    *out = http_call_create(w->client, on_change, w);
    if (!*out || http_call_add_header(*out, SLICE("X-Test"), SLICE("yes")) != 0)
        return MT_ENOMEM;
    return http_call_start(*out, &c);
}

static struct http_call *start(struct world *w, const char *host, const char *path, bool stream, bool guarded)
{
    struct http_call *call = NULL;

    assert_int_equal(try_start(w, host, path, stream, guarded, &call), 0);
    return call;
}

static void run_to_end(struct world *w, struct http_call *call)
{
    while (!http_call_ended(call))
        run(w);
}

/* ---- whole answers ---- */

static void an_answer(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 3; i++) {
        struct http_call *call = start(w, "127.0.0.1", "/hello", false, false);
        struct slice name, value;
        size_t at = 0;

        w->changes = 0;
        run_to_end(w, call);
        assert_int_equal(w->changes, 1); /* a whole answer is told once */
        assert_int_equal(http_call_code(call), 0);
        assert_int_equal(http_call_status(call), 200);
        assert_true(slice_is(http_call_data(call), SLICE("hello")));
        assert_true(http_call_next_header(call, &at, &name, &value));
        assert_true(slice_is_nocase(name, SLICE("x-one")) && slice_is(value, SLICE("1")));
        assert_true(http_call_next_header(call, &at, &name, &value));
        assert_false(http_call_next_header(call, &at, &name, &value));
        http_call_destroy(call);
    }
    assert_int_equal(atomic_load(&w->accepted), 1); /* the connection is kept */
}

static void kept_connections_are_closed_after_a_while(void **state)
{
    struct world *w = *state;
    struct http_call *call = start(w, "127.0.0.1", "/hello", false, false);

    w->settings.idle_ms = 20;
    run_to_end(w, call);
    http_call_destroy(call);
    run_until_closed(w, 1);
    call = start(w, "127.0.0.1", "/hello", false, false);
    run_to_end(w, call);
    assert_int_equal(http_call_code(call), 0);
    http_call_destroy(call);
}

static void the_client_closes_what_it_kept(void **state)
{
    struct world *w = *state;
    struct http_call *call = start(w, "127.0.0.1", "/hello", false, false);

    run_to_end(w, call);
    http_call_destroy(call);
    http_client_destroy(w->client);
    w->client = NULL;
    run_until_closed(w, 1);
}

static void refused_at_once(void **state)
{
    struct world *w = *state;
    struct http_call *call;

    assert_int_equal(try_start(w, "a b", "/", false, false, &call), MT_EINVALID);
    assert_true(http_call_ended(call));
    assert_non_null(strstr(http_call_text(call), "not valid"));
    http_call_destroy(call);
    http_call_destroy(NULL);
}

/* ---- the guard ---- */

static void a_redirect_into_the_private(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *host, *path;
        bool guarded;
        int code;
    } cases[] = {{"127.0.0.2", "/hello", true, 0},
                 {"127.0.0.1", "/hello", true, MT_EDENIED},
                 {"127.0.0.2", "/inside", true, MT_EDENIED},
                 {"127.0.0.2", "/hello", true, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_call *call = start(w, cases[i].host, cases[i].path, false, cases[i].guarded);
        run_to_end(w, call);
        assert_int_equal(http_call_code(call), cases[i].code);
        http_call_destroy(call);
    }
    assert_int_equal(atomic_load(&w->accepted), 1);
}

static void a_kept_connection_is_no_way_around(void **state)
{
    struct world *w = *state;
    struct http_call *call = start(w, "127.0.0.1", "/hello", false, false);

    run_to_end(w, call);
    http_call_destroy(call);
    call = start(w, "127.0.0.1", "/hello", false, true);
    run_to_end(w, call);
    assert_int_equal(http_call_code(call), MT_EDENIED);
    http_call_destroy(call);
}

/* ---- streams ---- */

static void a_stream_waits_for_its_reader(void **state)
{
    struct world *w = *state;
    struct http_call *call = start(w, "127.0.0.1", "/stream", true, false);
    size_t total = 0;

    run(w);
    assert_true(http_call_has_head(call) && !http_call_ended(call));
    run_for(w, 300);
    assert_true(http_call_data(call).len > 0 && http_call_data(call).len <= 256 << 10);
    assert_true(atomic_load(&w->sent) < STREAM_BYTES); /* the rest is still there */
    while (!http_call_ended(call) || http_call_data(call).len > 0) {
        struct slice data = http_call_data(call);
        if (data.len == 0)
            run(w);
        total += data.len;
        http_call_take(call, data.len);
    }
    assert_int_equal(total, STREAM_BYTES);
    assert_int_equal(http_call_code(call), 0);
    http_call_destroy(call);
}

static void a_stream_holds_as_much_as_is_needed(void **state)
{
    struct world *w = *state;
    struct http_call *call = start(w, "127.0.0.1", "/stream", true, false);

    run(w);
    run_for(w, 100);
    http_call_need(call, LINE_BYTES);
    while (http_call_data(call).len < LINE_BYTES)
        run(w);
    assert_int_equal(http_call_data(call).data[LINE_BYTES - 1], '\n');
    http_call_take(call, LINE_BYTES);
    http_call_stop(call, MT_ECANCELLED, "stopped");
    assert_true(http_call_ended(call));
    assert_int_equal(http_call_code(call), MT_ECANCELLED);
    assert_string_equal(http_call_text(call), "stopped");
    assert_int_equal(http_call_data(call).len, 0);
    http_call_stop(call, MT_ECLOSED, "again");
    assert_int_equal(http_call_code(call), MT_ECANCELLED);
    run_until_closed(w, 1);
    http_call_destroy(call);
}

/* ---- ends in the middle ---- */

static void destroyed_at_any_time(void **state)
{
    struct world *w = *state;

    http_call_destroy(http_call_create(w->client, on_change, w));
    http_call_destroy(start(w, "127.0.0.1", "/never", false, false)); /* not even connected */
    run_for(w, 20);
    struct http_call *call = start(w, "127.0.0.1", "/never", false, false);
    for (int i = 0; i < 1000 && atomic_load(&w->accepted) == 0; i++)
        run_for(w, 10);
    assert_string_equal(http_call_stage(call), "waiting for the answer");
    http_call_destroy(call);
    run_until_closed(w, atomic_load(&w->accepted));
    call = start(w, "127.0.0.1", "/half", true, false);
    run(w);
    http_call_destroy(call);
    run_until_closed(w, atomic_load(&w->accepted));
    http_call_destroy(start(w, "name.invalid", "/", false, false));
}

static void memory_runs_out(void **state)
{
    struct world *w = *state;
    int code = MT_ENOMEM;

    for (unsigned long n = 1; code != 0; n++) {
        struct http_call *call;
        mem_fail_at(n);
        code = try_start(w, "127.0.0.2", "/hello", n % 2 == 0, true, &call);
        if (code == 0) {
            run_to_end(w, call);
            code = http_call_code(call);
        }
        mem_fail_at(0);
        assert_true(code == 0 || code == MT_ENOMEM);
        http_call_destroy(call);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_connections_are_closed_after_a_while, setup, teardown),
        cmocka_unit_test_setup_teardown(the_client_closes_what_it_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_redirect_into_the_private, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kept_connection_is_no_way_around, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_waits_for_its_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_holds_as_much_as_is_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(destroyed_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_runs_out, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
