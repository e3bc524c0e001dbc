/* test_script_version.c - the transaction inside one worker: sources, probe, prepare, upgrade, commit, abandon, back, settle. */
#include "fake_script.h"

#include "base/err.h"
#include "base/mem.h"
#include "script/state.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static struct script_stats stats(struct fake *f)
{
    struct script_stats s;

    script_stats(f->script, &s);
    return s;
}

/* Sends a text and compares what comes back. */
static void ask(struct fake *f, struct session *s, const char *text, const char *expected)
{
    fake_text(f, s, text);
    fake_expect(s, expected);
}

static void expect_error(struct fake *f, const char *part)
{
    if (!f->error || !strstr(f->error, part))
        fail_msg("expected in the error: %s\ngot: %s", part, f->error ? f->error : "none");
}

/* The sources of what is in the folder; it must be fine. */
static struct sources *probe(struct fake *f)
{
    struct sources *sources;

    if (fake_probe(f, &sources) != 0)
        fail_msg("%s", f->error);
    return sources;
}

static void hash_now(struct fake *f, char out[9])
{
    struct sources *sources = probe(f);

    memcpy(out, sources_hash(sources), 9);
    sources_unref(sources);
}

static const char *base(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* ---- sources ---- */

static void test_hash(void **state)
{
    struct fake *f = *state;
    char first[9], other[9];

    fake_write(f, "app.lua", "require 'a' require 'b' return {}");
    fake_write(f, "a.lua", "return 1");
    fake_write(f, "b.lua", "return 2");
    hash_now(f, first);
    hash_now(f, other);
    assert_string_equal(first, other);
    fake_write(f, "b.lua", "return 3");
    hash_now(f, other);
    assert_string_not_equal(first, other);
    fake_write(f, "b.lua", "return 2");
    hash_now(f, other);
    assert_string_equal(first, other);
    fake_write(f, "a.lua", "return 2"); /* the texts change places: other names */
    fake_write(f, "b.lua", "return 1");
    hash_now(f, other);
    assert_string_not_equal(first, other);
}

/* Modules may be asked for in an order that depends on chance. */
static void test_hash_needs_no_order(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    char first[9];

    fake_write(f, "a.lua", "return 1");
    fake_write(f, "b.lua", "return 2");
    fake_write(f, "app.lua",
               "if require('moontide').env.TURN then require 'b' require 'a' else require 'a' require 'b' end return {}");
    unsetenv("TURN");
    sources = probe(f);
    memcpy(first, sources_hash(sources), sizeof(first));
    assert_string_equal(base(sources_files(sources, NULL)[1]), "a.lua");
    sources_unref(sources);
    setenv("TURN", "1", 1);
    sources = probe(f);
    unsetenv("TURN");
    assert_string_equal(base(sources_files(sources, NULL)[1]), "b.lua");
    assert_string_equal(sources_hash(sources), first);
    sources_unref(sources);
}

static void test_files_and_changes(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    const char *const *files;
    char path[256];
    size_t read;

    snprintf(path, sizeof(path), "mkdir %s/part %s/library", f->folder, f->folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof(path), "%s/library", f->folder);
    f->config.library = path;
    fake_write(
        f, "app.lua",
        "require 'part' require 'shipped' return { optional = function() end, x = pcall(require, 'none') and print or nil }");
    fake_write(f, "part/init.lua", "return 1");
    fake_write(f, "library/shipped.lua", "return 1");
    sources = probe(f);
    files = sources_files(sources, &read);
    assert_int_equal(read, 3);
    assert_string_equal(base(files[0]), "app.lua");
    assert_string_equal(base(files[1]), "init.lua");
    assert_string_equal(files[2] + strlen(f->folder), "/library/shipped.lua");
    assert_string_equal(files[3] + strlen(f->folder), "/part.lua"); /* from here on: looked for */
    assert_string_equal(files[4] + strlen(f->folder), "/shipped.lua");
    assert_string_equal(files[5] + strlen(f->folder), "/shipped/init.lua");
    assert_string_equal(files[6] + strlen(f->folder), "/none.lua");
    assert_false(sources_changed(sources));
    fake_write(f, "shipped.lua", "return 2");
    assert_true(sources_changed(sources)); /* one that was missing would be taken now */
    sources_unref(sources);
    sources = probe(f);
    assert_false(sources_changed(sources));
    fake_write(f, "shipped.lua", "return 22");
    assert_true(sources_changed(sources));
    sources_unref(sources);
    sources = probe(f);
    snprintf(path, sizeof(path), "%s/part/init.lua", f->folder);
    assert_int_equal(unlink(path), 0);
    assert_true(sources_changed(sources));
    sources_unref(sources);
}

/* Every worker loads what was read once, whatever the disk says meanwhile. */
static void test_prepare_reads_no_files(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;

    fake_load(f, "return {}");
    s = fake_open(f, "/");
    fake_write(f, "app.lua", "local part = require 'part' return { on_message = function(c) c:send(part.text) end }");
    fake_write(f, "part.lua", "return { text = 'as probed' }");
    sources = probe(f);
    fake_write(f, "app.lua", "this is no Lua");
    fake_write(f, "part.lua", "return { text = 'later' }");
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    script_commit(f->script, script_spoiled(f->script));
    script_begin(f->script, "reload");
    assert_string_equal(script_version(f->script), sources_hash(sources));
    assert_ptr_equal(script_sources(f->script), sources);
    sources_unref(sources);
    ask(f, s, "x", "as probed\n");
}

/* What handlers require later comes from the disk, and is one of the files of the version. */
static void test_late_require(void **state)
{
    struct fake *f = *state;
    struct session *s;
    char hash[9];

    fake_load(f, "return { on_message = function(c, t) c:send(tostring(select(2, pcall(require, t)))) end }");
    memcpy(hash, script_version(f->script), sizeof(hash));
    s = fake_open(f, "/");
    fake_text(f, s, "late");
    assert_non_null(strstr(s->sent, "module 'late' not found"));
    fake_write(f, "late.lua", "return 'found'");
    s->len = 0;
    ask(f, s, "late", "found\n");
    assert_string_equal(script_version(f->script), hash);
    assert_string_equal(base(script_files(f->script)[1]), "late.lua");
}

/* ---- probe ---- */

static void test_failure_says_where(void **state)
{
    struct fake *f = *state;
    struct script_failure failure;
    struct sources *sources;

    fake_write(f, "app.lua", "print 'before'\nrequire 'part' return {}");
    fake_write(f, "part.lua", "\n\nlocal x = nil + 1");
    assert_int_equal(script_probe(&f->config, &sources, &failure), MT_ESCRIPT);
    assert_null(sources);
    assert_non_null(strstr(failure.text, "part.lua:3: attempt to perform arithmetic"));
    assert_non_null(strstr(failure.text, "app.lua:2: in"));
    assert_string_equal(base(failure.file), "part.lua");
    assert_int_equal(failure.line, 3);
    assert_string_equal(base(failure.files[0]), "app.lua");
    assert_string_equal(base(failure.files[1]), "part.lua");
    assert_null(failure.files[2]);
    {
        const char *log = fake_logged(f);

        assert_non_null(strstr(log, "before")); /* what it said helps to find out */
        assert_non_null(strstr(log, failure.hash));
    }
    script_failure_fini(&failure);
    fake_write(f, "part.lua", "x = = 1");
    assert_int_equal(script_probe(&f->config, &sources, &failure), MT_ESCRIPT);
    assert_int_equal(failure.line, 1);
    script_failure_fini(&failure);
    fake_write(f, "app.lua", "\nrequire 'nowhere'");
    assert_int_equal(script_probe(&f->config, &sources, &failure), MT_ESCRIPT);
    assert_string_equal(base(failure.file), "app.lua");
    assert_int_equal(failure.line, 2);
    assert_string_equal(base(failure.files[1]), "nowhere.lua");
    script_failure_fini(&failure);
    fake_write(f, "app.lua", "return { on_mesage = print }");
    assert_int_equal(script_probe(&f->config, &sources, &failure), MT_ESCRIPT);
    assert_non_null(strstr(failure.text, "app.lua: app.on_mesage: no such handler; did you mean on_message?"));
    assert_string_equal(base(failure.file), "app.lua");
    assert_int_equal(failure.line, 0);
    script_failure_fini(&failure);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(script_probe(&f->config, &sources, &failure), MT_ESCRIPT);
    assert_non_null(strstr(failure.text, "cannot read"));
    assert_string_equal(failure.hash, "00000000");
    assert_string_equal(base(failure.files[0]), "app.lua"); /* writing it is a reason to try again */
    script_failure_fini(&failure);
}

/* Printed once per reload, by worker 1, with the hash of the whole version. */
static void test_chunks_speak_once(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct script *second;
    struct script_config config;
    const char *log;

    fake_load(f, "return {}");
    fake_logged(f);
    fake_write(f, "part.lua", "return 1");
    assert_int_equal(fake_reload(f, "print 'once' tide.log.warn('fields', { n = 1 }) require 'part' return {}"), 0);
    log = fake_logged(f);
    assert_non_null(strstr(log, "once"));
    assert_null(strstr(strstr(log, "once") + 4, "once"));
    assert_non_null(strstr(log, script_version(f->script)));
    sources = sources_ref(script_sources(f->script));
    config = f->config;
    config.worker = 2;
    config.loop = loop_create();
    assert_int_equal(script_create(&config, sources, &second, &f->error), 0);
    assert_string_equal(script_version(second), script_version(f->script));
    fake_expect_no_log(f);
    script_destroy(second);
    loop_destroy(config.loop);
    sources_unref(sources);
}

struct prober {
    struct fake *fake;
    struct script_failure failure;
    atomic_bool done;
};

static void *run_probe(void *arg)
{
    struct prober *p = arg;
    struct sources *sources;

    assert_int_equal(script_probe(&p->fake->config, &sources, &p->failure), MT_ESCRIPT);
    atomic_store(&p->done, true);
    return NULL;
}

/* The watchdog ends it on its thread; the worker answers all the time. */
static void test_endless_chunk_stalls_nobody(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* no kills there */
#endif
    struct fake *f = *state;
    struct prober p = {.fake = f};
    struct session *s;
    pthread_t thread;
    unsigned answers = 0;

    fake_load(f, "return { on_message = function(c, t) c:send(t) end }");
    s = fake_open(f, "/");
    fake_write(f, "app.lua", "print 'begins'\nwhile true do pcall(function() while true do end end) end");
    f->config.load_budget = 0.3;
    atomic_init(&p.done, false);
    assert_int_equal(pthread_create(&thread, NULL, run_probe, &p), 0);
    for (; !atomic_load(&p.done); answers++)
        ask(f, s, "x", "x\n");
    pthread_join(thread, NULL);
    assert_true(answers > 100);
    assert_non_null(strstr(p.failure.text, "reload.timeout: more than 0.3 s in one chunk"));
    assert_string_equal(base(p.failure.file), "app.lua");
    assert_int_equal(p.failure.line, 2);
    script_failure_fini(&p.failure);
    ask(f, s, "y", "y\n");
}

/* The state of a worker is not there in the probe: what asks for it is decided by the workers. */
static void test_chunk_that_reads_the_state(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { on_start = function() tide.state.list = { 'a' } end }");
    assert_int_equal(fake_reload(f,
                                 "local first = tide.state.list[1] local part = require 'part' return { on_message = function(c) "
                                 "c:send(first .. part) end }"),
                     MT_ESCRIPT); /* there is no part.lua */
    expect_error(f, "module 'part' not found");
    fake_write(f, "part.lua", "return 'b'");
    assert_int_equal(fake_reload_again(f), 0);
    s = fake_open(f, "/");
    ask(f, s, "x", "ab\n");
    assert_int_equal(fake_reload(f, "return { n = tide.state.nothing.n }"), MT_ESCRIPT);
    expect_error(f, "app.lua:1: attempt to index a nil value");
    ask(f, s, "x", "ab\n");
    assert_int_equal(fake_reload(f, "local n = #tide.state error('any ' .. n)"), MT_ESCRIPT);
    ask(f, s, "x", "ab\n");
}

/* Returns NULL when all went well. */
static void *probe_often(void *arg)
{
    struct fake *f = arg;
    struct script_failure failure;
    struct sources *sources;
    void *failed = NULL;

    for (int i = 0; i < 20; i++) {
        if (script_probe(&f->config, &sources, &failure) != 0)
            failed = arg;
        sources_unref(sources);
        script_failure_fini(&failure);
    }
    return failed;
}

/* Pool threads probe while the worker is at work; for the thread sanitizer. */
static void test_probes_on_other_threads(void **state)
{
    struct fake *f = *state;
    struct session *s;
    pthread_t threads[2];

    fake_write(f, "part.lua", "return 1");
    fake_load(f,
              "require 'part' tide.spawn(print, 'x') tide.every(1, print) return { on_message = function(c, t) c:send(t) end }");
    s = fake_open(f, "/");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, probe_often, f), 0);
    for (int i = 0; i < 200; i++)
        ask(f, s, "x", "x\n");
    for (int i = 0; i < 2; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    fake_logged(f);
}

/* ---- commit, abandon, back ---- */

static const char one[] = "local app = { on = {} } local state = tide.state local n = 0\n"
                          "function app.on_start(why) state.starts = (state.starts or '') .. ' one:' .. why end\n"
                          "function app.on_message(conn, t) n = n + 1 if t == 'wait' then tide.sleep(1) end\n"
                          "  if t == 'fail' then error 'failed' end if t == 'starts' then conn:send(state.starts) return end\n"
                          "  conn:send('one ' .. n) end return app";
static const char two[] =
    "return { on_start = function(why) tide.state.starts = (tide.state.starts or '') .. ' two:' .. why end,\n"
    "  on_message = function(conn, t) if t == 'wait' then tide.sleep(1) end if t == 'fail' then error 'failed' end\n"
    "  conn:send('two') end }";
static const char three[] = "return { on_message = function(conn, t) conn:send('three') end }";

static void test_events_go_on_while_staged(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;

    fake_load(f, one);
    s = fake_open(f, "/");
    fake_write(f, "app.lua",
               "local tide = require 'moontide' tide.spawn(print, 'spawned') tide.every(1, function() print 'every' end) "
               "return { on_start = function() print 'started' end }");
    sources = probe(f);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    ask(f, s, "x", "one 1\n");
    fake_advance(f, 3000);
    fake_expect_no_log(f);
    assert_int_equal(stats(f).old_versions, 0);
    script_abandon(f->script);
    script_abandon(f->script); /* nothing is staged: fine */
    assert_int_equal(stats(f).tasks, 0);
    ask(f, s, "x", "one 2\n");
    fake_advance(f, 3000);
    fake_expect_no_log(f);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0); /* in place of the one before */
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    script_commit(f->script, script_spoiled(f->script));
    fake_turn(f);
    fake_expect_no_log(f); /* nothing starts before script_begin */
    script_begin(f->script, "reload");
    fake_turn(f);
    {
        const char *log = fake_logged(f);

        assert_true(strstr(log, "started") && strstr(log, "spawned") && strstr(log, "started") < strstr(log, "spawned"));
    }
    fake_advance(f, 1000);
    fake_expect_log(f, "every");
    sources_unref(sources);
}

static void test_back(void **state)
{
    struct fake *f = *state;
    struct session *s;
    char hash[9];

    fake_load(f, one);
    memcpy(hash, script_version(f->script), sizeof(hash));
    s = fake_open(f, "/");
    ask(f, s, "x", "one 1\n");
    assert_null(script_fallback(f->script));
    assert_int_equal(fake_reload(f, two), 0);
    assert_string_equal(script_fallback(f->script), hash);
    ask(f, s, "x", "two\n");
    fake_back(f);
    assert_string_equal(script_version(f->script), hash);
    assert_null(script_fallback(f->script));
    ask(f, s, "x", "one 2\n");                                   /* its environment is as it was */
    ask(f, s, "starts", " one:start two:reload one:rollback\n"); /* tide.state keeps what was written since */
    assert_int_equal(stats(f).old_versions, 0);
    assert_int_equal(fake_reload(f, two), 0);
    script_settle(f->script);
    assert_null(script_fallback(f->script));
    script_settle(f->script);
    ask(f, s, "x", "two\n");
}

static void test_waiting_handlers_over_a_rollback(void **state)
{
    struct fake *f = *state;
    struct session *a, *b;

    fake_load(f, one);
    a = fake_open(f, "/");
    b = fake_open(f, "/");
    fake_text(f, a, "wait");
    fake_text(f, a, "x");
    assert_int_equal(fake_reload(f, two), 0);
    fake_text(f, b, "wait");
    fake_text(f, b, "x");
    assert_int_equal(stats(f).old_tasks, 1);
    fake_back(f);
    assert_int_equal(stats(f).old_tasks, 1);
    assert_int_equal(stats(f).old_versions, 1);
    fake_advance(f, 1000);
    fake_expect(a, "one 1\none 2\n");
    fake_expect(b, "two\none 3\n");
    assert_int_equal(stats(f).old_versions, 0);
}

static void test_timers_over_a_rollback(void **state)
{
    struct fake *f = *state;
    const char *log;

    fake_load(
        f,
        "tide.every(2, function(dt) print('every one', dt) end) tide.every(1, function() tide.sleep(1.5) print 'slow one' end)\n"
        "tide.after(9, 'tick') return { tick = function() print 'tick one' end }");
    fake_advance(f, 2000);
    fake_expect_log(f, "every one    2");
    assert_int_equal(
        fake_reload(f, "tide.every(1, function() print 'every two' end) tide.after(6, function() print 'after two' end)\n"
                       "return { tick = function() print 'tick two' end }"),
        0);
    fake_advance(f, 3000); /* 5 s */
    log = fake_logged(f);
    assert_null(strstr(log, "every one"));
    assert_non_null(strstr(log, "slow one")); /* it was waiting */
    assert_null(strstr(strstr(log, "slow one") + 4, "slow one"));
    assert_non_null(strstr(log, "every two"));
    fake_back(f);
    fake_advance(f, 1000); /* 6 s: in its rhythm again */
    log = fake_logged(f);
    assert_non_null(strstr(log, "every one    4"));
    assert_null(strstr(log, "every two"));
    fake_advance(f, 4000); /* 10 s */
    log = fake_logged(f);
    assert_non_null(strstr(log, "slow one"));
    assert_non_null(strstr(log, "tick one"));
    assert_non_null(strstr(log, "after two")); /* given a function: in the version that made it */
    assert_null(strstr(log, "every two"));
    assert_null(strstr(log, "tick two"));
    assert_int_equal(stats(f).old_versions, 0);
}

/* A handler that outlives its version makes a tide.every: it starts where a rollback makes the version live again, else never. */
static void test_timer_of_a_late_handler(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f,
              "return { on_message = function(c, t) tide.sleep(1) local timer = tide.every(1, function() print 'every one' end)\n"
              "  if t == 'cancel' then c:send(tostring(timer:cancel())) end end }");
    s = fake_open(f, "/");
    fake_text(f, s, "keep");
    assert_int_equal(fake_reload(f, "return {}"), 0);
    fake_advance(f, 5000);
    fake_expect_no_log(f);
    assert_int_equal(stats(f).old_versions, 0);
    fake_back(f);
    fake_advance(f, 1000);
    fake_expect_log(f, "every one");
    fake_text(f, s, "cancel");
    assert_int_equal(fake_reload(f, "return {}"), 0);
    script_settle(f->script);
    fake_advance(f, 5000);
    fake_expect(s, "false\n"); /* it will never come */
    fake_expect_no_log(f);
    assert_int_equal(stats(f).old_versions, 0);
}

/* A version that failed while it was on probation is nothing to go back to. */
static void test_which_is_the_fallback(void **state)
{
    struct fake *f = *state;
    struct session *s;
    char first[9], second[9];

    fake_load(f, one);
    memcpy(first, script_version(f->script), sizeof(first));
    s = fake_open(f, "/");
    fake_text(f, s, "fail"); /* not on probation: it may be one */
    fake_logged(f);
    assert_int_equal(fake_reload(f, two), 0);
    memcpy(second, script_version(f->script), sizeof(second));
    assert_int_equal(fake_reload(f, three), 0);
    assert_string_equal(script_fallback(f->script), second);
    fake_back(f);
    assert_int_equal(fake_reload(f, one), 0);
    assert_string_equal(script_fallback(f->script), second);
    assert_int_equal(fake_reload(f, two), 0);
    assert_string_equal(script_fallback(f->script), first);
    fake_text(f, s, "fail");
    fake_expect_log(f, "failed");
    assert_int_equal(fake_reload(f, three), 0);
    assert_string_equal(script_fallback(f->script), first);
    assert_int_equal(stats(f).old_versions, 0);
}

/* ---- hold ---- */

static void test_hold(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *a, *b, *c, *h;

    fake_load(
        f, "tide.every(0.5, function() print 'every one' end)\n"
           "return { rooms = { ['*'] = { grace = 0, on_join = function(r, who) print 'join one' end } }, on_close = print,\n"
           "on_open = function(conn) conn:join 'r' end, on_message = function(conn, t) conn:send 'one' end, on_http = function() "
           "return 200, 'one' end }");
    a = fake_open(f, "/");
    c = fake_open(f, "/");
    fake_expect_log(f, "join one");
    fake_write(
        f, "app.lua",
        "return { rooms = { ['*'] = { on_join = function(r, who) print 'join two' end } }, on_close = function() print 'close "
        "two' end,\n"
        "on_start = function() print "
        "'start two' "
        "end,\non_binary = function(c, b) print 'bytes' c:send('bytes ' .. b) end, on_http = function() return 200, 'two' end }");
    sources = probe(f);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    script_hold(f->script);
    fake_text(f, a, "x");
    fake_close(f, c, 1000);
    b = fake_open(f, "/");
    fake_binary(f, b, "ab", 2);
    h = fake_http(f, "GET", "/", NULL, NULL);
    assert_int_equal(room_join(conn_next(script_hub_of(f->script), &(uint32_t){0}), SLICE("q"), NULL),
                     0); /* as a letter of another worker does it */
    fake_advance(f, 1000);
    fake_expect(a, "");
    assert_false(h->answered);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    script_commit(f->script, script_spoiled(f->script));
    script_begin(f->script, "reload");
    fake_turn(f);
    fake_expect_no_log(f);
    script_release(f->script);
    fake_turn(f);
    fake_expect(a, ""); /* the new version has no on_message */
    fake_expect(b, "bytes ab\n");
    assert_string_equal(h->body, "two");
    {
        const char *log = fake_logged(f);

        assert_true(strstr(log, "start two") && strstr(log, "join two") && strstr(log, "start two") < strstr(log, "join two"));
        assert_non_null(strstr(log, "close two"));
        assert_null(strstr(log, "join one"));
        assert_null(strstr(log, "every one"));
        assert_null(strstr(log, script_fallback(f->script))); /* all of it ran in the new version */
    }
    sources_unref(sources);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_hash),
        TEST(test_hash_needs_no_order),
        TEST(test_files_and_changes),
        TEST(test_prepare_reads_no_files),
        TEST(test_late_require),
        TEST(test_failure_says_where),
        TEST(test_chunks_speak_once),
        TEST(test_endless_chunk_stalls_nobody),
        TEST(test_probes_on_other_threads),
        TEST(test_chunk_that_reads_the_state),
        TEST(test_events_go_on_while_staged),
        TEST(test_back),
        TEST(test_waiting_handlers_over_a_rollback),
        TEST(test_timers_over_a_rollback),
        TEST(test_timer_of_a_late_handler),
        TEST(test_which_is_the_fallback),
        TEST(test_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
