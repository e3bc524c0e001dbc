/* test_script_handlers.c - the handler table: what is refused, and in which words. Patterns of paths and rooms. */
#include "fake_script.h"

#include "script/route.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static void test_refused(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *table, *message;
    } cases[] = {
        {"{ on_mesage = print }", "app.lua: app.on_mesage: no such handler; did you mean on_message?"},
        {"{ on_mesage = function() end }", "app.lua:1: app.on_mesage: no such handler; did you mean on_message?"},
        {"{ onMessage = print }", "app.onMessage: no such handler; did you mean on_message?"},
        {"{ on_anything_else = print }", "app.on_anything_else: no such handler"},
        {"{ acepts = {} }", "app.acepts: no such key; did you mean accepts?"},
        {"{ count = 0 }", "app.count: no such key; data of your own belongs in a local or in tide.state"},
        {"{ print }", "app: keys are names, got a number"},
        {"{ on_message = 'x' }", "app.on_message: function expected, got string"},
        {"{ on_signal = 1 }", "app.on_signal: function expected, got number"},
        {"{ on = print }", "app.on: table expected, got function"},
        {"{ on = { join = true } }", "app.on.join: function expected, got boolean"},
        {"{ on = { print } }", "app.on: keys are message types, got a number"},
        {"{ accepts = { x = {} } }", "app.accepts.x: there is no app.on"},
        {"{ on = { x = print }, accepts = { y = {} } }", "app.accepts.y: there is no handler app.on.y"},
        {"{ on = { x = print }, accepts = { x = { a = 'strng' } } }", "app.accepts.x.a: unknown shape 'strng'"},
        {"{ limits = { message_byte = 1 } }", "app.limits.message_byte: no such key; did you mean message_bytes?"},
        {"{ limits = { message_bytes = 0 } }", "app.limits.message_bytes: 1 to 1073741824 expected"},
        {"{ limits = { message_bytes = 1.5 } }", "app.limits.message_bytes: integer expected, got number"},
        {"{ limits = { messages_per_secon = 1 } }", "app.limits.messages_per_secon: no such key; did you mean messages_per_second?"},
        {"{ limits = { messages_per_second = '1/s' } }", "app.limits.messages_per_second: number expected, got string"},
        {"{ limits = { messages_per_second = 0 } }", "app.limits.messages_per_second: 0.001 to 1e12 expected"},
        {"{ limits = { bytes_per_second = 0/0 } }", "app.limits.bytes_per_second: 0.001 to 1e12 expected"},
        {"{ limits = { bytes_per_second = 10, bytes_burst = 0.5 } }", "app.limits.bytes_burst: 1 to 1e12 expected"},
        {"{ limits = { bytes_per_second = 10, bytes_burst = 1/0 } }", "app.limits.bytes_burst: 1 to 1e12 expected"},
        {"{ limits = { messages_burst = 10 } }", "app.limits.messages_burst: there is no messages_per_second"},
        {"{ protocols = { 'a b' } }", "app.protocols[1]: the name of a subprotocol expected"},
        {"{ protocols = { chat = true } }", "app.protocols: a list of names expected"},
        {"{ protocols = { 'a', 5 } }", "app.protocols[2]: the name of a subprotocol expected"},
        {"{ version = '1' }", "app.version: integer expected, got string"},
        {"{ routes = { x = {} } }", "app.routes['x']: a path begins with /"},
        {"{ routes = { ['/:'] = {} } }", "a name is missing after the colon"},
        {"{ routes = { ['/:a/:a'] = {} } }", "a name is used twice"},
        {"{ routes = { ['/a*'] = {} } }", "a star stands alone between slashes"},
        {"{ routes = { ['/'] = print } }", "app.routes['/']: table of handlers expected, got function"},
        {"{ routes = { ['/'] = { on_opn = print } } }", "app.routes['/'].on_opn: no such handler; did you mean on_open?"},
        {"{ routes = { ['/'] = { routes = {} } } }", "app.routes['/'].routes: no such key"},
        {"{ routes = { ['/:a'] = {}, ['/:b'] = {} } }", "match the same paths"},
        {"{ rooms = { x = 5 } }", "app.rooms['x']: table expected, got number"},
        {"{ rooms = { x = { grace = -1 } } }", "app.rooms['x'].grace: seconds expected, 0 or more"},
        {"{ rooms = { x = { grace = '5' } } }", "app.rooms['x'].grace: number expected, got string"},
        {"{ rooms = { x = { on_joined = print } } }", "app.rooms['x'].on_joined: no such handler; did you mean on_join?"},
        {"{ rooms = { x = { allow = true } } }", "app.rooms['x'].allow: function expected, got boolean"},
        {"{ actors = { x = print } }", "app.actors.x: table expected, got function"},
        {"{ jobs = { x = 5 } }", "app.jobs.x: function or table expected, got number"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "return %s", cases[i].table);
        fake_load_fails(f, text);
        if (!strstr(f->error, cases[i].message))
            fail_msg("%s\nexpected: %s\ngot: %s", cases[i].table, cases[i].message, f->error);
    }
}

static void test_taken(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local app = { on_signal = print, on_upgrade = print, version = 3, actors = { x = {} }, jobs = { a = print, b = { "
                 "every = 0.5, run = print } }, helper = print, signal = print,\n"
                 "rooms = { ['*'] = { presence = true, history = 5, ttl = 1.5, current = true, grace = 0.5 } } }\n"
                 "app.routes = { ['/'] = app, ['/x'] = { helper = print } } return app");
}

static bool matches(const char *pattern, const char *path, const char *values)
{
    struct route_params params;
    char got[256] = "";

    if (!route_match(slice_of(pattern), slice_of(path), &params))
        return false;
    for (size_t i = 0; i < params.count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s=%.*s;", (int)params.items[i].name.len,
                 params.items[i].name.data, (int)params.items[i].value.len, params.items[i].value.data);
    assert_string_equal(got, values);
    return true;
}

static void test_paths(void **state)
{
    assert_true(matches("/", "/", ""));
    assert_false(matches("/", "/x", ""));
    assert_false(matches("/", "", ""));
    assert_true(matches("/a/:b", "/a/x%2fy", "b=x%2fy;"));
    assert_false(matches("/a/:b", "/a/", ""));
    assert_false(matches("/a/:b", "/a", ""));
    assert_true(matches("/*", "/", "*=;"));
    assert_true(matches("/*", "/a/b", "*=a/b;"));
    assert_true(matches("/*/b", "/a/b", "*=a;"));
    assert_false(matches("/*/b", "/a/c/b", ""));
    assert_true(matches("/caf\xc3\xa9", "/caf%C3%A9", ""));
    assert_false(matches("/a", "a", ""));
}

static bool before(const char *a, const char *b)
{
    assert_true((route_compare(slice_of(a), slice_of(b)) < 0) == (route_compare(slice_of(b), slice_of(a)) > 0));
    return route_compare(slice_of(a), slice_of(b)) < 0;
}

static void test_specific_first(void **state)
{
    assert_true(before("/a", "/:x"));
    assert_true(before("/:x", "/*"));
    assert_true(before("/a/:x", "/:x/a"));
    assert_true(before("/a/b", "/a/*"));
    assert_true(before("/:a/b", "/:a/:b"));
    assert_int_equal(route_compare(SLICE("/a/:x"), SLICE("/a/:y")), 0);
    assert_int_not_equal(route_compare(SLICE("/a"), SLICE("/b")), 0);
}

static void test_room_names(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"*", "", true},         {"*", "x", true},        {"a", "a", true},          {"a", "ab", false},
        {"a*", "ab", true},      {"a*b", "ab", true},     {"a*b", "axxb", true},     {"a*b", "axxbc", false},
        {"*a*a*", "baab", true}, {"*a*a*", "bab", false}, {"game:*", "game:", true}, {"game:*", "gam", false},
        {"**", "x", true},       {"", "", true},          {"", "x", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (route_match_name(slice_of(cases[i].pattern), slice_of(cases[i].name)) != cases[i].matches)
            fail_msg("%s %s", cases[i].pattern, cases[i].name);
}

static void test_most_specific_room(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(
        f, "local function kind(name) return { on_join = function(room, who) print(name, room.name) end } end\n"
           "return { rooms = { ['*'] = kind 'any', ['game:*'] = kind 'game', ['game:1'] = kind 'one', ['*:1'] = kind 'ones' },\n"
           "on_message = function(conn, t) conn:join(t) end }");
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    fake_expect_log(f, "any    x");
    fake_text(f, s, "game:2");
    fake_expect_log(f, "game    game:2");
    fake_text(f, s, "game:1");
    fake_expect_log(f, "one    game:1");
    fake_text(f, s, "y:1");
    fake_expect_log(f, "ones    y:1");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_refused),        TEST(test_taken),      TEST(test_paths),
        TEST(test_specific_first), TEST(test_room_names), TEST(test_most_specific_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
