/* test_hub_crew.c - three workers of one server, in one thread: letters are opened when the test says so, so that each order of
 * things can be tried. Who is where must be right at once, hooks run once, messages keep their order.
 */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/hub_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Connection n of worker w (from 0). */
#define CONN(w, n) (crew[w].conns[n])

static void expect_people(struct fake_world *crew, const char *room, const char *expected)
{
    char text[512];

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_people(&crew[i], room, text, sizeof(text));
        assert_string_equal(text, expected);
    }
}

static void expect_count(struct fake_world *crew, const char *room, size_t people)
{
    for (int i = 0; i < FAKE_CREW; i++)
        assert_int_equal(room_count(crew[i].hub, slice_of(room)), people);
}

/* What hooks have been told, wherever they ran; only the home of the room may have any. */
static void expect_hooks(struct fake_world *crew, const char *room, const char *expected)
{
    struct fake_world *home = fake_home(crew, room);

    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_expect_log(&crew[i], &crew[i] == home ? expected : "");
}

static bool leave(struct fake_world *w, int n, const char *room)
{
    return room_leave(w->conns[n], slice_of(room));
}

static void empty_world(struct fake_world *w, const char *room)
{
    room_empty(w->hub, slice_of(room));
}

/* The first of r0, r1, ... whose home is that worker, as hooks must be right wherever they run. */
static const char *room_at(struct fake_world *crew, int worker)
{
    static char names[FAKE_CREW][16];

    for (int i = 0;; i++) {
        snprintf(names[worker], sizeof(names[worker]), "r%d", i);
        if (fake_home(crew, names[worker]) == &crew[worker])
            return names[worker];
    }
}

/* ---- people ---- */

static void people_are_counted_over_all_workers_at_once(void **state)
{
    struct fake_world *crew = *state;

    fake_open(&crew[0], "ann");
    fake_open(&crew[1], "ann");
    fake_open(&crew[1], "bob");
    fake_open(&crew[2], "");
    assert_int_equal(hub_people(crew[2].hub), 3);
    fake_join(&crew[0], 0, "r");
    expect_people(crew, "r", "ann ");
    fake_join(&crew[1], 0, "r");
    fake_join(&crew[1], 1, "r");
    fake_join(&crew[2], 0, "r");
    expect_people(crew, "r", "ann bob # ");
    for (int i = 0; i < FAKE_CREW; i++) {
        assert_true(room_has_user(crew[i].hub, SLICE("r"), SLICE("bob")));
        assert_int_equal(user_count(crew[i].hub, SLICE("ann")), 2);
        assert_int_equal(user_count(crew[i].hub, SLICE("cid")), 0);
        assert_int_equal(hub_rooms(crew[i].hub), 1);
    }
    conn_detach(CONN(0, 0));
    assert_int_equal(user_count(crew[2].hub, SLICE("ann")), 1);
    assert_true(leave(&crew[1], 0, "r"));
    expect_count(crew, "r", 3); /* ann is still there with the connection that is closing */
    fake_close(&crew[0], 0);
    expect_count(crew, "r", 2);
    assert_int_equal(hub_people(crew[0].hub), 3);
    fake_close(&crew[1], 0);
    assert_int_equal(hub_people(crew[0].hub), 2);
}

static void rooms_are_listed_over_all_workers(void **state)
{
    struct fake_world *crew = *state;
    char name[16];
    struct buf list = {0};

    for (int i = 0; i < FAKE_CREW; i++)
        fake_open(&crew[i], "");
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "%s%d", i % 2 ? "a" : "b", i);
        fake_join(&crew[i % FAKE_CREW], 0, name);
    }
    assert_int_equal(room_list(crew[0].hub, SLICE(""), &list), 100);
    assert_int_equal(room_list(crew[1].hub, SLICE("a"), &list), 50);
    assert_int_equal(room_list(crew[1].hub, SLICE("ab"), &list), 0);
    buf_fini(&list);
}

/* ---- hooks ---- */

static void hooks_run_once_and_at_home(void **state)
{
    struct fake_world *crew = *state;

    for (int home = 0; home < FAKE_CREW; home++) {
        const char *r = room_at(crew, home);
        char expected[128];
        int n = (int)crew[0].session_count;

        fake_open(&crew[0], "ann");
        fake_open(&crew[1], "ann");
        fake_open(&crew[2], "bob");
        fake_join(&crew[0], n, r);
        fake_join(&crew[1], n, r);
        fake_join(&crew[2], n, r);
        snprintf(expected, sizeof(expected), "+%s/ann +%s/bob ", r, r);
        expect_hooks(crew, r, expected);
        leave(&crew[0], n, r);
        expect_hooks(crew, r, "");
        leave(&crew[2], n, r);
        leave(&crew[1], n, r);
        snprintf(expected, sizeof(expected), "-%s/bob -%s/ann ", r, r);
        expect_hooks(crew, r, expected);
        for (int i = 0; i < FAKE_CREW; i++)
            fake_close(&crew[i], n);
    }
}

/* Changes of several workers at one person, told in the order in which they happened, though no letter was opened in between. */
static void hooks_come_in_the_order_of_the_changes(void **state)
{
    struct fake_world *crew = *state;

    for (int home = 0; home < FAKE_CREW; home++) {
        const char *r = room_at(crew, home);
        char expected[128];
        int n = (int)crew[0].session_count;

        for (int i = 0; i < FAKE_CREW; i++) {
            fake_open(&crew[i], "ann");
            fake_join(&crew[i], n, r);
            fake_settle(crew);
            fake_expect_log(&crew[home], i == 0 ? (snprintf(expected, sizeof(expected), "+%s/ann ", r), expected) : "");
            if (i > 0)
                leave(&crew[i], n, r);
        }
        leave(&crew[0], n, r);
        fake_join(&crew[1], n, r);
        leave(&crew[1], n, r); /* before anybody heard of it: not told at all */
        fake_join(&crew[2], n, r);
        snprintf(expected, sizeof(expected), "-%s/ann +%s/ann ", r, r);
        expect_hooks(crew, r, expected);
        for (int i = 0; i < FAKE_CREW; i++)
            fake_close(&crew[i], n);
        fake_settle(crew);
        fake_expect_log(&crew[home], (snprintf(expected, sizeof(expected), "-%s/ann ", r), expected));
    }
}

static void come_back(struct fake_world *w, bool join, struct slice room, const struct person *p)
{
    struct fake_world *crew = w->hook_arg;
    if (join)
        room_leave(CONN(0, 0), room);
    else
        room_join(CONN(0, 0), room, NULL);
}

/* Each letter's hook makes the next letter: the loop has its turn in between. */
static void hooks_that_cause_hooks_take_turns(void **state)
{
    struct fake_world *crew = *state;
    const char *r = room_at(crew, 0);

    fake_open(&crew[0], "ann");
    crew[0].hook = come_back;
    crew[0].hook_arg = crew;
    fake_join(&crew[0], 0, r);
    for (unsigned i = 1; i < 10; i++) {
        assert_true(fake_open_letters(&crew[0]));
        assert_int_equal(crew[0].joins + crew[0].leaves, i);
    }
    crew[0].hook = NULL;
}

/* ---- grace ---- */

static void who_comes_back_elsewhere_is_not_announced(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++)
        crew[i].grace = 5000;
    fake_open(&crew[0], "ann");
    fake_join(&crew[0], 0, "r");
    fake_close(&crew[0], 0);
    expect_people(crew, "r", "ann ");
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], 4000);
    fake_open(&crew[1], "ann");
    fake_join(&crew[1], 0, "r");
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], 4000); /* the watch of worker 1 fires for nothing */
    expect_people(crew, "r", "ann ");
    expect_hooks(crew, "r", "+r/ann ");
    fake_close(&crew[1], 0);
    fake_advance(&crew[1], 4999);
    expect_hooks(crew, "r", "");
    fake_advance(&crew[1], 1);
    expect_hooks(crew, "r", "-r/ann ");
    expect_count(crew, "r", 0);
}

/* Lost here, back there, lost there: two watches run at once, and only the last one counts. */
static void the_last_loss_counts(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++)
        crew[i].grace = 1000;
    fake_open(&crew[0], "ann");
    fake_join(&crew[0], 0, "r");
    fake_close(&crew[0], 0);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], 900);
    fake_open(&crew[1], "ann");
    fake_join(&crew[1], 0, "r");
    fake_close(&crew[1], 0);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], 900);
    expect_hooks(crew, "r", "+r/ann ");
    expect_people(crew, "r", "ann ");
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], 100);
    expect_hooks(crew, "r", "-r/ann ");
    expect_count(crew, "r", 0);
}

static void emptying_ends_a_grace_that_another_worker_watches(void **state)
{
    struct fake_world *crew = *state;

    crew[0].grace = 1000;
    fake_open(&crew[0], "ann");
    fake_join(&crew[0], 0, "r");
    fake_close(&crew[0], 0);
    fake_settle(crew);
    empty_world(&crew[2], "r");
    expect_hooks(crew, "r", "+r/ann -r/ann ");
    expect_count(crew, "r", 0);
    fake_advance(&crew[0], 2000);
    expect_hooks(crew, "r", "");
}

/* ---- another person ---- */

static void logging_in_meets_ones_other_tabs(void **state)
{
    struct fake_world *crew = *state;
    struct blob *info = blob_copy("i", 1);

    fake_open(&crew[0], "");
    fake_open(&crew[1], "ann");
    assert_int_equal(room_join(CONN(0, 0), SLICE("a"), info), 0);
    fake_join(&crew[0], 0, "b");
    fake_join(&crew[1], 0, "b");
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++)
        crew[i].log_len = crew[i].joins = crew[i].leaves = 0, crew[i].log[0] = '\0';
    assert_int_equal(conn_set_user(CONN(0, 0), SLICE("ann")), 0);
    expect_people(crew, "a", "ann=i ");
    expect_people(crew, "b", "ann ");
    fake_settle(crew);
    unsigned joins = 0, leaves = 0;
    for (int i = 0; i < FAKE_CREW; i++) {
        joins += crew[i].joins;
        leaves += crew[i].leaves;
    }
    assert_int_equal(joins, 1);
    assert_int_equal(leaves, 2);
    assert_int_equal(user_count(crew[2].hub, SLICE("ann")), 2);
    assert_int_equal(hub_people(crew[2].hub), 1);
    blob_unref(info);
}

/* ---- emptying ---- */

static void an_emptied_room_is_empty_at_once(void **state)
{
    struct fake_world *crew = *state;
    struct membership *m = NULL;

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], i == 2 ? "bob" : "ann");
        fake_join(&crew[i], 0, "r");
    }
    expect_hooks(crew, "r", "+r/ann +r/bob ");
    empty_world(&crew[0], "r");
    expect_count(crew, "r", 0);
    /* no letter was opened: the others see it all the same */
    assert_null(conn_next_room(CONN(1, 0), &m));
    assert_false(room_has_conn(crew[1].hub, SLICE("r"), CONN(1, 0)));
    assert_false(leave(&crew[2], 0, "r"));
    expect_hooks(crew, "r", "-r/ann -r/bob ");
    fake_room_send(&crew[0], "r", "nobody", NULL);
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_expect_sent(&crew[i], 0, "");
}

static void an_emptied_room_may_be_joined_again_at_once(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], i == 0 ? "ann" : i == 1 ? "bob" : "cid");
        fake_join(&crew[i], 0, "r");
    }
    fake_settle(crew);
    empty_world(&crew[0], "r");
    assert_int_equal(fake_join(&crew[1], 0, "r"), 0); /* before its letter: it was out, and is in again */
    expect_people(crew, "r", "bob ");
    expect_hooks(crew, "r", "+r/ann +r/bob +r/cid -r/ann -r/bob -r/cid +r/bob ");
    expect_people(crew, "r", "bob ");
    fake_room_send(&crew[2], "r", "x", NULL);
    fake_settle(crew);
    fake_expect_sent(&crew[0], 0, "");
    fake_expect_sent(&crew[1], 0, "x ");
    fake_expect_sent(&crew[2], 0, "");
    assert_true(leave(&crew[1], 0, "r"));
    expect_hooks(crew, "r", "-r/bob ");
}

static void who_is_emptied_out_may_close_or_log_in(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], "");
        fake_join(&crew[i], 0, "r");
        fake_join(&crew[i], 0, "other");
    }
    empty_world(&crew[0], "r");
    assert_int_equal(conn_set_user(CONN(1, 0), SLICE("bob")), 0);
    fake_close(&crew[2], 0);
    expect_count(crew, "r", 0);
    expect_people(crew, "other", "# bob ");
    fake_settle(crew);
    expect_people(crew, "other", "# bob ");
}

/* "The game is over", and all are sent away: they have to hear it, also where somebody has looked at the room before that, or
 * where a new game has begun. */
static void what_was_said_before_emptying_is_heard(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        for (int n = 0; n < 2; n++)
            fake_open(&crew[i], "");
        fake_join(&crew[i], 0, "r");
    }
    fake_settle(crew);
    fake_room_send(&crew[0], "r", "over", NULL);
    assert_int_equal(room_close(crew[0].hub, SLICE("r"), 4003, SLICE("bye")), 0);
    empty_world(&crew[0], "r");
    fake_room_send(&crew[0], "r", "nobody", NULL);
    fake_join(&crew[1], 1, "r"); /* before the letters */
    fake_room_send(&crew[0], "r", "new", NULL);
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++) {
        fake_expect_sent(&crew[i], 0, "over ");
        assert_int_equal(CONN(i, 0)->session->close_code, 4003);
        assert_int_equal(CONN(i, 0)->room_count, 0);
        fake_expect_sent(&crew[i], 1, i == 1 ? "new " : "");
        assert_int_equal(CONN(i, 1)->session->close_code, 0);
    }
}

/* Without memory for the letters nothing tells the others: what is left is not seen, and goes with the connections. */
static void who_was_emptied_out_and_never_told_goes_away(void **state)
{
    struct fake_world *crew = *state;
    struct membership *m = NULL;

    fake_open(&crew[0], "ann");
    fake_open(&crew[1], "bob");
    fake_join(&crew[0], 0, "r");
    fake_join(&crew[1], 0, "r");
    fake_settle(crew);
    mem_fail_at(1);
    empty_world(&crew[0], "r");
    mem_fail_at(0);
    fake_settle(crew);
    assert_null(conn_next_room(CONN(1, 0), &m));
    assert_false(room_has_conn(crew[1].hub, SLICE("r"), CONN(1, 0)));
    assert_int_equal(fake_join(&crew[1], 0, "r"), 0);
    expect_people(crew, "r", "bob ");
    fake_close(&crew[1], 0);
    fake_settle(crew);
    expect_count(crew, "r", 0);
}

/* It was emptied between finding the room and taking its lock. */
static void a_join_notices_that_the_room_is_over(void **state)
{
    struct fake_world *crew = *state;
    struct kept_list kept;
    struct blob *info = blob_copy("1", 1);

    for (int n = 0; n < 2; n++)
        fake_open(&crew[0], "");
    fake_open(&crew[1], "bob");
    fake_join(&crew[0], 0, "r");
    fake_join(&crew[1], 0, "r");
    fake_settle(crew);
    struct room *r = room_find(crew[0].hub, SLICE("r"));
    struct membership *ms = membership_find(CONN(0, 0), r);
    empty_world(&crew[1], "r");
    assert_int_equal(membership_add(CONN(0, 1), r, NULL, &kept), PLACE_OVER);
    assert_int_equal(membership_renew(ms, info), PLACE_OVER);
    assert_false(membership_remove(ms, false));
    assert_int_equal(room_join(CONN(0, 0), SLICE("r"), info), 0);
    expect_people(crew, "r", "#=1 ");
    blob_unref(info);
}

/* ---- sends ---- */

static void a_room_is_heard_in_all_workers_in_order(void **state)
{
    struct fake_world *crew = *state;
    struct packet *p = fake_packet("1");

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], "");
        fake_open(&crew[i], "");
    }
    assert_false(room_is_heard(crew[0].hub, SLICE("r")));
    fake_join(&crew[0], 0, "r");
    fake_join(&crew[1], 0, "r");
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++)
        assert_true(room_is_heard(crew[i].hub, SLICE("r")));
    room_send(crew[0].hub, SLICE("r"), p, SLICE(""), false, NULL);
    assert_int_equal(p->refs, 2); /* a letter to worker 2, none to worker 3, which has no members */
    fake_room_send(&crew[0], "r", "2", NULL);
    fake_room_send(&crew[0], "r", "3", NULL);
    fake_expect_sent(&crew[0], 0, "1 2 3 ");
    fake_expect_sent(&crew[1], 0, "");
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "1 2 3 ");
    assert_int_equal(p->refs, 1);
    fake_room_send(&crew[2], "r", "from outside", NULL);
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++) {
        fake_expect_sent(&crew[i], 0, i < 2 ? "from outside " : "");
        fake_expect_sent(&crew[i], 1, "");
    }
    leave(&crew[1], 0, "r");
    assert_int_equal(place_workers(crew[2].hub->crew, SLICE("r"), NULL), 1); /* no more letters to worker 2 */
    packet_unref(p);
}

static void some_are_left_out_wherever_they_are(void **state)
{
    struct fake_world *crew = *state;
    struct packet *p = fake_packet("x");

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], "ann");
        fake_open(&crew[i], "bob");
        fake_open(&crew[i], "");
        for (int n = 0; n < 3; n++)
            fake_join(&crew[i], n, "r");
    }
    conn_id ids[] = {CONN(1, 2)->id, CONN(2, 1)->id};
    struct slice users[] = {SLICE("ann"), SLICE("nobody")};
    struct hub_except except = {ids, 2, users, 2};
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            fake_room_send(&crew[0], "r", "x", &except);
        else
            assert_int_equal(hub_broadcast(crew[0].hub, p, NULL, &except), 0);
        memset(users, 0, sizeof(users)); /* letters have copies */
        fake_settle(crew);
        users[0] = SLICE("ann");
        for (int i = 0; i < FAKE_CREW; i++) {
            fake_expect_sent(&crew[i], 0, "");
            fake_expect_sent(&crew[i], 1, i == 2 ? "" : "x ");
            fake_expect_sent(&crew[i], 2, i == 1 ? "" : "x ");
        }
    }
    packet_unref(p);
}

static void a_user_is_reached_everywhere(void **state)
{
    struct fake_world *crew = *state;
    struct packet *p = fake_packet("x");
    struct whom ann = {0, SLICE("ann")};
    struct outbox_opts opts = {.key = 7, .is_volatile = true};

    assert_int_equal(whom_send(crew[0].hub, &ann, p, NULL, NULL), MT_EOFFLINE);
    fake_open(&crew[1], "ann");
    fake_open(&crew[2], "ann");
    fake_open(&crew[2], "bob");
    assert_int_equal(whom_send(crew[0].hub, &ann, p, &opts, NULL), 0);
    assert_int_equal(whom_send(crew[1].hub, &ann, p, NULL, &(struct hub_except){&CONN(2, 0)->id, 1, NULL, 0}), 0);
    fake_settle(crew);
    assert_int_equal(CONN(2, 0)->session->opts.key, 7);
    assert_true(CONN(2, 0)->session->opts.is_volatile);
    fake_expect_sent(&crew[1], 0, "x x ");
    fake_expect_sent(&crew[2], 0, "x ");
    fake_expect_sent(&crew[2], 1, "");
    assert_int_equal(whom_close(crew[0].hub, &ann, 4001, SLICE("bye")), 0);
    fake_settle(crew);
    assert_int_equal(CONN(1, 0)->session->close_code, 4001);
    assert_int_equal(CONN(2, 0)->session->close_code, 4001);
    assert_int_equal(CONN(2, 1)->session->close_code, 0);
    packet_unref(p);
}

static void a_connection_is_reached_by_its_id(void **state)
{
    struct fake_world *crew = *state;
    struct packet *p = fake_packet("x");

    fake_open(&crew[1], "ann");
    fake_open(&crew[1], "ann");
    struct whom one = {CONN(1, 0)->id, SLICE("")}, never = {one.conn | (conn_id)5 << 26, SLICE("")};
    struct slice ann = SLICE("ann");
    assert_int_equal(conn_worker(one.conn), 2);
    assert_int_equal(whom_send(crew[0].hub, &one, p, NULL, NULL), 0);
    assert_int_equal(whom_send(crew[0].hub, &one, p, NULL, &(struct hub_except){NULL, 0, &ann, 1}), 0);
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "x ");
    fake_expect_sent(&crew[1], 1, "");
    assert_int_equal(whom_join(crew[0].hub, &one, SLICE("r"), NULL), 0);
    fake_settle(crew);
    assert_true(room_has_conn(crew[1].hub, SLICE("r"), CONN(1, 0)));
    assert_int_equal(whom_leave(crew[2].hub, &one, SLICE("r")), 1);
    fake_settle(crew);
    assert_int_equal(whom_leave(crew[2].hub, &one, SLICE("r")), 0);
    assert_int_equal(whom_close(crew[0].hub, &one, 4000, SLICE("")), 0);
    fake_settle(crew);
    assert_int_equal(CONN(1, 0)->session->close_code, 4000);
    conn_detach(CONN(1, 0));
    assert_int_equal(whom_send(crew[0].hub, &one, p, NULL, NULL), MT_EOFFLINE); /* known at once */
    assert_int_equal(whom_join(crew[0].hub, &one, SLICE("r"), NULL), MT_EOFFLINE);
    assert_int_equal(whom_send(crew[0].hub, &never, p, NULL, NULL), MT_EOFFLINE);
    packet_unref(p);
}

/* Two players are put into a room and told to start: the message must find them there. */
static void a_message_follows_the_join(void **state)
{
    struct fake_world *crew = *state;
    struct blob *info = blob_copy("7", 1);
    struct whom ann = {0, SLICE("ann")};

    fake_open(&crew[1], "ann");
    fake_open(&crew[2], "ann");
    assert_int_equal(whom_join(crew[0].hub, &ann, SLICE("r"), info), 0);
    fake_room_send(&crew[0], "r", "start", NULL);
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "start ");
    fake_expect_sent(&crew[2], 0, "start ");
    expect_people(crew, "r", "ann=7 ");
    assert_int_equal(whom_leave(crew[0].hub, &ann, SLICE("r")), 1);
    fake_room_send(&crew[0], "r", "over", NULL);
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "");
    expect_count(crew, "r", 0);
    assert_int_equal(place_workers(crew[0].hub->crew, SLICE("r"), NULL), 0);
    /* who is gone when the letter comes leaves nothing behind */
    assert_int_equal(whom_join(crew[0].hub, &ann, SLICE("r"), info), 0);
    for (int i = 1; i < FAKE_CREW; i++)
        fake_close(&crew[i], 0);
    fake_settle(crew);
    expect_count(crew, "r", 0);
    assert_int_equal(place_workers(crew[0].hub->crew, SLICE("r"), NULL), 0);
    assert_int_equal(info->refs, 1);
    blob_unref(info);
}

static void a_join_on_its_way_is_emptied_out_too(void **state)
{
    struct fake_world *crew = *state;
    struct whom ann = {0, SLICE("ann")}, bob = {0, SLICE("bob")};

    fake_open(&crew[1], "ann");
    fake_open(&crew[2], "bob");
    for (int was_there = 0; was_there < 2; was_there++) {
        if (was_there)
            assert_int_equal(fake_join(&crew[2], 0, "r"), 0);
        assert_int_equal(whom_join(crew[0].hub, &ann, SLICE("r"), NULL), 0);
        empty_world(&crew[0], "r");
        fake_settle(crew);
        expect_count(crew, "r", 0);
    }
    assert_int_equal(whom_join(crew[0].hub, &ann, SLICE("r"), NULL), 0);
    empty_world(&crew[0], "r");
    assert_int_equal(whom_join(crew[0].hub, &bob, SLICE("r"), NULL), 0);
    fake_room_send(&crew[0], "r", "x", NULL);
    fake_settle(crew);
    expect_people(crew, "r", "bob ");
    fake_expect_sent(&crew[1], 0, "");
    fake_expect_sent(&crew[2], 0, "x ");
}

static void a_room_closes_everywhere(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        fake_open(&crew[i], "");
        fake_open(&crew[i], "");
        fake_join(&crew[i], 0, "r");
    }
    assert_int_equal(room_close(crew[1].hub, SLICE("r"), 4003, SLICE("bye")), 0);
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++) {
        assert_int_equal(CONN(i, 0)->session->close_code, 4003);
        assert_int_equal(CONN(i, 1)->session->close_code, 0);
    }
}

static void a_signal_is_heard_once_in_each_worker(void **state)
{
    struct fake_world *crew = *state;
    struct blob *value = blob_copy("42", 2);

    assert_int_equal(hub_signal(crew[1].hub, SLICE("a"), value), 0);
    assert_int_equal(hub_signal(crew[1].hub, SLICE("b"), value), 0);
    fake_expect_log(&crew[1], "!a/42 !b/42 ");
    fake_expect_log(&crew[0], "");
    fake_settle(crew);
    fake_expect_log(&crew[0], "!a/42 !b/42 ");
    fake_expect_log(&crew[1], "");
    fake_expect_log(&crew[2], "!a/42 !b/42 ");
    assert_int_equal(value->refs, 1);
    blob_unref(value);
}

/* ---- current messages ---- */

static void keyed(struct fake_world *w, const char *text)
{
    struct packet *p = fake_packet(text);
    assert_int_equal(room_send(w->hub, SLICE("r"), p, SLICE("k"), false, NULL), 0);
    packet_unref(p);
}

static void all_readers_end_with_the_same_value(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        crew[i].current = true;
        fake_open(&crew[i], "");
        fake_join(&crew[i], 0, "r");
    }
    fake_settle(crew);
    keyed(&crew[0], "a");
    keyed(&crew[1], "b"); /* the same key, before the letters are opened */
    fake_settle(crew);
    fake_expect_sent(&crew[0], 0, "a b ");
    fake_expect_sent(&crew[1], 0, "b ");
    fake_expect_sent(&crew[2], 0, "b "); /* a was replaced when its letter was opened */
    fake_open(&crew[2], "");
    fake_join(&crew[2], 1, "r");
    fake_expect_sent(&crew[2], 1, "b ");
}

static void who_joins_gets_a_current_message_once(void **state)
{
    struct fake_world *crew = *state;

    for (int i = 0; i < FAKE_CREW; i++) {
        crew[i].current = true;
        fake_open(&crew[i], "ann");
        fake_open(&crew[i], "bob");
    }
    fake_join(&crew[1], 0, "r");
    keyed(&crew[0], "a"); /* a letter is on its way to worker 2 */
    fake_join(&crew[1], 1, "r");
    fake_join(&crew[2], 1, "r");
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "a ");
    fake_expect_sent(&crew[1], 1, "a ");
    fake_expect_sent(&crew[2], 1, "a ");
    keyed(&crew[0], "b"); /* the next one goes to everybody again */
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "b ");
    fake_expect_sent(&crew[1], 1, "b ");
    assert_true(room_forget(crew[2].hub, SLICE("r"), SLICE("k")));
    assert_false(room_forget(crew[0].hub, SLICE("r"), SLICE("k")));
    fake_join(&crew[0], 0, "r");
    fake_expect_sent(&crew[0], 0, "");
}

/* ---- full inboxes ---- */

static void refused_letters_are_counted_and_told_now_and_then(void **state)
{
    struct fake_world *crew = *state;
    struct whom bob = {0, SLICE("bob")};

    fake_open(&crew[0], "ann");
    fake_open(&crew[1], "bob");
    fake_join(&crew[0], 0, "r");
    fake_join(&crew[1], 0, "r");
    fake_settle(crew);
    fake_set_inbox_limit(&crew[1], 2);
    for (int i = 0; i < 5; i++)
        fake_room_send(&crew[0], "r", "x", NULL);
    assert_int_equal(hub_dropped(crew[0].hub), 3);
    assert_int_equal(crew[0].dropped_calls, 1);
    assert_int_equal(crew[0].dropped, 1);
    fake_advance(&crew[0], 9999);
    fake_room_send(&crew[0], "r", "x", NULL);
    assert_int_equal(crew[0].dropped_calls, 1);
    fake_advance(&crew[0], 1);
    fake_room_send(&crew[0], "r", "x", NULL);
    assert_int_equal(crew[0].dropped_calls, 2);
    assert_int_equal(crew[0].dropped, 5);
    /* a signal may be refused, also one that says nothing but its name */
    struct blob *nothing = blob_copy("", 0);
    assert_int_equal(hub_signal(crew[0].hub, SLICE("s"), nothing), 0);
    assert_int_equal(hub_dropped(crew[0].hub), 6);
    assert_int_equal(nothing->refs, 2); /* worker 3's letter */
    /* what changes something always fits */
    assert_int_equal(whom_join(crew[0].hub, &bob, SLICE("q"), NULL), 0);
    fake_settle(crew);
    fake_expect_sent(&crew[1], 0, "x x ");
    expect_people(crew, "q", "bob ");
    assert_int_equal(hub_dropped(crew[0].hub), 6);
    blob_unref(nothing);
}

/* ---- the end ---- */

/* fake_crew_teardown destroys the hubs one after the other, with letters, hooks and people in grace under way. What is left
 * behind shows there. */
static void the_server_may_end_at_any_time(void **state)
{
    struct fake_world *crew = *state;
    struct whom ann = {0, SLICE("ann")};
    struct blob *value = blob_copy("42", 2);

    for (int i = 0; i < FAKE_CREW; i++) {
        crew[i].grace = i == 1 ? 0 : 1000;
        crew[i].current = true;
        for (int n = 0; n < 3; n++) {
            fake_open(&crew[i], n == 0 ? "ann" : n == 1 ? "bob" : "");
            fake_join(&crew[i], n, "r");
            fake_join(&crew[i], n, i == 0 ? "a" : i == 1 ? "b" : "c");
        }
    }
    for (int i = 0; i < FAKE_CREW; i++) {
        keyed(&crew[i], "x");
        whom_join(crew[i].hub, &ann, SLICE("q"), value);
        hub_signal(crew[i].hub, SLICE("s"), value);
    }
    empty_world(&crew[1], "a");
    empty_world(&crew[0], "c");
    for (int i = 0; i < FAKE_CREW; i++)
        fake_close(&crew[i], 0);
    blob_unref(value);
}

/* ---- running out of memory ---- */

/* It used to be nobody, and nothing went wrong. */
static void a_user_here_without_memory(void **state)
{
    struct fake_world *crew = *state;
    struct whom ann = {0, SLICE("ann")};
    unsigned long n = 0;
    int rc;

    fake_open(&crew[0], "ann");
    do {
        mem_fail_at(++n);
        rc = whom_join(crew[0].hub, &ann, SLICE("r"), NULL);
        mem_fail_at(0);
        assert_int_equal(rc, room_has_user(crew[0].hub, SLICE("r"), SLICE("ann")) ? 0 : MT_ENOMEM);
    } while (rc);
    assert_true(n > 1);
    mem_fail_at(1);
    assert_int_equal(whom_leave(crew[0].hub, &ann, SLICE("r")), MT_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(whom_leave(crew[0].hub, &ann, SLICE("r")), 1);
    assert_int_equal(whom_leave(crew[0].hub, &ann, SLICE("r")), 0);
}

static int do_step(struct fake_world *crew, int what, struct packet *p, struct blob *info)
{
    struct whom ann = {0, SLICE("ann")};
    struct hub *h = crew[0].hub;

    switch (what) {
    case 0:
        return room_send(h, SLICE("r"), p, SLICE(""), false, NULL);
    case 1:
        return room_send(h, SLICE("r"), p, SLICE("key"), false, NULL);
    case 2:
        return whom_send(h, &ann, p, NULL, NULL);
    case 3:
        return hub_broadcast(h, p, NULL, NULL);
    case 4:
        return whom_join(h, &ann, SLICE("new"), info);
    case 5:
        return room_close(h, SLICE("nobody"), 1000, SLICE(""));
    case 6:
        return hub_signal(h, SLICE("s"), info);
    default:
        return conn_set_user(CONN(0, 0), SLICE("cid"));
    }
}

static void memory_may_run_out(void **state)
{
    struct fake_world *crew = *state;
    struct packet *p = fake_packet("x");
    struct blob *info = blob_copy("1", 1);

    for (int i = 0; i < FAKE_CREW; i++) {
        crew[i].current = true;
        fake_open(&crew[i], i == 0 ? "bob" : "ann");
        fake_join(&crew[i], 0, "r");
        fake_join(&crew[i], 0, "s");
    }
    fake_settle(crew);
    for (int what = 0; what < 8; what++) {
        unsigned long n = 1;
        for (;; n++) {
            mem_fail_at(n);
            int rc = do_step(crew, what, p, info);
            mem_fail_at(0);
            if (rc == 0)
                break;
            assert_int_equal(rc, MT_ENOMEM);
            fake_settle(crew);
            for (int i = 0; i < FAKE_CREW; i++)
                fake_expect_sent(&crew[i], 0, ""); /* nothing, or all of it */
            expect_count(crew, "new", what > 4);
            expect_people(crew, "r", "bob ann ");
        }
        assert_true(n > 1);
        fake_settle(crew);
        for (int i = 0; i < FAKE_CREW; i++)
            crew[i].sessions[0]->len = crew[i].sessions[0]->sent[0] = 0;
    }
    expect_people(crew, "r", "ann cid ");
    expect_people(crew, "new", "ann=1 ");
    assert_int_equal(info->refs, 2);
    assert_int_equal(p->refs, 2); /* kept */
    packet_unref(p);
    blob_unref(info);
    mem_fail_at(1);
    assert_null(hub_crew_create(4));
    mem_fail_at(0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_crew_setup, fake_crew_teardown)
    const struct CMUnitTest tests[] = {
        TEST(people_are_counted_over_all_workers_at_once),
        TEST(rooms_are_listed_over_all_workers),
        TEST(hooks_run_once_and_at_home),
        TEST(hooks_come_in_the_order_of_the_changes),
        TEST(hooks_that_cause_hooks_take_turns),
        TEST(who_comes_back_elsewhere_is_not_announced),
        TEST(the_last_loss_counts),
        TEST(emptying_ends_a_grace_that_another_worker_watches),
        TEST(logging_in_meets_ones_other_tabs),
        TEST(an_emptied_room_is_empty_at_once),
        TEST(what_was_said_before_emptying_is_heard),
        TEST(who_was_emptied_out_and_never_told_goes_away),
        TEST(an_emptied_room_may_be_joined_again_at_once),
        TEST(who_is_emptied_out_may_close_or_log_in),
        TEST(a_join_notices_that_the_room_is_over),
        TEST(a_room_is_heard_in_all_workers_in_order),
        TEST(some_are_left_out_wherever_they_are),
        TEST(a_user_is_reached_everywhere),
        TEST(a_connection_is_reached_by_its_id),
        TEST(a_message_follows_the_join),
        TEST(a_join_on_its_way_is_emptied_out_too),
        TEST(a_room_closes_everywhere),
        TEST(a_signal_is_heard_once_in_each_worker),
        TEST(all_readers_end_with_the_same_value),
        TEST(who_joins_gets_a_current_message_once),
        TEST(refused_letters_are_counted_and_told_now_and_then),
        TEST(the_server_may_end_at_any_time),
        TEST(a_user_here_without_memory),
        TEST(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
