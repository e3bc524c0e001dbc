/* test_loop_pool.c - threads for one kind of work. */
#include "loop/pool.h"

#include "base/err.h"
#include "base/mem.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned inside, most_inside, done;
static bool gate; /* jobs wait until it is open */
static int order[64];

struct job {
    struct pool_job job;
    int number;
};

static void run(struct pool_job *job)
{
    pthread_mutex_lock(&lock);
    if (++inside > most_inside)
        most_inside = inside;
    pthread_cond_broadcast(&changed);
    while (!gate)
        pthread_cond_wait(&changed, &lock);
    inside--;
    order[done++ % 64] = ((struct job *)job)->number;
    pthread_mutex_unlock(&lock);
    mem_free(job);
}

static int send(struct pool *p, int number)
{
    struct job *j = mem_zalloc(1, sizeof(*j));

    j->job.run = run;
    j->number = number;
    int rc = pool_send(p, &j->job);
    if (rc != 0)
        mem_free(j);
    return rc;
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&lock);
    gate = open;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await_inside(unsigned count)
{
    pthread_mutex_lock(&lock);
    while (inside < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static int setup(void **state)
{
    inside = most_inside = done = 0;
    gate = false;
    return 0;
}

static void so_many_at_once(void **state)
{
    struct pool *p = pool_create(3, SIZE_MAX);

    for (int i = 0; i < 20; i++)
        assert_int_equal(send(p, i), 0);
    await_inside(3);
    set_gate(true);
    pool_destroy(p); /* the others are run as well */
    assert_int_equal(done, 20);
    assert_int_equal(most_inside, 3);
}

static void in_order(void **state)
{
    struct pool *p = pool_create(1, SIZE_MAX);

    set_gate(true);
    for (int i = 0; i < 64; i++)
        assert_int_equal(send(p, i), 0);
    pool_destroy(p);
    for (int i = 0; i < 64; i++)
        assert_int_equal(order[i], i);
}

static void a_full_line_refuses(void **state)
{
    struct pool *p = pool_create(1, 2);

    assert_int_equal(send(p, 0), 0);
    await_inside(1); /* it waits no more */
    assert_int_equal(send(p, 1), 0);
    assert_int_equal(send(p, 2), 0);
    assert_int_equal(send(p, 3), MT_EBUSY);
    set_gate(true);
    pool_destroy(p);
    assert_int_equal(done, 3);
}

static void without_work(void **state)
{
    pool_destroy(pool_create(4, 1));
    pool_destroy(NULL);
    mem_fail_at(1);
    assert_null(pool_create(4, 1));
}

static void no_thread_to_be_had(void **state)
{
    struct pool *p = pool_create(2, 10);
    struct job *j = mem_zalloc(1, sizeof(*j));

    j->job.run = run;
    mem_fail_at(1);
    assert_int_equal(pool_send(p, &j->job), MT_ENOMEM);
    set_gate(true);
    assert_int_equal(pool_send(p, &j->job), 0);
    pool_destroy(p);
    assert_int_equal(done, 1);
}

static void *send_many(void *arg)
{
    for (int i = 0; i < 2000; i++)
        assert_int_equal(send(arg, i), 0);
    return NULL;
}

static void from_many_threads(void **state)
{
    struct pool *p = pool_create(4, SIZE_MAX);
    pthread_t threads[4];

    set_gate(true);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, send_many, p);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    pool_destroy(p);
    assert_int_equal(done, 8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(so_many_at_once, setup),     cmocka_unit_test_setup(in_order, setup),
        cmocka_unit_test_setup(a_full_line_refuses, setup), cmocka_unit_test_setup(without_work, setup),
        cmocka_unit_test_setup(no_thread_to_be_had, setup), cmocka_unit_test_setup(from_many_threads, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
