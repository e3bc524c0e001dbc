/* test_app_embed.c - moontide.h as an embedding program uses it: results and sentences, modules, two servers, stop from
 * elsewhere. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "loop/loop.h"
#include "moontide.h"
#include <arpa/inet.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/moontide-embed-XXXXXX";

static const struct moontide_setting quiet[] = {{"listen", "127.0.0.1:0"}, {"log.level", "off"}};

static const char *write_script(const char *text)
{
    static char path[100];
    snprintf(path, sizeof(path), "%s/app.lua", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

static struct moontide *create(const struct moontide_module *modules, size_t count)
{
    const struct moontide_options options = {
        .script = write_script("local m = require 'native' return { on_http = function() return 200, m.name() end }"),
        .settings = quiet,
        .setting_count = 2,
        .modules = modules,
        .module_count = count,
    };
    struct moontide *server;
    char *error;
    if (moontide_create(&options, &server, &error))
        fail_msg("%s", error);
    assert_null(error);
    return server;
}

static int l_name_one(lua_State *L)
{
    lua_pushliteral(L, "one");
    return 1;
}

static int l_name_two(lua_State *L)
{
    lua_pushliteral(L, "two");
    return 1;
}

static int push_module(lua_State *L, lua_CFunction name)
{
    lua_newtable(L);
    lua_pushcfunction(L, name);
    lua_setfield(L, -2, "name");
    return 1;
}

static int open_one(lua_State *L)
{
    return push_module(L, l_name_one);
}

static int open_two(lua_State *L)
{
    return push_module(L, l_name_two);
}

static void run(void *server)
{
    moontide_run(server);
}

/* The end of the answer is `expected`. */
static bool answers(int port, const char *expected)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 10};
    char answer[1024];
    size_t len = 0;
    ssize_t got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    while ((got = read(fd, answer + len, sizeof(answer) - len)) > 0)
        len += (size_t)got;
    close(fd);
    return len > strlen(expected) && memcmp(answer + len - strlen(expected), expected, strlen(expected)) == 0;
}

static void test_two_servers_with_modules_of_their_own(void **state)
{
    static const struct moontide_module one[] = {{"native", open_one}}, two[] = {{"native", open_two}};
    struct moontide *a = create(one, 1), *b = create(two, 1);
    struct loop_thread *ta = loop_thread_start(run, a), *tb = loop_thread_start(run, b);
    assert_memory_equal(moontide_address(a, 0), "http://127.0.0.1:", 17);
    assert_int_equal(moontide_port(a, 0), atoi(moontide_address(a, 0) + 17));
    assert_null(moontide_address(a, 1));
    assert_int_equal(moontide_port(a, 1), 0);
    assert_true(answers(moontide_port(a, 0), "\r\n\r\none"));
    assert_true(answers(moontide_port(b, 0), "\r\n\r\ntwo"));
    moontide_stop(a);
    loop_thread_join(ta);
    moontide_destroy(a);
    assert_true(answers(moontide_port(b, 0), "\r\n\r\ntwo"));
    moontide_stop(b);
    moontide_stop(b);
    loop_thread_join(tb);
    moontide_destroy(b);
}

static void test_reload_from_another_thread(void **state)
{
    static const struct moontide_module one[] = {{"native", open_one}};
    struct moontide *server = create(one, 1);
    struct loop_thread *thread = loop_thread_start(run, server);
    time_t end = time(NULL) + 10;
    write_script("local m = require 'native' return { on_http = function() return 200, 'still ' .. m.name() end }");
    moontide_reload(server);
    while (!answers(moontide_port(server, 0), "still one"))
        assert_true(time(NULL) < end);
    moontide_stop(server);
    loop_thread_join(thread);
    moontide_destroy(server);
}

/* Asserts the result and that the sentence has `word`. */
static void refuse(const struct moontide_options *options, enum moontide_result result, const char *word)
{
    struct moontide *server = (struct moontide *)folder;
    char *error = NULL;
    assert_int_equal(moontide_create(options, &server, &error), result);
    assert_null(server);
    assert_non_null(error);
    if (!strstr(error, word))
        fail_msg("\"%s\" does not say \"%s\"", error, word);
    moontide_free(error);
    assert_int_equal(moontide_create(options, &server, NULL), result);
}

static void test_wrong_settings(void **state)
{
    const char *script = write_script("return {}");
    const struct moontide_setting typo[] = {{"limits.mesage", "1"}}, workers[] = {{"workers", "65"}};
    refuse(&(struct moontide_options){0}, MOONTIDE_BAD_SETTINGS, "script");
    refuse(&(struct moontide_options){.script = script, .settings = typo, .setting_count = 1}, MOONTIDE_BAD_SETTINGS,
           "limits.message");
    refuse(&(struct moontide_options){.script = script, .settings = workers, .setting_count = 1}, MOONTIDE_BAD_SETTINGS,
           "1 to 64");
    refuse(&(struct moontide_options){.script = script, .config = "/nonexistent.lua"}, MOONTIDE_BAD_SETTINGS, "/nonexistent.lua");
}

static void test_the_environment_counts_when_it_is_asked_for(void **state)
{
    const struct moontide_options options = {.script = write_script("return {}"), .settings = quiet, .setting_count = 2};
    struct moontide_options reading = options;
    struct moontide *server;
    reading.use_environment = 1;
    setenv("MOONTIDE_LIMITS_BODY", "nonsense", 1);
    refuse(&reading, MOONTIDE_BAD_SETTINGS, "MOONTIDE_LIMITS_BODY");
    assert_int_equal(moontide_create(&options, &server, NULL), MOONTIDE_OK);
    moontide_destroy(server);
    unsetenv("MOONTIDE_LIMITS_BODY");
}

static void test_what_keeps_a_server_from_starting(void **state)
{
    static const struct moontide_module one[] = {{"native", open_one}};
    struct moontide *first = create(one, 1);
    const struct moontide_setting taken[] = {{"listen", moontide_address(first, 0)}, {"log.level", "off"}};
    refuse(&(struct moontide_options){.script = write_script("return {}"), .settings = taken, .setting_count = 2},
           MOONTIDE_CANNOT_START, "in use");
    refuse(&(struct moontide_options){.script = write_script("return {"), .settings = quiet, .setting_count = 2},
           MOONTIDE_CANNOT_START, "app.lua:1:");
    moontide_destroy(first);
}

static void test_version(void **state)
{
    assert_string_equal(moontide_version(), MT_VERSION);
    moontide_free(NULL);
    moontide_destroy(NULL);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    unlink(write_script(""));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_servers_with_modules_of_their_own),
        cmocka_unit_test(test_reload_from_another_thread),
        cmocka_unit_test(test_wrong_settings),
        cmocka_unit_test(test_the_environment_counts_when_it_is_asked_for),
        cmocka_unit_test(test_what_keeps_a_server_from_starting),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
