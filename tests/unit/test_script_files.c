/* test_script_files.c - tide.files where it has to do with its ends: of memory, of the script, of what may be open. */
#include "fake_script.h"
#include "script/files.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Until no task waits for the disk. */
static void settle(struct fake *f)
{
    fake_turn(f);
    while (f->script->waiting > 0)
        fake_await(f);
}

static struct session *load(struct fake *f, const char *handlers)
{
    char text[2048];

    snprintf(text, sizeof(text), "local app, files = {}, tide.files %s return app", handlers);
    fake_load(f, text);
    return fake_open(f, "/");
}

#define EVERYTHING                                                                                                               \
    "local function all() local f = assert(files.open('a/b.part', 'w')) assert(f:write(0, ('x'):rep(99)))"                       \
    " assert(f:read(0, 99)) assert(f:size()) assert(files.list 'a/') f:close()"                                                  \
    " assert(files.rename('a/b.part', 'a/b')) assert(files.delete 'a/b') end"                                                    \
    " function app.on_message(conn) all() conn:send 'all' end"

/* Whatever there is no memory for: nothing leaks, nothing stays open. True when all of it went well. */
static bool without_memory(struct fake *f, struct session *s, void (*fail_at)(unsigned long n), unsigned long n)
{
    s->len = 0;
    s->sent[0] = '\0';
    fail_at(n);
    fake_text(f, s, "go");
    settle(f);
    fail_at(0);
    (void)fake_logged(f);
    assert_int_equal(f->script->files->bytes, 0);
    assert_true(list_empty(&f->script->files->line));
    lua_gc(f->script->L, LUA_GCCOLLECT);
    assert_int_equal(f->script->files->open, 0);
    return strstr(s->sent, "all\n") != NULL;
}

static void memory_runs_out(void **state)
{
    struct fake *f = *state;
    unsigned long n = 1;

    f->config.close_on_errors = false;
    struct session *s = load(f, EVERYTHING);
    while (!without_memory(f, s, mem_fail_from, n) && n < 1000)
        n++;
    assert_true(n > 10 && n < 1000);
    for (; n > 0; n--) /* and each of them alone, where Lua tries again and we do not */
        without_memory(f, s, mem_fail_at, n);
    assert_true(without_memory(f, s, mem_fail_at, 0));
}

/* What is on its way when the script ends comes back to nobody, whether the threads or the inbox have it. */
static void the_script_ends_before(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "function app.on_message(conn, name) local f = files.open(name, 'w')"
                                " for i = 1, 9 do tide.spawn(f.write, f, 0, ('x'):rep(99999)) end f:read(0, 1) end"
                                " function app.on_binary(conn, name) files.open(name, 'w') end");

    fake_text(f, s, "a");
    fake_await(f);
    fake_text(f, fake_open(f, "/"), "b");
    fake_binary(f, fake_open(f, "/"), "c", 1);
    fake_unload(f);
    (void)fake_logged(f);
}

/* Keeps a thread of the pool until the test lets it go. */
struct stopper {
    struct pool_job job;
    pthread_mutex_t *gate;
};

static void run_stopper(struct pool_job *job)
{
    struct stopper *st = (struct stopper *)job;

    pthread_mutex_lock(st->gate);
    pthread_mutex_unlock(st->gate);
}

/* Away, first in the line because there is no room for its bytes, and behind another one of the same file. */
static void cancelled_in_every_place(void **state)
{
    struct fake *f = *state;
    /* static: one thread may do all the work while the other has not yet come through the gate, even when this has returned */
    static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    static struct stopper stoppers[2] = {{{.run = run_stopper}, &gate}, {{.run = run_stopper}, &gate}};
    struct session *s =
        load(f, "local open, tasks, big = {}, {}, ('x'):rep(16 << 20)"
                " function app.on_message(conn, text) if text == 'open' then"
                " for i = 1, 6 do open[i] = files.open('f' .. i, 'w') end"
                " elseif text == 'write' then for i = 1, 6 do tasks[i] = tide.spawn(open[i].write, open[i], 0, big) end"
                " for i = 7, 9 do tasks[i] = tide.spawn(open[1].write, open[1], 0, 'x') end"
                " else for i = 1, 8 do if i % 3 > 0 then tasks[i]:cancel() end end end end");

    fake_text(f, s, "open");
    settle(f);
    pthread_mutex_lock(&gate);
    int sent = pool_send(f->config.services.disk, &stoppers[0].job) + pool_send(f->config.services.disk, &stoppers[1].job);
    fake_text(f, s, "write");
    fake_turn(f);
    size_t at_work = f->script->files->bytes;
    bool has_line = !list_empty(&f->script->files->line);
    fake_text(f, s, "cancel");
    fake_turn(f);
    size_t waiting = f->script->waiting, cancelled = f->script->files->bytes;
    pthread_mutex_unlock(&gate); /* before anything can fail: the end of the test waits for the pool's threads */
    assert_int_equal(sent, 0);
    assert_int_equal(at_work, FILES_BYTES_MAX);
    assert_true(has_line);
    assert_int_equal(waiting, 3);
    assert_int_equal(cancelled, FILES_BYTES_MAX); /* they are away all the same */
    settle(f);
    assert_true(list_empty(&f->script->files->line));
}

/* It is open already when the task that asked for it is cut: it does not wait for the collector. */
static void an_open_that_comes_too_late(void **state)
{
    struct fake *f = *state;
    struct session *s = load(f, "local task function app.on_message(conn, text)"
                                " if text == 'open' then task = tide.spawn(files.open, 'a', 'w')"
                                " else conn:send(tostring(task:cancel())) end end");

    fake_text(f, s, "open");
    fake_turn(f);
    while (pool_pending(f->config.services.disk) > 0)
        usleep(1000);
    assert_int_equal(f->script->files->open, 1);
    fake_text(f, s, "cancel");
    settle(f);
    fake_expect(s, "true\n");
    assert_int_equal(f->script->files->open, 0);
}

static void no_folder(void **state)
{
    struct fake *f = *state;

    f->config.services.folder = NULL;
    struct session *s = load(f, "function app.on_message(conn) for _, fn in ipairs { files.open, files.delete, files.list } do"
                                " conn:send(select(3, fn 'a')) end conn:send(select(3, files.rename('a', 'b'))) end");
    fake_text(f, s, "go");
    fake_expect(s, "denied\ndenied\ndenied\ndenied\n");
}

/* Files that nobody holds any more make room where the limit is met, but the search for them is made now and then only. */
static void lost_files_make_room(void **state)
{
    struct fake *f = *state;

    f->config.files_open = 3;
    struct session *s = load(f, "local held = {} function app.on_message(conn, keep)"
                                " for i = 1, 3 do held[i] = files.open('f' .. i, 'w') end"
                                " if keep == 'no' then held = {} end"
                                " local f, _, name = files.open('more', 'w') conn:send(name or 'open') held = {} end"
                                " function app.on_binary(conn) conn:send(files.open('f1') and 'open' or 'not') end");
    fake_text(f, s, "no");
    settle(f);
    fake_expect(s, "open\n");
    fake_advance(f, 10000);
    fake_text(f, s, "yes");
    settle(f);
    fake_expect(s, "limited\n");
    fake_text(f, s, "no");
    settle(f);
    fake_expect(s, "limited\n"); /* it was searched a moment ago */
    fake_advance(f, 10000);
    fake_binary(f, s, "x", 1);
    settle(f);
    fake_expect(s, "open\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
    const struct CMUnitTest tests[] = {
        TEST(memory_runs_out), TEST(the_script_ends_before), TEST(cancelled_in_every_place), TEST(an_open_that_comes_too_late),
        TEST(no_folder),       TEST(lost_files_make_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
