/* test_script_lint.c - the warnings of a reload: state that is lost, code in what lives on; and what keeps an old version. */
#include "fake_script.h"

#include "base/mem.h"
#include "script/lint.h"
#include "script/locals.h"
#include "script/state.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* What the look before a reload writes. */
static const char *look(struct fake *f)
{
    fake_logged(f);
    lint_switch(f->script, f->script->live);
    return fake_logged(f);
}

static void expect_line(const char *log, const char *line)
{
    if (!strstr(log, line))
        fail_msg("expected: %s\ngot: %s", line, log);
}

static void say(struct fake *f, const char *text)
{
    struct session *s = fake_open(f, "/");

    fake_text(f, s, text);
    fake_close(f, s, 1000);
}

/* ---- tables in local variables ---- */

static void test_lost_table(void **state)
{
    struct fake *f = *state;

    fake_load(f, "\nlocal config = { list = { 1, 2 } }\nlocal players = {}\nlocal app = {}\n"
                 "function app.on_message(conn, t) players[t] = config.list end return app");
    say(f, "ann");
    say(f, "bob");
    fake_logged(f);
    assert_int_equal(fake_reload(f, "return {}"), 0);
    {
        const char *log = fake_logged(f);

        expect_line(log, "WARN");
        expect_line(log, "app.lua:3: local 'players' (2 fields) is lost with this version: keep it in tide.state");
        assert_null(strstr(log, "config"));
        assert_null(strstr(log, "'app'"));
    }
}

static void test_nothing_to_say(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local players, empty = { ann = 1 }, {} local app = { on = {} }\n"
                 "local function count() local n = 0 for _ in pairs(players) do n = n + 1 end return n end\n"
                 "function app.on_message(conn, t) empty[t] = count() empty[t] = nil players.ann = 2 players.ann = 1 end\n"
                 "return app");
    assert_string_equal(look(f), "");
    say(f, "ann");
    assert_string_equal(look(f), "");
}

static void test_told_once(void **state)
{
    struct fake *f = *state;

    fake_load(f,
              "local players = {} return { on_message = function(conn, t) players[t] = true tide.state[t] = print tide.state.f = "
              "function() return print end end }");
    say(f, "ann");
    expect_line(look(f), "local 'players' (1 field)");
    say(f, "bob");
    assert_string_equal(look(f), ""); /* the reload was given up, and comes again */
    assert_int_equal(fake_reload(f, "return {}"), 0);
    expect_line(look(f), "tide.state.f"); /* still there in the next version */
}

static void test_in_other_tables(void **state)
{
    struct fake *f = *state;

    fake_load(f, "\nlocal game = { rules = { size = 8 },\nplayers = { list = {} } }\n"
                 "return { on_message = function(conn, t) game.players.list[t] = game.rules.size end }");
    say(f, "ann");
    say(f, "bob");
    expect_line(look(f), "app.lua:2: local 'game' (game.players.list, 2 fields) is lost");
}

/* The table has a name of its own, though it is first met in another. */
static void test_nearest_name(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local players = {}\nlocal game = { players = players }\n"
                 "return { on_open = function() return game end, on_message = function(conn, t) players[t] = 1 end }");
    say(f, "ann");
    {
        const char *log = look(f);

        expect_line(log, "app.lua:1: local 'players' (1 field)");
        assert_null(strstr(log, "game"));
    }
}

static void test_assigned_later(void **state)
{
    struct fake *f = *state;

    fake_load(
        f, "local words, none\nreturn { on_start = function() words = { 'a', 'b', 'c' } none = {} end, on_message = function() "
           "return words, none end }");
    {
        const char *log = look(f);

        expect_line(log, "app.lua:1: local 'words' (3 fields)");
        assert_null(strstr(log, "none"));
    }
}

static void test_everywhere_in_the_code(void **state)
{
    struct fake *f = *state;

    fake_write(f, "shared.lua",
               "-- local seen\nlocal seen <const> = {}\nlocal M = {}\n\nfunction M.see(t) seen[t] = true end\nreturn M");
    fake_write(f, "class.lua",
               "local Class = {} Class.__index = Class local made = {}\nfunction Class.new() local o = "
               "setmetatable({}, Class) return o end function Class:add(t) made[t] = self end return Class");
    fake_load(f, "local shared = require 'shared' local object = require('class').new()\nlocal routed = {}\nlocal jobs = {}\n"
                 "local function deep(t) return function() shared.see(t) object:add(t) routed[t] = 1 jobs[1] = 1 end end\n"
                 "local go = {}\nfunction go.f(t) return deep(t) end\n"
                 "return { on_message = function(conn, t) go.f(t)() end, jobs = { tidy = function() return jobs end },\n"
                 "routes = { ['/'] = { on_message = function(conn, t) routed[t] = 2 go.f(t)() end } } }");
    say(f, "ann");
    {
        const char *log = look(f);

        expect_line(log, "shared.lua:2: local 'seen' (1 field)");
        expect_line(log, "class.lua:1: local 'made' (1 field)");
        expect_line(log, "app.lua:2: local 'routed' (1 field)");
        expect_line(log, "app.lua:3: local 'jobs' (1 field)");
    }
}

/* Another name for what lives on is not lost. */
static void test_what_lives_on(void **state)
{
    struct fake *f = *state;

    fake_load(
        f, "local all = tide.state local players, last, mine = {}, nil, {}\n"
           "local app = { on_start = function() all.players = players end }\n"
           "function app.on_message(conn, t) players[t] = { t } last = players[t] all.n = 1 mine.data = conn.data mine.data.t = "
           "t mine.data = nil last.more = all end return app");
    {
        struct session *s = fake_open(f, "/");

        fake_text(f, s, "ann");
        assert_string_equal(look(f), "");
        fake_close(f, s, 1000);
    }
    assert_int_equal(fake_reload(f, "local players = tide.state.players\nreturn { on_message = function(conn, t) players[t] = "
                                    "nil players.x = { y = 1 } end }"),
                     0);
    say(f, "ann");
    assert_string_equal(look(f), "");
}

static void test_not_too_many_lines(void **state)
{
    struct fake *f = *state;

    fake_load(
        f, "local t = {} local app = { on = {} } for i = 1, 20 do local v = {} app.on['m' .. i] = function() v[1] = 1 end end\n"
           "for i = 1, 20 do local code = ('local v%d = {} return function() v%d[1] = 1 end'):format(i, i)\n"
           "t[i] = load(code, '@made.lua')() end\n"
           "function app.on_message() for i = 1, 20 do t[i]() end end return app");
    say(f, "x");
    {
        const char *log = look(f);

        expect_line(log, "made.lua:1: local 'v1' (1 field)");
        expect_line(log, "10 more of these warnings are not shown");
    }
}

/* ---- code in what lives on ---- */

static void test_kept_code(void **state)
{
    struct fake *f = *state;
    char expected[256];

    fake_load(f,
              "local Class = {} Class.__index = Class function Class:name() return tostring(self) end\n"
              "local app = {} function app.on_message(conn) local state = tide.state\n"
              "state.players = { {}, {}, { timer = function() return print end } }\n"
              "state['a b'] = coroutine.create(function() print() end)\n"
              "state.gen = coroutine.wrap(function() print() coroutine.yield() end) state.gen()\n"
              "state.object = setmetatable({}, Class)\n"
              "state.listeners = { [function() print(2) end] = true }\n"
              "conn.data.f = function() print(3) end\n"
              "state.after = tide.after(1000, function() print(4) end)\n"
              "state.plain = function() end\n"
              "state.env = _G\n"
              "state.fine = { tide.now, print, tide.room('x'), tide.json.array {}, conn, setmetatable({}, { __mode = 'k' }) }\n"
              "end return app");
    {
        struct session *s = fake_open(f, "/");
        const char *log, *hash = script_version(f->script);
        static const char *const lines[] = {
            "tide.state.players[3].timer holds a function of version %s (app.lua:3): it keeps that version's code",
            "tide.state[\"a b\"] holds a coroutine of version %s (app.lua:4)",
            "tide.state.gen holds a coroutine of version %s (app.lua:5)",
            "tide.state.object has a metatable of version %s (app.lua:1)",
            "tide.state.listeners[function] holds a function of version %s (app.lua:7)",
            ".data.f holds a function of version %s (app.lua:8)",
            "tide.state.after holds a function of version %s (app.lua:9)",
            "tide.state.env holds the globals of version %s: it keeps",
        };

        fake_text(f, s, "x");
        log = look(f);
        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
            snprintf(expected, sizeof(expected), lines[i], hash);
            expect_line(log, expected);
        }
        expect_line(log, "tide.state.plain holds a function (app.lua:10): it stays what it was made of");
        assert_null(strstr(log, "fine[1]"));
        assert_null(strstr(log, "fine[6]"));
        fake_close(f, s, 1000);
    }
}

/* Keys may be tokens of clients, which have no business in the log. */
static void test_long_keys_are_cut(void **state)
{
    struct fake *f = *state;

    fake_load(
        f,
        "local key = 'eyJhbGciOiJIUzI1NiJ9' return { on_start = function() tide.state[key] = { f = function() print() end }\n"
        "tide.state.waiting_players_by_room = function() print(1) end \ntide.state['3f2a-9c'] = function() print(2) end end }");
    {
        const char *log = look(f);

        expect_line(log, "tide.state[\"eyJh...\"].f holds");
        expect_line(log, "tide.state.waiting_players_by_room holds");
        expect_line(log, "tide.state[\"3f2a-9c\"] holds");
        assert_null(strstr(log, "GciOi"));
    }
}

/* A thousand values made at one place are one line; of connections too. */
static void test_one_line_for_one_place(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { on_start = function() for i = 1, 1000 do tide.state[i] = { f = function() print(i) end } end end,\n"
                 "on_open = function(conn) conn.data.f = function() print(conn) end end }");
    fake_open(f, "/");
    fake_open(f, "/");
    {
        const char *log = look(f), *first = strstr(log, "tide.state["), *second = strstr(log, "conn.data.f holds");

        assert_non_null(first);
        assert_null(strstr(first + 1, "tide.state["));
        assert_non_null(second);
        assert_null(strstr(second + 1, "conn.data.f holds"));
    }
}

/* Values that nobody can look through in time: what was not seen is not told of, and nothing wrong is said. */
static void test_bounds(void **state)
{
    struct fake *f = *state;

    fake_load(f,
              "local players = {} return { on_start = function() tide.state.big = {} for i = 1, 200000 do tide.state.big[i] = {} "
              "end tide.state.players = players local list = tide.state for i = 1, 1000 do list.next = {} list = list.next end "
              "players.x = 1 end, on_message = function() return players end }");
    assert_string_equal(look(f), "");
    fake_load(f, "local big, chain, after, grown = {}, {}, {}, {}\nfor i = 1, 200000 do big[i] = {} end do local at = chain for "
                 "i = 1, 1000 do "
                 "at.next = {} at = at.next end end\nreturn { on_message = function() big[1][1] = 1 chain.x = 1 after.x = 1 for "
                 "i = 1, 5000 do "
                 "grown[i] = i end end }");
    say(f, "x");
    {
        const char *log = look(f);

        expect_line(log, "local 'chain' (2 fields)");
        expect_line(log, "local 'after' (1 field)");
        expect_line(log, "local 'grown' (more than 4000 fields)");
        assert_null(strstr(log, "big"));
    }
}

static void test_without_memory(void **state)
{
    struct fake *f = *state;

    for (unsigned long n = 1; n < 60; n++) {
        fake_load(
            f, "local players = {} return { on_message = function(conn, t) players[t] = { t } tide.state.f = function() print() "
               "end end }");
        say(f, "ann");
        mem_fail_at(n);
        lint_switch(f->script, f->script->live);
        mem_fail_at(n);
        lint_note(f->script->live);
        mem_fail_at(0);
    }
}

/* ---- what holds an old version ---- */

static struct version *old_version(struct fake *f)
{
    list_each(node, &f->script->versions)
    {
        struct version *v = list_entry(node, struct version, node);

        if (v != f->script->live)
            return v;
    }
    return NULL;
}

static void expect_holders(struct fake *f, const char *expected)
{
    struct buf out = {0};

    lint_holders(f->script, old_version(f), &out);
    buf_add_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void test_holders(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { on_message = function(conn, t) tide.state.players = { {}, { timer = function() print() end } }\n"
                 "tide.after(50, function() end) tide.spawn(function() tide.sleep(20) end) tide.sleep(10) end }");
    {
        struct session *s = fake_open(f, "/"), *other = fake_open(f, "/");

        fake_text(f, s, "x");
        fake_text(f, other, "x");
    }
    assert_int_equal(fake_reload(f, "return {}"), 0);
    expect_holders(f, "2 waiting handlers, 2 spawned tasks, 2 timers, kept for a rollback, tide.state.players[2].timer");
    script_settle(f->script);
    expect_holders(f, "2 waiting handlers, 2 spawned tasks, 2 timers, tide.state.players[2].timer");
    fake_advance(f, 30000);
    expect_holders(f, "2 timers, tide.state.players[2].timer");
    fake_advance(f, 30000);
    assert_null(old_version(f));
}

struct leftover {
    char hash[16], holders[256];
    unsigned calls;
};

static void note_leftover(void *arg, const char *hash, struct slice holders)
{
    struct leftover *l = arg;

    snprintf(l->hash, sizeof(l->hash), "%s", hash);
    snprintf(l->holders, sizeof(l->holders), "%.*s", (int)holders.len, holders.data);
    l->calls++;
}

static void test_leftovers(void **state)
{
    struct fake *f = *state;
    struct leftover left = {.calls = 0};
    char hash[16];

    fake_load(f, "return { on_message = function(conn) for i = 1, 5 do tide.state[i] = function() print(i) end end end }");
    snprintf(hash, sizeof(hash), "%s", script_version(f->script));
    say(f, "x");
    lint_leftovers(f->script, note_leftover, &left);
    assert_int_equal(left.calls, 0); /* it is live */
    assert_int_equal(fake_reload(f, "return { on_message = function() for i = 1, 5 do tide.state[i] = nil end end }"), 0);
    script_settle(f->script);
    assert_null(old_version(f));
    lint_leftovers(f->script, note_leftover, &left);
    assert_int_equal(left.calls, 1);
    assert_string_equal(left.hash, hash);
    assert_string_equal(left.holders, "tide.state[1], tide.state[2], tide.state[3] and 2 more places");
    say(f, "x");
    lint_leftovers(f->script, note_leftover, &left);
    assert_int_equal(left.calls, 1);
}

/* ---- where variables are declared ---- */

static void test_locals(void **state)
{
    static const char text[] = "local a, b <const>, c = 1, 2, 3 -- local no1\n"
                               "--[[ local no2\n]] local function f(x) local y end\n"
                               "--[==[ ]] local no3 ]==] local z = 'local no4 \\' local no5' .. \"local no6\\\n local no7\"\n"
                               "local s = [[\nlocal no8 ]] local t = a[b[1]]\n"
                               "local -- comment\n  late = 0x1p4 notlocal = 1 local_ = 2 local a\n"
                               "local g = function() local a end";
    static const struct {
        const char *name;
        unsigned before, line;
    } expected[] = {
        {"a", 1, 1},    {"b", 1, 1},    {"c", 99, 1},    {"f", 99, 3},   {"y", 99, 3},   {"z", 99, 4},
        {"s", 99, 6},   {"t", 99, 7},   {"late", 99, 9}, {"a", 8, 1},    {"a", 9, 9},    {"a", 99, 10},
        {"g", 99, 10},  {"no1", 99, 0}, {"no2", 99, 0},  {"no3", 99, 0}, {"no4", 99, 0}, {"no5", 99, 0},
        {"no6", 99, 0}, {"no7", 99, 0}, {"no8", 99, 0},  {"x", 99, 0},   {"z", 3, 0},
    };
    struct buf known = {0};

    assert_int_equal(locals_scan(&known, SLICE("other.lua"), SLICE("local only\nlocal a")), 0);
    assert_int_equal(locals_scan(&known, SLICE("app.lua"), SLICE(text)), 0);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        unsigned line = locals_find(&known, SLICE("app.lua"), slice_of(expected[i].name), expected[i].before);

        if (line != expected[i].line)
            fail_msg("%s: line %u, expected %u", expected[i].name, line, expected[i].line);
    }
    assert_int_equal(locals_find(&known, SLICE("app.lua"), SLICE("only"), 99), 0);
    assert_int_equal(locals_find(&known, SLICE("other.lua"), SLICE("a"), 99), 2);
    buf_fini(&known);
}

/* Every beginning of a text ends in time and in its bounds. */
static void test_locals_of_half_texts(void **state)
{
    static const char text[] = "local a <const> = [==[ x ]==] --[[ y ]] \"s\\\" 's' local function f local b, c 0x --";

    for (size_t len = 0; len < sizeof(text); len++) {
        struct buf known = {0};
        char *copy = malloc(len + 1);

        memcpy(copy, text, len);
        assert_int_equal(locals_scan(&known, SLICE("x"), (struct slice){copy, len}), 0);
        free(copy);
        buf_fini(&known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lost_table),
        TEST(test_nothing_to_say),
        TEST(test_told_once),
        TEST(test_in_other_tables),
        TEST(test_nearest_name),
        TEST(test_assigned_later),
        TEST(test_everywhere_in_the_code),
        TEST(test_what_lives_on),
        TEST(test_not_too_many_lines),
        TEST(test_kept_code),
        TEST(test_long_keys_are_cut),
        TEST(test_one_line_for_one_place),
        TEST(test_bounds),
        TEST(test_without_memory),
        TEST(test_holders),
        TEST(test_leftovers),
        cmocka_unit_test(test_locals),
        cmocka_unit_test(test_locals_of_half_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
