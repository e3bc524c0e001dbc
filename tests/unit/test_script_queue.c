/* test_script_queue.c - queues of work at the ends of things: reload.age, the stop, the end of the script, memory that runs out.
 */
#include "fake_script.h"

#include "base/mem.h"
#include "script/state.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* A message with a number puts that many items in, each of which takes as many seconds. */
static const char app[] =
    "local app = {}\n"
    "local function work(seconds)\n"
    "  local x <close> = setmetatable({}, { __close = function() print 'closed' end })\n"
    "  tide.sleep(seconds) print 'done' end\n"
    "local q = tide.queue(work, { workers = 2, limit = 10 })\n"
    "function app.on_message(conn, text) for i = 1, tonumber(text) do assert(q:put(tonumber(text))) end end\n"
    "return app";

static void expect_count(const char *log, const char *part, int count)
{
    int found = 0;

    for (const char *at = log; (at = strstr(at, part)) != NULL; at++)
        found++;
    if (found != count)
        fail_msg("%d times %s, not %d, in:\n%s", found, part, count, log);
}

static void count_stop(void *arg)
{
    ++*(int *)arg;
}

static void test_stop_waits_for_what_is_queued(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;
    int stopped = 0;

    fake_load(f, app);
    fake_text(f, fake_open(f, "/"), "4");
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 2); /* the workers at work; nothing else has a coroutine */
    script_stop(f->script, count_stop, &stopped);
    fake_advance(f, 7999);
    assert_int_equal(stopped, 0);
    fake_advance(f, 1);
    assert_int_equal(stopped, 1);
    expect_count(fake_logged(f), "INFO  done", 4);
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 0);
}

static void test_what_is_left_at_the_end_is_told(void **state)
{
    struct fake *f = *state;

    fake_load(f, app);
    fake_text(f, fake_open(f, "/"), "7");
    fake_advance(f, 100);
    fake_unload(f);
    {
        const char *log = fake_logged(f);

        expect_count(log, "INFO  closed", 2);
        expect_count(log, "WARN", 1);
        assert_non_null(strstr(log, "7 items of the queue of app.lua:2 were dropped"));
    }
    fake_load(f, app);
    fake_text(f, fake_open(f, "/"), "1");
    fake_unload(f);
    fake_expect_log(f, "1 item of the queue of app.lua:2 was dropped");
}

struct seen {
    char text[256];
};

static void see(void *arg, const struct script_old *old)
{
    struct seen *s = arg;

    snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%zu %.*s;", old->tasks, (int)old->held_by.len,
             old->held_by.data);
}

static void test_an_old_version_goes_on_with_its_queue(void **state)
{
    struct fake *f = *state;
    struct seen seen = {{0}};
    struct script_stats stats;

    fake_load(f, app);
    fake_text(f, fake_open(f, "/"), "5");
    assert_int_equal(fake_reload(f, "return {}"), 0);
    assert_int_equal(fake_reload(f, "return { on = {} }"), 0);
    script_old_versions(f->script, see, &seen);
    assert_non_null(strstr(seen.text, "2 5 queued items"));
    fake_advance(f, 14999);
    script_stats(f->script, &stats);
    assert_int_equal(stats.old_versions, 1);
    fake_advance(f, 1);
    script_stats(f->script, &stats);
    assert_int_equal(stats.old_versions, 0);
    expect_count(fake_logged(f), "INFO  done", 5);
}

/* The queue is as old as its work: short items do not keep an old version for ever. */
static void test_age(void **state)
{
    struct fake *f = *state;

    f->config.old_age = 6;
    fake_load(f, "local q q = tide.queue(function() tide.sleep(1) print 'done' q:put() end, { workers = 2 })\n"
                 "return { on_start = function() for i = 1, 9 do q:put() end end }");
    fake_advance(f, 3500);
    expect_count(fake_logged(f), "INFO  done", 6);
    assert_int_equal(fake_reload(f, "return {}"), 0);
    fake_advance(f, 5999);
    fake_logged(f);
    fake_advance(f, 1);
    {
        const char *log = fake_logged(f);

        assert_non_null(strstr(log, "9 items of the queue of app.lua:1 were dropped"));
        assert_non_null(strstr(log, "2 tasks of this old version were cancelled"));
    }
    fake_advance(f, 30000);
    fake_expect_no_log(f);
}

static void test_a_version_that_fails_takes_its_queue_along(void **state)
{
    struct fake *f = *state;

    fake_load(f, app);
    assert_int_not_equal(fake_reload(f, "tide.state.q = nil local q = tide.queue(print) error 'x'"), 0);
    assert_int_not_equal(fake_reload(f, "local q = tide.queue(print) return { on_mesage = print }"), 0);
    lua_gc(f->script->L, LUA_GCCOLLECT);
    fake_logged(f);
    fake_text(f, fake_open(f, "/"), "1");
    fake_advance(f, 1000);
    expect_count(fake_logged(f), "INFO  done", 1);
}

/* What waits is memory of the script: a queue without end is its own limit. */
static void test_script_memory(void **state)
{
    struct fake *f = *state;
    struct session *s;

    f->config.memory_limit = 8 << 20;
    fake_load(f,
              "local q = tide.queue(function() tide.sleep(1) end, { limit = 10000000 })\n"
              "return { on_message = function(conn, text) if text == 'x' then conn:send 'fine' return end while q:put {} do end "
              "end }");
    s = fake_open(f, "/");
    fake_text(f, s, "fill");
    fake_expect_log(f, "not enough memory");
    assert_true(f->script->heap.used < 10 << 20);
    f->script->heap.limit = 32 << 20;
    fake_text(f, s, "x");
    fake_unload(f);
    fake_logged(f);
}

/* Each allocation fails once. Whatever is lost, the queue is as good as before. */
static void test_memory_fails(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;
    struct session *s;

    f->config.close_on_errors = false;
    fake_load(f, "local q = tide.queue(function(n) tide.sleep(1) print 'done' end, { workers = 2 })\n"
                 "return { on_message = function(c, text) for i = 1, 4 do q:put(i) end end }");
    s = fake_open(f, "/");
    for (unsigned long n = 1; n <= 120; n++) {
        mem_fail_at(n);
        fake_text(f, s, "go");
        fake_advance(f, 3000);
        mem_fail_at(0);
        fake_advance(f, 3000);
        script_stats(f->script, &stats);
        assert_int_equal(stats.tasks, 0);
        fake_logged(f);
    }
    fake_text(f, s, "go");
    fake_advance(f, 3000);
    expect_count(fake_logged(f), "INFO  done", 4);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_stop_waits_for_what_is_queued),
        TEST(test_what_is_left_at_the_end_is_told),
        TEST(test_an_old_version_goes_on_with_its_queue),
        TEST(test_age),
        TEST(test_a_version_that_fails_takes_its_queue_along),
        TEST(test_script_memory),
        TEST(test_memory_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
