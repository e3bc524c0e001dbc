/* test_script_store.c - one memory store for the VMs of several workers, each on a thread of its own. */
#include "fake_script.h"

#include "base/clock.h"
#include "store/memory.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        vms[i].fake->config.memory = memory;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_share_a_store),
        cmocka_unit_test_setup_teardown(test_a_store_of_its_own, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
