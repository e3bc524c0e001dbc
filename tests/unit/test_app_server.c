/* test_app_server.c - whole servers in one process, with real sockets: start, serve, reload, stop, and again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/server.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_app_server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static char folder[] = "/tmp/moontide-test-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[200], fresh[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(fresh, sizeof(fresh), "%s/.new", folder);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static const char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* ---- servers ---- */

struct running {
    struct server *server;
    struct loop_thread *thread;
    size_t left; /* what server_run returned */
    int port;
};

static void serve(void *arg)
{
    struct running *r = arg;
    r->left = server_run(r->server);
}

/* Settings as "key=value" texts, NULL-terminated; the listener is on a free port of 127.0.0.1 unless they say otherwise. */
static int create(struct server **out, const char *script, const char *const *settings, char **error)
{
    struct config *config = config_create();
    const struct server_options options = {.script = script};
    bool listens = false, logs = false;
    assert_non_null(config);
    for (; settings && *settings; settings++) {
        char key[64];
        size_t len = strcspn(*settings, "=");
        snprintf(key, sizeof(key), "%.*s", (int)len, *settings);
        listens |= strcmp(key, "listen") == 0;
        logs |= strcmp(key, "log.level") == 0;
        assert_int_equal(config_set(config, CONFIG_FLAG, key, *settings + len + 1, true, NULL), 0);
    }
    if (!listens)
        assert_int_equal(config_set(config, CONFIG_FLAG, "listen", "127.0.0.1:0", true, NULL), 0);
    /* control sockets of the default folders would meet those of other servers of this user */
    assert_int_equal(config_set(config, CONFIG_DEFAULT, "admin", "false", true, NULL), 0);
    if (!logs)
        assert_int_equal(config_set(config, CONFIG_FLAG, "log.level", "off", true, NULL), 0);
    *out = NULL;
    *error = NULL;
    return server_create(config, &options, out, error);
}

/* On the heap: after a failed assertion its thread may go on. */
static struct running *start(const char *script, const char *const *settings)
{
    struct running *r = mem_zalloc(1, sizeof(*r));
    char *error;
    assert_non_null(r);
    if (create(&r->server, path_of(script), settings, &error) || server_listen(r->server, &error))
        fail_msg("cannot start: %s", error);
    const char *address = server_address(r->server, 0);
    assert_non_null(strstr(address, "://127.0.0.1:"));
    r->port = atoi(strrchr(address, ':') + 1);
    r->thread = loop_thread_start(serve, r);
    assert_non_null(r->thread);
    return r;
}

/* Waits for the end of a server that was told to stop. Returns how many sockets were left then. */
static size_t await_end(struct running *r)
{
    loop_thread_join(r->thread);
    size_t left = r->left;
    server_destroy(r->server);
    mem_free(r);
    return left;
}

static size_t finish(struct running *r)
{
    server_stop(r->server);
    return await_end(r);
}

/* With a new certificate, which is in the file NAME.pem. */
static struct running *start_tls(const char *script, const char *name)
{
    char chain[200], key[200], tls[420];
    snprintf(chain, sizeof(chain), "%s/%s.pem", folder, name);
    snprintf(key, sizeof(key), "%s/%s.key", folder, name);
    snprintf(tls, sizeof(tls), "tls=%s,%s", chain, key);
    fake_certificate(chain, key);
    return start(script, (const char *const[]){tls, NULL});
}

/* ---- clients ---- */

static int connect_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Reads `len` bytes, fewer only at the end. The loop of another thread may use io_uring, which interrupts what this one waits for. */
static size_t receive(int fd, void *out, size_t len)
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

/* The status of an answer, and the body where `body` is not NULL (of at least 256 bytes). */
static int read_answer(const char *answer, char *body)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    const char *blank = strstr(answer, "\r\n\r\n");
    assert_non_null(blank);
    if (body)
        snprintf(body, 256, "%s", blank + 4);
    return status;
}

/* The answer to `request`, as read_answer. */
static int ask(int port, const char *request, char *body)
{
    char answer[4096];
    int fd = connect_to(port);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    size_t len = receive(fd, answer, sizeof(answer) - 1);
    close(fd);
    answer[len] = '\0';
    return read_answer(answer, body);
}

#define GET "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void assert_body(int port, const char *expected)
{
    char body[256];
    assert_int_equal(ask(port, GET, body), 200);
    assert_string_equal(body, expected);
}

/* The same over TLS, with the certificate of that name. */
static void assert_tls_body(int port, const char *certificate, const char *expected)
{
    char answer[4096], body[256];
    int fd = connect_to(port);
    assert_true(fd >= 0);
    fake_ask_tls(fd, path_of(certificate), GET, answer, sizeof(answer));
    assert_int_equal(read_answer(answer, body), 200);
    assert_string_equal(body, expected);
}

/* Asks until the answer is `expected`: for what happens soon after a wish, on another thread. */
static void await_body(int port, const char *expected)
{
    char body[256] = "";
    uint64_t end = clock_ms() + PATIENCE_MS;
    do {
        ask(port, GET, body);
        if (strcmp(body, expected) == 0)
            return;
        usleep(2000);
    } while (clock_ms() < end);
    fail_msg("still \"%s\", never \"%s\"", body, expected);
}

static int open_websocket(int port)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char answer[1024];
    size_t len = 0;
    int fd = connect_to(port);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    do {
        assert_int_equal(receive(fd, answer + len, 1), 1);
        answer[++len] = '\0';
    } while (len < sizeof(answer) - 1 && !strstr(answer, "\r\n\r\n"));
    assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
    return fd;
}

static void read_exactly(int fd, void *out, size_t len)
{
    assert_int_equal(receive(fd, out, len), len);
}

/* The next frame is short and unfragmented; its payload as text. Returns the first byte. */
static int read_frame(int fd, char payload[126])
{
    unsigned char head[2];
    read_exactly(fd, head, 2);
    assert_true(head[1] < 126);
    read_exactly(fd, payload, head[1]);
    payload[head[1]] = '\0';
    return head[0];
}

static void assert_going_away(int fd)
{
    static const unsigned char reply[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9};
    char payload[126];
    assert_int_equal(read_frame(fd, payload), 0x88);
    assert_memory_equal(payload, "\x03\xE9going away", 12);
    assert_int_equal(write(fd, reply, sizeof(reply)), sizeof(reply));
    assert_int_equal(receive(fd, payload, 1), 0);
    close(fd);
}

/* ---- tests ---- */

static int setup(void **state)
{
    write_file("one.lua", "return { on_http = function() return 200, 'one' end, on_message = function(c, t) c:send(t) end }");
    write_file("two.lua", "return { on_http = function() return 200, 'two' end }");
    return 0;
}

static void test_two_servers_in_one_process(void **state)
{
    struct running *a = start("one.lua", NULL), *b = start("two.lua", NULL);
    assert_int_not_equal(a->port, b->port);
    assert_body(a->port, "one");
    assert_body(b->port, "two");
    finish(a);
    assert_body(b->port, "two");
    finish(b);
}

static void test_start_stop_start(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct running *r = start("one.lua", NULL);
        assert_body(r->port, "one");
        int port = r->port;
        assert_int_equal(finish(r), 0);
        assert_int_equal(connect_to(port), -1);
    }
}

/* Each has its own certificate, and what OpenSSL and libwebsockets keep for a process outlives the first that stops. */
static void test_two_tls_servers_in_one_process(void **state)
{
    struct running *a = start_tls("one.lua", "a"), *b = start_tls("two.lua", "b");
    assert_tls_body(a->port, "a.pem", "one");
    assert_tls_body(b->port, "b.pem", "two");
    finish(a);
    assert_tls_body(b->port, "b.pem", "two");
    a = start("one.lua", NULL);
    assert_body(a->port, "one");
    finish(b);
    assert_body(a->port, "one");
    finish(a);
}

static void test_tls_start_stop_start(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct running *r = start_tls("one.lua", "a");
        assert_tls_body(r->port, "a.pem", "one");
        int port = r->port;
        assert_int_equal(finish(r), 0);
        assert_int_equal(connect_to(port), -1);
    }
}

static void test_a_stop_before_the_run_ends_it(void **state)
{
    struct server *server;
    char *error;
    assert_int_equal(create(&server, path_of("one.lua"), NULL, &error), 0);
    assert_int_equal(server_listen(server, &error), 0);
    server_stop(server);
    assert_int_equal(server_run(server), 0);
    server_destroy(server);
}

static void test_a_server_that_never_runs_is_freed(void **state)
{
    struct server *server;
    char *error;
    assert_int_equal(create(&server, path_of("one.lua"), NULL, &error), 0);
    assert_int_equal(strlen(server_version(server)), 8);
    assert_null(server_address(server, 0));
    server_destroy(server);
}

static void test_a_port_in_use_is_an_error(void **state)
{
    struct server *server;
    char *error, listen[64];
    struct running *r = start("one.lua", NULL);
    snprintf(listen, sizeof(listen), "listen=127.0.0.1:%d", r->port);
    assert_int_equal(create(&server, path_of("two.lua"), (const char *const[]){listen, NULL}, &error), 0);
    assert_int_equal(server_listen(server, &error), MT_EBUSY);
    assert_non_null(strstr(error, listen + 7));
    assert_non_null(strstr(error, "in use"));
    mem_free(error);
    server_destroy(server);
    assert_body(r->port, "one");
    finish(r);
}

/* Asserts that the server cannot be made, and that the sentence has both words. */
static void refuse(const char *script, const char *const *settings, int code, const char *word, const char *other)
{
    struct server *server;
    char *error;
    assert_int_equal(create(&server, script, settings, &error), code);
    assert_null(server);
    assert_non_null(error);
    if (!strstr(error, word) || !strstr(error, other))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", error, word, other);
    mem_free(error);
}
#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_what_keeps_a_server_from_starting(void **state)
{
    write_file("syntax.lua", "local app = {}\nfunction app.on_open(\nreturn app\n");
    write_file("number.lua", "return 42\n");
    write_file("handler.lua", "return { on_open = 7 }\n");
    refuse(path_of("syntax.lua"), NULL, MT_ESCRIPT, "syntax.lua:3:", "expected");
    refuse(path_of("number.lua"), NULL, MT_ESCRIPT, "number.lua", "table");
    refuse(path_of("handler.lua"), NULL, MT_ESCRIPT, "on_open", "function");
    refuse(path_of("nothing.lua"), NULL, MT_ESCRIPT, "nothing.lua", "");
    refuse(path_of("one.lua"), SETTINGS("static=/nonexistent/www"), MT_ENOT_FOUND, "static = \"/nonexistent/www\"",
           "no such folder");
    refuse(path_of("one.lua"), SETTINGS("library=/nonexistent/lib"), MT_ENOT_FOUND, "library = \"/nonexistent/lib\"",
           "no such folder");
    refuse(path_of("one.lua"), SETTINGS("tls=/nonexistent/c.pem,/nonexistent/k.pem"), MT_ETLS, "/nonexistent/c.pem", "");
}

static void test_everybody_hears_1001_at_the_end(void **state)
{
    enum { CLIENTS = 300 }; /* more than one batch */
    int fds[CLIENTS];
    struct running *r = start("one.lua", NULL);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = open_websocket(r->port);
    server_stop(r->server);
    for (int i = 0; i < CLIENTS; i++)
        assert_going_away(fds[i]);
    assert_int_equal(await_end(r), 0);
}

static void test_on_stop_may_speak_before_the_close(void **state)
{
    char payload[126];
    write_file("stop.lua",
               "local tide = require 'moontide'\n"
               "return { on_open = function() end, on_stop = function(why) tide.sleep(0.02) tide.broadcast('bye ' .. why) end }");
    struct running *r = start("stop.lua", NULL);
    int fd = open_websocket(r->port);
    server_stop(r->server);
    assert_int_equal(read_frame(fd, payload), 0x81);
    assert_string_equal(payload, "bye shutdown");
    assert_going_away(fd);
    await_end(r);
}

static void test_who_does_not_go_is_cut_when_the_time_is_up(void **state)
{
    char payload[126];
    struct running *r = start("one.lua", SETTINGS("shutdown.timeout=0.3", "close.timeout=60"));
    int fd = open_websocket(r->port);
    uint64_t begin = clock_ms();
    server_stop(r->server);
    assert_int_equal(read_frame(fd, payload), 0x88);
    assert_int_equal(await_end(r), 1);
    assert_in_range(clock_ms() - begin, 250, 5000);
    assert_int_equal(receive(fd, payload, 1), 0);
    close(fd);
}

static void test_a_handler_that_waits_for_ever_does_not_hold_the_end(void **state)
{
    write_file("sleep.lua", "local tide = require 'moontide'\nreturn { on_start = function() tide.sleep(1e6) end }");
    struct running *r = start("sleep.lua", SETTINGS("shutdown.timeout=0.3"));
    uint64_t begin = clock_ms();
    server_stop(r->server);
    await_end(r);
    assert_true(clock_ms() - begin < 5000);
}

static void test_reload_on_request(void **state)
{
    write_file("change.lua", "return { on_http = function() return 200, 'first' end }");
    struct running *r = start("change.lua", SETTINGS("watch=false"));
    int fd = open_websocket(r->port);
    assert_body(r->port, "first");
    write_file("change.lua", "return { on_http = function() return 200, 'second' end }");
    assert_body(r->port, "first");
    server_reload(r->server);
    await_body(r->port, "second");
    write_file("change.lua", "return { on_http = function() return 200, 'third' end");
    server_reload(r->server);
    write_file("change.lua", "return { on_http = function() return 200, 'fourth' end }");
    server_reload(r->server);
    await_body(r->port, "fourth");
    server_stop(r->server);
    assert_going_away(fd); /* still connected after all of it */
    await_end(r);
}

static void test_saving_reloads(void **state)
{
    write_file("part.lua", "return 'first'");
    write_file("whole.lua", "local text = require 'part' return { on_http = function() return 200, text end }");
    struct running *r = start("whole.lua", NULL);
    assert_body(r->port, "first");
    write_file("part.lua", "return 'second'");
    await_body(r->port, "second");
    write_file("whole.lua", "local text = require 'part2' return { on_http = function() return 200, text end }");
    write_file("part2.lua", "return 'third'");
    await_body(r->port, "third");
    write_file("part2.lua", "return 'fourth'"); /* a module that came with a reload is watched too */
    await_body(r->port, "fourth");
    finish(r);
}

/* Waits until the log in `name` has `words`. */
static void await_log(const char *name, const char *words)
{
    static char text[65536];
    uint64_t end = clock_ms() + PATIENCE_MS;
    do {
        FILE *f = fopen(path_of(name), "r");
        assert_non_null(f);
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        fclose(f);
        if (strstr(text, words))
            return;
        usleep(2000);
    } while (clock_ms() < end);
    fail_msg("the log never says \"%s\": %s", words, text);
}

static void test_a_failed_reload_is_explained_and_mending_a_module_is_enough(void **state)
{
    int saved = dup(STDERR_FILENO);
    write_file("app.lua", "return { on_http = function() return 200, 'first' end }");
    assert_non_null(freopen(path_of("log"), "w", stderr));
    struct running *r = start("app.lua", SETTINGS("log.level=error"));
    write_file("broken.lua", "\nreturn nonsense nonsense");
    write_file("app.lua", "local text = require 'broken' return { on_http = function() return 200, text end }");
    await_log("log", "broken.lua:2:");
    await_log("log", "was not reloaded, version");
    assert_body(r->port, "first");
    write_file("broken.lua", "return 'mended'");
    await_body(r->port, "mended");
    write_file("app.lua", "local text = require 'later' return { on_http = function() return 200, text end }");
    await_log("log", "module 'later' not found");
    write_file("later.lua", "return 'written later'");
    await_body(r->port, "written later");
    finish(r);
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void test_reload_changes_the_limits_of_a_file(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789";
    struct config *config = config_create();
    struct running *r = mem_zalloc(1, sizeof(*r));
    char *error = NULL;
    write_file("moontide.conf.lua",
               "return { listen = '127.0.0.1:0', watch = false, limits = { body = 9 }, log = { level = 'off' } }");
    assert_int_equal(config_read_file(config, path_of("moontide.conf.lua"), &error), 0);
    assert_int_equal(server_create(config, &(struct server_options){.script = path_of("one.lua")}, &r->server, &error), 0);
    assert_int_equal(server_listen(r->server, &error), 0);
    r->port = atoi(strrchr(server_address(r->server, 0), ':') + 1);
    r->thread = loop_thread_start(serve, r);
    assert_int_equal(ask(r->port, post, NULL), 413);
    write_file("moontide.conf.lua",
               "return { listen = '127.0.0.1:1', watch = false, limits = { body = 10 }, log = { level = 'off' } }");
    server_reload(r->server);
    uint64_t end = clock_ms() + PATIENCE_MS;
    while (ask(r->port, post, NULL) != 200)
        assert_true(clock_ms() < end);
    write_file("moontide.conf.lua", "return { limits = { body = 'x' } }"); /* kept as it was */
    server_reload(r->server);
    finish(r);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_two_servers_in_one_process, setup),
        cmocka_unit_test_setup(test_start_stop_start, setup),
        cmocka_unit_test_setup(test_two_tls_servers_in_one_process, setup),
        cmocka_unit_test_setup(test_tls_start_stop_start, setup),
        cmocka_unit_test_setup(test_a_stop_before_the_run_ends_it, setup),
        cmocka_unit_test_setup(test_a_server_that_never_runs_is_freed, setup),
        cmocka_unit_test_setup(test_a_port_in_use_is_an_error, setup),
        cmocka_unit_test_setup(test_what_keeps_a_server_from_starting, setup),
        cmocka_unit_test_setup(test_everybody_hears_1001_at_the_end, setup),
        cmocka_unit_test_setup(test_on_stop_may_speak_before_the_close, setup),
        cmocka_unit_test_setup(test_who_does_not_go_is_cut_when_the_time_is_up, setup),
        cmocka_unit_test_setup(test_a_handler_that_waits_for_ever_does_not_hold_the_end, setup),
        cmocka_unit_test_setup(test_reload_on_request, setup),
        cmocka_unit_test_setup(test_saving_reloads, setup),
        cmocka_unit_test_setup(test_a_failed_reload_is_explained_and_mending_a_module_is_enough, setup),
        cmocka_unit_test_setup(test_reload_changes_the_limits_of_a_file, setup),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
