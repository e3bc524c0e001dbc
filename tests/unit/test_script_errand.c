/* test_script_errand.c - work of another thread that a task waits for: every way in which it can come back or not be waited for.
 */
#include "fake_script.h"
#include "script/errand.h"

#include <lauxlib.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* What the apps of these tests see as `require "work"`. */
struct job {
    struct errand errand;
    struct inbox *inbox;
    char *owned; /* freed by destroy: the leak checker sees whether that ran */
    pthread_t thread;
    bool threaded;
};

static struct job *kept; /* the last one of work.keep, answered by the test */
static int destroyed, given_up;

static int finish(lua_State *L, struct errand *e, int code)
{
    if (code == MT_EINVALID)
        return luaL_error(L, "finish raises");
    if (code != 0)
        return script_push_result(L, code);
    lua_pushstring(L, ((struct job *)e)->owned);
    return 1;
}

static void give_up(struct errand *e)
{
    given_up++;
}

static void destroy(struct errand *e)
{
    struct job *j = (struct job *)e;

    if (j->threaded)
        pthread_join(j->thread, NULL);
    free(j->owned);
    destroyed++;
}

static const struct errand_ops ops = {finish, give_up, destroy};

static void *work(void *arg)
{
    struct job *j = arg;

    j->owned = strdup("done");
    inbox_post(j->inbox, &j->errand.letter);
    return NULL;
}

static struct job *push_job(lua_State *L)
{
    struct task *t = task_check_wait(L);
    struct job *j = errand_push(L, sizeof(*j), &ops);

    j->inbox = script_of(L)->inbox;
    errand_start(t, &j->errand);
    return j;
}

static int l_thread(lua_State *L)
{
    struct job *j = push_job(L);

    j->threaded = pthread_create(&j->thread, NULL, work, j) == 0;
    return errand_wait(L, &j->errand, -1);
}

/* work.keep(milliseconds) */
static int l_keep(lua_State *L)
{
    lua_Integer ms = luaL_optinteger(L, 1, -1);

    kept = push_job(L);
    kept->owned = strdup("kept");
    return errand_wait(L, &kept->errand, ms);
}

static int l_refused(lua_State *L)
{
    struct job *j = push_job(L);

    errand_refuse(&j->errand, MT_EFULL);
    return errand_wait(L, &j->errand, -1);
}

static int open_work(lua_State *L)
{
    static const luaL_Reg functions[] = {{"thread", l_thread}, {"keep", l_keep}, {"refused", l_refused}, {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}

static const struct script_module module = {"work", open_work};

static int setup(void **state)
{
    fake_setup(state);
    struct fake *f = *state;
    f->config.modules = &module;
    f->config.module_count = 1;
    destroyed = given_up = 0;
    return 0;
}

static struct session *load(struct fake *f, const char *handlers)
{
    char text[1024];

    snprintf(text, sizeof(text), "local work = require 'work' local app = {} %s return app", handlers);
    fake_load(f, text);
    return fake_open(f, "/");
}

static void bring_back(struct fake *f, int code)
{
    kept->errand.code = code;
    inbox_post(kept->inbox, &kept->errand.letter);
    fake_turn(f);
}

static void comes_back_from_a_thread(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn) conn:send(work.thread()) end");

    fake_text(f, s, "go");
    fake_await(f);
    fake_expect(s, "done\n");
    assert_int_equal(destroyed, 1); /* at once, not when the collector comes by */
}

static void refused_at_once(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn) local v, m, name = work.refused() conn:send(name) end");

    fake_text(f, s, "go");
    fake_expect(s, "full\n");
    assert_int_equal(destroyed, 1);
}

static void a_failure_has_its_name(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn) local v, m, name = work.keep() conn:send(name) end");

    fake_text(f, s, "go");
    bring_back(f, MT_ETLS);
    fake_expect(s, "tls\n");
}

static void a_raise_in_finish_leaves_nothing(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn) local ok, m = pcall(work.keep) conn:send(tostring(m)) end");

    fake_text(f, s, "go");
    bring_back(f, MT_EINVALID);
    fake_expect(s, "finish raises\n");
    assert_int_equal(destroyed, 1);
}

static void too_late(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn) local v, m, name = work.keep(50) conn:send(name) end");

    fake_text(f, s, "go");
    fake_advance(f, 50);
    fake_expect(s, "timeout\n");
    assert_int_equal(given_up, 1);
    assert_true(atomic_load(&kept->errand.given_up));
    assert_int_equal(destroyed, 0); /* the other thread has it */
    bring_back(f, 0);
    assert_int_equal(destroyed, 1);
    fake_expect(s, "");
}

static void cancelled_while_it_is_away(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "local t function app.on_open(conn) t = conn:spawn(function()"
                                " local x <close> = setmetatable({}, { __close = function() conn:send('unwound') end })"
                                " work.keep() conn:send('never') end) end function app.on_message() t:cancel() end");

    fake_turn(f);
    fake_text(f, s, "go");
    fake_expect(s, "unwound\n");
    assert_int_equal(given_up, 1);
    bring_back(f, 0);
    assert_int_equal(destroyed, 1);
    fake_expect(s, "");
}

static void the_script_ends_before(void **state)
{
    struct fake *f = *state;

    fake_text(f, load(f, "function app.on_message(conn) work.keep() end"), "go");
    struct job *j = kept;
    fake_unload(f);
    assert_int_equal(given_up, 1);
    assert_int_equal(destroyed, 0);
    inbox_post(j->inbox, &j->errand.letter);
    fake_turn_once(f);
    assert_int_equal(destroyed, 1);
}

static void waits_in_pcall_and_in_metamethods(void **state)
{
    struct fake *f = *state;
    struct session *s =
        load(f, "local slow = setmetatable({}, { __index = function() return (work.thread()) end })"
                " function app.on_message(conn) local ok, v = pcall(function() return slow.x end) conn:send(v) end");

    fake_text(f, s, "go");
    fake_await(f);
    fake_expect(s, "done\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back_from_a_thread, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(refused_at_once, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_failure_has_its_name, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_raise_in_finish_leaves_nothing, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(too_late, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(cancelled_while_it_is_away, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(the_script_ends_before, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(waits_in_pcall_and_in_metamethods, setup, fake_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
