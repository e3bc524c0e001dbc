/* test_hub_users.c - what one user may take over all workers: connections and messages. Three workers; in the last tests each has
 * its thread, meant to run under ThreadSanitizer too. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/hub_impl.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONN(w, n) (crew[w].conns[n])
enum { SECOND = 1000000, START = 1000 * SECOND };

/* It is START from the first call on. */
static void set_limits(struct fake_world *crew, struct user_limits l)
{
    for (int i = 0; i < FAKE_CREW; i++) {
        fake_advance(&crew[i], START / 1000 - loop_now(crew[i].loop));
        hub_set_user_limits(crew[i].hub, &l);
    }
}

static int try_open(struct fake_world *w, const char *user)
{
    static struct session s;
    struct conn *c = NULL;
    int rc = conn_open(w->hub, &s, slice_of(user), &c);

    if (rc == 0)
        conn_close(c);
    return rc;
}

/* ---- connections ---- */

static void connections_over_all_workers(void **state)
{
    struct fake_world *crew = *state;

    set_limits(crew, (struct user_limits){.connections = 2});
    fake_open(&crew[0], "ann");
    assert_int_equal(try_open(&crew[2], "ann"), 0);
    fake_open(&crew[1], "ann");
    for (int i = 0; i < FAKE_CREW; i++)
        assert_int_equal(try_open(&crew[i], "ann"), MT_ELIMITED);
    assert_int_equal(try_open(&crew[2], "bob"), 0);
    for (int n = 0; n < 5; n++)
        fake_open(&crew[2], ""); /* nobody in particular is not limited */
    assert_int_equal(user_count(crew[0].hub, SLICE("ann")), 2);
    assert_int_equal(hub_people(crew[0].hub), 6);
    assert_int_equal(hub_count(crew[2].hub), 5);
    conn_detach(CONN(0, 0)); /* it counts while it has a socket */
    assert_int_equal(try_open(&crew[2], "ann"), 0);
}

static void logging_in_is_limited_too(void **state)
{
    struct fake_world *crew = *state;

    set_limits(crew, (struct user_limits){.connections = 1});
    fake_open(&crew[0], "ann");
    fake_open(&crew[1], "bob");
    fake_open(&crew[1], "");
    fake_join(&crew[1], 0, "r");
    fake_settle(crew);
    assert_int_equal(conn_set_user(CONN(1, 0), SLICE("ann")), MT_ELIMITED);
    assert_int_equal(conn_set_user(CONN(1, 1), SLICE("bob")), MT_ELIMITED);
    assert_true(slice_is(conn_user(CONN(1, 0)), SLICE("bob")));
    assert_true(room_has_user(crew[0].hub, SLICE("r"), SLICE("bob")));
    assert_false(room_has_user(crew[0].hub, SLICE("r"), SLICE("ann")));
    assert_int_equal(hub_people(crew[0].hub), 3);
    assert_int_equal(conn_set_user(CONN(1, 0), SLICE("bob")), 0); /* as it is */
    assert_int_equal(conn_set_user(CONN(0, 0), SLICE("")), 0);
    assert_int_equal(conn_set_user(CONN(1, 0), SLICE("ann")), 0);
    assert_int_equal(conn_set_user(CONN(1, 1), SLICE("bob")), 0);
    assert_int_equal(hub_people(crew[0].hub), 3);
}

static void another_limit_counts_from_then_on(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++)
        fake_open(&crew[i], "ann");
    set_limits(crew, (struct user_limits){.connections = 2});
    assert_int_equal(user_count(crew[0].hub, SLICE("ann")), 3);
    assert_int_equal(try_open(&crew[0], "ann"), MT_ELIMITED);
    fake_close(&crew[0], 0);
    assert_int_equal(try_open(&crew[0], "ann"), MT_ELIMITED);
    set_limits(crew, (struct user_limits){.connections = 3});
    assert_int_equal(try_open(&crew[0], "ann"), 0);
    set_limits(crew, (struct user_limits){0});
    for (int n = 0; n < 5; n++)
        fake_open(&crew[0], "ann");
}

static void without_memory_nobody_is_counted(void **state)
{
    struct fake_world *crew = *state;

    set_limits(crew, (struct user_limits){.connections = 1});
    fake_open(&crew[0], "ann");
    fake_join(&crew[0], 0, "r");
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        int rc = try_open(&crew[1], "bob");
        mem_fail_at(0);
        assert_int_equal(user_count(crew[1].hub, SLICE("bob")), 0);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
    }
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        int rc = conn_set_user(CONN(0, 0), SLICE("bob"));
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
        assert_int_equal(user_count(crew[1].hub, SLICE("bob")), 0);
        assert_int_equal(user_count(crew[1].hub, SLICE("ann")), 1);
    }
    assert_int_equal(user_count(crew[1].hub, SLICE("bob")), 1);
    assert_int_equal(hub_people(crew[0].hub), 1);
    fake_settle(crew);
}

static void a_crew_without_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        struct hub_crew *crew = hub_crew_create(4);
        mem_fail_at(0);
        hub_crew_destroy(crew);
        if (crew)
            break;
    }
}

/* ---- messages ---- */

static const struct user_limits two = {.messages = {.per_second = 2, .burst = 4}};

static void messages_of_all_connections(void **state)
{
    struct fake_world *crew = *state;

    set_limits(crew, two);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_open(&crew[i], "ann");
    fake_open(&crew[0], "bob");
    fake_open(&crew[0], "");
    for (int n = 0; n < 4; n++)
        assert_int_equal(conn_charge_message(CONN(n % FAKE_CREW, 0), START), 0);
    assert_int_equal(conn_charge_message(CONN(1, 0), START), SECOND / 2);
    assert_int_equal(conn_charge_message(CONN(2, 0), START), SECOND); /* into debt */
    for (int n = 0; n < 4; n++)
        assert_int_equal(conn_charge_message(CONN(0, 1), START), 0); /* bob has his own */
    for (int n = 0; n < 100; n++)
        assert_int_equal(conn_charge_message(CONN(0, 2), START), 0); /* nobody has none */
    assert_int_equal(conn_charge_message(CONN(0, 0), START + 3 * SECOND / 2), 0);
    assert_int_equal(conn_set_user(CONN(0, 2), SLICE("ann")), 0);
    assert_int_equal(conn_charge_message(CONN(0, 2), START + 3 * SECOND / 2), SECOND / 2);
}

static void messages_that_are_refused_cost_nothing(void **state)
{
    struct fake_world *crew = *state;
    struct user_limits l = two;

    l.refuse = true;
    set_limits(crew, l);
    fake_open(&crew[0], "ann");
    for (int n = 0; n < 4; n++)
        assert_int_equal(conn_charge_message(CONN(0, 0), START), 0);
    for (int n = 0; n < 10; n++)
        assert_int_equal(conn_charge_message(CONN(0, 0), START), SECOND / 2);
    assert_int_equal(conn_charge_message(CONN(0, 0), START + SECOND / 2), 0);
}

static void coming_back_is_no_way_around(void **state)
{
    struct fake_world *crew = *state;

    set_limits(crew, two);
    fake_open(&crew[0], "ann");
    for (int n = 0; n < 6; n++)
        (void)conn_charge_message(CONN(0, 0), START);
    set_limits(crew, two); /* another setting has changed: debts stay */
    fake_close(&crew[0], 0);
    fake_settle(crew);
    fake_open(&crew[1], "ann");
    assert_int_equal(conn_charge_message(CONN(1, 0), START), 3 * SECOND / 2);
}

static void another_rate_counts_at_once(void **state)
{
    struct fake_world *crew = *state;
    struct user_limits fast = {.messages = {.per_second = 100, .burst = 10}};

    set_limits(crew, two);
    fake_open(&crew[0], "ann");
    for (int n = 0; n < 1000; n++)
        (void)conn_charge_message(CONN(0, 0), START);
    set_limits(crew, fast);
    assert_int_equal(conn_charge_message(CONN(0, 0), START), SECOND / 100); /* not the minutes that it owed */
    set_limits(crew, (struct user_limits){0});
    assert_int_equal(conn_charge_message(CONN(0, 0), START), 0);

    set_limits(crew, two);
    for (int n = 0; n < 1000; n++)
        (void)conn_charge_message(CONN(0, 0), START);
    fake_close(&crew[0], 0);
    set_limits(crew, fast); /* while ann is away */
    fake_open(&crew[1], "ann");
    assert_int_equal(conn_charge_message(CONN(1, 0), START), SECOND / 100);
}

/* ---- threads ---- */

enum { RACES = 20000, MOST = 4 };
static atomic_int open_now, taken;
static atomic_uint refused;

static void close_one(struct conn **c)
{
    atomic_fetch_sub(&open_now, 1); /* before it is closed: what is counted here is never too much */
    conn_close(*c);
    *c = NULL;
}

/* Handshakes and logins of one user, from three workers at once. */
static void *race(void *arg)
{
    struct fake_world *w = arg;
    unsigned seed = (unsigned)(uintptr_t)w;
    static struct session session; /* nobody sends */
    struct conn *conns[MOST] = {0};
    const char *why = NULL;

    for (int i = 0; i < RACES && !why; i++) {
        struct conn **c = &conns[rand_r(&seed) % MOST];
        if (*c) {
            close_one(c);
            continue;
        }
        bool later = rand_r(&seed) % 2;
        int rc = conn_open(w->hub, &session, later ? SLICE("") : SLICE("ann"), c);
        if (rc == 0 && later && (rc = conn_set_user(*c, SLICE("ann"))) != 0)
            conn_close(*c);
        if (rc) {
            *c = NULL;
            atomic_fetch_add(&refused, 1);
            why = rc == MT_ELIMITED ? NULL : "another failure";
        } else if (atomic_fetch_add(&open_now, 1) >= MOST) {
            why = "more than there may be";
        }
        if (*c && conn_charge_message(*c, START) == 0)
            atomic_fetch_add(&taken, 1);
    }
    for (int i = 0; i < MOST; i++)
        if (conns[i])
            close_one(&conns[i]);
    return (void *)why;
}

static void never_more_than_the_limit(void **state)
{
    struct fake_world *crew = *state;
    pthread_t threads[FAKE_CREW];
    void *why;

    set_limits(crew, (struct user_limits){.connections = MOST, .messages = {.per_second = 1, .burst = 1000}, .refuse = true});
    for (int i = 0; i < FAKE_CREW; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &crew[i]), 0);
    for (int i = 0; i < FAKE_CREW; i++) {
        assert_int_equal(pthread_join(threads[i], &why), 0);
        assert_string_equal(why ? why : "", "");
    }
    assert_true(refused > 0);
    assert_int_equal(taken, 1000); /* the bucket outlived them all */
    fake_settle(crew);
    assert_int_equal(user_count(crew[0].hub, SLICE("ann")), 0);
    assert_int_equal(hub_people(crew[0].hub), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_crew_setup, fake_crew_teardown)
    const struct CMUnitTest tests[] = {
        TEST(connections_over_all_workers),
        TEST(logging_in_is_limited_too),
        TEST(another_limit_counts_from_then_on),
        TEST(without_memory_nobody_is_counted),
        cmocka_unit_test(a_crew_without_memory),
        TEST(messages_of_all_connections),
        TEST(messages_that_are_refused_cost_nothing),
        TEST(coming_back_is_no_way_around),
        TEST(another_rate_counts_at_once),
        TEST(never_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
