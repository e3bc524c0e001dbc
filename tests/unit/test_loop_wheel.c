/* test_loop_wheel.c - the wheel against an array that is searched from end to end. Time is made up. */
#include "loop/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TIMERS = 400 };

static struct model {
    struct loop_timer timer;
    bool active;
    unsigned long order; /* of starting */
} timers[TIMERS];

static struct wheel wheel;
static unsigned long order;
static unsigned seed;

static void ignore(struct loop_timer *t)
{
}

static void reset(uint64_t now)
{
    wheel_init(&wheel, now);
    for (int i = 0; i < TIMERS; i++) {
        loop_timer_init(&timers[i].timer, ignore);
        timers[i].active = false;
    }
}

static void start(struct model *m, uint64_t ms)
{
    list_remove(&m->timer.node);
    m->timer.due = wheel.now + ms;
    m->active = true;
    m->order = ++order;
    wheel_add(&wheel, &m->timer);
}

static void stop(struct model *m)
{
    list_remove(&m->timer.node);
    m->active = false;
}

/* Of the model: the timer that must come first, NULL when none is active. */
static struct model *first(void)
{
    struct model *best = NULL;
    for (int i = 0; i < TIMERS; i++) {
        struct model *m = &timers[i];
        if (m->active && (!best || m->timer.due < best->timer.due || (m->timer.due == best->timer.due && m->order < best->order)))
            best = m;
    }
    return best;
}

/* Advances both; they must agree on what is due and in which order. */
static int advance(uint64_t now)
{
    struct list_node due;
    int n = 0;

    list_init(&due);
    wheel_expire(&wheel, now, &due);
    assert_int_equal(wheel.now, now);
    list_each_safe(node, next, &due)
    {
        struct model *m = (struct model *)list_entry(node, struct loop_timer, node), *want = first();
        assert_ptr_equal(m, want);
        assert_true(m->timer.due <= now);
        list_remove(node);
        m->active = false;
        n++;
    }
    struct model *left = first();
    assert_true(!left || left->timer.due > now);
    return n;
}

static void check_next(void)
{
    const struct model *m = first();
    uint64_t next = wheel_next(&wheel);
    if (!m)
        assert_true(next == WHEEL_NEVER);
    else
        assert_true(next <= m->timer.due && next >= wheel.now);
}

/* Mostly short, sometimes long, sometimes beyond the top level. */
static uint64_t random_ms(void)
{
    static const int bits[] = {2, 6, 7, 12, 13, 18, 24, 30, 31, 36};
    uint64_t wide = (uint64_t)rand_r(&seed) << 31 ^ (uint64_t)rand_r(&seed);
    return wide & ((1ull << bits[rand_r(&seed) % 10]) - 1);
}

static void random_use(uint64_t now)
{
    seed = 11;
    reset(now);
    for (int step = 0; step < 30000; step++) {
        struct model *m = &timers[rand_r(&seed) % TIMERS];
        int what = rand_r(&seed) % 10;
        if (what < 5) {
            start(m, random_ms());
        } else if (what < 7) {
            stop(m);
        } else if (what == 7) {
            check_next();
            const struct model *f = first();
            if (f) { /* to the first due time, and one short of it */
                uint64_t due = f->timer.due;
                if (due > wheel.now)
                    assert_int_equal(advance(due - 1), 0);
                assert_true(advance(due) >= 1);
            }
        } else {
            advance(wheel.now + random_ms() / (step % 7 ? 64 : 1));
        }
        check_next();
    }
    advance(wheel.now + (1ull << 40));
    assert_null(first());
    assert_true(wheel_next(&wheel) == WHEEL_NEVER);
}

static void random_use_matches_the_model(void **state)
{
    random_use(0);
}

/* Real clocks start somewhere, maybe right before a digit turns. */
static void the_start_does_not_matter(void **state)
{
    random_use((1ull << 30) - 5);
    random_use((1ull << 36) - 1);
    random_use(123456789123);
}

static void every_delay_fires_on_its_millisecond(void **state)
{
    static const uint64_t delays[] = {0,    1,     63,     64,     65,       127,      128,        4095,       4096,
                                      4097, 25000, 262143, 262144, 16777215, 16777216, 1073741823, 1073741824, 1ull << 33};
    static const uint64_t starts[] = {0, 1, 62, 63, 64, 4095, 4096, 1000003, (1ull << 30) - 1};

    for (size_t s = 0; s < sizeof(starts) / sizeof(*starts); s++) {
        for (size_t d = 0; d < sizeof(delays) / sizeof(*delays); d++) {
            reset(starts[s]);
            start(&timers[0], delays[d]);
            if (delays[d])
                assert_int_equal(advance(starts[s] + delays[d] - 1), 0);
            assert_int_equal(advance(starts[s] + delays[d]), 1);
        }
    }
}

/* The loop sleeps until wheel_next: following it must lead to the timer in a few steps, not tick by tick. */
static void following_next_takes_few_steps(void **state)
{
    reset(17);
    start(&timers[0], 3000000000ull);
    int steps = 0;
    while (first()) {
        assert_true(wheel_next(&wheel) > wheel.now || !steps);
        advance(wheel_next(&wheel));
        steps++;
    }
    assert_true(steps <= 4 + WHEEL_LEVELS);
}

static void same_due_time_keeps_the_order(void **state)
{
    reset(0);
    for (int i = 0; i < 100; i++) { /* started at different times and so on different levels, due together */
        start(&timers[i], 100000 - wheel.now);
        advance(wheel.now + 997);
    }
    assert_int_equal(advance(100000), 100);
}

static void time_does_not_go_back(void **state)
{
    struct list_node due;
    reset(1000);
    start(&timers[0], 10);
    list_init(&due);
    wheel_expire(&wheel, 500, &due);
    assert_true(list_empty(&due));
    assert_int_equal(wheel.now, 1000);
    assert_int_equal(advance(1010), 1);
}

static void stopped_timers_leave_nothing_behind(void **state)
{
    reset(0);
    for (int i = 0; i < TIMERS; i++)
        start(&timers[i], (uint64_t)i * i * i);
    for (int i = 0; i < TIMERS; i++)
        stop(&timers[i]);
    assert_true(wheel_next(&wheel) == WHEEL_NEVER);
    for (int level = 0; level < WHEEL_LEVELS; level++)
        assert_int_equal(wheel.used[level], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_delay_fires_on_its_millisecond),
        cmocka_unit_test(random_use_matches_the_model),
        cmocka_unit_test(the_start_does_not_matter),
        cmocka_unit_test(following_next_takes_few_steps),
        cmocka_unit_test(same_due_time_keeps_the_order),
        cmocka_unit_test(time_does_not_go_back),
        cmocka_unit_test(stopped_timers_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
