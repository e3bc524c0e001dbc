/* test_net_tls_line.c - who comes first in the line for TLS handshakes. That it is served a little at a time: test_net_tls.c. */
#include "net/net_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// cmocka needs the headers above first
#include <cmocka.h>

enum { PATIENCE = 5000, SESSIONS = 5 };

struct world {
    struct tls_line line;
    struct session sessions[SESSIONS]; /* 0 to 2 are new, and came at 1000, 2000 and 3000; 3 and 4 have begun */
};

static int make_world(void **state)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    tls_line_init(&w.line);
    for (size_t i = 0; i < SESSIONS; i++) {
        w.sessions[i].line_since = 1000 * (i + 1);
        list_init(&w.sessions[i].woken);
    }
    *state = &w;
    return 0;
}

static void add(struct world *w, int from, int to)
{
    for (int i = from; i <= to; i++)
        list_add_tail(i < 3 ? &w->line.fresh : &w->line.begun, &w->sessions[i].woken);
}

static void expect_next(struct world *w, uint64_t now, int want)
{
    struct session *s = tls_line_next(&w->line, now, PATIENCE);

    assert_ptr_equal(s, want < 0 ? NULL : &w->sessions[want]);
    if (s)
        assert_true(list_empty(&s->woken));
}

static void the_oldest_is_first(void **state)
{
    add(*state, 0, 2);
    assert_int_equal(tls_line_count(&((struct world *)*state)->line), 3);
    for (int i = 0; i < 3; i++)
        expect_next(*state, 3000, i);
    expect_next(*state, 3000, -1);
    assert_int_equal(tls_line_count(&((struct world *)*state)->line), 0);
}

static void the_newest_is_first_when_the_oldest_waits_long(void **state)
{
    add(*state, 0, 2);
    expect_next(*state, 1000 + PATIENCE, 2);
    expect_next(*state, 999 + PATIENCE, 0); /* and back, as soon as it does not */
    expect_next(*state, 2000 + PATIENCE, 1);
}

static void what_has_begun_goes_before(void **state)
{
    add(*state, 0, 4);
    expect_next(*state, 1000 + PATIENCE, 3);
    expect_next(*state, 1000 + PATIENCE, 4); /* the oldest of them first, also then */
    expect_next(*state, 1000 + PATIENCE, 2);
}

static void who_leaves_is_not_served(void **state)
{
    struct world *w = *state;

    add(w, 0, 2);
    list_remove(&w->sessions[0].woken); /* as session.c does when it ends */
    expect_next(w, 1000 + PATIENCE, 1);
    expect_next(w, 1000 + PATIENCE, 2);
    expect_next(w, 1000 + PATIENCE, -1);
}

static void who_is_only_told_of_a_limit_comes_last(void **state)
{
    struct world *w = *state;

    list_add_tail(&w->line.refused, &w->sessions[0].woken);
    list_add_tail(&w->line.refused, &w->sessions[1].woken);
    add(w, 2, 3);
    assert_int_equal(tls_line_count(&w->line), 4);
    expect_next(w, 2999 + PATIENCE, 3);
    expect_next(w, 2999 + PATIENCE, 2);
    expect_next(w, 2999 + PATIENCE, 0);
    expect_next(w, 2999 + PATIENCE, 1);
    expect_next(w, 2999 + PATIENCE, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_oldest_is_first, make_world),
        cmocka_unit_test_setup(the_newest_is_first_when_the_oldest_waits_long, make_world),
        cmocka_unit_test_setup(what_has_begun_goes_before, make_world),
        cmocka_unit_test_setup(who_leaves_is_not_served, make_world),
        cmocka_unit_test_setup(who_is_only_told_of_a_limit_comes_last, make_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
