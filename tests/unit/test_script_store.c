/* test_script_store.c - one memory store for the VMs of several workers, each on a thread of its own; and tide.store in a file,
 * whose calls wait.
 */
#include "fake_script.h"

#include "base/clock.h"
#include "store/memory.h"
#include "store/store.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 3, ROUNDS = 200 };

static const char app[] =
    "local app, store = {}, tide.store:open('s', { memory = true })\n"
    "function app.on_message(conn, n)\n"
    "  store:incr 'sum'\n"
    "  assert(store:update('updates', function(v) return (v or 0) + 1 end))\n"
    "  assert(store:update('list', function(l) l = l or tide.json.array {} l[#l + 1] = n return l end))\n"
    "  store:set('of ' .. tide.worker, n)\n"
    "  conn:send(store:get('of ' .. tide.worker))\n"
    "end\n"
    "function app.on_http() return 200, { store:get 'sum' or 0, store:get 'updates' or 0, #(store:get 'list' or {}) } end\n"
    "return app";

struct vm {
    struct fake *fake;
    pthread_t thread;
    unsigned wrong; /* answers that were not what this worker has stored */
};

static void *work(void *arg)
{
    struct vm *vm = arg;
    struct session *s = fake_open(vm->fake, "/");
    char n[16];

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(n, sizeof(n), "%d", i);
        fake_text(vm->fake, s, n);
        vm->wrong += strtol(s->sent, NULL, 10) != i || s->messages != (unsigned)i + 1;
        s->len = 0;
    }
    return NULL;
}

static void expect_stored(struct fake *f, const char *want)
{
    assert_string_equal(fake_http(f, "GET", "/", NULL, NULL)->body, want);
}

/* Nothing is lost where two read and write the same key at the same time, and each sees at once what the others have stored. */
static void test_workers_share_a_store(void **state)
{
    struct memory_store *memory = memory_store_create(SCRIPT_MEMORY_BYTES, clock_ms);
    struct vm vms[WORKERS] = {{.fake = NULL}};

    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(fake_setup((void **)&vms[i].fake), 0);
        vms[i].fake->config.services.memory = memory;
        vms[i].fake->config.worker = i + 1;
        fake_load(vms[i].fake, app);
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&vms[i].thread, NULL, work, &vms[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(vms[i].thread, NULL);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(vms[i].wrong, 0);
        expect_stored(vms[i].fake, "[600,600,600]");
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(fake_teardown((void **)&vms[i].fake), 0);
    memory_store_destroy(memory);
}

/* A VM that nobody lends a store has one of its own, also over a reload. */
static void test_a_store_of_its_own(void **state)
{
    struct fake *f = *state;

    fake_load(f, app);
    fake_text(f, fake_open(f, "/"), "7");
    assert_int_equal(fake_reload(f, app), 0);
    expect_stored(f, "[1,1,1]");
    fake_load(f, app); /* another VM */
    expect_stored(f, "[0,0,0]");
}

/* ---- in a file ---- */

static struct store *durable;

static int setup_file(void **state)
{
    assert_int_equal(fake_setup(state), 0);
    struct fake *f = *state;
    char path[100];
    char *error;
    const struct store_file_config c = {.path = path, .cache = 1 << 20, .log = f->log};

    snprintf(path, sizeof(path), "%s/store.db", f->folder);
    assert_int_equal(store_open_file(&c, &durable, &error), 0);
    f->config.services.durable = durable;
    return 0;
}

static int teardown_file(void **state)
{
    struct fake *f = *state;

    fake_unload(f);
    store_destroy(durable);
    for (const char *const *name = (const char *const[]){"", ".lock", "-wal", "-shm", NULL}; *name; name++) {
        char path[120];
        snprintf(path, sizeof(path), "%s/store.db%s", f->folder, *name);
        unlink(path);
    }
    return fake_teardown(state);
}

/* Calls that scripts make in these tests: a message is code, and its results come back. */
#define RUN                                                                                                                      \
    "local app, store, sleep = {}, tide.store, tide.sleep local env = setmetatable({ store = store, tide = tide }, { __index = " \
    "_G })"                                                                                                                      \
    " function app.on_message(conn, text) env.conn = conn"                                                                       \
    " local r = table.pack(assert(load(text, '=run', 't', env))()) for i = 1, r.n do r[i] = tostring(r[i]) end"                  \
    " conn:send(table.concat(r, ' ')) end return app"

/* The answer comes after as many waits as it takes. */
static void expect_answer(struct fake *f, struct session *s, const char *code, const char *want)
{
    unsigned before = s->messages;

    fake_text(f, s, code);
    while (s->messages == before)
        fake_await(f);
    fake_expect(s, want);
}

/* The answer is there at once: nothing was waited for. */
static void expect_at_once(struct fake *f, struct session *s, const char *code, const char *want)
{
    fake_text(f, s, code);
    fake_expect(s, want);
}

static void test_calls_wait(void **state)
{
    struct fake *f = *state;

    fake_load(f, RUN);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "return store:get 'k'", "nil\n");
    expect_at_once(f, s, "return store:get 'k'", "nil\n"); /* that there is none is known now */
    expect_answer(f, s, "return store:set('k', { 1, 2 })", "true\n");
    expect_at_once(f, s, "return #store:get 'k'", "2\n");
    expect_answer(f, s, "return store:delete 'k'", "true\n");
    expect_answer(f, s, "return store:delete 'k'", "false\n");
    expect_answer(f, s, "return store:incr('n', 5)", "5\n");
    expect_answer(f, s, "return store:incr 'n'", "6\n");
    expect_answer(f, s, "store:set('t', 'x') return store:incr 't'", "nil not an integer, or the sum would not be one invalid\n");
    expect_at_once(f, s, "return store:set('k', ('x'):rep(2 << 20))", "nil a value of more than 1 MiB too_large\n");
    expect_answer(f, s, "local o = tide.store:open 'o' o:set('n', 'other') return o:get 'n', store:get 'n'", "other 6\n");
    expect_answer(f, s, "store:set('s', '\\0\\xff') return store:get 's' == '\\0\\xff'", "true\n");
}

static void test_update(void **state)
{
    struct fake *f = *state;

    fake_load(f, RUN);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "return store:update('u', function(v) return { n = 1 } end).n", "1\n");
    expect_answer(f, s, "return store:update('u', function(v) v.n = v.n + 1 return v end).n", "2\n");
    expect_answer(f, s, "return store:update('u', function() end), store:get 'u'", "nil nil\n");
    expect_answer(f, s, "return pcall(store.update, store, 'u', function() error('no', 0) end)", "false no\n");
    expect_answer(f, s,
                  "local calls = 0 store:set('c', 1) return store:update('c', function(v) calls = calls + 1"
                  " if calls < 4 then store:incr('c', 10) end return v + 1 end), calls, store:get 'c'",
                  "32 4 32\n");
}

static void test_scan(void **state)
{
    struct fake *f = *state;

    fake_load(f, RUN);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "for i = 1, 300 do assert(store:set(('k%03d'):format(i), i)) end return 'set'", "set\n");
    expect_answer(f, s, "local n, last = 0 for k, v in store:scan 'k' do n = n + v last = k end return n, last", "45150 k300\n");
    expect_answer(f, s, "local n = 0 for k in store:scan('k', { limit = 130 }) do n = n + 1 end return n", "130\n");
    expect_answer(f, s, "local n = 0 for k in store:scan 'k29' do n = n + 1 end return n", "10\n");
    expect_answer(f, s, "local r = {} for k in store:scan 'k00' do r[#r + 1] = k store:delete(k) end return #r, store:get 'k001'",
                  "9 nil\n");
    expect_at_once(f, s, "for k in store:scan('k', { limit = 0 }) do return k end return 'none'", "none\n");
}

static void test_scan_by_two_tasks(void **state)
{
    struct fake *f = *state;

    fake_load(f, RUN);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "for i = 1, 300 do assert(store:set(('k%03d'):format(i), i)) end return 'set'", "set\n");
    expect_answer(f, s,
                  "local n, it = 0, store:scan 'k' local function walk() for _, v in it do n = n + v end return true end"
                  " local a, b = tide.spawn(walk), tide.spawn(walk) return a:join(), b:join(), n",
                  "true true 45150\n");
    expect_answer(f, s, /* one is cancelled while it waits: the other goes on from there */
                  "local it = store:scan 'k' local a = tide.spawn(function() it() end)"
                  " local b = tide.spawn(function() return a:cancel() end) return b:join(), (it()), (it())",
                  "true k001 k002\n");
}

/* Asks for what the cache does not know, so that it waits. */
#define WAITING                                                                                                                  \
    "local app = {} function app.on_message(conn, text) conn:send('v' .. tostring(tide.store:get(text))) end return app"

static void test_reload_while_waiting(void **state)
{
    struct fake *f = *state;

    fake_load(f, WAITING);
    struct session *s = fake_open(f, "/");
    fake_text(f, s, "k");
    assert_int_equal(fake_reload(f, "local app = {} function app.on_message(conn) conn:send('second') end return app"), 0);
    while (s->messages == 0)
        fake_await(f);
    fake_expect(s, "vnil\n"); /* it ends in its version */
    expect_at_once(f, s, "k", "second\n");
}

static void test_closed_while_waiting(void **state)
{
    struct fake *f = *state;

    fake_load(f, "local app = {} function app.on_message(conn, text) conn:spawn(function()"
                 " local x <close> = setmetatable({}, { __close = function() tide.log.warn 'unwound' end })"
                 " for i = 1, 1e9 do tide.store:incr(text) end end) end return app");
    struct session *s = fake_open(f, "/");
    fake_text(f, s, "k");
    fake_await(f);
    fake_close(f, s, 1000);
    fake_turn(f);
    fake_expect_log(f, "unwound");
}

/* What was sent is done, though nobody hears of it. */
static void test_the_script_ends_while_waiting(void **state)
{
    struct fake *f = *state;

    fake_load(f,
              "local app = {} function app.on_message(conn, text) tide.store:set(text, 'kept') conn:send 'never' end return app");
    fake_text(f, fake_open(f, "/"), "k");
    fake_load(f, WAITING);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "k", "vkept\n");
}

static void test_the_file_is_gone(void **state)
{
    struct fake *f = *state;
    char path[100];

    fake_load(f, RUN);
    struct session *s = fake_open(f, "/");
    expect_answer(f, s, "return store:set('k', 1)", "true\n");
    snprintf(path, sizeof(path), "%s/store.db", f->folder);
    assert_int_equal(unlink(path), 0);
#define GONE "nil the file was moved or deleted; the server has to be started again io\n"
    expect_answer(f, s, "return store:set('k', 2)", GONE);
    expect_answer(f, s, "return store:incr 'k'", GONE);
    expect_answer(f, s, "return store:delete 'k'", GONE);
    expect_answer(f, s, "return store:update('k', function() return 1 end)", GONE);
    expect_answer(f, s, "return store:get 'k'", "1\n");
    fake_expect_log(f, "writes fail: the file was moved or deleted; the server has to be started again (io)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_share_a_store),
        cmocka_unit_test_setup_teardown(test_a_store_of_its_own, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_calls_wait, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_update, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_scan, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_scan_by_two_tasks, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_reload_while_waiting, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_closed_while_waiting, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_the_script_ends_while_waiting, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_the_file_is_gone, setup_file, teardown_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
