/* test_script_upgrade.c - on_upgrade and tide.state over reloads and rollbacks; what old versions cost and for how long; memory.
 */
#include "fake_script.h"

#include "base/err.h"
#include "base/mem.h"
#include "script/state.h"
#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static struct script_stats stats(struct fake *f)
{
    struct script_stats s;

    script_stats(f->script, &s);
    return s;
}

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

/* Holds the state in a local, as scripts may, and shows all of it. */
#define SHOWS                                                                                                                    \
    "local kept = tide.state local function show(t, seen) local keys = {} for k in pairs(t) do keys[#keys + 1] = tostring(k) "   \
    "end "                                                                                                                       \
    "table.sort(keys)\n"                                                                                                         \
    "  for i, k in ipairs(keys) do local v = t[k] if v == nil then v = t[tonumber(k)] end\n"                                     \
    "    keys[i] = k .. '=' .. (type(v) == 'table' and '{' .. show(v) .. '}' or tostring(v)) end return table.concat(keys, ' "   \
    "') "                                                                                                                        \
    "end\n"                                                                                                                      \
    "local function tell(conn, t) if t == 'show' then assert(kept == tide.state) conn:send(show(kept)) return true end end\n"

static const char first[] =
    SHOWS "return { version = 1, on_start = function(why) if why == 'start' then kept.n = 1 kept.list = { 'a', { deep = "
          "true } } kept[1] = 'x' end end,\n"
          "  on_message = function(conn, t) if not tell(conn, t) then kept.n = kept.n + 1 end end }";
static const char second[] =
    SHOWS "return { version = 2, on_upgrade = function(state, from) assert(from == 1) state.list[2].deep = 'changed' "
          "state.from = from state[1] = nil state.n = state.n * 10 return state end,\n"
          "  on_message = function(conn, t) if not tell(conn, t) then kept.n = kept.n + 1 kept[t] = true end end }";

static const char before[] = "1=x list={1=a 2={deep=true}} n=1\n";
static const char after[] = "from=1 list={1=a 2={deep=changed}} n=10\n";

static void test_upgrade(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    ask(f, s, "show", before);
    assert_int_equal(fake_reload(f, second), 0);
    ask(f, s, "show", after);
    fake_text(f, s, "more");
    ask(f, s, "show", "from=1 list={1=a 2={deep=changed}} more=true n=11\n");
    assert_int_equal(fake_reload_again(f), 0); /* the same number: no on_upgrade */
    ask(f, s, "show", "from=1 list={1=a 2={deep=changed}} more=true n=11\n");
    fake_expect_no_log(f);
    assert_int_equal(fake_reload(f, first), 0); /* a step back by hand */
    fake_expect_log(f, "app.version falls from 2 to 1: on_upgrade does not run");
    ask(f, s, "show", "from=1 list={1=a 2={deep=changed}} more=true n=11\n");
}

/* Until the commit nobody sees anything of it. */
static void test_abandoned_upgrade(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    fake_write_app(f, second);
    assert_int_equal(fake_probe(f, &sources), 0);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0); /* from the start again */
    script_abandon(f->script);
    assert_int_equal(f->script->behind_ref, LUA_NOREF);
    assert_int_equal(f->script->heap.extra, 0);
    ask(f, s, "show", before);
    fake_text(f, s, "x");
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    script_commit(f->script, script_spoiled(f->script));
    script_begin(f->script, "reload");
    ask(f, s, "show", "from=1 list={1=a 2={deep=changed}} n=20\n");
    sources_unref(sources);
}

static void test_rollback_brings_the_state_back(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    assert_int_equal(fake_reload(f, second), 0);
    fake_text(f, s, "more");
    fake_expect_no_log(f);
    fake_back(f);
    fake_expect_log(f, "tide.state is the one from before on_upgrade");
    ask(f, s, "show", before);
    fake_text(f, s, "x");
    ask(f, s, "show", "1=x list={1=a 2={deep=true}} n=2\n");
    assert_int_equal(fake_reload(f, second), 0);
    script_settle(f->script);
    ask(f, s, "show", "from=1 list={1=a 2={deep=changed}} n=20\n");
    assert_int_equal(f->script->heap.extra, 0);
}

/* The state that a rollback brings is the one from before the first on_upgrade on the way. */
static void test_rollback_over_two_upgrades(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    assert_int_equal(
        fake_reload(f, "return { version = 2, on_upgrade = function(t) t.two = true return t end, on_message = error }"), 0);
    ask(f, s, "x", "{\"type\":\"error\",\"code\":\"internal\",\"message\":\"internal error\"}\n"); /* on probation */
    assert_int_equal(fake_reload(f, SHOWS
                                 "return { version = 3, on_upgrade = function(t, from) return { only = from } end, on_message = "
                                 "tell }"),
                     0);
    ask(f, s, "show", "only=2\n");
    fake_back(f);
    ask(f, s, "show", before);
    assert_int_equal(fake_reload(f, "return { version = 2, on_upgrade = function(t) t.two = true return t end }"), 0);
    assert_int_equal(fake_reload(f, SHOWS "return { version = 2, on_message = tell }"), 0); /* the one before had no errors */
    fake_back(f);
    assert_int_equal(fake_reload(f, SHOWS "return { version = 2, on_message = tell }"), 0);
    ask(f, s, "show", "1=x list={1=a 2={deep=true}} n=1 two=true\n");
}

static void test_failed_upgrades(void **state)
{
    struct fake *f = *state;
    struct session *s;
    static const struct {
        const char *body, *error;
    } broken[] = {
        {"\nlocal function inner() error('boom') end inner()", "app.lua:2: boom"},
        {"state.n = 99 state.list[1] = 'b' return nil", "it returned nothing: the new state is expected"},
        {"return 5", "it returned number"},
        {"return tide.state", "it returned tide.state"},
        {"tide.state.n = 5 return state", "tide.state: not in on_upgrade: use on_start"},
        {"tide.state.list[1] = 'b' error 'after'", "app.lua:1: after"}, /* what it sees is the copy */
        {"tide.room('x'):send('y') return state", "not in on_upgrade: use on_start"},
        {"tide.sleep(1) return state", "cannot wait here"},
        {"coroutine.yield() return state", "yield"},
        {"tide.reject(1, 'x') return state", "tide.reject"},
        {"tide.spawn(print, 'never') tide.after(0, print, 'never') error({})", "table"},
    };

    fake_load(f, first);
    s = fake_open(f, "/");
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char *text = NULL;

        assert_true(asprintf(&text, "return { version = 2, on_upgrade = function(state, from) %s end }", broken[i].body) > 0);
        assert_int_equal(fake_reload(f, text), MT_ESCRIPT);
        free(text);
        expect_error(f, "on_upgrade from version 1 to 2 failed, the reload was given up: ");
        expect_error(f, broken[i].error);
        ask(f, s, "show", before);
    }
    assert_int_equal(
        fake_reload(f, "return { version = 2, on_upgrade = function()\nlocal function inner() error('boom') end inner() end }"),
        MT_ESCRIPT);
    expect_error(f, "app.lua:2: boom\nstack traceback:");
    expect_error(f, "app.lua:2: in");
    fake_advance(f, 1000);
    fake_expect_no_log(f);
    assert_int_equal(stats(f).tasks, 0);
    assert_int_equal(stats(f).old_versions, 0);
    assert_int_equal(stats(f).reloads_failed, sizeof(broken) / sizeof(broken[0]) + 1);
    assert_int_equal(fake_reload(f, "return { version = 2, on_upgrade = 5 }"), MT_ESCRIPT);
    expect_error(f, "app.on_upgrade: function expected, got number");
    assert_int_equal(fake_reload(f, "return { version = '2' }"), MT_ESCRIPT);
    expect_error(f, "app.version: integer expected, got string");
}

static void test_endless_upgrade(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* no kills there */
#endif
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    fake_write(f, "app.lua", "return { version = 2, on_upgrade = function() while true do end end }");
    assert_int_equal(fake_probe(f, &sources), 0);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 0.05, &f->error), MT_ESCRIPT);
    expect_error(f, "reload.pause: more than 0.05 s in on_upgrade");
    script_abandon(f->script);
    sources_unref(sources);
    ask(f, s, "show", before);
}

/* Tables are copied with all that they are, cycles and shared ones too; the rest is the same. */
static void test_deep_copy(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { on_start = function() local s = tide.state local key, meta = {}, { __index = { via = 'meta' } }\n"
                 "  s.me = s s.a = { } s.b = s.a s.a.loop = s.a s.key = key s[key] = 'by table' s.object = setmetatable({ 1 }, "
                 "meta) s.meta = meta\n"
                 "  s.fn = print s.room = tide.room('r') s.list = { 1, 2, 3, [10] = 4, x = 5.5 } s[false] = 1 s[2.5] = 2\n"
                 "  local deep = {} s.deep = deep for i = 1, 100000 do deep.next = {} deep = deep.next end end }");
    assert_int_equal(
        fake_reload(
            f, "local kept = tide.state local was = kept.a return { version = 1, on_upgrade = function(s)\n"
               "  assert(s.me == tide.state and s ~= tide.state and s.a ~= was and s.a == s.b and s.a.loop == s.a and s[s.key] "
               "== 'by table')\n"
               "  assert(getmetatable(s.object) == s.meta or getmetatable(s.object).__index.via == 'meta') assert(s.object.via "
               "== 'meta' and s.object[1] == 1)\n"
               "  assert(s.fn == print or type(s.fn) == 'function') assert(s.room.name == 'r' and #s.list == 3 and s.list[10] == "
               "4 and s.list.x == 5.5)\n"
               "  assert(s[false] == 1 and s[2.5] == 2) local n, d = 0, s.deep while d.next do n = n + 1 d = d.next end assert(n "
               "== 100000)\n"
               "  assert(tide.state.a == s.a) local seen = 0 for k in pairs(tide.state) do seen = seen + 1 end assert(seen > 10) "
               "return s end,\n"
               "  on_start = function() assert(kept == tide.state and kept.me == kept and kept.a ~= was) print 'copied' end }"),
        0);
    fake_expect_log(f, "copied");
}

/* ---- errors of the live version ---- */

struct errors {
    unsigned calls;
    uint64_t events, errors;
};

static void on_error(void *arg, uint64_t events, uint64_t errors)
{
    struct errors *e = arg;

    e->calls++;
    e->events = events;
    e->errors = errors;
}

static void test_errors_are_counted_per_version(void **state)
{
    struct fake *f = *state;
    struct errors e = {0};
    struct session *s;
    static const char app[] =
        "tide.after(5, function() error 'late' end) return { on = { no = function() return nil, 'no', 'denied' end }, "
        "on_message = function(c, t) if t == 'wait' then tide.sleep(1) end if t == 'reject' then tide.reject(400, 'x') end\n"
        "  if t ~= 'fine' then error(t) end end }";

    f->config.on_error = on_error;
    f->config.on_error_arg = &e;
    f->config.close_on_errors = false;
    fake_load(f, app);
    s = fake_open(f, "/");
    fake_text(f, s, "fine");
    fake_text(f, s, "reject"); /* the client's fault, as are the next two */
    fake_text(f, s, "{\"type\":\"no\"}");
    assert_int_equal(e.calls, 0);
    fake_text(f, s, "fail");
    assert_int_equal(e.calls, 1);
    assert_int_equal(e.errors, 1);
    assert_int_equal(e.events, 6); /* with the handshake and on_open */
    fake_text(f, s, "wait");
    assert_int_equal(fake_reload(f, app), 0);
    fake_advance(f, 1000); /* the one that waited fails in the old version */
    assert_int_equal(e.calls, 1);
    fake_text(f, s, "fail");
    assert_int_equal(e.calls, 2);
    assert_int_equal(e.events, 1); /* since it went live */
    fake_advance(f, 10000);        /* each version's timer fails, once in the live one */
    assert_int_equal(e.calls, 3);
    assert_int_equal(e.errors, 2);
    fake_back(f);
    fake_text(f, s, "fail");
    assert_int_equal(e.errors, 1);
    fake_logged(f);
}

/* ---- how long old versions live ---- */

static void test_age(void **state)
{
    struct fake *f = *state;
    struct session *a, *b, *h;

    f->config.old_age = 10;
    fake_load(f, "return { on_message = function(c, t) local x <close> = setmetatable({}, { __close = function() print('closed ' "
                 ".. t) end })\n"
                 "  tide.sleep(tonumber(t)) c:send('slept') end, on_http = function() tide.sleep(1000) end }");
    a = fake_open(f, "/");
    b = fake_open(f, "/");
    fake_text(f, a, "9");
    fake_text(f, a, "next");
    fake_text(f, b, "1000");
    fake_text(f, b, "next");
    h = fake_http(f, "GET", "/", NULL, NULL);
    fake_advance(f, 5000);
    assert_int_equal(fake_reload(f, "return { on_message = function(c, t) c:send('new ' .. t) end }"), 0);
    fake_advance(f, 9000);
    fake_expect(a, "slept\nnew next\n");
    fake_expect_log(f, "closed 9");
    assert_int_equal(stats(f).old_tasks, 2);
    assert_false(h->answered);
    fake_advance(f, 1000);
    fake_expect(b, "new next\n"); /* the one that was cancelled gave no answer */
    assert_int_equal(h->status, 500);
    {
        const char *log = fake_logged(f);

        assert_non_null(strstr(log, "closed 1000"));
        assert_non_null(strstr(log, "2 tasks of this old version were cancelled: at work for more than reload.age, 10 s"));
    }
    assert_int_equal(stats(f).old_tasks, 0);
    assert_int_equal(stats(f).errors, 0);
    fake_advance(f, 100000);
    fake_expect_no_log(f);
}

/* A timer of an old version may begin something new late: that has its own time. */
static void test_age_of_late_tasks(void **state)
{
    struct fake *f = *state;

    f->config.old_age = 10;
    fake_load(f, "tide.after(15, function() tide.sleep(8) print 'slept 8' end) tide.after(16, function() tide.sleep(12) print "
                 "'slept 12' end) "
                 "return {}");
    assert_int_equal(fake_reload(f, "return {}"), 0);
    fake_advance(f, 23000);
    fake_expect_log(f, "slept 8");
    fake_advance(f, 3000);
    fake_expect_log(f, "1 tasks of this old version were cancelled");
    fake_advance(f, 30000);
    fake_expect_no_log(f);
    assert_int_equal(stats(f).old_versions, 0);
}

struct seen {
    char text[256];
};

static void see(void *arg, const struct script_old *old)
{
    struct seen *s = arg;

    snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%s %zu %zu %d;", old->hash, old->tasks, old->timers,
             old->fallback);
}

static void test_old_versions(void **state)
{
    struct fake *f = *state;
    struct seen seen = {""};
    struct session *s;
    char expected[128], a[9], b[9];

    fake_load(f, "tide.every(1, function() end) tide.after(100, print) return { on_message = function() tide.sleep(50) end }");
    memcpy(a, script_version(f->script), sizeof(a));
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    script_old_versions(f->script, see, &seen);
    assert_string_equal(seen.text, "");
    assert_int_equal(fake_reload(f, "tide.every(1, function() end) return {}"), 0);
    memcpy(b, script_version(f->script), sizeof(b));
    assert_int_equal(fake_reload(f, "return { a = print }"), 0);
    script_old_versions(f->script, see, &seen);
    snprintf(expected, sizeof(expected), "%s 1 1 0;%s 0 0 1;", a, b);
    assert_string_equal(seen.text, expected);
    assert_int_equal(stats(f).old_versions, 1);
    assert_int_equal(stats(f).old_tasks, 1);
    script_settle(f->script);
    fake_advance(f, 100000);
    seen.text[0] = '\0';
    script_old_versions(f->script, see, &seen);
    assert_string_equal(seen.text, "");
    fake_logged(f);
}

/* ---- memory ---- */

static size_t collected(struct fake *f)
{
    lua_gc(f->script->L, LUA_GCCOLLECT);
    lua_gc(f->script->L, LUA_GCCOLLECT);
    return f->script->heap.used;
}

static void reload_from(struct fake *f, struct sources *sources, unsigned n)
{
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    script_hold(f->script);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    if (n % 11 == 0)
        script_abandon(f->script);
    else
        script_commit(f->script, script_spoiled(f->script));
    script_begin(f->script, "reload");
    script_release(f->script);
    if (n % 13 == 0 && script_fallback(f->script)) {
        script_back(f->script);
        script_begin(f->script, "rollback");
    }
    if (n % 17 == 0)
        script_settle(f->script);
    fake_turn(f);
}

/* Two versions in turn, one of which upgrades, with modules, shapes, routes, timers, a waiting handler, failures and rollbacks.
 */
static void test_memory_is_flat(void **state)
{
    struct fake *f = *state;
    struct sources *sources[2];
    struct session *s;
    size_t start = 0, end;
    static const char app[] =
        "local part = require 'part' local app = { version = %d, on = {}, accepts = { x = { a = 'string 1..64' } }, rooms = { "
        "['*'] = {} } }\n"
        "function app.on.x(conn, m) end function app.on_message(conn) tide.sleep(0.01) end\n"
        "function app.on_start() tide.state.n = (tide.state.n or 0) + 1 end tide.every(1, function() end) tide.spawn(function() "
        "end)\n"
        "function app.on_upgrade(state) state.upgraded = { { {} } } return state end app.routes = { ['/'] = app, ['/b'] = {} } "
        "tide.check(1, 'integer') return app";

    fake_write(f, "part.lua", "return { big = ('x'):rep(1000) }");
    fake_load(f, "return {}");
    for (int i = 0; i < 2; i++) {
        char *text = NULL;

        assert_true(asprintf(&text, app, i + 1) > 0);
        fake_write_app(f, text);
        free(text);
        assert_int_equal(fake_probe(f, &sources[i]), 0);
    }
    s = fake_open(f, "/");
    for (unsigned n = 1; n <= 10000; n++) {
        reload_from(f, sources[n % 2], n);
        if (n % 5 == 0) {
            fake_text(f, s, "wait");
            fake_advance(f, 20);
        }
        if (n == 1000)
            start = collected(f);
        if (n % 500 == 0)
            fake_logged(f);
    }
    end = collected(f);
    if (end > start + 4096)
        fail_msg("%zu bytes after 1,000 reloads, %zu after 10,000", start, end);
    assert_int_equal(stats(f).tasks, 0);
    assert_int_equal(stats(f).old_versions, 0);
    sources_unref(sources[0]);
    sources_unref(sources[1]);
    fake_logged(f);
}

/* Each allocation fails once, at any step: the old version serves on with its state as it was, or the new one does with its own.
 */
static void test_memory_that_runs_out(void **state)
{
    struct fake *f = *state;
    unsigned switched = 0, kept = 0;

    for (unsigned long n = 1; n <= 2600; n += 1 + n / 100) {
        struct session *s;
        int rc;

        fake_load(f, first);
        s = fake_open(f, "/");
        fake_write_app(f, second);
        mem_fail_at(n);
        rc = fake_reload_again(f);
        mem_fail_at(0);
        fake_turn(f);
        if (rc != 0) {
            kept++;
            ask(f, s, "show", before);
            continue;
        }
        switched++;
        ask(f, s, "show", after);
        mem_fail_at(n % 40 + 1);
        fake_back(f);
        mem_fail_at(0);
        fake_turn(f);
        ask(f, s, "show", before);
        fake_logged(f);
    }
    assert_true(switched > 3 && kept > 10);
    fake_logged(f);
}

/* Memory that is out for good: commit and back have nothing to ask for, and tide.state is whole all the time, also for one who
 * writes to it before there was memory to put it in order. */
static void test_no_memory_at_all(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;

    fake_load(f, first);
    s = fake_open(f, "/");
    fake_write_app(f, second);
    assert_int_equal(fake_probe(f, &sources), 0);
    for (unsigned long from = 1; from <= 60; from++) {
        assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
        assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
        mem_fail_from(from);
        script_commit(f->script, script_spoiled(f->script));
        mem_fail_from(0);
        script_begin(f->script, "reload");
        if (from % 2)
            fake_text(f, s, "more");
        ask(f, s, "show", from % 2 ? "from=1 list={1=a 2={deep=changed}} more=true n=11\n" : after);
        mem_fail_from(from);
        script_back(f->script);
        mem_fail_from(0);
        script_begin(f->script, "rollback");
        ask(f, s, "show", before);
    }
    sources_unref(sources);
    fake_logged(f);
}

/* Showing the fields breaks off in the middle, and the script writes to those that are there already. */
static void test_state_half_shown(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;
    static const char app[] =
        "local kept = tide.state return { version = 1, on_upgrade = function(s) for i = 1, 40 do s['k' .. i] = 0 end return s "
        "end,\n"
        "on_message = function(c, t) local n = 0 for i = 1, 40 do kept['k' .. i] = kept['k' .. i] + 1 end kept.k7 = nil\n"
        "  for k, v in pairs(kept) do n = n + v end c:send(tostring(n)) end }";

    fake_load(f, "return {}");
    s = fake_open(f, "/");
    fake_write_app(f, app);
    assert_int_equal(fake_probe(f, &sources), 0);
    for (unsigned long from = 1; from <= 20; from++) {
        assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
        assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
        mem_fail_from(from);
        script_commit(f->script, script_spoiled(f->script));
        mem_fail_from(0);
        fake_text(f, s, "x");
        fake_turn(f);
        fake_expect(s, "39\n");
        script_back(f->script);
    }
    sources_unref(sources);
    fake_logged(f);
}

/* The script is at script.memory: the switch is the core's, which has its own. */
static void test_heap_at_its_limit(void **state)
{
    struct fake *f = *state;
    struct sources *sources;
    struct session *s;
    size_t limit;

    fake_load(f, first);
    s = fake_open(f, "/");
    fake_write_app(f, second);
    assert_int_equal(fake_probe(f, &sources), 0);
    assert_int_equal(script_prepare(f->script, sources, &f->error), 0);
    assert_int_equal(script_upgrade(f->script, 1, &f->error), 0);
    limit = f->script->heap.limit;
    f->script->heap.limit = 0;
    script_commit(f->script, script_spoiled(f->script));
    assert_int_equal(f->script->behind_ref, LUA_NOREF); /* it is not merely hidden */
    f->script->heap.limit = limit;
    script_begin(f->script, "reload");
    ask(f, s, "show", after);
    f->script->heap.limit = 0;
    script_back(f->script);
    assert_int_equal(f->script->behind_ref, LUA_NOREF);
    f->script->heap.limit = limit;
    script_begin(f->script, "rollback");
    ask(f, s, "show", before);
    sources_unref(sources);
    fake_logged(f);
}

/* A state of more than half of script.memory can be upgraded: the copy is the core's. */
static void test_large_state(void **state)
{
    struct fake *f = *state;
    struct session *s;

    f->config.memory_limit = 16 << 20;
    fake_load(f, "return { on_start = function() local t = {} tide.state.t = t for i = 1, 100000 do t[i] = { i } end end }");
    assert_int_equal(
        fake_reload(f, "return { version = 1, on_upgrade = function(s) s.t[1][1] = 'new' return s end, on_message = function(c) "
                       "local t = {} for i = 1, 1000 do t[i] = { i } end c:send(tide.state.t[1][1]) end }"),
        0);
    s = fake_open(f, "/");
    ask(f, s, "x", "new\n");
    fake_back(f);
    assert_int_equal(f->script->heap.extra, 0);
    fake_expect_log(f, "tide.state is the one from before on_upgrade");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_upgrade),
        TEST(test_abandoned_upgrade),
        TEST(test_rollback_brings_the_state_back),
        TEST(test_rollback_over_two_upgrades),
        TEST(test_failed_upgrades),
        TEST(test_endless_upgrade),
        TEST(test_deep_copy),
        TEST(test_errors_are_counted_per_version),
        TEST(test_age),
        TEST(test_age_of_late_tasks),
        TEST(test_old_versions),
        TEST(test_memory_is_flat),
        TEST(test_memory_that_runs_out),
        TEST(test_no_memory_at_all),
        TEST(test_state_half_shown),
        TEST(test_heap_at_its_limit),
        TEST(test_large_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
