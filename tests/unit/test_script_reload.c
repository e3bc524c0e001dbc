/* test_script_reload.c - versions: what a reload changes, what it keeps, and that a broken one changes nothing. Modules and the
 * sandbox. */
#include "fake_script.h"

#include "base/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static struct script_stats stats(struct fake *f)
{
    struct script_stats s;

    script_stats(f->script, &s);
    return s;
}

static void test_keeps_connections_and_state(void **state)
{
    struct fake *f = *state;
    struct session *s;
    char first[16];

    fake_load(f, "local app = {} function app.on_start(r) tide.state.starts = (tide.state.starts or 0) + 1 end\n"
                 "function app.on_message(conn, t) conn.data.n = (conn.data.n or 0) + 1 conn:join('r') conn:send('one ' .. "
                 "conn.data.n) end return app");
    snprintf(first, sizeof(first), "%s", script_version(f->script));
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    assert_int_equal(fake_reload(f, "local app = {} function app.on_start(r) tide.state.reason = r end\n"
                                    "function app.on_message(conn, t) conn.data.n = conn.data.n + 1\n"
                                    "conn:send(('two %d %s %d %s %s'):format(conn.data.n, conn:rooms()[1], tide.state.starts, "
                                    "tide.state.reason, tide.version)) end return app"),
                     0);
    assert_string_not_equal(first, script_version(f->script));
    fake_text(f, s, "x");
    {
        char expected[128];

        snprintf(expected, sizeof(expected), "one 1\ntwo 2 r 1 reload %s\n", script_version(f->script));
        fake_expect(s, expected);
    }
    assert_int_equal(stats(f).reloads, 1);
    assert_int_equal(stats(f).old_versions, 0);
}

static void test_broken_keeps_the_old(void **state)
{
    struct fake *f = *state;
    struct session *s;
    static const char *const broken[] = {
        "local x =\n= 1",
        "error('at load')",
        "return 5",
        "",
        "return { on_mesage = print }",
        "require 'nowhere' return {}",
        ("tide.spawn(function() print('never') end) tide.after(1, function() print('never') end) tide.every(1, print) "
         "error('late')"),
        "tide.state.n = 2 return {}",
        "tide.room('x'):send('y') return {}",
        "coroutine.yield() return {}",
        "undeclared = 1 return {}",
    };

    fake_load(f, "local app = {} function app.on_start() tide.state.n = 1 end function app.on_message(conn) conn:send('old ' .. "
                 "tide.state.n) end return app");
    s = fake_open(f, "/");
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        if (fake_reload(f, broken[i]) != MT_ESCRIPT)
            fail_msg("loaded: %s", broken[i]);
        assert_non_null(f->error);
        assert_non_null(strstr(f->error, "app.lua"));
        fake_text(f, s, "x");
        fake_expect(s, "old 1\n");
    }
    fake_advance(f, 5000);
    fake_expect_no_log(f);
    assert_int_equal(stats(f).reloads, 0);
    assert_int_equal(stats(f).old_versions, 0);
    assert_int_equal(stats(f).tasks, 0);
}

static void test_messages_of_broken_ones(void **state)
{
    struct fake *f = *state;

    fake_load_fails(f, "\nlocal x = = 1");
    assert_non_null(strstr(f->error, "app.lua:2: unexpected symbol near '='"));
    fake_load_fails(f, "\nlocal function f() error('boom') end\nf()");
    assert_non_null(strstr(f->error, "app.lua:2: boom"));
    assert_non_null(strstr(f->error, "app.lua:3: in"));
    fake_load_fails(f, "");
    assert_non_null(strstr(f->error, "app.lua: the script returned nothing: a table of handlers expected"));
    fake_load_fails(f, "return tide.room('x'):send('y')");
    assert_non_null(strstr(f->error, "not while loading: use on_start"));
    fake_load_fails(f, "tide.state.x = 1");
    assert_non_null(strstr(f->error, "tide.state: not while loading: use on_start"));
    fake_load_fails(f, "error(setmetatable({}, { __tostring = function() return 'own text' end }))");
    assert_non_null(strstr(f->error, "own text"));
    fake_load_fails(f, "error()");
    assert_non_null(strstr(f->error, "nil"));
}

/* What is made while loading starts when the version goes live. */
static void test_held_work(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local t = tide.spawn(function() print('spawned') end) tide.after(1, function() print('after') end)\n"
                 "local gone = tide.after(1, print, 'never') gone:cancel() print('loaded') return { on_start = function() "
                 "print('started') end }");
    {
        const char *log = fake_logged(f);

        assert_true(strstr(log, "loaded") && strstr(log, "loaded") < strstr(log, "spawned"));
        assert_non_null(strstr(log, "started"));
    }
    fake_advance(f, 1000);
    fake_expect_log(f, "after");
    fake_advance(f, 1000);
    fake_expect_no_log(f);
}

static void test_waiting_handlers_finish_in_their_version(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local v = 'one' local app = {} function app.on_message(conn) tide.sleep(1) conn:send(v .. ' ' .. tide.version) "
                 "end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "a");
    fake_text(f, s, "b");
    {
        char expected[128];

        snprintf(expected, sizeof(expected), "one %s\n", script_version(f->script));
        assert_int_equal(fake_reload(f, "local app = {} function app.on_message(conn, t) conn:send('two ' .. t) end return app"),
                         0);
        assert_int_equal(stats(f).old_versions, 1);
        fake_advance(f, 1000);
        strcat(expected, "two b\n"); /* what was queued is for the live version */
        fake_expect(s, expected);
    }
    assert_int_equal(stats(f).old_versions, 0);
}

static void test_timers_over_a_reload(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local app = {} function app.tick() print('tick one') end\n"
                 "tide.after(5, 'tick') tide.after(5, function() print('after one') end) tide.every(1, function() print('every "
                 "one') end) return app");
    fake_advance(f, 1000);
    fake_expect_log(f, "every one");
    assert_int_equal(fake_reload(f, "local app = {} function app.tick() print('tick two') end tide.every(2, function() "
                                    "print('every two') end) return app"),
                     0);
    assert_int_equal(stats(f).old_versions, 1);
    fake_advance(f, 1500);
    fake_expect_no_log(f);
    fake_advance(f, 4000);
    {
        const char *log = fake_logged(f);

        assert_null(strstr(log, "every one"));
        assert_null(strstr(log, "tick one"));
        assert_non_null(strstr(log, "tick two"));
        assert_non_null(strstr(log, "after one"));
        assert_non_null(strstr(log, "every two"));
    }
    assert_int_equal(stats(f).old_versions, 0);
}

static void test_state_is_one_table(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local state = tide.state print(next(state), #state) return { on_start = function() state.list = { 1 } state[1] "
                 "= 'x' end,\n"
                 "on_message = function(conn, t) state[t] = true local n = 0 for k in pairs(state) do n = n + 1 end "
                 "conn:send(tostring(n)) end }");
    s = fake_open(f, "/");
    fake_text(f, s, "a");
    assert_int_equal(fake_reload(f, "local state = tide.state local n = 0 for k in pairs(state) do n = n + 1 end print('seen', "
                                    "n, state.list[1], state.a)\n"
                                    "print(pcall(function() state.b = 1 end)) print(pcall(function() state.a = nil end))\n"
                                    "return { on_message = function(conn, t) state[t] = true local n = 0 for k in next, state do "
                                    "n = n + 1 end conn:send(tostring(n)) end }"),
                     0);
    fake_expect_log(f, "seen    3    1    true");
    fake_text(f, s, "b");
    fake_expect(s, "3\n4\n");
}

static void test_modules(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_write(f, "other.lua", "local tide = require 'moontide' return { n = 0, tide = tide }");
    fake_write(f, "sub_init.lua", "return 'plain'");
    fake_load(f,
              "local other = require 'other' assert(other == require 'other' and other.tide == tide) assert(require 'sub_init' "
              "== 'plain')\n"
              "assert(require 'string' == string and package.loaded.other == other and require 'cjson'.encode({ 1 }) == '[1]')\n"
              "return { on_message = function(conn) other.n = other.n + 1 conn:send(tostring(other.n)) end }");
    assert_string_equal(strrchr(script_files(f->script)[0], '/'), "/app.lua");
    assert_string_equal(strrchr(script_files(f->script)[1], '/'), "/other.lua");
    assert_string_equal(strrchr(script_files(f->script)[2], '/'), "/sub_init.lua");
    assert_null(script_files(f->script)[3]);
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    fake_text(f, s, "x");
    fake_write(f, "other.lua", "return { n = 10 }");
    {
        char before[16];

        snprintf(before, sizeof(before), "%s", script_version(f->script));
        assert_int_equal(
            fake_reload(f,
                        "local other = require 'other' return { on_message = function(conn) conn:send('new ' .. other.n) end }"),
            0);
        assert_string_not_equal(before, script_version(f->script));
    }
    fake_text(f, s, "x");
    fake_expect(s, "1\n2\nnew 10\n");
    fake_write(f, "bad.lua", "\nlocal = 1");
    fake_load_fails(f, "require 'bad'");
    assert_non_null(strstr(f->error, "bad.lua:2:"));
    fake_load_fails(f, "require '../etc/passwd'");
    assert_non_null(strstr(f->error, "is no module name"));
    fake_load_fails(f, "require 'io'");
    assert_non_null(strstr(f->error, "module 'io' not found"));
    fake_write(f, "a.lua", "require 'b'");
    fake_write(f, "b.lua", "require 'a'");
    fake_load_fails(f, "require 'a'");
}

static void test_sandbox(void **state)
{
    struct fake *f = *state;

    fake_load(
        f,
        "assert(io == nil and dofile == nil and loadfile == nil and os.execute == nil and os.exit == nil and os.getenv == nil)\n"
        "assert(os.remove == nil and os.rename == nil and os.tmpname == nil and os.setlocale == nil)\n"
        "assert(debug.getregistry == nil and debug.sethook == nil and debug.traceback and string.dump == nil and package.loadlib "
        "== nil)\n"
        "assert(load('return 1')() == 1 and load(string.char(27) .. 'Lua') == nil and load('x', 'x', 'b') == nil)\n"
        "assert(load('return ...', 'n', 't', {})(5) == 5 and load('return string')() == string and not load('return string', "
        "'n', 't', {})())\n"
        "assert(getmetatable('') == false and getmetatable(_G) == false and not pcall(setmetatable, _G, {}))\n"
        "assert(not pcall(setmetatable, {}, { __gc = print }) and not pcall(collectgarbage) and collectgarbage 'count' > 0)\n"
        "local ok, e = pcall(function() x = 1 end) assert(not ok and e:find \"undeclared global 'x'\", e) assert(y == nil)\n"
        "local ok, e = pcall(load 'y = 1') assert(not ok)\n"
        "assert(not pcall(coroutine.resume, 5) and coroutine.resume(coroutine.create(function() return 1 end)))\n"
        "assert(select('#', coroutine.running()) == 2) string.mine = 1 return {}");
    assert_int_equal(fake_reload(f, "assert(string.mine == nil) return {}"), 0);
}

static void test_sandbox_opened(void **state)
{
    struct fake *f = *state;
    static const char *const allow[] = {"io", "os", "debug", "package", NULL};

    f->config.sandbox_allow = allow;
    fake_load(f, "assert(io.open and os.getenv and debug.getinfo and package.cpath) assert(package.loaded.io == io) return {}");
}

/* A handler's coroutine belongs to the core, however a script got hold of it. */
static void test_handler_coroutines_are_safe(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local mine return { on_message = function(conn, t)\n"
                 "  if t == 'wait' then mine = coroutine.running() tide.sleep(1) conn:send('slept') return end\n"
                 "  if t == 'yield' then conn:send(select(2, pcall(coroutine.yield))) return end\n"
                 "  conn:send(tostring(coroutine.isyieldable())) conn:send((select(2, coroutine.resume(mine)))) "
                 "conn:send(tostring(pcall(coroutine.close, mine)))\n"
                 "  conn:send(coroutine.status(mine)) end }");
    s = fake_open(f, "/");
    fake_text(f, s, "wait");
    {
        struct session *other = fake_open(f, "/");

        fake_text(f, other, "try");
        fake_expect(other, "false\ncannot resume a handler's coroutine\nfalse\nsuspended\n");
        fake_text(f, other, "yield");
        fake_expect(other, "attempt to yield from outside a coroutine\n");
    }
    fake_advance(f, 1000);
    fake_expect(s, "slept\n");
}

/* pcall and the coroutine functions behave as the manual says. */
static void test_standard_behaviour(void **state)
{
    struct fake *f = *state;

    fake_load(
        f,
        "local a, b, c = pcall(function(...) return ... end, 1, nil) assert(a == true and b == 1 and c == nil)\n"
        "assert(select('#', pcall(function() end)) == 1 and not pcall(error))\n"
        "local t = {} local ok, e = pcall(error, t) assert(not ok and e == t)\n"
        "local ok, e = xpcall(function(x) error(x, 0) end, function(m) return m .. '!' end, 'y') assert(not ok and e == 'y!')\n"
        "assert(select(3, xpcall(function(...) return ... end, print, 1, 2)) == 2)\n"
        "assert(not pcall(pcall)) local ok, e = pcall(pcall, error, 'x') assert(ok and e == false)\n"
        "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error('e' .. b) end)\n"
        "local ok, v = coroutine.resume(co, 1) assert(ok and v == 2 and coroutine.status(co) == 'suspended')\n"
        "local ok, v = coroutine.resume(co, 5) assert(not ok and v:find 'e5' and coroutine.status(co) == 'dead')\n"
        "local ok, v = coroutine.resume(co) assert(not ok and v == 'cannot resume dead coroutine')\n"
        "local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) assert(gen() == 1 and gen() == 2 and "
        "gen() == 3 and gen() == nil)\n"
        "assert(not pcall(gen)) local ok, e = pcall(coroutine.wrap(function() error('in') end)) assert(e:find 'in')\n"
        "local closed local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() closed = "
        "true end }) coroutine.yield() end)\n"
        "coroutine.resume(co) assert(coroutine.close(co) and closed and coroutine.status(co) == 'dead')\n"
        "assert(not pcall(coroutine.close, coroutine.running()))\n"
        "assert(coroutine.wrap(function() return pcall(function() return coroutine.yield(7) end) end)() == 7)\n"
        "assert(coroutine.wrap(function() return coroutine.isyieldable() end)() == true)\n"
        "local depth = 0 local function nest() depth = depth + 1 local c = coroutine.create(function()\n"
        "  local x <close> = setmetatable({}, { __close = nest }) coroutine.yield() end) coroutine.resume(c) coroutine.close(c) "
        "end\n"
        "nest() assert(depth >= 10)\n"
        "return {}");
}

static void test_memory_limit(void **state)
{
    struct fake *f = *state;
    struct session *s;

    f->config.memory_limit = 8 << 20;
    fake_load(f, "local keep = {} return { on_message = function(conn, t)\n"
                 "  if t == 'fill' then while true do keep[#keep + 1] = ('x'):rep(1000) .. #keep end end\n"
                 "  if t == 'big' then local x = ('x'):rep(1 << 30) end\n"
                 "  if t == 'free' then keep = {} end conn:send(t) end }");
    s = fake_open(f, "/");
    fake_text(f, s, "big");
    fake_expect_log(f, "not enough memory");
    fake_text(f, s, "ok");
    fake_text(f, s, "fill");
    fake_expect_log(f, "not enough memory");
    assert_true(stats(f).memory < (9 << 20));
    fake_text(f, s, "free");
    fake_text(f, s, "ok");
    assert_non_null(strstr(s->sent, "free\nok\n"));
    assert_int_equal(s->close_code, 0);
    fake_load_fails(f, "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end");
    assert_non_null(strstr(f->error, "not enough memory"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_keeps_connections_and_state),
        TEST(test_broken_keeps_the_old),
        TEST(test_messages_of_broken_ones),
        TEST(test_held_work),
        TEST(test_waiting_handlers_finish_in_their_version),
        TEST(test_timers_over_a_reload),
        TEST(test_state_is_one_table),
        TEST(test_modules),
        TEST(test_sandbox),
        TEST(test_sandbox_opened),
        TEST(test_handler_coroutines_are_safe),
        TEST(test_standard_behaviour),
        TEST(test_memory_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
