/* test_script_jobs.c - app.jobs: kept running, at intervals, in one worker only, over reloads and to the end. */
#include "fake_script.h"

#include "base/err.h"
#include "script/jobs.h"
#include "script/state.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    for (text = strstr(text, part); text; text = strstr(text + 1, part))
        n++;
    return n;
}

/* How often the line was logged since the last look. */
static void expect_count(struct fake *f, const char *part, size_t expected)
{
    const char *log = fake_logged(f);

    if (count(log, part) != expected)
        fail_msg("expected %zu times: %s\ngot: %s", expected, part, log);
}

static uint64_t errors(struct fake *f)
{
    struct script_stats stats;

    script_stats(f->script, &stats);
    return stats.errors;
}

static void test_starts_after_on_start(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { feed = function() print('job', tide.state.ready) tide.sleep(1000) end },\n"
                 "on_start = function() tide.state.ready = 'ready' end }");
    fake_advance(f, 0);
    expect_count(f, "job    ready", 1);
    fake_advance(f, 100000);
    fake_expect_no_log(f);
}

/* One that returns starts again after 1, 2, 4 ... 60 seconds. */
static void test_kept_running(void **state)
{
    struct fake *f = *state;
    static const unsigned pauses[] = {1, 2, 4, 8, 16, 32, 60, 60};

    fake_load(f, "return { jobs = { feed = function(...) assert(select('#', ...) == 0) print('run') end } }");
    fake_advance(f, 0);
    expect_count(f, "run", 1);
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        fake_advance(f, pauses[i] * 1000 - 1);
        fake_expect_no_log(f);
        fake_advance(f, 1);
        expect_count(f, "run", 1);
    }
    assert_int_equal(errors(f), 0);
}

static void test_long_runs_begin_anew(void **state)
{
    struct fake *f = *state;

    fake_load(f,
              "local n = 0 return { jobs = { feed = function() n = n + 1 print('run') if n == 4 then tide.sleep(60) end end } }");
    fake_advance(f, 7000);
    expect_count(f, "run", 4);
    fake_advance(f, 60000);
    fake_expect_no_log(f);
    fake_advance(f, 1000); /* not 8 s */
    expect_count(f, "run", 1);
}

static void test_errors(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { feed = function() tide.sleep(0.5) error('no market') end } }");
    fake_advance(f, 500);
    fake_expect_log(f, "app.jobs.feed: app.lua:1: no market");
    assert_int_equal(errors(f), 1);
    fake_advance(f, 1500);
    fake_expect_log(f, "no market");
    assert_int_equal(errors(f), 2);
}

static void test_every(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { tidy = { every = 2, run = function(seconds) print('tidy', seconds) end } } }");
    fake_advance(f, 1999);
    fake_expect_no_log(f);
    fake_advance(f, 1);
    expect_count(f, "tidy    2.0", 1);
    fake_advance(f, 6000);
    expect_count(f, "tidy    2.0", 3);
}

static void test_every_never_overlaps(void **state)
{
    struct fake *f = *state;

    fake_load(f,
              "local at = 0 return { jobs = { tidy = { every = 1, run = function(seconds) at = at + 1 print('in', at, seconds)\n"
              "tide.sleep(2.5) at = at - 1 if at ~= 0 then error('twice') end end } } }");
    fake_advance(f, 1000);
    expect_count(f, "in    1    1.0", 1);
    fake_advance(f, 2999);
    fake_expect_no_log(f);
    fake_advance(f, 1); /* the whole second after its end */
    expect_count(f, "in    1    3.0", 1);
    assert_int_equal(errors(f), 0);
}

/* Old ones are cancelled and unwind, new ones start. */
static void test_reload(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { feed = function() local x <close> = setmetatable({}, { __close = function() print('closed') "
                 "end }) print('one') tide.sleep(1e6) print('never') end } }");
    fake_advance(f, 0);
    expect_count(f, "one", 1);
    assert_int_equal(fake_reload(f, "return { jobs = { feed = function() print('two') tide.sleep(1e6) end } }"), 0);
    fake_advance(f, 0);
    {
        const char *log = fake_logged(f);

        assert_non_null(strstr(log, "closed"));
        assert_non_null(strstr(log, "two"));
        assert_true(strstr(log, "closed") < strstr(log, "two"));
    }
    assert_int_equal(fake_reload(f, "return {}"), 0);
    fake_advance(f, 1000000);
    fake_expect_no_log(f);
    {
        struct script_stats stats;

        script_stats(f->script, &stats);
        assert_int_equal(stats.old_versions, 0);
        assert_int_equal(stats.tasks, 0);
        assert_int_equal(stats.errors, 0);
    }
}

/* A reload that fails leaves them alone. */
static void test_broken_reload(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { feed = function() while true do print('one') tide.sleep(1) end end } }");
    assert_int_equal(fake_reload(f, "return { jobs = { feed = function() print('two') end, other = 5 } }"), MT_ESCRIPT);
    fake_logged(f);
    fake_advance(f, 2000);
    {
        const char *log = fake_logged(f);

        assert_int_equal(count(log, "one"), 3);
        assert_null(strstr(log, "two"));
    }
}

/* A job of a day would never run where somebody saves once a day. */
static void test_intervals_go_on_over_reloads(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { tidy = { every = 10, run = function(s) print('tidy one', s) end } },\n"
                 "on_message = function() tide.sleep(1e6) end }");
    fake_text(f, fake_open(f, "/"), "keeps the version");
    fake_advance(f, 10000);
    expect_count(f, "tidy one", 1);
    fake_advance(f, 6000);
    assert_int_equal(fake_reload(f, "return { jobs = { tidy = { every = 10, run = function(s) print('tidy two', s) end } } }"),
                     0);
    fake_advance(f, 3999);
    fake_expect_no_log(f);
    fake_advance(f, 1);
    expect_count(f, "tidy two    10.0", 1);
}

static void test_stopped_and_started_again(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { jobs = { feed = function() print('run') tide.sleep(1e6) end } }");
    fake_advance(f, 0);
    expect_count(f, "run", 1);
    {
        struct version *v = f->script->live;

        jobs_stop(v); /* as a rollback does, before anything has unwound */
        jobs_start(v);
    }
    fake_advance(f, 1000);
    expect_count(f, "run", 1);
    assert_int_equal(errors(f), 0);
}

static void test_one_worker_each(void **state)
{
    struct fake *f = *state;
    size_t runs = 0;

    f->config.workers = 3;
    for (int worker = 1; worker <= 3; worker++) {
        f->config.worker = worker;
        fake_load(f,
                  "local app = { jobs = {} } for i = 1, 30 do app.jobs['job' .. i] = function() print('run') tide.sleep(1e6) end "
                  "end return app");
        fake_advance(f, 0);
        {
            size_t here = count(fake_logged(f), "run");

            assert_true(here > 0 && here < 30);
            runs += here;
        }
    }
    assert_int_equal(runs, 30);
    for (unsigned worker = 1; worker <= 3; worker++)
        assert_true(jobs_is_of("a", worker, 1));
}

static void test_end(void **state)
{
    struct fake *f = *state;

    fake_load(
        f, "return { jobs = { feed = function() print('run') end, tidy = { every = 1, run = function() print('run') end } } }");
    fake_advance(f, 500);
    expect_count(f, "run", 1);
    script_stop(f->script, NULL, NULL);
    fake_advance(f, 100000);
    fake_expect_no_log(f);
}

static void test_checked(void **state)
{
    struct fake *f = *state;
    static const char *const wrong[][2] = {
        {"jobs = { feed = 5 }", "app.jobs.feed: function or table expected, got number"},
        {"jobs = { print }", "app.jobs: keys are names, got a number"},
        {"jobs = 5", "app.jobs: table expected, got number"},
        {"jobs = setmetatable({}, {})", "app.jobs: a table without a metatable expected"},
        {"jobs = { tidy = { every = 1 } }", "app.jobs.tidy.run: function expected, got nil"},
        {"jobs = { tidy = { every = 0, run = print } }", "app.jobs.tidy.every: seconds above 0 expected"},
        {"jobs = { tidy = { every = 0 / 0, run = print } }", "app.jobs.tidy.every: seconds above 0 expected"},
        {"jobs = { tidy = { run = print } }", "app.jobs.tidy.every: seconds above 0 expected"},
        {"jobs = { tidy = { every = '1', run = print } }", "app.jobs.tidy.every: number expected, got string"},
        {"jobs = { tidy = { evry = 1, run = print } }", "app.jobs.tidy.evry: no such key; did you mean every?"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "return { %s }", wrong[i][0]);
        fake_load_fails(f, text);
        if (!strstr(f->error, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], f->error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_starts_after_on_start),
        TEST(test_kept_running),
        TEST(test_long_runs_begin_anew),
        TEST(test_errors),
        TEST(test_every),
        TEST(test_every_never_overlaps),
        TEST(test_reload),
        TEST(test_broken_reload),
        TEST(test_intervals_go_on_over_reloads),
        TEST(test_stopped_and_started_again),
        TEST(test_one_worker_each),
        TEST(test_end),
        TEST(test_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
