/* test_hub_limits.c - buckets by key, limits by name: what is taken, what is forgotten, several threads at once. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/buckets.h"
#include "hub/limits.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct rate five = {.per_second = 5, .burst = 10};
enum { SECOND = 1000000, START = 12345000 };

static struct limit *open_limit(struct limits *all, const char *name)
{
    struct limit *l = NULL;

    assert_int_equal(limit_open(all, slice_of(name), &l), 0);
    return l;
}

static unsigned take_all(struct limit *l, const char *key, uint64_t now)
{
    unsigned n = 0;

    while (n < 1000 && limit_take(l, &five, slice_of(key), now, 1) == 0)
        n++;
    return n;
}

static void each_key_has_its_bucket(void **state)
{
    struct limits *all = limits_create(false);
    struct limit *l = open_limit(all, "chat"), *other = open_limit(all, "other");

    assert_int_equal(take_all(l, "ann", START), 10);
    assert_int_equal(limit_take(l, &five, SLICE("ann"), START, 1), SECOND / 5);
    assert_int_equal(take_all(l, "bob", START), 10);
    assert_int_equal(take_all(l, "", START), 10); /* any bytes are a key */
    assert_int_equal(take_all(other, "ann", START), 10);
    assert_int_equal(take_all(l, "ann", START + SECOND), 5);
    assert_int_equal(limit_take(l, &five, SLICE("ann"), START + 100ull * SECOND, 10.5), LIMIT_NEVER);
    assert_int_equal(limit_take(l, &five, SLICE("ann"), START + 100ull * SECOND, 10), 0);
    assert_int_equal(limits_forgotten(all), 0);
    limit_close(l);
    limit_close(other);
    limits_destroy(all);
}

static void a_name_keeps_its_buckets(void **state)
{
    struct limits *all = limits_create(false);
    struct limit *l = open_limit(all, "chat"), *again = open_limit(all, "chat");

    assert_ptr_equal(l, again);
    assert_int_equal(take_all(l, "ann", START), 10);
    limit_close(l);
    assert_int_equal(take_all(again, "ann", START), 0);
    limit_close(again);
    again = open_limit(all, "chat"); /* nobody had it open in between */
    assert_int_equal(take_all(again, "ann", START), 0);
    limit_close(again);
    limits_destroy(all);
}

static void another_rate_counts_at_once(void **state)
{
    const struct rate slow = {.per_second = 0.01, .burst = 10}, fast = {.per_second = 100, .burst = 10};
    struct limits *all = limits_create(false);
    struct limit *l = open_limit(all, "chat");

    assert_int_equal(limit_take(l, &slow, SLICE("ann"), START, 10), 0);
    assert_int_equal(limit_take(l, &slow, SLICE("ann"), START, 1), 100ull * SECOND);
    assert_int_equal(limit_take(l, &fast, SLICE("ann"), START, 1), SECOND / 100); /* empty, and filled by the new rate */
    limit_close(l);
    limits_destroy(all);
}

static void so_many_names(void **state)
{
    struct limits *all = limits_create(false);
    struct limit *open[LIMITS_MAX], *l;
    char name[16];

    for (int i = 0; i < LIMITS_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        open[i] = open_limit(all, name);
        assert_int_equal(take_all(open[i], "ann", START), 10);
    }
    assert_int_equal(limit_open(all, SLICE("one more"), &l), MT_EFULL);
    limit_close(open[7]);
    limit_close(open[3]);
    l = open_limit(all, "one more"); /* n7 was let go before n3 */
    assert_int_equal(take_all(l, "ann", START), 10);
    open[3] = open_limit(all, "n3");
    assert_int_equal(take_all(open[3], "ann", START), 0);
    open[7] = l;
    for (int i = 0; i < LIMITS_MAX; i++)
        limit_close(open[i]);
    limits_destroy(all);
}

static void key_of(char out[24], unsigned i)
{
    snprintf(out, 24, "user%u", i);
}

/* More keys than there are places: each take is answered, and who has taken most is not the one who is forgotten. */
static void a_flood_of_keys(void **state)
{
    enum { FLOOD = 400000, HEAVY = 100 };
    struct limits *all = limits_create(false);
    struct limit *l = open_limit(all, "chat");
    char key[24];

    for (unsigned i = 0; i < HEAVY; i++) {
        key_of(key, i);
        assert_int_equal(take_all(l, key, START), 10);
    }
    for (unsigned i = 0; i < FLOOD; i++) {
        key_of(key, HEAVY + i);
        assert_int_equal(limit_take(l, &five, slice_of(key), START, 1), 0);
    }
    assert_true(limit_forgotten(l) >= FLOOD - (1 << 17) && limit_forgotten(l) < FLOOD);
    for (unsigned i = 0; i < HEAVY; i++) {
        key_of(key, i);
        assert_int_equal(take_all(l, key, START), 0);
    }
    uint64_t forgotten = limit_forgotten(l);
    limit_close(l);
    assert_int_equal(limits_forgotten(all), forgotten);
    limits_destroy(all);
}

static void full_buckets_make_room(void **state)
{
    struct limits *all = limits_create(false);
    struct limit *l = open_limit(all, "chat");
    char key[24];

    for (unsigned i = 0; i < 1000000; i++) { /* 20,000 at a time are not full */
        key_of(key, i);
        assert_int_equal(limit_take(l, &five, slice_of(key), START + i * 10ull, 1), 0);
    }
    assert_int_equal(limit_forgotten(l), 0);
    limit_close(l);
    limits_destroy(all);
}

static void what_is_left_and_recalled(void **state)
{
    struct buckets *b = buckets_create(true);

    assert_int_equal(buckets_recall(b, SLICE("ann")), 0);
    buckets_leave(b, SLICE("ann"), 17);
    buckets_leave(b, SLICE("bob"), 18);
    assert_int_equal(buckets_recall(b, SLICE("ann")), 17);
    buckets_leave(b, SLICE("ann"), 5);
    assert_int_equal(buckets_recall(b, SLICE("ann")), 5);
    assert_int_equal(buckets_recall(b, SLICE("bob")), 18);
    buckets_destroy(b);
}

static void no_memory(void **state)
{
    struct limits *all;
    struct limit *l = NULL;

    mem_fail_at(1);
    assert_null(limits_create(true));
    all = limits_create(true);
    for (unsigned n = 1; n <= 3; n++) {
        mem_fail_at(n);
        assert_int_equal(limit_open(all, SLICE("chat"), &l), MT_ENOMEM);
    }
    mem_fail_at(4);
    assert_int_equal(limit_open(all, SLICE("chat"), &l), 0);
    mem_fail_at(1); /* taking needs none */
    assert_int_equal(limit_take(l, &five, SLICE("ann"), START, 1), 0);
    mem_fail_at(0);
    limit_close(l);
    limits_destroy(all);
}

/* ---- threads ---- */

enum { THREADS = 4, KEYS = 4, ROUNDS = 1000, TAKES = 100, BURST = 200000 };
static struct limits *shared;
static atomic_uint taken[KEYS];

/* Opens it anew each round, like versions of a script that come and go. */
static void *take_many(void *arg)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct limit *l = NULL;
        if (limit_open(shared, SLICE("chat"), &l) != 0)
            return "not opened";
        for (unsigned i = 0; i < KEYS * TAKES; i++) {
            char key[24];
            key_of(key, i % KEYS);
            if (limit_take(l, &(struct rate){.per_second = 1, .burst = BURST}, slice_of(key), START, 1) == 0)
                atomic_fetch_add(&taken[i % KEYS], 1);
        }
        (void)limit_forgotten(l);
        (void)limits_forgotten(shared);
        limit_close(l);
    }
    return NULL;
}

static void threads_share_the_buckets(void **state)
{
    pthread_t threads[THREADS];
    void *why;

    shared = limits_create(true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &why), 0);
        assert_null(why);
    }
    for (int k = 0; k < KEYS; k++)
        assert_int_equal(taken[k], BURST);
    limits_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_bucket),
        cmocka_unit_test(a_name_keeps_its_buckets),
        cmocka_unit_test(another_rate_counts_at_once),
        cmocka_unit_test(so_many_names),
        cmocka_unit_test(a_flood_of_keys),
        cmocka_unit_test(full_buckets_make_room),
        cmocka_unit_test(what_is_left_and_recalled),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(threads_share_the_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
