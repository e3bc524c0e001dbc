/* test_script_watch.c - endless scripts and their ways to dodge the end: each must be killed, and the server goes on. */
#include "fake_script.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

enum { PATIENCE_MS = 3000 }; /* far past the budget, also under valgrind */

/* An app whose on_message runs `body`, with some helpers. */
static void load_body(struct fake *f, const char *body)
{
    char text[4096];

    f->config.time_budget = 0.05;
    snprintf(
        text, sizeof(text),
        "local app = {} local function loop() while true do end end\n"
        "function app.on_message(conn, text) if text == 'ok' then conn:send('fine') return end %s conn:send('survived') end\n"
        "return app",
        body);
    fake_load(f, text);
}

/* The body is killed in time, the client hears `internal`, the log says where, and the next message is handled. */
static void expect_kill(struct fake *f, const char *body)
{
    struct script_stats before, after;
    struct session *s;
    uint64_t start;

    load_body(f, body);
    s = fake_open(f, "/");
    script_stats(f->script, &before);
    start = clock_ms();
    fake_text(f, s, "go");
    if (clock_ms() - start > PATIENCE_MS)
        fail_msg("took too long to kill: %s", body);
    script_stats(f->script, &after);
    if (after.budget_kills == before.budget_kills)
        fail_msg("not killed: %s; sent: %s", body, s->sent);
    fake_text(f, s, "ok");
    fake_expect(s, "{\"type\":\"error\",\"code\":\"internal\",\"message\":\"internal error\"}\nfine\n");
    fake_expect_log(f, "script.time: more than 0.05 s in one entry");
}

static void test_loop(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "loop()");
    expect_kill(f, "local x = 0 repeat x = x + 1 until false");
    expect_kill(f, "for i = 1, math.huge do end");
    expect_kill(f, "local function f() return f() end f()");
    expect_kill(f, "goto a ::a:: do goto a end");
}

static void test_where_it_was(void **state)
{
    struct fake *f = *state;
    struct session *s;
    const char *log;

    load_body(f, "loop()");
    s = fake_open(f, "/");
    fake_text(f, s, "go");
    log = fake_logged(f);
    assert_non_null(strstr(log, "app.lua:1: in"));
    assert_non_null(strstr(log, "app.lua:2: in"));
    assert_non_null(strstr(log, "on_message"));
}

static void test_protected_calls(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "pcall(loop)");
    expect_kill(f, "while true do pcall(loop) end");
    expect_kill(f, "while true do pcall(error, 'x') end");
    expect_kill(f, "xpcall(loop, loop)");
    expect_kill(f, "xpcall(loop, function() xpcall(loop, loop) end)");
    expect_kill(f, "xpcall(error, loop)");
    expect_kill(f, "pcall(pcall, pcall, pcall, loop)");
    expect_kill(f, "local function f() pcall(f) pcall(f) end while true do f() end");
}

static void test_coroutines(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "coroutine.wrap(loop)()");
    expect_kill(f, "while true do pcall(coroutine.wrap(loop)) end");
    expect_kill(f, "while true do coroutine.resume(coroutine.create(loop)) end");
    expect_kill(f, "coroutine.wrap(function() pcall(coroutine.wrap(loop)) loop() end)()");
    expect_kill(f, "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end");
    expect_kill(f, "while true do local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = loop }) "
                   "coroutine.yield() end)\n"
                   "coroutine.resume(co) coroutine.close(co) end");
    expect_kill(f, "while true do pcall(coroutine.close, coroutine.create(loop)) end");
}

static void test_callbacks(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "table.sort({ 1, 2, 3 }, function() xpcall(loop, loop) return false end)");
    expect_kill(f, "while true do pcall(table.sort, { 3, 2, 1 }, loop) end");
    expect_kill(f, "string.gsub('xxx', 'x', function() pcall(loop) end) loop()");
    expect_kill(f, "string.gsub(string.rep('x', 1e7), 'x', tostring) loop()");
    expect_kill(f, "local t = setmetatable({}, { __index = function() loop() end }) pcall(function() return t.x end) loop()");
    expect_kill(
        f, "local t = setmetatable({}, { __lt = loop, __concat = loop }) while true do pcall(function() return t < t end) end");
    expect_kill(f, "while true do load(function() loop() end) end");
    expect_kill(f, "for k in loop do end");
    expect_kill(f, "tostring(setmetatable({}, { __tostring = loop }))");
    expect_kill(f, "tide.json.decode(\"{}\") loop()");
}

/* Library functions that run for hours in C, where no hook is called. */
static void test_patterns(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "string.find(('a'):rep(5000), ('a-'):rep(150) .. 'b')");
    expect_kill(f, "string.match(('a'):rep(1e6), ('.-'):rep(6) .. 'b')");
    expect_kill(f, "string.match(('a'):rep(1e6), '(.*)(.*)(.*)(.*)b')");
    expect_kill(f, "string.match(('a'):rep(1e6), '(a*)(%1)(%1)(%1)b')");
    expect_kill(f, "string.match(('('):rep(1e6), '^.-%b()')");
    expect_kill(f, "string.match(('a'):rep(1e6), '^.-[' .. ('b'):rep(1e6) .. ']')");
    expect_kill(f, "string.match(('a'):rep(1e6), '^.-%f[' .. ('b'):rep(1e6) .. ']')");
    expect_kill(f, "for x in string.gmatch(('a'):rep(1e6), '(.-)(.-)(.-)b') do end");
    expect_kill(f, "string.gsub(('a'):rep(1e6), '(.-)(.-)(.-)b', '')");
    expect_kill(f, "string.gsub(('a'):rep(1e6), '()', ('%0'):rep(1e5))");
    expect_kill(f, "pcall(('x').match, ('a'):rep(1e6), '(.-)(.-)(.-)b') loop()");
    expect_kill(f, "while true do pcall(string.find, ('a'):rep(1e6), '(.-)(.-)(.-)b') end");
    expect_kill(f, "while true do pcall(coroutine.wrap(string.find), ('a'):rep(1e6), '(.-)(.-)(.-)b') end");
    expect_kill(f, "(('a'):rep(1e6)):match('(.-)(.-)(.-)b')");
}

static void test_tables(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "table.move({}, 1, math.maxinteger - 1, 2)");
    expect_kill(f, "table.move({}, -1 << 62, 0, 1)");
    expect_kill(f, "table.remove(setmetatable({}, { __len = function() return math.maxinteger - 1 end }), 1)");
    expect_kill(f, "table.insert(setmetatable({}, { __len = function() return math.maxinteger - 1 end }), 1, 1)");
    expect_kill(f, "local t = {} for i = 1, 1000 do t[i] = '' end for i = 1, 1900 do t = setmetatable({}, { __index = t }) end\n"
                   "for i = 1, 1e9 do table.concat(t, '', 1, 1000) end");
    expect_kill(f, "local t = {} for i = 1, 1e5 do t[i] = i end for i = 1, 1900 do t = setmetatable({}, { __index = t }) end\n"
                   "table.unpack(t, 1, 1e5) table.unpack(t, 1, 1e5) table.unpack(t, 1, 1e5) loop()");
    expect_kill(f, "table.sort(setmetatable({}, { __len = function() return (1 << 31) - 2 end }), math.type)");
    expect_kill(
        f, "table.sort(setmetatable({}, { __len = function() return (1 << 31) - 2 end, __index = { 1 } }), rawequal) loop()");
    expect_kill(f, "local s, t = ('x'):rep(1e6), {} for i = 1, 1e5 do t[i] = s end table.sort(t)");
    expect_kill(f, "local t = {} for i = 1, 3e6 do t[i] = i * 7919 % 1000003 end table.sort(t)");
}

static void test_sources(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "load(('a=a '):rep(3e6)) loop()");
    expect_kill(f, "load('return ' .. ('{'):rep(1e7)) load(('-'):rep(1e7)) loop()");
    expect_kill(f, "while true do load(function() return '' .. 'x = 1 ' end) end");
    expect_kill(f, "local names = {} for i = 1, 190 do names[i] = 'n' .. i end\n"
                   "local head = 'local ' .. table.concat(names, ',') .. ' '\n"
                   "load(('return function() ' .. head):rep(60) .. ('x=x '):rep(1e6))");
}

static void test_close_variables(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "do local x <close> = setmetatable({}, { __close = loop }) end");
    expect_kill(f, "local x <close> = setmetatable({}, { __close = function() pcall(loop) end }) loop()");
    expect_kill(f, "local x <close> = setmetatable({}, { __close = loop }) error('x')");
}

/* An error value whose __tostring never ends: it is asked for by the log. */
static void test_error_values(void **state)
{
    struct fake *f = *state;
    struct session *s;
    uint64_t start = clock_ms();

    load_body(f, "error(setmetatable({}, { __tostring = loop }))");
    s = fake_open(f, "/");
    fake_text(f, s, "go");
    assert_true(clock_ms() - start < PATIENCE_MS);
    fake_text(f, s, "ok");
    assert_non_null(strstr(s->sent, "fine"));
}

/* A finalizer would run with hooks off, where nothing can end it. */
static void test_no_finalizers(void **state)
{
    struct fake *f = *state;
    struct session *s;

    load_body(f, "setmetatable({}, { __gc = loop })");
    s = fake_open(f, "/");
    fake_text(f, s, "go");
    fake_expect_log(f, "__gc is not available");
}

/* A cancelled task may clean up, within the budget. */
static void test_endless_cleaning(void **state)
{
    struct fake *f = *state;
    struct session *s;
    uint64_t start = clock_ms();

    load_body(f, "local t = tide.spawn(function() local x <close> = setmetatable({}, { __close = loop }) tide.sleep(9) end)\n"
                 "tide.sleep(1) t:cancel()");
    s = fake_open(f, "/");
    fake_text(f, s, "go");
    fake_advance(f, 1000);
    assert_true(clock_ms() - start < PATIENCE_MS);
    fake_text(f, s, "ok");
    assert_non_null(strstr(s->sent, "fine"));
}

static void test_waiting_is_no_running(void **state)
{
    struct fake *f = *state;
    struct session *s;

    /* four budgets in all, none of them in one entry */
    load_body(f, "for i = 1, 20 do local t = os.clock() + 0.01 while os.clock() < t do end tide.sleep(1) end");
    s = fake_open(f, "/");
    fake_text(f, s, "go");
    fake_advance(f, 30000);
    fake_expect(s, "survived\n");
}

static void test_chunk(void **state)
{
    struct fake *f = *state;

    f->config.load_budget = 0.05;
    fake_load_fails(f, "while true do end");
    assert_non_null(strstr(f->error, "reload.timeout: more than 0.05 s in one chunk"));
    assert_non_null(strstr(f->error, "app.lua:1: in"));
    fake_load_fails(f, "pcall(function() while true do end end) return {}");
    fake_write(f, "endless.lua", "while true do pcall(coroutine.wrap(function() while true do end end)) end");
    fake_load_fails(f, "pcall(require, 'endless') return {}");
    fake_load(f, "return { on_message = function(conn, text) conn:send(text) end }");
    assert_int_not_equal(fake_reload(f, "while true do end"), 0);
    fake_text(f, fake_open(f, "/"), "x");
    fake_expect(f->sessions[0], "x\n");
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_WAIT 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define SIGNALS_WAIT 1
#endif

/* Metamethods that C functions call, and coroutines that close each other. */
static void test_loops_inside_c_calls(void **state)
{
    struct fake *f = *state;

    expect_kill(f, "local t = setmetatable({}, { __len = loop }) while true do pcall(table.insert, t, 1) end");
    expect_kill(f, "local m = { __eq = loop } while true do pcall(table.move, setmetatable({}, m), 1, 3, 2, setmetatable({}, m)) end");
    expect_kill(f, "local t = setmetatable({}, { __concat = loop, __eq = function() return t .. 1 end })"
                   "while true do pcall(table.sort, { t, t, t }, function(a, b) return a .. b end) end");
    expect_kill(f, "local m = { __index = loop } pcall(string.gsub, 'aaa', 'a', setmetatable({}, m)) loop()");
    expect_kill(f, "local function closes(n) local co = coroutine.create(function() local c <close> = setmetatable({}, { __close ="
                   "function() if n == 0 then loop() end coroutine.close(closes(n - 1)) end }) coroutine.yield() end)"
                   "coroutine.resume(co) return co end coroutine.close(closes(20))");
    expect_kill(f, "local function closes() local co = coroutine.create(function() local c <close> = setmetatable({}, { __close ="
                   "function() pcall(coroutine.close, closes()) loop() end }) coroutine.yield() end)"
                   "coroutine.resume(co) return co end coroutine.close(closes())");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_loop), TEST(test_loops_inside_c_calls),
        TEST(test_where_it_was),
        TEST(test_protected_calls),
        TEST(test_coroutines),
        TEST(test_callbacks),
        TEST(test_patterns),
        TEST(test_tables),
        TEST(test_sources),
        TEST(test_close_variables),
        TEST(test_error_values),
        TEST(test_no_finalizers),
        TEST(test_endless_cleaning),
        TEST(test_waiting_is_no_running),
        TEST(test_chunk),
    };

#if defined(SIGNALS_WAIT) /* ThreadSanitizer holds signals back until the thread makes a system call: an endless loop never does \
                           */
    print_message("nothing can be killed under this tool\n");
    return sizeof(tests) == 0;
#else
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
