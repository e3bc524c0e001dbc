/* test_script_dispatch.c - events of connections to handlers: order, replies, whose fault it was. */
#include "fake_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* cmocka wants the whole line each time. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static struct script_stats stats(struct fake *f)
{
    struct script_stats s;

    script_stats(f->script, &s);
    return s;
}

static void test_echo(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {} function app.on_message(conn, text) conn:send(text) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "hello");
    fake_text(f, s, "");
    fake_expect(s, "hello\n\n");
    fake_binary(f, s, "x", 1);
    assert_int_equal(s->close_code, 1003);
    fake_expect_no_log(f);
}

static void test_life(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(
        f, "local app = {} local seen\n"
           "function app.on_open(conn) seen = conn conn.data.n = 1 conn:send('open ' .. conn.path .. ' ' .. conn.query.x) end\n"
           "function app.on_binary(conn, b) assert(conn == seen) conn:send_binary(b .. b) end\n"
           "function app.on_close(conn, code, reason) print('closed', code, reason, conn.data.n, conn == seen) end\n"
           "return app");
    s = fake_open(f, "/a%20b?x=1%262");
    fake_expect(s, "open /a b 1&2\n");
    fake_binary(f, s, "\xff", 1);
    fake_expect(s, "\xff\xff\n");
    fake_close(f, s, 1001);
    fake_expect_log(f, "closed    1001    bye    1    true");
    assert_int_equal(hub_count(script_hub_of(f->script)), 0);
}

/* A message that comes in before the end is still handled, then on_close, then nothing is left. */
static void test_close_comes_last(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {}\n"
                 "function app.on_message(conn, text) print('begin', text) tide.sleep(1) print('end', text, conn:send('x')) end\n"
                 "function app.on_close(conn, code) print('close', code) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "one");
    fake_text(f, s, "two");
    fake_close(f, s, 1000);
    fake_expect_log(f, "begin    one");
    fake_advance(f, 1000);
    fake_expect_log(f, "end    one    nil    closed    closed");
    fake_advance(f, 999);
    fake_expect_no_log(f);
    assert_int_equal(hub_count(script_hub_of(f->script)), 1);
    fake_advance(f, 1);
    {
        const char *log = fake_logged(f);
        const char *end = strstr(log, "end    two"), *close = strstr(log, "close    1000");

        assert_true(end && close && end < close);
    }
    assert_int_equal(hub_count(script_hub_of(f->script)), 0);
}

/* While its handler waits, a connection's next events queue; past the bound its socket is paused. Others go on. */
static void test_order_and_pause(void **state)
{
    struct fake *f = *state;
    struct session *a, *b;
    char text[16];

    f->config.queue_limit = 4;
    fake_load(f, "local app = {} function app.on_message(conn, text) if text == 'wait' then tide.sleep(1) end conn:send(text) "
                 "end return app");
    a = fake_open(f, "/");
    b = fake_open(f, "/");
    fake_text(f, a, "wait");
    for (int i = 1; i <= 3; i++) {
        snprintf(text, sizeof(text), "%d", i);
        fake_text(f, a, text);
    }
    assert_int_equal(a->pauses, 0);
    fake_text(f, a, "4");
    assert_int_equal(a->pauses, 1);
    fake_text(f, a, "wait");
    assert_int_equal(a->pauses, 1);
    fake_text(f, b, "b");
    fake_expect(b, "b\n");
    fake_expect(a, "");
    fake_advance(f, 1000);
    fake_expect(a, "wait\n1\n2\n3\n4\n");
    assert_int_equal(a->pauses, 0);
    fake_advance(f, 1000);
    fake_expect(a, "wait\n");
}

static const char on_app[] =
    "local app = { on = {} }\n"
    "app.accepts = { add = { a = 'integer', b = 'integer' } }\n"
    "function app.on.add(conn, m) return m.a + m.b end\n"
    "function app.on.nothing() end\n"
    "function app.on.no() return false end\n"
    "function app.on.fail(conn, m) return nil, 'not you', m.name end\n"
    "function app.on.reject() pcall(tide.reject, 418, 'teapot') return 'never' end\n"
    "function app.on.slow() tide.sleep(1) return { ok = true } end\n"
    "function app.on.keys(conn, m) local t = {} for k in pairs(m) do t[#t + 1] = k end table.sort(t) return t end\n"
    "function app.on.boom() error('boom') end\n"
    "function app.on.bad() return print end\n"
    "return app";

static void test_replies(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, on_app);
    s = fake_open(f, "/");
    fake_text(f, s, "{\"type\":\"add\",\"id\":7,\"a\":1,\"b\":2}");
    fake_expect(s, "{\"type\":\"reply\",\"id\":7,\"data\":3}\n");
    fake_text(f, s, "{\"type\":\"add\",\"a\":1,\"b\":2}");
    fake_expect(s, "");
    fake_text(f, s, "{\"type\":\"add\",\"id\":\"x\",\"a\":1,\"b\":\"2\"}");
    fake_expect(s, "{\"type\":\"error\",\"id\":\"x\",\"code\":\"invalid\",\"message\":\"b: integer expected, got string\"}\n");
    fake_text(f, s, "{\"type\":\"nothing\",\"id\":1}");
    fake_expect(s, "{\"type\":\"reply\",\"id\":1}\n");
    fake_text(f, s, "{\"type\":\"no\",\"id\":9007199254740993}");
    fake_expect(s, "{\"type\":\"reply\",\"id\":9007199254740993,\"data\":false}\n");
    fake_text(f, s, "{\"type\":\"slow\",\"id\":[1]}");
    fake_expect(s, "");
    fake_advance(f, 1000);
    fake_expect(s, "{\"type\":\"reply\",\"id\":[1],\"data\":{\"ok\":true}}\n");
    fake_text(f, s, "{\"type\":\"keys\",\"id\":1,\"a\":null,\"b\":{}}");
    fake_expect(s, "{\"type\":\"reply\",\"id\":1,\"data\":[\"b\",\"id\",\"type\"]}\n");
    assert_int_equal(stats(f).client_errors, 1);
    assert_int_equal(stats(f).errors, 0);
}

static void test_client_errors(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, on_app);
    s = fake_open(f, "/");
    for (int i = 0; i < 5; i++)
        fake_text(f, s, "{nope");
    assert_int_equal(s->close_code, 0);
    assert_non_null(strstr(s->sent, "{\"type\":\"error\",\"code\":\"bad_json\""));
    s->len = 0;
    s->sent[0] = '\0';
    fake_text(f, s, "5");
    fake_expect(s, "{\"type\":\"error\",\"code\":\"bad_json\",\"message\":\"not a JSON object\"}\n");
    fake_text(f, s, "{\"type\":\"ad\",\"id\":1}");
    fake_expect(s, "{\"type\":\"error\",\"id\":1,\"code\":\"unknown_type\",\"message\":\"no handler for ad\"}\n");
    fake_text(f, s, "{}");
    fake_expect(s, "{\"type\":\"error\",\"code\":\"unknown_type\",\"message\":\"a type is missing\"}\n");
    fake_text(f, s, "{\"type\":\"fail\",\"name\":\"denied\"}");
    fake_expect(s, "{\"type\":\"error\",\"code\":\"denied\",\"message\":\"not you\"}\n");
    fake_text(f, s, "{\"type\":\"fail\",\"id\":2}");
    fake_expect(s, "{\"type\":\"error\",\"id\":2,\"code\":\"failed\",\"message\":\"not you\"}\n");
    fake_text(f, s, "{\"type\":\"fail\",\"name\":-32000}");
    fake_expect(s, "{\"type\":\"error\",\"code\":-32000,\"message\":\"not you\"}\n");
    fake_text(f, s, "{\"type\":\"reject\",\"id\":3}");
    fake_expect(s, "{\"type\":\"error\",\"id\":3,\"code\":418,\"message\":\"teapot\"}\n");
    assert_int_equal(stats(f).client_errors, 12);
    assert_int_equal(stats(f).errors, 0);
    fake_expect_no_log(f);
}

static void test_script_errors(void **state)
{
    struct fake *f = *state;
    struct session *s;
    const char *log;

    fake_load(f, on_app);
    s = fake_open(f, "/x?token=secret");
    fake_text(f, s, "{\"type\":\"boom\",\"id\":1}");
    fake_expect(s, "{\"type\":\"error\",\"id\":1,\"code\":\"internal\",\"message\":\"internal error\"}\n");
    log = fake_logged(f);
    assert_non_null(strstr(log, "app.lua:10: boom"));
    assert_non_null(strstr(log, "stack traceback:"));
    assert_non_null(strstr(log, script_version(f->script)));
    assert_non_null(strstr(log, "203.0.113.9"));
    assert_null(strstr(log, "secret"));
    assert_null(strstr(log, "[C]: in ?"));
    fake_text(f, s, "{\"type\":\"boom\"}");
    fake_text(f, s, "{\"type\":\"nothing\"}"); /* not in a row */
    fake_text(f, s, "{\"type\":\"boom\"}");
    fake_text(f, s, "{\"type\":\"bad\",\"id\":5}"); /* a reply that cannot be written is the script's fault */
    fake_expect_log(f, "on: the reply of on.bad (app.lua:11) cannot be sent: reply: cannot be written as JSON: function");
    assert_int_equal(s->close_code, 0);
    fake_text(f, s, "{\"type\":\"boom\"}");
    assert_int_equal(s->close_code, 1011);
    assert_int_equal(stats(f).errors, 5);
}

static void test_errors_may_be_tolerated(void **state)
{
    struct fake *f = *state;
    struct session *s;

    f->config.close_on_errors = false;
    fake_load(f, on_app);
    s = fake_open(f, "/");
    for (int i = 0; i < 5; i++)
        fake_text(f, s, "{\"type\":\"boom\"}");
    assert_int_equal(s->close_code, 0);
}

/* on and on_message together: what on does not take goes to on_message. */
static void test_on_and_on_message(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = { on = {} } function app.on.a() return 1 end\n"
                 "function app.on_message(conn, text) if text == 'f' then return nil, 'no', 'denied' end conn:send('raw ' .. "
                 "text) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "{\"type\":\"a\",\"id\":1}");
    fake_text(f, s, "{\"type\":\"b\",\"id\":1}");
    fake_text(f, s, "x");
    fake_text(f, s, "f");
    fake_expect(s, "{\"type\":\"reply\",\"id\":1,\"data\":1}\nraw {\"type\":\"b\",\"id\":1}\nraw x\n"
                   "{\"type\":\"error\",\"code\":\"denied\",\"message\":\"no\"}\n");
}

/* Hooks of rooms run behind the handler that caused them, and before the next event. */
static void test_hooks_run_behind(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = { on = {} }\n"
                 "app.rooms = { ['*'] = { grace = 0, on_join = function(room, who) room:send { joined = who.user or who.id, info "
                 "= who.info } end,\n"
                 "  on_leave = function(room, who) print('left', room.name, who.user) end } }\n"
                 "function app.on_connect(req) return { user = req.query.name } end\n"
                 "function app.on.join(conn, m) conn:join(m.room, { n = 1 }) return #tide.room(m.room):members() end\n"
                 "function app.on.chat(conn, m) tide.room(m.room):send { text = m.text } end return app");
    s = fake_open(f, "/?name=ann");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"r\",\"id\":1}");
    fake_text(f, s, "{\"type\":\"chat\",\"room\":\"r\",\"text\":\"hi\"}");
    assert_non_null(strstr(s->sent, "{\"type\":\"reply\",\"id\":1,\"data\":1}\n{"));
    assert_non_null(strstr(s->sent, "\"joined\":\"ann\""));
    assert_true(strstr(s->sent, "joined") < strstr(s->sent, "\"text\":\"hi\""));
    fake_close(f, s, 1001);
    fake_advance(f, 1);
    fake_expect_log(f, "left    r    ann");
}

static void test_built_in_join(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {}\n"
                 "app.rooms = { ['open:*'] = { allow = function() return true end }, ['closed'] = {},\n"
                 "  ['named:*'] = { allow = function(conn, name, info) tide.sleep(1) if info and info.x then return { x = info.x "
                 "} end return nil, 'name yourself', 'invalid' end } }\n"
                 "function app.on_close(conn) print('rooms', table.concat(conn:rooms(), ' ')) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"open:1\",\"id\":1}");
    fake_expect(s, "{\"type\":\"reply\",\"id\":1}\n");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"closed\",\"id\":2}");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"other\"}");
    fake_expect(s, "{\"type\":\"error\",\"id\":2,\"code\":\"denied\",\"message\":\"not allowed\"}\n"
                   "{\"type\":\"error\",\"code\":\"denied\",\"message\":\"not allowed\"}\n");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"named:1\"}");
    fake_text(f, s, "{\"type\":\"join\",\"room\":\"named:1\",\"info\":{\"x\":5,\"y\":6},\"id\":3}");
    fake_advance(f, 1000);
    fake_expect(s, "{\"type\":\"error\",\"code\":\"invalid\",\"message\":\"name yourself\"}\n");
    fake_advance(f, 1000);
    fake_expect(s, "{\"type\":\"reply\",\"id\":3}\n");
    fake_text(f, s, "{\"type\":\"leave\",\"room\":\"open:1\",\"id\":4}");
    fake_text(f, s, "{\"type\":\"leave\",\"room\":\"open:1\",\"id\":5}");
    fake_text(f, s, "{\"type\":\"join\",\"room\":5}");
    fake_expect(s,
                "{\"type\":\"reply\",\"id\":4}\n{\"type\":\"error\",\"id\":5,\"code\":\"not_found\",\"message\":\"not found\"}\n"
                "{\"type\":\"error\",\"code\":\"invalid\",\"message\":\"room: string 1..256 expected\"}\n");
    fake_close(f, s, 1000);
    fake_expect_log(f, "rooms    named:1");
}

static void test_expiry(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {} function app.on_connect() return { expires = tide.now() + 100 } end return app");
    s = fake_open(f, "/");
    fake_advance(f, 99000);
    assert_int_equal(s->close_code, 0);
    fake_load(f, "local app = {} function app.on_connect() return { expires = tide.now() - 1 } end return app");
    s = fake_open(f, "/");
    fake_advance(f, 0);
    assert_int_equal(s->close_code, 4401);
    script_set_expired_code(f->script, 4999);
    s = fake_open(f, "/");
    fake_advance(f, 0);
    assert_int_equal(s->close_code, 4999);
}

static void test_drain(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {} function app.on_message(conn, text) conn:send(text) print('drained', "
                 "conn:drain(tonumber(text))) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "1");
    fake_expect_log(f, "drained    true");
    s->blocked = true;
    fake_text(f, s, "5");
    fake_expect_no_log(f);
    fake_drain(f, s);
    fake_expect_log(f, "drained    true");
    s->blocked = true;
    fake_text(f, s, "5");
    fake_advance(f, 4999);
    fake_expect_no_log(f);
    fake_advance(f, 1);
    fake_expect_log(f, "drained    nil    timeout    timeout");
    fake_text(f, s, "5");
    fake_close(f, s, 1000);
    fake_expect_log(f, "drained    nil    closed    closed");
}

/* Calls of the hub and the session that come while a script runs (here: a close that is told at once) do not enter Lua again. */
static void test_events_inside_of_handlers(void **state)
{
    struct fake *f = *state;
    struct session *a, *b;

    fake_load(f, "local app = {} local list = {}\n"
                 "app.rooms = { ['*'] = { grace = 0, on_join = function() print('join') end, on_leave = function() "
                 "print('leave') end } }\n"
                 "function app.on_message(conn, text) print('begin') conn:join('r') conn:leave('r') print('end') end return app");
    a = fake_open(f, "/");
    b = fake_open(f, "/");
    fake_text(f, a, "x");
    {
        const char *log = fake_logged(f);

        assert_true(strstr(log, "begin") < strstr(log, "end"));
        assert_true(strstr(log, "end") < strstr(log, "join"));
        assert_true(strstr(log, "join") < strstr(log, "leave"));
    }
    fake_close(f, b, 1000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_echo),
        TEST(test_life),
        TEST(test_close_comes_last),
        TEST(test_order_and_pause),
        TEST(test_replies),
        TEST(test_client_errors),
        TEST(test_script_errors),
        TEST(test_errors_may_be_tolerated),
        TEST(test_on_and_on_message),
        TEST(test_hooks_run_behind),
        TEST(test_built_in_join),
        TEST(test_expiry),
        TEST(test_drain),
        TEST(test_events_inside_of_handlers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
