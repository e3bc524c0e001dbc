/* test_app_worker.c - a worker on its thread, and the test in the place of another one, which decides what comes when. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/server_impl.h"
#include "app/switchover.h"
#include "base/mem.h"
#include "loop/inbox.h"
#include "script/script.h"
#include "script/sources.h"
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/moontide-test-XXXXXX";

static void write_script(const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* A server of two workers, of which the second runs on a thread. The first one is the test's. */
struct rig {
    struct server *server;
    struct worker *own, *other;
    struct inbox *inbox; /* empty: nobody writes to the test */
    uint64_t generation;
};

static int setup(void **state)
{
    struct config *config = config_create();
    const struct server_options options = {.script = path};
    struct rig *t = mem_zalloc(1, sizeof(*t));
    char *error = NULL;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    write_script("return { version = 1 }");
    assert_int_equal(config_set(config, CONFIG_FLAG, "workers", "2", true, NULL), 0);
    assert_int_equal(config_set(config, CONFIG_FLAG, "admin", "false", true, NULL), 0);
    assert_int_equal(config_set(config, CONFIG_FLAG, "watch", "false", true, NULL), 0);
    assert_int_equal(config_set(config, CONFIG_FLAG, "log.level", "off", true, NULL), 0);
    if (server_create(config, &options, &t->server, &error) != 0)
        fail_msg("no server: %s", error);
    t->own = t->server->workers[0];
    t->other = t->server->workers[1];
    t->inbox = inbox_create(worker_loop(t->own));
    assert_non_null(t->inbox);
    assert_int_equal(worker_start(t->other), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct rig *t = *state;

    worker_leave(t->other);
    worker_join(t->other);
    inbox_destroy(t->inbox);
    server_destroy(t->server);
    mem_free(t);
    return unlink(path);
}

static struct sources *read_version(struct rig *t, const char *text)
{
    struct script_config c;
    struct script_failure why = {0};
    struct sources *sources = NULL;

    write_script(text);
    worker_script_config(&t->server->worker_config, 1, &c);
    assert_int_equal(script_probe(&c, &sources, &why), 0);
    script_failure_fini(&why);
    return sources;
}

/* ---- what the other worker is asked to do ---- */

struct order {
    sem_t done;
    struct sources *sources; /* to be prepared, */
    struct switchover *o;    /* or to be met in */
};

static void carry_out(struct worker *w, void *arg)
{
    struct order *order = arg;
    char *error = NULL;

    assert_non_null(w);
    if (order->o)
        worker_switch(w, order->o, NULL, NULL);
    else
        assert_int_equal(worker_prepare(w, order->sources, &error), 0);
    sem_post(&order->done);
}

static void send_order(struct rig *t, struct order *order)
{
    sem_init(&order->done, 0, 0);
    assert_int_equal(worker_post(t->other, carry_out, order), 0);
}

static void await(struct order *order)
{
    while (sem_wait(&order->done) != 0)
        ;
    sem_destroy(&order->done);
}

static void prepare(struct rig *t, struct sources *sources)
{
    struct order order = {.sources = sources};
    char *error = NULL;

    assert_int_equal(worker_prepare(t->own, sources, &error), 0);
    send_order(t, &order);
    await(&order);
}

/* The other one goes into it at the end of the turn in which it got the order: it opens no letter before. */
static struct switchover *begin(struct rig *t)
{
    struct order order = {.o = switchover_create(SWITCHOVER_ON, "reload", 2, 10, 1)};

    assert_non_null(order.o);
    send_order(t, &order);
    await(&order);
    return order.o;
}

static bool meet(struct rig *t, struct switchover *o)
{
    const struct switchover_place place = {worker_script(t->own), t->inbox, 1, &t->generation};
    struct switchover_result result = {0};

    switchover_run(o, &place, &result);
    mem_free(result.why);
    return result.switched;
}

/* The others may have given a switchover up and tried again before a slow worker is done with it. */
static void the_next_version_outlives_the_end_of_the_one_before(void **state)
{
    struct rig *t = *state;
    struct sources *bad = read_version(t, "return { version = 2, on_upgrade = function() error 'no' end }");
    struct sources *good = read_version(t, "return { version = 3 }");
    struct order early = {.sources = good};
    char *error = NULL;

    prepare(t, bad);
    struct switchover *o = begin(t);
    send_order(t, &early); /* is opened where the other one empties its inbox */
    assert_false(meet(t, o));
    await(&early);
    assert_int_equal(worker_prepare(t->own, good, &error), 0);
    assert_true(meet(t, begin(t)));
    assert_string_equal(script_version(worker_script(t->own)), sources_hash(good));
    sources_unref(bad);
    sources_unref(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_version_outlives_the_end_of_the_one_before, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
