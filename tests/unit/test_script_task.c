/* test_script_task.c - waiting, spawned tasks, timers: who runs when, what ends whom. */
#include "fake_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* The lines that the script printed, each "text;", since the last call. */
static void expect_printed(struct fake *f, const char *expected)
{
    static char got[4096];
    const char *log = fake_logged(f), *line = log;

    got[0] = '\0';
    while ((line = strstr(line, " INFO  ")) != NULL) {
        size_t len = strcspn(line += 7, "\n");
        const char *end = strstr(line, "  version=");

        if (end && end < line + len)
            len = (size_t)(end - line);
        if ((end = strstr(line, "  conn=")) != NULL && end < line + len)
            len = (size_t)(end - line);
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s;", (int)len, line);
    }
    if (strstr(log, "ERROR"))
        fail_msg("%s", log);
    assert_string_equal(got, expected);
}

/* An app whose on_start runs `body`. */
static void run(struct fake *f, const char *body)
{
    char text[8192];

    snprintf(text, sizeof(text), "local app = {} function app.on_start(reason)\n%s\nend return app", body);
    fake_load(f, text);
}

static void test_sleep(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;

    run(f, "print('a') print(tide.sleep(1.5)) print('b') tide.sleep(0) print('c')");
    expect_printed(f, "a;");
    script_stats(f->script, &stats);
    assert_int_equal(stats.waiting, 1);
    fake_advance(f, 1499);
    expect_printed(f, "");
    fake_advance(f, 1);
    expect_printed(f, "true;b;c;");
    script_stats(f->script, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.tasks, 0);
}

static void test_bad_waits(void **state)
{
    struct fake *f = *state;

    run(f, "print(pcall(tide.sleep, -1)) print(pcall(tide.sleep)) print(pcall(tide.sleep, 0/0))");
    fake_expect_log(f, "seconds must not be negative");
    run(f, "print(pcall(coroutine.wrap(function() tide.sleep(1) end)))");
    fake_expect_log(f, "cannot wait here; use tide.spawn");
    run(f, "print(pcall(table.sort, { 1, 2, 3 }, function() tide.sleep(1) end))");
    fake_expect_log(f, "cannot wait here");
    run(f, "print(pcall(string.gsub, 'x', 'x', function() tide.sleep(1) end))");
    fake_expect_log(f, "cannot wait here");
    fake_load_fails(f, "tide.sleep(1) return {}");
    assert_non_null(strstr(f->error, "cannot wait here"));
}

/* Metamethods, iterators, pcall and closures are no C boundary: waiting works in them. */
static void test_waits_anywhere(void **state)
{
    struct fake *f = *state;

    run(f, "local t = setmetatable({}, { __index = function(_, k) tide.sleep(1) return k .. '!' end, __add = function() "
           "tide.sleep(1) return 7 end })\n"
           "print(t.x) print(t + 1) print(pcall(function() tide.sleep(1) error('e', 0) end))\n"
           "print(xpcall(function() tide.sleep(1) error('e', 0) end, function(e) return e .. '?' end))\n"
           "for i in function(_, i) tide.sleep(1) i = (i or 0) + 1 if i < 3 then return i end end do print(i) end\n"
           "do local c <close> = setmetatable({}, { __close = function() tide.sleep(1) print('closed') end }) end");
    fake_advance(f, 20000);
    expect_printed(f, "x!;7;false    e;false    e?;1;2;closed;");
}

static void test_spawn_runs_behind(void **state)
{
    struct fake *f = *state;

    run(f, "local t = tide.spawn(function(a, b) print('task', a, b) return 1, nil, 3 end, 'x', nil)\n"
           "print('first') print(t:join()) print(t:join()) print(t:cancel())");
    expect_printed(f, "first;task    x    nil;1    nil    3;1    nil    3;false;");
}

static void test_join(void **state)
{
    struct fake *f = *state;

    run(f, "local t = tide.spawn(function() tide.sleep(2) return 'done' end)\n"
           "print(t:join(1)) print(t:join(5))\n"
           "local c = tide.spawn(function() tide.sleep(9) end) tide.spawn(function() tide.sleep(1) print(c:cancel()) end) "
           "print(c:join())\n"
           "print(pcall(t.join)) local me me = tide.spawn(function() print(pcall(me.join, me)) end)");
    fake_advance(f, 1000);
    expect_printed(f, "nil    timeout    timeout;");
    fake_advance(f, 1000);
    expect_printed(f, "done;");
    fake_advance(f, 1000);
    {
        const char *log = fake_logged(f);

        assert_non_null(strstr(log, "nil    cancelled    cancelled"));
        assert_non_null(strstr(log, "a task cannot wait for itself"));
    }
}

static void test_failing_task(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;
    const char *log;

    run(f, "local t = tide.spawn(function() error('broken') end) print(t:join())");
    log = fake_logged(f);
    assert_non_null(strstr(log, "ERROR spawned task: app.lua:2: broken"));
    assert_non_null(strstr(log, "nil    app.lua:2: broken    error"));
    script_stats(f->script, &stats);
    assert_int_equal(stats.errors, 1);
}

static void test_cancel_unwinds(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;

    run(f,
        "local t = tide.spawn(function()\n"
        "  local x <close> = setmetatable({}, { __close = function(_, e) print('closed', e) print(pcall(tide.sleep, 1)) end })\n"
        "  pcall(function() tide.sleep(9) print('never') end) print('never') end)\n"
        "tide.sleep(1) print(t:cancel()) print(t:join()) print(t:cancel())");
    fake_advance(f, 10000);
    expect_printed(f, "closed    nil;false    cannot wait here: the task has ended, and its <close> code may not wait;true;nil    "
                      "cancelled    cancelled;false;");
    script_stats(f->script, &stats);
    assert_int_equal(stats.errors, 0);
}

static void test_cancel_oneself_and_before_start(void **state)
{
    struct fake *f = *state;

    run(f, "local t t = tide.spawn(function() local x <close> = setmetatable({}, { __close = function() print('closed') end })\n"
           "  print(t:cancel()) print('still here') pcall(tide.sleep, 1) print('never') end)\n"
           "local u = tide.spawn(function() print('never') end) u:cancel() print(u:join()) print(t:join())");
    fake_advance(f, 5000);
    expect_printed(f, "nil    cancelled    cancelled;true;still here;closed;nil    cancelled    cancelled;");
}

/* Each task's <close> cancels the next: they are unwound one after the other, not inside each other. */
static void test_chain_of_cancels(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;

    run(f, "local tasks, n = {}, 0\n"
           "for i = 1, 6000 do tasks[i] = tide.spawn(function()\n"
           "  local x <close> = setmetatable({}, { __close = function() n = n + 1 if tasks[i + 1] then tasks[i + 1]:cancel() end "
           "end }) tide.sleep(99) end) end\n"
           "tide.sleep(1) tasks[1]:cancel() tide.sleep(1) print(n)");
    fake_advance(f, 3000);
    expect_printed(f, "6000;");
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 0);
}

static void test_timeout(void **state)
{
    struct fake *f = *state;

    run(f, "print(tide.timeout(1, function(a) tide.sleep(0.5) return a, 2 end, 1))\n"
           "print(tide.timeout(1, function() local x <close> = setmetatable({}, { __close = function() print('closed') end }) "
           "tide.sleep(5) end))\n"
           "local outer = tide.spawn(function() tide.timeout(50, function()\n"
           "  local x <close> = setmetatable({}, { __close = function() print('inner') end }) tide.sleep(99) end) end)\n"
           "tide.sleep(1) outer:cancel()");
    fake_advance(f, 500);
    expect_printed(f, "1    2;");
    fake_advance(f, 1000);
    expect_printed(f, "closed;nil    timeout    timeout;");
    fake_advance(f, 1000);
    expect_printed(f, "inner;");
}

static void test_after(void **state)
{
    struct fake *f = *state;

    run(f, "tide.after(1, print, 'a', nil, 'c') local t = tide.after(2, print, 'never') print(t:cancel(), t:cancel())\n"
           "tide.after(3, 'helper', 5) function app.helper(n) print('helper', n) end");
    expect_printed(f, "true    false;");
    fake_advance(f, 1000);
    expect_printed(f, "a    nil    c;");
    fake_advance(f, 2000);
    expect_printed(f, "helper    5;");
    run(f, "tide.after(1, 'nobody') print(pcall(tide.after, 1, 5)) print(pcall(tide.after, 'x', print))");
    fake_advance(f, 1000);
    fake_expect_log(f, "tide.after: the live version has no function app.nobody");
}

static void test_every(void **state)
{
    struct fake *f = *state;

    run(f, "local n = 0 local t t = tide.every(1, function(s) n = n + 1 print(n, s) if n == 2 then tide.sleep(2.5) end if n == 4 "
           "then print(t:cancel()) end end)");
    fake_advance(f, 1000);
    expect_printed(f, "1    1.0;");
    fake_advance(f, 1000);
    expect_printed(f, "2    1.0;");
    fake_advance(f, 2999); /* busy until 4.5: never over itself */
    expect_printed(f, "");
    fake_advance(f, 1);
    expect_printed(f, "3    3.0;");
    fake_advance(f, 1000);
    expect_printed(f, "4    1.0;true;");
    fake_advance(f, 5000);
    expect_printed(f, "");
    run(f, "tide.every(1, function() error('x') end)");
    fake_advance(f, 3000);
    {
        struct script_stats stats;

        script_stats(f->script, &stats);
        assert_int_equal(stats.errors, 3);
    }
}

static void test_conn_spawn_ends_with_the_connection(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {} function app.on_message(conn)\n"
                 "  conn:spawn(function() local x <close> = setmetatable({}, { __close = function() print('ended') end }) "
                 "tide.sleep(99) end)\n"
                 "  tide.spawn(function() tide.sleep(2) print('lives', conn:send('x')) end) end\n"
                 "function app.on_close() print('close') end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    fake_close(f, s, 1000);
    expect_printed(f, "ended;close;");
    fake_advance(f, 2000);
    expect_printed(f, "lives    nil    closed    closed;");
}

/* The end of a script with tasks that wait: they are unwound, none goes on. */
static void test_destroy_with_waiting_tasks(void **state)
{
    struct fake *f = *state;

    run(f, "for i = 1, 3 do tide.spawn(function() local x <close> = setmetatable({}, { __close = function() print('closed') end "
           "}) tide.sleep(99) print('never') end) end\n"
           "tide.every(1, function() end) tide.after(1, 'x') tide.sleep(99)");
    fake_unload(f);
    expect_printed(f, "closed;closed;closed;");
}

static void stopped(void *arg)
{
    ++*(int *)arg;
}

static void test_stop(void **state)
{
    struct fake *f = *state;
    struct session *s;
    int count = 0;

    fake_load(f, "local app = {} function app.on_stop(reason) print(reason) tide.sleep(1) print('stopped') end\n"
                 "function app.on_message() tide.sleep(3) print('handled') end\n"
                 "function app.on_start() tide.spawn(function() tide.sleep(999) end) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    script_stop(f->script, stopped, &count);
    fake_turn(f);
    expect_printed(f, "shutdown;");
    fake_advance(f, 2000);
    assert_int_equal(count, 0);
    fake_advance(f, 1000);
    expect_printed(f, "stopped;handled;");
    assert_int_equal(count, 1);
    fake_load(f, "return {}");
    script_stop(f->script, stopped, &count);
    assert_int_equal(count, 2);
}

/* Tasks that make tasks for ever do not keep the loop from its sockets. */
static void test_endless_spawning(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;

    run(f,
        "local n = 0 local function again() n = n + 1 if n % 100 == 0 then print(n) end tide.spawn(again) end tide.spawn(again)");
    fake_logged(f);
    assert_true(fake_turn_once(f)); /* it ends, and asks for another one */
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 1);
    assert_true(strlen(fake_logged(f)) > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_sleep),
        TEST(test_bad_waits),
        TEST(test_waits_anywhere),
        TEST(test_spawn_runs_behind),
        TEST(test_join),
        TEST(test_failing_task),
        TEST(test_cancel_unwinds),
        TEST(test_cancel_oneself_and_before_start),
        TEST(test_chain_of_cancels),
        TEST(test_timeout),
        TEST(test_after),
        TEST(test_every),
        TEST(test_conn_spawn_ends_with_the_connection),
        TEST(test_destroy_with_waiting_tasks),
        TEST(test_stop),
        TEST(test_endless_spawning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
