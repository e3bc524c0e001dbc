/* test_hub_room.c - rooms: people with several tabs, grace, hooks that change everything, and what a join costs. */
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

static size_t people(struct fake_world *w, const char *name)
{
    return room_count(w->hub, slice_of(name));
}

static size_t seats(struct fake_world *w, const char *name)
{
    const struct room *r = room_find(w->hub, slice_of(name));
    return r ? r->fan.count : 0;
}

static bool has_conn(struct fake_world *w, const char *name, const struct conn *c)
{
    return room_has_conn(w->hub, slice_of(name), c);
}

static bool has_user(struct fake_world *w, const char *name, struct slice user)
{
    return room_has_user(w->hub, slice_of(name), user);
}

static bool leave(struct fake_world *w, int n, const char *name)
{
    return room_leave(w->conns[n], slice_of(name));
}

static int join_info(struct fake_world *w, int n, const char *name, const char *info)
{
    struct blob *b = blob_copy(info, strlen(info));
    int rc = room_join(w->conns[n], slice_of(name), b);
    blob_unref(b);
    return rc;
}

/* People of a room as text, "user=info user ..." */
static void expect_people(struct fake_world *w, const char *name, const char *expected)
{
    char text[512];

    fake_people(w, name, text, sizeof(text));
    assert_string_equal(text, expected);
}

/* The first person of a room. */
static conn_id first_conn(struct fake_world *w, const char *name)
{
    struct buf list = {0};
    struct person p;

    assert_true(room_members(w->hub, slice_of(name), &list) > 0);
    struct slice left = buf_slice(&list);
    assert_true(person_next(&left, &p));
    buf_fini(&list);
    return p.conn;
}

/* ---- joining and leaving ---- */

static void a_room_lives_as_long_as_its_members(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_open(w, "bob");
    assert_int_equal(people(w, "r"), 0);
    assert_int_equal(fake_join(w, 0, "r"), 0);
    assert_int_equal(fake_join(w, 1, "r"), 0);
    assert_int_equal(people(w, "r"), 2);
    assert_int_equal(seats(w, "r"), 2);
    assert_true(slice_is(room_name(room_find(w->hub, SLICE("r"))), SLICE("r")));
    assert_true(leave(w, 0, "r"));
    assert_false(leave(w, 0, "r"));
    assert_false(has_conn(w, "r", w->conns[0]));
    assert_true(has_conn(w, "r", w->conns[1]));
    assert_true(leave(w, 1, "r"));
    assert_int_equal(people(w, "r"), 0);
    fake_expect_log(w, "+r/ann +r/bob -r/ann -r/bob ");
}

static void joins_that_are_refused(void **state)
{
    struct fake_world *w = *state;
    static char name[HUB_NAME_MAX + 1];
    memset(name, 'x', sizeof(name));
    fake_open(w, "ann");
    assert_int_equal(fake_join(w, 0, ""), MT_EINVALID);
    assert_int_equal(room_join(w->conns[0], (struct slice){name, sizeof(name)}, NULL), MT_EINVALID);
    assert_int_equal(room_join(w->conns[0], (struct slice){name, HUB_NAME_MAX}, NULL), 0);
    w->sessions[0]->closed = true; /* closing: no new rooms */
    assert_int_equal(fake_join(w, 0, "r"), MT_ECLOSED);
    conn_detach(w->conns[0]);
    assert_int_equal(fake_join(w, 0, "r"), MT_ECLOSED);
    assert_int_equal(people(w, "r"), 0);
}

static void one_connection_has_a_bounded_number_of_rooms(void **state)
{
    struct fake_world *w = *state;
    char name[16];
    fake_open(w, "ann");
    for (int i = 0; i < HUB_ROOMS_MAX; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        assert_int_equal(fake_join(w, 0, name), 0);
    }
    assert_int_equal(fake_join(w, 0, "one more"), MT_EFULL);
    assert_int_equal(people(w, "one more"), 0);
    assert_int_equal(fake_join(w, 0, "r5"), 0); /* has it already */
    assert_true(leave(w, 0, "r5"));
    assert_int_equal(fake_join(w, 0, "one more"), 0);
}

static void several_tabs_are_one_person(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_join(w, 1, "r");
    fake_expect_log(w, "+r/ann ");
    assert_int_equal(people(w, "r"), 1);
    assert_int_equal(seats(w, "r"), 2);
    assert_int_equal(first_conn(w, "r"), w->ids[0]);
    leave(w, 0, "r");
    fake_expect_log(w, "");
    assert_int_equal(first_conn(w, "r"), w->ids[1]);
    leave(w, 1, "r");
    fake_expect_log(w, "-r/ann ");
}

static void nobody_in_particular_is_a_person_per_connection(void **state)
{
    struct fake_world *w = *state;
    char name[CONN_NAME_SIZE], user[CONN_NAME_SIZE + 1];
    fake_open(w, "");
    fake_open(w, "");
    conn_name(w->ids[0], name);
    snprintf(user, sizeof(user), "#%s", name); /* a user of that name is still somebody else */
    fake_open(w, user);
    for (int i = 0; i < 3; i++)
        fake_join(w, i, "r");
    assert_int_equal(people(w, "r"), 3);
    assert_true(has_user(w, "r", slice_of(user)));
    assert_false(has_user(w, "r", SLICE("")));
    leave(w, 0, "r");
    assert_int_equal(people(w, "r"), 2);
    assert_true(has_user(w, "r", slice_of(user)));
}

static void info_is_kept_and_renewed(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_open(w, "ann");
    join_info(w, 0, "r", "1");
    join_info(w, 1, "r", "2");
    fake_expect_log(w, "+r/ann=1 +r/bob=2 ");
    expect_people(w, "r", "ann=1 bob=2 ");
    fake_join(w, 0, "r");
    expect_people(w, "r", "ann=1 bob=2 ");
    join_info(w, 0, "r", "3");
    expect_people(w, "r", "ann=3 bob=2 ");
    join_info(w, 2, "r", "4"); /* the other tab */
    expect_people(w, "r", "ann=4 bob=2 ");
    fake_expect_log(w, "");
    leave(w, 0, "r");
    leave(w, 2, "r");
    fake_expect_log(w, "-r/ann=4 ");
}

static void rooms_of_a_connection(void **state)
{
    struct fake_world *w = *state;
    char name[16], expected[16];
    fake_open(w, "ann");
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        fake_join(w, 0, name);
    }
    for (int i = 0; i < 30; i += 2) {
        snprintf(name, sizeof(name), "r%d", i);
        assert_true(leave(w, 0, name));
    }
    struct membership *m = NULL;
    int i = 1;
    for (struct room *r; (r = conn_next_room(w->conns[0], &m)); i += 2) {
        snprintf(expected, sizeof(expected), "r%d", i);
        assert_true(slice_is(room_name(r), slice_of(expected)));
        assert_true(room_has_conn(w->hub, slice_of(expected), w->conns[0]));
    }
    assert_int_equal(i, 31);
    for (i = 29; i > 0; i -= 2) {
        snprintf(name, sizeof(name), "r%d", i);
        assert_true(leave(w, 0, name));
    }
    m = NULL;
    assert_null(conn_next_room(w->conns[0], &m));
}

/* "name=people" of the rooms with a prefix; one room is expected at most, as they come in no order. */
static void expect_rooms(struct fake_world *w, const char *prefix, int expected, const char *one)
{
    struct buf list = {0};
    struct slice name, left;
    size_t people_there;
    char text[64];
    int n = 0;

    assert_int_equal(room_list(w->hub, slice_of(prefix), &list), expected);
    for (left = buf_slice(&list); room_list_next(&left, &name, &people_there); n++) {
        snprintf(text, sizeof(text), "%.*s=%zu", (int)name.len, name.data, people_there);
        if (one)
            assert_string_equal(text, one);
    }
    assert_int_equal(n, expected);
    buf_fini(&list);
}

static void rooms_by_prefix(void **state)
{
    struct fake_world *w = *state;
    w->grace = 10;
    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_join(w, 0, "price:a");
    fake_join(w, 0, "price:b");
    fake_join(w, 0, "chat");
    fake_join(w, 0, "pri");
    fake_join(w, 1, "price:b");
    expect_rooms(w, "price:", 2, NULL);
    expect_rooms(w, "price:b", 1, "price:b=2");
    expect_rooms(w, "", 4, NULL);
    fake_close(w, 0); /* in grace */
    leave(w, 1, "price:b");
    expect_rooms(w, "price:b", 1, "price:b=1");
    fake_advance(w, 10);
    expect_rooms(w, "", 0, NULL);
}

/* ---- grace ---- */

static void a_lost_person_stays_for_the_grace(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_close(w, 0);
    assert_int_equal(people(w, "r"), 1);
    assert_int_equal(seats(w, "r"), 0);
    assert_true(has_user(w, "r", SLICE("ann")));
    fake_advance(w, 4999);
    expect_people(w, "r", "ann ");
    fake_advance(w, 1);
    assert_int_equal(people(w, "r"), 0);
    fake_expect_log(w, "+r/ann -r/ann ");
}

static void coming_back_in_time_is_silent(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "ann");
    join_info(w, 0, "r", "1");
    fake_close(w, 0);
    fake_advance(w, 3000);
    fake_open(w, "ann");
    fake_join(w, 1, "r");
    fake_advance(w, 10000);
    expect_people(w, "r", "ann=1 ");
    fake_expect_log(w, "+r/ann=1 ");
    fake_close(w, 1);
    fake_advance(w, 4000);
    fake_open(w, "ann");
    join_info(w, 2, "r", "2");
    fake_advance(w, 4000);
    expect_people(w, "r", "ann=2 ");
    assert_true(leave(w, 2, "r")); /* leaving on purpose has no grace */
    fake_expect_log(w, "-r/ann=2 ");
}

static void grace_is_for_the_last_tab_only(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "ann");
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_join(w, 1, "r");
    fake_close(w, 0);
    fake_advance(w, 10000);
    fake_expect_log(w, "+r/ann ");
    fake_close(w, 1);
    fake_advance(w, 4999);
    fake_expect_log(w, "");
    fake_advance(w, 1);
    fake_expect_log(w, "-r/ann ");
}

static void strangers_have_grace_but_cannot_come_back(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "");
    fake_join(w, 0, "r");
    fake_close(w, 0);
    fake_open(w, "");
    fake_join(w, 1, "r");
    assert_int_equal(people(w, "r"), 2);
    fake_advance(w, 5000);
    assert_int_equal(people(w, "r"), 1);
    fake_expect_log(w, "+r/#0 +r/#1 -r/#0 ");
}

static void no_grace_means_at_once(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_join(w, 0, "a");
    fake_join(w, 0, "b");
    fake_close(w, 0);
    fake_expect_log(w, "+a/ann +b/ann -a/ann -b/ann ");
}

static void the_hub_may_end_with_people_in_grace(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "ann");
    fake_open(w, "");
    join_info(w, 0, "a", "x");
    fake_join(w, 0, "b");
    fake_join(w, 1, "b");
    fake_close(w, 0);
    fake_close(w, 1);
    fake_expect_log(w, "+a/ann=x +b/ann +b/#1 ");
    /* fake_teardown destroys it; leaks and timers left behind show there */
}

static void emptying_a_room(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    room_empty(w->hub, SLICE("r"));
    for (int i = 0; i < 4; i++) {
        fake_open(w, i == 1 || i == 2 ? "ann" : i == 3 ? "bob" : "");
        fake_join(w, i, "r");
    }
    fake_close(w, 3);
    fake_expect_log(w, "+r/#0 +r/ann +r/bob ");
    room_empty(w->hub, SLICE("r"));
    fake_expect_log(w, "-r/#0 -r/ann -r/bob ");
    assert_int_equal(people(w, "r"), 0);
    struct membership *m = NULL;
    assert_null(conn_next_room(w->conns[1], &m));
    fake_advance(w, 10000);
    fake_expect_log(w, "");
}

/* ---- another person ---- */

static void logging_in_moves_memberships(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "");
    join_info(w, 0, "a", "i");
    fake_join(w, 0, "b");
    fake_open(w, "ann");
    fake_join(w, 1, "b"); /* ann is in b already */
    fake_expect_log(w, "+a/#0=i +b/#0 +b/ann ");
    assert_int_equal(conn_set_user(w->conns[0], SLICE("ann")), 0);
    fake_expect_log(w, "-a/#0=i +a/ann=i -b/#0 ");
    expect_people(w, "a", "ann=i ");
    expect_people(w, "b", "ann ");
    assert_int_equal(seats(w, "b"), 2);
    leave(w, 1, "b");
    fake_expect_log(w, "");
    assert_int_equal(conn_set_user(w->conns[0], SLICE("bob")), 0);
    fake_expect_log(w, "-a/ann=i +a/bob=i -b/ann +b/bob ");
    assert_int_equal(conn_set_user(w->conns[0], SLICE("")), 0);
    fake_expect_log(w, "-a/bob=i +a/#0=i -b/bob +b/#0 ");
    fake_room_send(w, "a", "still there", NULL);
    fake_expect_sent(w, 0, "still there ");
}

static void another_tab_keeps_the_old_person(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_join(w, 1, "r");
    assert_int_equal(conn_set_user(w->conns[0], SLICE("bob")), 0);
    fake_expect_log(w, "+r/ann +r/bob ");
    assert_int_equal(first_conn(w, "r"), w->ids[1]);
    assert_int_equal(conn_set_user(w->conns[0], SLICE("ann")), 0);
    fake_expect_log(w, "-r/bob ");
    assert_int_equal(people(w, "r"), 1);
}

static void logging_in_ends_a_grace(void **state)
{
    struct fake_world *w = *state;
    w->grace = 5000;
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_close(w, 0);
    fake_open(w, "");
    fake_join(w, 1, "r");
    assert_int_equal(conn_set_user(w->conns[1], SLICE("ann")), 0);
    fake_advance(w, 10000);
    fake_expect_log(w, "+r/ann +r/#1 -r/#1 ");
    expect_people(w, "r", "ann ");
}

/* ---- sending ---- */

static void members_hear_and_others_do_not(void **state)
{
    struct fake_world *w = *state;
    static const char *const users[] = {"ann", "bob", "ann", "", "cid", ""};
    fake_room_send(w, "r", "nobody", NULL);
    for (int i = 0; i < 6; i++) {
        fake_open(w, users[i]);
        if (i < 5)
            fake_join(w, i, "r");
    }
    fake_room_send(w, "r", "all", NULL);
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i < 5 ? "all " : "");
    struct slice names[] = {SLICE("ann"), SLICE("nobody")};
    conn_id ids[] = {w->ids[3], w->ids[5], 99};
    fake_room_send(w, "r", "some", &(struct hub_except){ids, 3, names, 2});
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i == 1 || i == 4 ? "some " : "");
    leave(w, 1, "r");
    conn_detach(w->conns[4]);
    fake_room_send(w, "r", "rest", &(struct hub_except){ids, 1, NULL, 0});
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i == 0 || i == 2 ? "rest " : "");
}

static void keys_belong_to_their_room(void **state)
{
    struct fake_world *w = *state;
    struct packet *p = fake_packet("x");
    uint64_t keys[4];
    fake_open(w, "");
    fake_join(w, 0, "a");
    fake_join(w, 0, "b");
    static const char *const sends[4][2] = {{"a", "k"}, {"a", "k2"}, {"b", "k"}, {"a", "k"}};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(room_send(w->hub, slice_of(sends[i][0]), p, slice_of(sends[i][1]), i == 1, NULL), 0);
        keys[i] = w->sessions[0]->opts.key;
        assert_int_equal(w->sessions[0]->opts.is_volatile, i == 1);
    }
    assert_int_not_equal(keys[0], 0);
    assert_int_not_equal(keys[0], keys[1]);
    assert_int_not_equal(keys[0], keys[2]);
    assert_int_not_equal(keys[1], keys[2]);
    assert_int_equal(keys[0], keys[3]);
    room_send(w->hub, SLICE("a"), p, SLICE(""), false, NULL);
    assert_int_equal(w->sessions[0]->opts.key, 0);
    packet_unref(p);
}

static void closing_everybody(void **state)
{
    struct fake_world *w = *state;
    for (int i = 0; i < 4; i++) {
        fake_open(w, i == 1 ? "ann" : "");
        if (i < 3)
            fake_join(w, i, "r");
    }
    assert_int_equal(room_close(w->hub, SLICE("nothing"), 4000, SLICE("")), 0);
    conn_detach(w->conns[2]);
    assert_int_equal(room_close(w->hub, SLICE("r"), 4001, SLICE("bye")), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(w->sessions[i]->close_code, i < 2 ? 4001 : 0);
}

/* ---- current messages ---- */

static void send_keyed(struct fake_world *w, const char *name, const char *key, const char *text)
{
    struct packet *p = fake_packet(text);
    assert_int_equal(room_send(w->hub, slice_of(name), p, slice_of(key), false, NULL), 0);
    packet_unref(p);
}

static void a_sends_in_hook(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    struct packet *packet = fake_packet(join ? "joined" : "left");
    assert_int_equal(room_send(w->hub, name, packet, SLICE(""), false, NULL), 0);
    packet_unref(packet);
}

static void current_messages_come_first(void **state)
{
    struct fake_world *w = *state;
    w->current = true;
    send_keyed(w, "r", "a", "a1"); /* nobody is there yet */
    send_keyed(w, "r", "b", "b1");
    send_keyed(w, "r", "a", "a2");
    send_keyed(w, "other", "a", "x");
    send_keyed(w, "r", "", "no key");
    assert_int_equal(people(w, "r"), 0);
    w->hook = a_sends_in_hook;
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    fake_expect_sent(w, 0, "a2 b1 joined ");
    fake_join(w, 0, "r"); /* again: not again */
    fake_expect_sent(w, 0, "");
    send_keyed(w, "r", "c", "c1");
    fake_expect_sent(w, 0, "c1 ");
    leave(w, 0, "r");
    assert_true(room_forget(w->hub, SLICE("r"), SLICE("b")));
    assert_false(room_forget(w->hub, SLICE("r"), SLICE("b")));
    assert_false(room_forget(w->hub, SLICE("none"), SLICE("b")));
    w->current = false;
    send_keyed(w, "r", "d", "d1");
    w->hook = NULL;
    fake_join(w, 0, "r");
    fake_expect_sent(w, 0, "a2 c1 ");
}

/* ---- hooks that change things ---- */

static void hooks_see_a_consistent_hub(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    assert_int_equal(room_count(w->hub, name), join ? 1 : 0);
    if (p->user.len)
        assert_int_equal(room_has_user(w->hub, name, p->user), join);
}

static void hooks_run_after_the_change(void **state)
{
    struct fake_world *w = *state;
    w->hook = hooks_see_a_consistent_hub;
    fake_open(w, "ann");
    fake_join(w, 0, "a");
    fake_join(w, 0, "b");
    fake_close(w, 0);
    fake_expect_log(w, "+a/ann +b/ann -a/ann -b/ann ");
}

static void kick(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    char copy[HUB_NAME_MAX];
    struct slice user = p->user;
    memcpy(copy, user.data, user.len);
    if (join) {
        room_leave(conn_find(w->hub, p->conn), name);
        assert_int_equal(room_count(w->hub, name), 0);
    }
    assert_memory_equal(copy, p->user.data, p->user.len); /* borrowed for the whole call */
    assert_true(slice_is(name, SLICE("r")));
    assert_true(slice_is(p->info, SLICE("info")));
}

static void a_hook_may_undo_the_join(void **state)
{
    struct fake_world *w = *state;
    w->hook = kick;
    fake_open(w, "ann");
    assert_int_equal(join_info(w, 0, "r", "info"), 0);
    assert_int_equal(people(w, "r"), 0);
    fake_expect_log(w, "+r/ann=info -r/ann=info ");
}

static void close_everybody(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    uint32_t at = 0;
    w->hook = NULL;
    for (struct conn *c; (c = conn_next(w->hub, &at));)
        conn_close(c);
    assert_int_equal(p->user.len, 3);
}

static void a_hook_may_close_everybody(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_open(w, "cid");
    for (int i = 0; i < 3; i++) {
        fake_join(w, i, "a");
        fake_join(w, i, "b");
    }
    fake_expect_log(w, "+a/ann +b/ann +a/bob +b/bob +a/cid +b/cid ");
    w->hook = close_everybody;
    room_empty(w->hub, SLICE("a"));
    assert_int_equal(hub_count(w->hub), 0);
    assert_int_equal(people(w, "b"), 0);
    fake_expect_log(w, "-a/ann -a/bob -a/cid -b/ann -b/bob -b/cid ");
}

static void a_hook_may_close_the_one_logging_in(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "ann");
    fake_join(w, 0, "a");
    fake_join(w, 0, "b");
    fake_expect_log(w, "+a/ann +b/ann ");
    w->hook = close_everybody;
    assert_int_equal(conn_set_user(w->conns[0], SLICE("bob")), 0);
    /* bob was never announced, so nobody hears him leave */
    fake_expect_log(w, "-a/ann -b/ann ");
    assert_int_equal(hub_count(w->hub), 0);
}

static void empty_it(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    if (join && p->conn == w->ids[0])
        room_empty(w->hub, SLICE("b"));
}

static void who_was_not_announced_does_not_leave(void **state)
{
    struct fake_world *w = *state;
    fake_open(w, "");
    fake_join(w, 0, "a");
    fake_join(w, 0, "b");
    fake_expect_log(w, "+a/#0 +b/#0 ");
    w->hook = empty_it;
    assert_int_equal(conn_set_user(w->conns[0], SLICE("ann")), 0);
    fake_expect_log(w, "-a/#0 +a/ann -b/#0 ");
    assert_int_equal(people(w, "b"), 0);
}

static void flip_flop(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    struct conn *c = conn_find(w->hub, p->conn);
    if (c && join)
        room_leave(c, name);
    else if (c)
        room_join(c, name, NULL);
}

/* A script whose hooks undo each other must cost time, not the stack and not the loop. */
static void hooks_that_cause_hooks_take_turns(void **state)
{
    struct fake_world *w = *state;
    w->hook = flip_flop;
    fake_open(w, "ann");
    fake_join(w, 0, "r");
    unsigned first = w->joins + w->leaves;
    assert_int_equal(first, HOOKS_PER_RUN);
    fake_advance(w, 10);
    assert_int_equal(w->joins + w->leaves, first + 10 * HOOKS_PER_RUN);
    w->hook = NULL;
    fake_advance(w, 10);
    assert_true(w->joins + w->leaves <= first + 10 * HOOKS_PER_RUN + 1);
}

/* ---- costs ---- */

/* Searches by list are counted: a room with many people, a connection in many rooms and a user with many tabs have none. */
static void a_join_costs_the_same_at_any_size(void **state)
{
    struct fake_world *w = *state;
    enum { MANY = 100000 };
    struct session s = {0};
    struct conn **conns = calloc(MANY, sizeof(*conns));
    char name[16];

    w->hub->steps = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "u%d", i / 3); /* three tabs each */
        assert_int_equal(conn_open(w->hub, &s, i % 5 ? slice_of(name) : SLICE(""), &conns[i]), 0);
        assert_int_equal(room_join(conns[i], SLICE("big"), NULL), 0);
    }
    assert_int_equal(seats(w, "big"), MANY);
    assert_true(w->hub->steps <= 2 * MANY);
    for (int i = 0; i < 9000; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        assert_int_equal(room_join(conns[7], slice_of(name), NULL), 0);
        assert_true(has_conn(w, name, conns[7]));
    }
    assert_true(w->hub->steps <= 2 * MANY + 1000);
    struct hub_except except = {&conns[7]->id, 1, NULL, 0};
    fake_room_send(w, "big", "x", &except);
    assert_int_equal(s.messages, MANY - 1);
    for (int i = 0; i < MANY; i++) {
        int at = (int)((uint64_t)i * 77773 % MANY); /* in no particular order */
        if (i % 2)
            assert_true(room_leave(conns[at], SLICE("big")));
        conn_close(conns[at]);
    }
    assert_true(w->hub->steps <= 4 * MANY + 2000);
    assert_int_equal(w->joins, w->leaves);
    assert_int_equal(people(w, "big"), 0);
    free(conns);
}

static void idle_structs_are_small(void **state)
{
    assert_true(sizeof(struct conn) <= 96);
    assert_true(sizeof(struct membership) <= 72);
    assert_true(sizeof(struct member) <= 128);
}

/* ---- running out of memory ---- */

/* Whatever fails, everybody is in a room or not, and the hooks say the same. */
static void check_counts(struct fake_world *w, int n, const char *const *names, int rooms)
{
    for (int i = 0; i < rooms; i++) {
        size_t conns = 0;
        for (int c = 0; c < n; c++)
            conns += has_conn(w, names[i], w->conns[c]);
        assert_int_equal(seats(w, names[i]), conns);
        assert_true(people(w, names[i]) <= conns && (people(w, names[i]) > 0) == (conns > 0));
    }
}

static void memory_may_run_out(void **state)
{
    struct fake_world *w = *state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"};
    enum { ROOMS = sizeof(names) / sizeof(names[0]) };
    int failures = 0;

    for (int i = 0; i < 3; i++)
        fake_open(w, i == 1 ? "" : "ann");
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < ROOMS; r++)
            for (unsigned long n = 1;; n++) {
                mem_fail_at(n);
                int rc = fake_join(w, c, names[r]);
                mem_fail_at(0);
                check_counts(w, 3, names, ROOMS);
                if (rc == 0)
                    break;
                assert_int_equal(rc, MT_ENOMEM);
                failures++;
            }
    assert_true(failures > 50);
    fake_expect_log(w, "+a/ann +b/ann +c/ann +d/ann +e/ann +f/ann +g/ann +h/ann +i/ann +j/ann +k/ann "
                       "+a/#1 +b/#1 +c/#1 +d/#1 +e/#1 +f/#1 +g/#1 +h/#1 +i/#1 +j/#1 +k/#1 ");
    failures = 0;
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        int rc = conn_set_user(w->conns[1], SLICE("bob"));
        mem_fail_at(0);
        check_counts(w, 3, names, ROOMS);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
        assert_int_equal(conn_user(w->conns[1]).len, 0);
        assert_false(has_user(w, "k", SLICE("bob")));
        fake_expect_log(w, "");
        failures++;
    }
    assert_true(failures >= ROOMS);
    assert_int_equal(w->joins, 3 * ROOMS);
    assert_int_equal(w->leaves, ROOMS);
}

/* An index that cannot be had must not lose anybody. */
static void searches_do_without_an_index(void **state)
{
    struct fake_world *w = *state;
    char name[16];
    fake_open(w, "ann");
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        unsigned long n = 1;
        do
            mem_fail_at(n++);
        while (fake_join(w, 0, name) == MT_ENOMEM); /* the allocation that fails last is the index, if there is one to be made */
        mem_fail_at(0);
        assert_true(has_conn(w, name, w->conns[0]));
        if (i)
            assert_true(has_conn(w, "r0", w->conns[0]));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        assert_true(leave(w, 0, name));
    }
}

/* ---- against a simple model ---- */

enum { M_CONNS = 12, M_ROOMS = 12, M_USERS = 4 };

struct model {
    bool open[M_CONNS], in[M_CONNS][M_ROOMS];
    int user[M_CONNS];                          /* 0: nobody */
    bool announced[M_ROOMS][M_USERS + 64];      /* by the hooks: users, then connections by number */
    uint64_t away_since[M_ROOMS][M_USERS + 64]; /* when the last connection was lost, 0: not away */
};

static const char *const model_users[] = {"", "ann", "bob", "cid"};

static int person_of(const struct fake_world *w, const struct person *p)
{
    for (int u = 1; u < M_USERS; u++)
        if (slice_is(p->user, slice_of(model_users[u])))
            return u;
    for (int n = 0; n < 64; n++)
        if (w->ids[n] == p->conn)
            return M_USERS + n;
    fail();
    return 0;
}

static void model_hook(struct fake_world *w, bool join, struct slice name, const struct person *p)
{
    struct model *m = w->hook_arg;
    bool *announced = &m->announced[name.data[0] - 'a'][person_of(w, p)];
    assert_int_equal(*announced, !join);
    *announced = join;
}

static void model_check(struct fake_world *w, struct model *m, const int *number)
{
    for (int r = 0; r < M_ROOMS; r++) {
        char name[2] = {(char)('a' + r), '\0'};
        bool present[M_USERS + 64] = {0};
        size_t conns = 0, here_now = 0;
        for (int c = 0; c < M_CONNS; c++) {
            bool in = m->open[c] && m->in[c][r];
            if (m->open[c])
                assert_int_equal(has_conn(w, name, w->conns[number[c]]), in);
            if (in)
                present[m->user[c] ? m->user[c] : M_USERS + number[c]] = true;
            conns += in;
        }
        for (int i = 1; i < M_USERS + 64; i++) {
            bool here = present[i] || m->away_since[r][i];
            here_now += here;
            assert_int_equal(m->announced[r][i], here);
            if (i < M_USERS)
                assert_int_equal(has_user(w, name, slice_of(model_users[i])), here);
        }
        assert_int_equal(people(w, name), here_now);
        assert_int_equal(seats(w, name), conns);
    }
}

static bool model_present(const struct model *m, const int *number, int r, int person)
{
    for (int c = 0; c < M_CONNS; c++)
        if (m->open[c] && m->in[c][r] && (m->user[c] ? m->user[c] : M_USERS + number[c]) == person)
            return true;
    return false;
}

enum { M_GRACE = 50 };

static void model_close(struct fake_world *w, struct model *m, int *number, int c, uint64_t now)
{
    int person = m->user[c] ? m->user[c] : M_USERS + number[c];
    m->open[c] = false;
    for (int r = 0; r < M_ROOMS; r++)
        if (m->in[c][r] && !model_present(m, number, r, person) && w->grace)
            m->away_since[r][person] = now;
    memset(m->in[c], 0, sizeof(m->in[c]));
    if (rand() % 2)
        conn_detach(w->conns[number[c]]);
    fake_close(w, number[c]);
}

static void model_step(struct fake_world *w, struct model *m, int *number, uint64_t *now)
{
    int c = rand() % M_CONNS, r = rand() % M_ROOMS, what = rand() % 20;
    char name[2] = {(char)('a' + r), '\0'};

    if (what == 0) {
        uint64_t ms = (uint64_t)(rand() % 40);
        *now += ms;
        for (int i = 0; i < M_ROOMS; i++)
            for (int p = 0; p < M_USERS + 64; p++)
                if (m->away_since[i][p] && m->away_since[i][p] + M_GRACE <= *now)
                    m->away_since[i][p] = 0;
        fake_advance(w, ms);
    } else if (!m->open[c]) {
        if (w->session_count == 64)
            return;
        m->open[c] = true;
        m->user[c] = rand() % M_USERS;
        number[c] = (int)w->session_count;
        fake_open(w, model_users[m->user[c]]);
    } else if (what == 1) {
        w->grace = rand() % 3 ? M_GRACE : 0;
        model_close(w, m, number, c, *now);
    } else if (what < 12) {
        m->in[c][r] = true;
        m->away_since[r][m->user[c] ? m->user[c] : M_USERS + number[c]] = 0;
        assert_int_equal(fake_join(w, number[c], name), 0);
    } else if (what < 17) {
        bool was = m->in[c][r];
        m->in[c][r] = false;
        assert_int_equal(leave(w, number[c], name), was);
    } else if (what == 17) {
        m->user[c] = rand() % M_USERS;
        for (int i = 0; i < M_ROOMS; i++)
            if (m->in[c][i])
                m->away_since[i][m->user[c] ? m->user[c] : M_USERS + number[c]] = 0;
        assert_int_equal(conn_set_user(w->conns[number[c]], slice_of(model_users[m->user[c]])), 0);
    } else if (what == 18 && rand() % 4 == 0) {
        for (int i = 0; i < M_CONNS; i++)
            m->in[i][r] = false;
        memset(m->away_since[r], 0, sizeof(m->away_since[r]));
        room_empty(w->hub, slice_of(name));
    }
}

static void behaves_as_the_model(void **state)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        struct fake_world *w;
        struct model *m = calloc(1, sizeof(*m));
        int number[M_CONNS] = {0};
        uint64_t now = 1;
        assert_int_equal(fake_setup((void **)&w), 0);
        fake_advance(w, now);
        w->hook = model_hook;
        w->hook_arg = m;
        srand(seed);
        for (int step = 0; step < 1000; step++) {
            model_step(w, m, number, &now);
            model_check(w, m, number);
        }
        fake_teardown((void **)&w);
        free(m);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_room_lives_as_long_as_its_members),
        TEST(joins_that_are_refused),
        TEST(one_connection_has_a_bounded_number_of_rooms),
        TEST(several_tabs_are_one_person),
        TEST(nobody_in_particular_is_a_person_per_connection),
        TEST(info_is_kept_and_renewed),
        TEST(rooms_of_a_connection),
        TEST(rooms_by_prefix),
        TEST(a_lost_person_stays_for_the_grace),
        TEST(coming_back_in_time_is_silent),
        TEST(grace_is_for_the_last_tab_only),
        TEST(strangers_have_grace_but_cannot_come_back),
        TEST(no_grace_means_at_once),
        TEST(the_hub_may_end_with_people_in_grace),
        TEST(emptying_a_room),
        TEST(logging_in_moves_memberships),
        TEST(another_tab_keeps_the_old_person),
        TEST(logging_in_ends_a_grace),
        TEST(members_hear_and_others_do_not),
        TEST(keys_belong_to_their_room),
        TEST(closing_everybody),
        TEST(current_messages_come_first),
        TEST(hooks_run_after_the_change),
        TEST(a_hook_may_undo_the_join),
        TEST(a_hook_may_close_everybody),
        TEST(a_hook_may_close_the_one_logging_in),
        TEST(who_was_not_announced_does_not_leave),
        TEST(hooks_that_cause_hooks_take_turns),
        TEST(a_join_costs_the_same_at_any_size),
        TEST(memory_may_run_out),
        TEST(searches_do_without_an_index),
        cmocka_unit_test(idle_structs_are_small),
        cmocka_unit_test(behaves_as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
