/* test_script_memory.c - memory that runs out: each allocation fails once, nothing crashes or is lost, and the server goes on. */
#include "fake_script.h"

#include "base/mem.h"
#include "script/state.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static const char app[] =
    "local app = { on = {}, accepts = { add = { a = 'integer' } }, protocols = { 'a' }, rooms = { ['*'] = { grace = 0, allow = "
    "function(c, n, i) return i or true end,\n"
    "  on_join = function(room, who) room:send { joined = who.id, info = who.info } end, on_leave = function(room, who) end } } "
    "}\n"
    "function app.on_connect(req) return { user = req.query.user, data = { path = req.path }, headers = { ['X-A'] = 'b' }, "
    "expires = tide.now() + 100 } end\n"
    "function app.on_open(conn) conn:send { type = 'hello', path = conn.data.path } end\n"
    "function app.on.add(conn, m) tide.sleep(1) return { sum = m.a + 1 } end\n"
    "function app.on.spawn(conn, m) local t = conn:spawn(function() local x <close> = setmetatable({}, { __close = function() "
    "end }) tide.sleep(5) end)\n"
    "  local r = table.pack(tide.timeout(2, function(...) return ... end, 1, 2)) tide.after(1, 'tick', conn) t:join(1) r.n = nil "
    "return r end\n"
    "function app.tick(conn) conn:send 'tick' end\n"
    "local q = tide.queue(function(n) tide.sleep(1) end)\n"
    "function app.on.put(conn) for i = 1, 3 do q:put(i) end end\n"
    "function app.on.ask(conn) return { answer = conn:request({ type = 'question' }, { timeout = 2 }) } end\n"
    "function app.on_message(conn, text) error(text) end\n"
    "function app.on_binary(conn, b) conn:send_binary(b) end\n"
    "function app.on_close(conn, code, reason) tide.state.closed = (tide.state.closed or 0) + 1 end\n"
    "function app.on_http(req) if req.path == '/json' then return 200, { a = req:json { x = 'integer' } } end\n"
    "  local n = 0 return 200, function() n = n + 1 if n < 3 then return req.headers.host end end, { ['X-Y'] = { 'a', 'b' } } "
    "end\n"
    "return app";

/* The client answers what it was asked last, if it was asked anything. */
static void answer(struct fake *f, struct session *s)
{
    char text[80];
    const char *id = strstr(s->sent, "\"tide-");

    if (!id)
        return;
    snprintf(text, sizeof(text), "{\"type\":\"reply\",\"id\":%.23s,\"data\":5}", id);
    fake_text(f, s, text);
}

/* Everything that clients can do, once. With a failure somewhere the results are not looked at. */
static void act(struct fake *f)
{
    struct session *s = fake_connect(f, "/p%20q?user=ann", "Sec-WebSocket-Protocol: a\n");

    if (s->accepted) {
        fake_text(f, s, "{\"type\":\"join\",\"room\":\"r\",\"id\":1,\"info\":{\"n\":1}}");
        fake_text(f, s, "{\"type\":\"add\",\"a\":1,\"id\":\"x\"}");
        fake_text(f, s, "{\"type\":\"add\",\"a\":\"1\",\"id\":2}");
        fake_text(f, s, "raise");
        fake_text(f, s, "{\"type\":\"spawn\",\"id\":3}");
        fake_advance(f, 3000);
        fake_text(f, s, "{\"type\":\"put\"}");
        fake_text(f, s, "{\"type\":\"ask\",\"id\":6}");
        answer(f, s);
        fake_binary(f, s, "abc", 3);
        fake_text(f, s, "{\"type\":\"add\",\"a\":1,\"id\":4}");
        fake_text(f, s, "{\"type\":\"spawn\",\"id\":5}");
    }
    fake_http(f, "GET", "/stream", NULL, NULL);
    fake_http(f, "POST", "/json", "Content-Length: 7\n", "{\"x\":1}");
    if (s->accepted)
        fake_close(f, s, 1000);
    fake_advance(f, 9000);
}

static void forget_sessions(struct fake *f)
{
    for (size_t i = 0; i < f->session_count; i++) {
        if (!f->sessions[i]->gone)
            fake_close(f, f->sessions[i], 1001);
        fake_advance(f, 9000);
        free(f->sessions[i]);
    }
    f->session_count = 0;
}

/* The same again without a failure must come out right. */
static void expect_well(struct fake *f)
{
    struct script_stats stats;

    forget_sessions(f);
    act(f);
    assert_true(f->sessions[0]->accepted);
    if (!strstr(f->sessions[0]->sent, "{\"type\":\"reply\",\"id\":\"x\",\"data\":{\"sum\":2}}") ||
        !strstr(f->sessions[0]->sent, "{\"type\":\"reply\",\"id\":6,\"data\":{\"answer\":5}}") ||
        !strstr(f->sessions[0]->sent, "\ntick\n") || !strstr(f->sessions[0]->sent, "abc"))
        fail_msg("%s", f->sessions[0]->sent);
    assert_int_equal(f->sessions[1]->status, 200);
    assert_int_equal(f->sessions[2]->status, 200);
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 0);
    assert_int_equal(hub_count(script_hub_of(f->script)), 0);
    forget_sessions(f);
}

static void test_events(void **state)
{
    struct fake *f = *state;

    f->config.close_on_errors = false;
    fake_load(f, app);
    for (unsigned long n = 1; n <= 1000; n++) {
        mem_fail_at(n);
        act(f);
        mem_fail_at(0);
        fake_logged(f);
        if (n % 20 == 0)
            expect_well(f);
        else
            forget_sessions(f);
    }
    expect_well(f);
}

/* The VM's limit at any place: the handler that crosses it fails. */
static void test_limit(void **state)
{
    struct fake *f = *state;
    struct heap *heap;
    size_t limit;

    f->config.close_on_errors = false;
    fake_load(f, app);
    heap = &f->script->heap;
    limit = heap->limit;
    for (size_t room = 0; room < 24000; room += 64) {
        lua_gc(f->script->L, LUA_GCCOLLECT);
        heap->limit = heap->used + room;
        act(f);
        heap->limit = limit;
        fake_logged(f);
        forget_sessions(f);
    }
    expect_well(f);
}

static void test_reload(void **state)
{
    struct fake *f = *state;

    f->config.close_on_errors = false;
    fake_load(f, app);
    for (unsigned long n = 1; n <= 3500; n += 1 + n / 100) {
        mem_fail_at(n);
        fake_reload_again(f);
        mem_fail_at(0);
        fake_turn(f);
    }
    assert_int_equal(fake_reload_again(f), 0);
    fake_logged(f);
    expect_well(f);
}

static void test_create(void **state)
{
    struct fake *f = *state;
    char *error;

    fake_load(f, app);
    fake_unload(f);
    for (unsigned long n = 1; n <= 4000; n += 1 + n / 50) {
        mem_fail_at(n);
        if (script_create(&f->config, NULL, &f->script, &error) == 0)
            script_destroy(f->script);
        else
            assert_null(f->script);
        mem_fail_at(0);
        mem_free(error);
        f->script = NULL;
    }
    fake_logged(f);
}

static void *count_alloc(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    ++*(unsigned *)arg;
    if (new_size)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static int do_nothing(lua_State *L)
{
    return 0;
}

/* Whether this Lua was built to move its stack at every call (HARDSTACKTESTS). Its parser then allocates while a new function is
 * not anchored yet, which it does not where the stack has room: without memory that is an error of the tool. */
static bool moves_its_stack(void)
{
    unsigned count = 0;
    lua_State *L = lua_newstate(count_alloc, &count);

    lua_gc(L, LUA_GCSTOP);
    lua_pushcfunction(L, do_nothing);
    lua_call(L, 0, 0); /* makes the frame */
    count = 0;
    lua_pushcfunction(L, do_nothing);
    lua_call(L, 0, 0);
    bool moved = count > 0;
    lua_close(L);
    return moved;
}

int main(void)
{
    static const struct CMUnitTest all[] = {TEST(test_events), TEST(test_limit), TEST(test_reload), TEST(test_create)};
    static const struct CMUnitTest some[] = {TEST(test_events), TEST(test_limit)};

    return moves_its_stack() ? cmocka_run_group_tests(some, NULL, NULL) : cmocka_run_group_tests(all, NULL, NULL);
}
