/* test_base_bucket.c - token buckets: bursts, the rate behind them, debts, sharing. */
#include "base/bucket.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct rate five = {.per_second = 5, .burst = 10}, none = {0};
enum { SECOND = 1000000, START = 1000 };

static unsigned take_all(struct bucket *b, const struct rate *r, uint64_t now)
{
    unsigned taken = 0;
    while (taken < 1000 && bucket_take(b, r, now, 1) == 0)
        taken++;
    return taken;
}

static void a_burst_then_the_rate(void **state)
{
    struct bucket b = {0};

    assert_true(bucket_is_full(&b, START));
    assert_int_equal(take_all(&b, &five, START), 10);
    assert_false(bucket_is_full(&b, START));
    assert_int_equal(bucket_take(&b, &five, START, 1), SECOND / 5);
    assert_int_equal(take_all(&b, &five, START + SECOND / 5 - 1), 0);
    assert_int_equal(take_all(&b, &five, START + SECOND / 5), 1);
    assert_int_equal(take_all(&b, &five, START + SECOND / 5 + SECOND), 5);
    assert_int_equal(take_all(&b, &five, START + 100ull * SECOND), 10); /* no more than a burst is ever saved up */
}

static void several_at_once(void **state)
{
    struct bucket b = {0};

    assert_int_equal(bucket_take(&b, &five, START, 7), 0);
    assert_int_equal(bucket_take(&b, &five, START, 4), SECOND / 5); /* three are there, the fourth comes in 0.2 s */
    assert_int_equal(bucket_take(&b, &five, START, 3), 0);
}

static void more_than_a_burst_waits_for_a_full_bucket(void **state)
{
    struct bucket b = {0};

    assert_int_equal(bucket_take(&b, &five, START, 1), 0);
    assert_int_equal(bucket_take(&b, &five, START, 25), SECOND / 5); /* until it is full */
    assert_int_equal(bucket_take(&b, &five, START + SECOND / 5, 25), 0);
    assert_int_equal(bucket_take(&b, &five, START + SECOND / 5, 1), 25 * (SECOND / 5) + SECOND / 5 - 10 * (SECOND / 5));
}

static void debts(void **state)
{
    struct bucket b = {0};

    assert_int_equal(bucket_charge(&b, &five, START, 10), 0);
    assert_int_equal(bucket_charge(&b, &five, START, 5), SECOND);
    assert_int_equal(bucket_charge(&b, &five, START + SECOND, 0), 0);
    for (int i = 0; i < 100; i++)
        assert_true(bucket_charge(&b, &five, START, 1e300) > 0); /* however deep: no wrap */
}

static void no_limit(void **state)
{
    struct bucket b = {0};

    assert_int_equal(take_all(&b, &none, START), 1000);
    assert_int_equal(bucket_charge(&b, &none, START, 1e9), 0);
    assert_true(bucket_is_full(&b, START));
}

/* What one costs is no whole number of microseconds: the burst has to be whole all the same. */
static void a_burst_is_whole_at_any_rate(void **state)
{
    for (unsigned burst = 1; burst < 100; burst += 7)
        for (unsigned rate = 1; rate < 3000; rate += 13) {
            struct rate r = {.per_second = rate, .burst = burst};
            struct bucket b = {0};
            assert_int_equal(take_all(&b, &r, START), burst);
        }
}

static void a_rate_that_changes(void **state)
{
    const struct rate slow = {.per_second = 0.1, .burst = 10};
    atomic_uint_least64_t both = 0;
    struct bucket b = {0};

    assert_int_equal(take_all(&b, &slow, START), 10);
    bucket_cap(&b, &slow, START);
    assert_int_equal(bucket_take(&b, &slow, START, 1), 10 * SECOND);
    bucket_cap(&b, &five, START);
    assert_int_equal(bucket_take(&b, &five, START, 1), SECOND / 5); /* an empty one of the new rate */
    bucket_cap(&b, &none, START);
    assert_true(bucket_is_full(&b, START));

    assert_int_equal(bucket_charge_shared(&both, &slow, START, 12), 20 * SECOND);
    bucket_cap_shared(&both, &five, START);
    assert_int_equal(bucket_charge_shared(&both, &five, START, 1), SECOND / 5);
    bucket_cap_shared(&both, &slow, START); /* less than an empty one lacks: nothing changes */
    assert_int_equal(bucket_charge_shared(&both, &five, START, 0), SECOND / 5);
}

static atomic_uint_least64_t shared, in_debt;
static atomic_uint shared_taken;

static void *take_shared(void *arg)
{
    for (int i = 0; i < 5000; i++)
        if (bucket_take_shared(&shared, &(struct rate){.per_second = 1, .burst = 1000}, START, 1) == 0)
            atomic_fetch_add(&shared_taken, 1);
    for (int i = 0; i < 5000; i++)
        bucket_charge_shared(&in_debt, &(struct rate){.per_second = 1, .burst = 1000}, START, 1);
    return NULL;
}

static void threads_share_one(void **state)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_shared, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared_taken, 1000);
    assert_int_equal(in_debt, START + 20000ull * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_the_rate),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(more_than_a_burst_waits_for_a_full_bucket),
        cmocka_unit_test(debts),
        cmocka_unit_test(no_limit),
        cmocka_unit_test(a_burst_is_whole_at_any_rate),
        cmocka_unit_test(a_rate_that_changes),
        cmocka_unit_test(threads_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
