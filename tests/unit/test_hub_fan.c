/* test_hub_fan.c - the dense array of sessions, against a model. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/fan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OWNERS = 200 };

/* Any pointer will do for a session: the fan never looks inside. */
static struct session *session_of(int i)
{
    static char sessions[OWNERS];
    return (struct session *)&sessions[i];
}

static void check(const struct fan *f, const uint32_t *seats, const bool *in)
{
    uint32_t count = 0;
    for (int i = 0; i < OWNERS; i++) {
        if (!in[i])
            continue;
        count++;
        assert_true(seats[i] < f->count);
        assert_ptr_equal(f->sessions[seats[i]], session_of(i));
        assert_ptr_equal(f->seats[seats[i]], &seats[i]);
    }
    assert_int_equal(f->count, count);
    assert_true(f->cap <= 8 || f->cap <= 4 * (f->count + 1));
}

static void seats_follow_the_moves(void **state)
{
    struct fan f = {0};
    uint32_t seats[OWNERS];
    bool in[OWNERS] = {0};

    srand(1);
    for (int step = 0; step < 20000; step++) {
        int i = rand() % OWNERS;
        bool growing = step / 1000 % 2 == 0; /* phases that fill and phases that empty it */
        if (!in[i] && (growing || rand() % 4 == 0)) {
            assert_int_equal(fan_add(&f, session_of(i), &seats[i]), 0);
            in[i] = true;
        } else if (in[i] && (!growing || rand() % 4 == 0)) {
            fan_remove(&f, seats[i]);
            in[i] = false;
        }
        check(&f, seats, in);
    }
    fan_fini(&f);
}

static void empty_fan_holds_nothing(void **state)
{
    struct fan f = {0};
    uint32_t seat;
    assert_int_equal(fan_add(&f, session_of(0), &seat), 0);
    fan_remove(&f, seat);
    assert_null(f.sessions);
    assert_null(f.seats);
    assert_int_equal(f.cap, 0);
}

static void failed_allocations_change_nothing(void **state)
{
    struct fan f = {0};
    uint32_t seats[OWNERS];
    bool in[OWNERS] = {0};
    int failures = 0;

    for (int i = 0; i < OWNERS; i++) {
        for (unsigned long n = 2; n > 0; n--) {
            mem_fail_at(n);
            int rc = fan_add(&f, session_of(i), &seats[i]);
            mem_fail_at(0);
            in[i] = rc == 0;
            failures += rc == MT_ENOMEM;
            check(&f, seats, in);
            if (rc == 0)
                break;
        }
        if (!in[i])
            assert_int_equal(fan_add(&f, session_of(i), &seats[i]), 0);
        in[i] = true;
    }
    assert_true(failures >= 10);
    for (int i = 0; i < OWNERS; i++) {
        mem_fail_at(1 + (unsigned long)i % 2); /* shrinking may fail, leaving may not */
        fan_remove(&f, seats[i]);
        mem_fail_at(0);
        in[i] = false;
        for (int j = i + 1; j < OWNERS; j++)
            assert_ptr_equal(f.sessions[seats[j]], session_of(j));
    }
    fan_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seats_follow_the_moves),
        cmocka_unit_test(empty_fan_holds_nothing),
        cmocka_unit_test(failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
