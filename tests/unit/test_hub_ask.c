/* test_hub_ask.c - questions and answers over three workers in one thread: who may answer, once, and what ends a question. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/ask.h"
#include "hub/hub_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONN(w, n) (crew[w].conns[n])

/* A question as these tests ask it. */
struct asking {
    struct question q; /* first */
    uint64_t id;
    int rc; /* of done */
    int dones;
    char answer[64];
};

static void on_done(struct question *q, int rc, struct blob *answer)
{
    struct asking *a = (struct asking *)q;

    a->dones++;
    a->rc = rc;
    snprintf(a->answer, sizeof(a->answer), "%.*s", answer ? (int)answer->len : 0, answer ? (const char *)answer->data : "");
}

/* The allocation number `fail` fails, if it is above 0. */
static int ask_failing(struct fake_world *w, struct asking *a, conn_id conn, const char *user, unsigned long fail)
{
    struct whom whom = {conn, slice_of(user)};
    struct packet *p = fake_packet("q");
    int rc;

    *a = (struct asking){.q = {.id = ask_new_id(w->hub), .done = on_done}};
    a->id = a->q.id;
    mem_fail_at(fail);
    rc = whom_ask(w->hub, &whom, p, &a->q);
    packet_unref(p);
    return rc;
}

static int ask(struct fake_world *w, struct asking *a, conn_id conn, const char *user)
{
    return ask_failing(w, a, conn, user, 0);
}

static bool answer(struct conn *c, const struct asking *a, const char *text)
{
    return conn_answer(c, a->id, text[0] == '!', slice_of(text));
}

static void expect_done(const struct asking *a, int rc, const char *text)
{
    assert_int_equal(a->dones, 1);
    assert_int_equal(a->rc, rc);
    assert_string_equal(a->answer, text);
    assert_null(a->q.hub);
}

static void expect_nothing_left(struct fake_world *crew)
{
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++) {
        assert_int_equal(crew[i].hub->questions.count, 0);
        assert_int_equal(crew[i].hub->rounds.count, 0);
        assert_int_equal(crew[i].hub->asked.count, 0);
        for (int n = 0; n < 64; n++)
            if (crew[i].conns[n])
                assert_false(conn_owes_answer(crew[i].conns[n]));
    }
}

/* ---- ids ---- */

static void names_are_read_back(void **state)
{
    static const char *const bad[] = {"",
                                      "tide-",
                                      "tide-123",
                                      "tide-00000000000000g1",
                                      "tide-00000000000000A1",
                                      "Tide-00000000000000a1",
                                      "tide-00000000000000a11",
                                      "tide-0000000000000000"};
    struct fake_world *crew = *state;
    char name[ASK_NAME_SIZE];
    uint64_t last = 0;

    for (int i = 0; i < 1000; i++) {
        uint64_t id = ask_new_id(crew[i % FAKE_CREW].hub);

        assert_true(id && id != last);
        ask_name(id, name);
        assert_true(ask_parse(slice_of(name)) == id);
        last = id;
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(ask_parse(slice_of(bad[i])) == 0);
}

/* ---- one connection ---- */

static void only_who_was_asked_answers_and_once(void **state)
{
    struct fake_world *crew = *state;
    struct asking a, b;

    fake_open(&crew[0], "ann");
    fake_open(&crew[0], "ann");
    assert_int_equal(ask(&crew[0], &a, CONN(0, 0)->id, ""), 0);
    assert_int_equal(ask(&crew[0], &b, CONN(0, 0)->id, ""), 0);
    fake_expect_sent(&crew[0], 0, "q q ");
    fake_expect_sent(&crew[0], 1, "");
    assert_int_equal(crew[0].asked, 2);
    assert_false(answer(CONN(0, 1), &a, "forged"));
    assert_false(conn_answer(CONN(0, 0), a.id ^ 64, false, SLICE("guessed")));
    assert_true(answer(CONN(0, 0), &b, "two"));
    expect_done(&b, 0, "two");
    assert_int_equal(a.dones, 0);
    assert_true(answer(CONN(0, 0), &a, "one"));
    expect_done(&a, 0, "one");
    assert_false(answer(CONN(0, 0), &a, "again"));
    expect_nothing_left(crew);
}

static void the_end_of_the_connection_ends_it(void **state)
{
    struct fake_world *crew = *state;
    struct asking a[3];

    fake_open(&crew[0], "");
    fake_open(&crew[1], "");
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask(&crew[0], &a[i], CONN(i, 0)->id, ""), 0);
    fake_settle(crew);
    for (int i = 0; i < 2; i++) {
        conn_detach(CONN(i, 0));
        fake_settle(crew);
        expect_done(&a[i], MT_ECLOSED, "");
        assert_int_equal(ask(&crew[0], &a[2], CONN(i, 0)->id, ""), MT_EOFFLINE);
        ask_drop(&a[2].q);
    }
    expect_nothing_left(crew);
}

static void who_goes_before_the_question_comes_is_gone(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    fake_open(&crew[1], "");
    assert_int_equal(ask(&crew[0], &a, CONN(1, 0)->id, ""), 0);
    fake_close(&crew[1], 0);
    assert_int_equal(a.dones, 0);
    fake_settle(crew);
    expect_done(&a, MT_ECLOSED, "");
    expect_nothing_left(crew);
}

static void an_answer_comes_from_another_worker(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    fake_open(&crew[2], "");
    assert_int_equal(ask(&crew[0], &a, CONN(2, 0)->id, ""), 0);
    assert_false(answer(CONN(2, 0), &a, "early"));
    fake_settle(crew);
    fake_expect_sent(&crew[2], 0, "q ");
    assert_true(answer(CONN(2, 0), &a, "yes"));
    assert_int_equal(a.dones, 0);
    fake_settle(crew);
    expect_done(&a, 0, "yes");
    expect_nothing_left(crew);
}

/* ---- a user ---- */

static void open_many(struct fake_world *crew)
{
    fake_open(&crew[0], "ann");
    fake_open(&crew[0], "ann");
    fake_open(&crew[1], "ann");
    fake_open(&crew[2], "ann");
    fake_open(&crew[2], "bob");
}

static void the_first_reply_wins(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    for (int i = 0; i < FAKE_CREW; i++) { /* each is the first once */
        assert_int_equal(ask(&crew[0], &a, 0, "ann"), 0);
        fake_settle(crew);
        assert_false(answer(CONN(2, 1), &a, "bob is not ann"));
        assert_true(answer(CONN(i, 0), &a, "first"));
        assert_true(i == 1 || answer(CONN(1, 0), &a, "second"));
        fake_settle(crew);
        expect_done(&a, 0, "first");
        for (int w = 0; w < FAKE_CREW; w++)
            assert_false(answer(CONN(w, 0), &a, "late"));
        expect_nothing_left(crew);
    }
    fake_expect_sent(&crew[2], 0, "q q q ");
    fake_expect_sent(&crew[2], 1, "");
}

static void an_error_counts_when_nobody_is_left(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    assert_int_equal(ask(&crew[1], &a, 0, "ann"), 0);
    fake_settle(crew);
    assert_true(answer(CONN(0, 1), &a, "!one"));
    fake_settle(crew);
    assert_true(answer(CONN(1, 0), &a, "!two"));
    assert_true(answer(CONN(0, 0), &a, "yes"));
    fake_settle(crew);
    expect_done(&a, 0, "yes");

    assert_int_equal(ask(&crew[1], &a, 0, "ann"), 0);
    fake_settle(crew);
    assert_true(answer(CONN(0, 1), &a, "!one"));
    fake_settle(crew);
    assert_true(answer(CONN(0, 0), &a, "!two"));
    assert_true(answer(CONN(1, 0), &a, "!three"));
    fake_settle(crew);
    assert_int_equal(a.dones, 0);
    fake_close(&crew[2], 0);
    fake_settle(crew);
    expect_done(&a, 0, "!one");
    expect_nothing_left(crew);
}

static void nobody_is_left(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    assert_int_equal(ask(&crew[2], &a, 0, "ann"), 0);
    fake_close(&crew[1], 0);
    fake_settle(crew);
    fake_close(&crew[0], 0);
    fake_close(&crew[2], 0);
    fake_settle(crew);
    assert_int_equal(a.dones, 0);
    fake_close(&crew[0], 1);
    fake_settle(crew);
    expect_done(&a, MT_ECLOSED, "");
    assert_int_equal(ask(&crew[2], &a, 0, "ann"), MT_EOFFLINE);
    assert_int_equal(ask(&crew[2], &a, 0, ""), MT_EOFFLINE);
    expect_nothing_left(crew);
}

static void who_does_not_wait_is_not_told(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    assert_int_equal(ask(&crew[0], &a, 0, "ann"), 0);
    ask_drop(&a.q); /* before the question has come to the others */
    ask_drop(&a.q);
    expect_nothing_left(crew);
    assert_int_equal(ask(&crew[0], &a, 0, "ann"), 0);
    fake_settle(crew);
    assert_true(answer(CONN(1, 0), &a, "on its way"));
    ask_drop(&a.q);
    expect_nothing_left(crew);
    assert_int_equal(a.dones, 0);
}

/* ---- bounds ---- */

static void sends_that_fail(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    crew[0].sessions[0]->closed = true;
    assert_int_equal(ask(&crew[0], &a, CONN(0, 0)->id, ""), MT_ECLOSED);
    fake_set_inbox_limit(&crew[1], 0);
    assert_int_equal(ask(&crew[0], &a, CONN(1, 0)->id, ""), MT_EBUSY);
    assert_int_equal(ask(&crew[0], &a, 0, "ann"), 0); /* others of ann can still answer */
    fake_settle(crew);
    assert_true(answer(CONN(0, 1), &a, "!no"));
    assert_true(answer(CONN(2, 0), &a, "!no more"));
    fake_settle(crew);
    expect_done(&a, 0, "!no");
    expect_nothing_left(crew);
}

static void a_connection_owes_so_many_answers(void **state)
{
    struct fake_world *crew = *state;
    struct asking *all = calloc(ASK_MAX, sizeof(*all)), more;

    fake_open(&crew[0], "");
    for (int i = 0; i < ASK_MAX; i++)
        assert_int_equal(ask(&crew[0], &all[i], CONN(0, 0)->id, ""), 0);
    assert_int_equal(ask(&crew[0], &more, CONN(0, 0)->id, ""), MT_EFULL);
    assert_true(answer(CONN(0, 0), &all[5000], "yes"));
    assert_int_equal(ask(&crew[0], &more, CONN(0, 0)->id, ""), 0);
    conn_detach(CONN(0, 0));
    expect_done(&more, MT_ECLOSED, "");
    expect_done(&all[ASK_MAX - 1], MT_ECLOSED, "");
    expect_nothing_left(crew);
    free(all);
}

/* Each allocation fails once: the question ends, or can be dropped, and nothing of it is left. */
static void without_memory(void **state)
{
    struct fake_world *crew = *state;
    struct asking a;

    open_many(crew);
    for (unsigned long n = 1; n < 40; n++) {
        int rc = ask_failing(&crew[0], &a, 0, "ann", n);
        fake_settle(crew);
        answer(CONN(1, 0), &a, "!no");
        fake_settle(crew);
        answer(CONN(2, 0), &a, "yes");
        fake_settle(crew);
        mem_fail_at(0);
        assert_true(rc == 0 || (rc == MT_ENOMEM && a.dones == 0));
        ask_drop(&a.q);
        for (int w = 0; w < FAKE_CREW; w++)
            answer(CONN(w, 0), &a, "late");
        answer(CONN(0, 1), &a, "late");
        expect_nothing_left(crew);
    }
    expect_done(&a, 0, "yes");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_crew_setup, fake_crew_teardown)
    const struct CMUnitTest tests[] = {
        TEST(names_are_read_back),
        TEST(only_who_was_asked_answers_and_once),
        TEST(the_end_of_the_connection_ends_it),
        TEST(who_goes_before_the_question_comes_is_gone),
        TEST(an_answer_comes_from_another_worker),
        TEST(the_first_reply_wins),
        TEST(an_error_counts_when_nobody_is_left),
        TEST(nobody_is_left),
        TEST(who_does_not_wait_is_not_told),
        TEST(sends_that_fail),
        TEST(a_connection_owes_so_many_answers),
        TEST(without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
