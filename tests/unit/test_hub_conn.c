/* test_hub_conn.c - connections and the people behind them: ids, names, logging in and out, and who hears what. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/hub_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void ids_die_with_their_connection(void **state)
{
    struct fake_world *w = *state;
    conn_id id = fake_open(w, "")->id;

    assert_ptr_equal(conn_find(w->hub, id), w->conns[0]);
    assert_int_equal(hub_count(w->hub), 1);
    conn_detach(w->conns[0]);
    assert_ptr_equal(conn_find(w->hub, id), w->conns[0]); /* on_close still sees it */
    assert_int_equal(conn_send(w->conns[0], FRAME_TEXT, "x", 1, NULL), MT_ECLOSED);
    fake_close(w, 0);
    assert_null(conn_find(w->hub, id));
    assert_int_equal(hub_count(w->hub), 0);
    fake_open(w, ""); /* takes the slot */
    assert_null(conn_find(w->hub, id));
    assert_null(conn_find(w->hub, 0));
}

static void fields_are_kept(void **state)
{
    struct fake_world *w = *state;
    struct conn *c = fake_open(w, "ann");
    int owner;

    conn_set_owner(c, &owner);
    conn_set_expires(c, 17.5);
    assert_ptr_equal(c->owner, &owner);
    assert_true(c->expires == 17.5);
    assert_ptr_equal(c->session, w->sessions[0]);
    assert_true(slice_is(conn_user(c), SLICE("ann")));
    assert_int_equal(conn_send(c, FRAME_TEXT, "hello", 5, NULL), 0);
    fake_expect_sent(w, 0, "hello ");
}

static void people_are_counted_once_and_while_they_have_a_socket(void **state)
{
    struct fake_world *w = *state;

    assert_int_equal(hub_people(w->hub), 0);
    fake_open(w, "ann");
    fake_open(w, "ann");
    fake_open(w, "");
    fake_open(w, "");
    assert_int_equal(hub_people(w->hub), 3);
    assert_int_equal(conn_set_user(w->conns[2], SLICE("ann")), 0);
    assert_int_equal(hub_people(w->hub), 2);
    assert_int_equal(conn_set_user(w->conns[2], SLICE("bob")), 0);
    assert_int_equal(hub_people(w->hub), 3);
    assert_int_equal(conn_set_user(w->conns[2], SLICE("")), 0);
    assert_int_equal(hub_people(w->hub), 3);
    conn_detach(w->conns[0]);
    assert_int_equal(hub_people(w->hub), 3);
    conn_detach(w->conns[1]);
    assert_int_equal(hub_people(w->hub), 2);
    assert_int_equal(conn_set_user(w->conns[1], SLICE("cleo")), 0); /* gone already: counts for nobody */
    assert_int_equal(hub_people(w->hub), 2);
    for (int i = 0; i < 4; i++)
        fake_close(w, i);
    assert_int_equal(hub_people(w->hub), 0);
}

static void rooms_are_counted_while_somebody_is_there(void **state)
{
    struct fake_world *w = *state;

    fake_open(w, "ann");
    assert_int_equal(room_join(w->conns[0], SLICE("a"), NULL), 0);
    assert_int_equal(room_join(w->conns[0], SLICE("b"), NULL), 0);
    assert_int_equal(hub_rooms(w->hub), 2);
    assert_true(room_leave(w->conns[0], SLICE("a")));
    assert_int_equal(hub_rooms(w->hub), 1);
}

static void names_are_bounded(void **state)
{
    struct fake_world *w = *state;
    static char name[HUB_NAME_MAX + 1];
    struct conn *c;
    struct session s = {0};

    memset(name, 'x', sizeof(name));
    assert_int_equal(conn_open(w->hub, &s, (struct slice){name, sizeof(name)}, &c), MT_EINVALID);
    assert_int_equal(conn_open(w->hub, &s, (struct slice){name, HUB_NAME_MAX}, &c), 0);
    assert_int_equal(conn_set_user(c, (struct slice){name, sizeof(name)}), MT_EINVALID);
    assert_int_equal(conn_user(c).len, HUB_NAME_MAX);
    conn_close(c);
}

static void the_walk_survives_changes(void **state)
{
    struct fake_world *w = *state;
    uint32_t at = 0;
    int seen = 0;

    for (int i = 0; i < 10; i++)
        fake_open(w, "");
    for (struct conn *c; (c = conn_next(w->hub, &at)); seen++)
        conn_close(c);
    assert_int_equal(seen, 10);
    assert_int_equal(hub_count(w->hub), 0);
}

/* ---- names ---- */

static void names_go_both_ways(void **state)
{
    static const conn_id ids[] = {1, 35, 36, 0x100000000, 0x12345678abcdef, UINT64_MAX};
    char name[CONN_NAME_SIZE];

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        conn_name(ids[i], name);
        assert_int_equal(name[0], 'c');
        assert_int_equal(conn_parse(slice_of(name)), ids[i]);
    }
    conn_name(36 * 36 + 10, name);
    assert_string_equal(name, "c10a");
    conn_name(0, name);
    assert_string_equal(name, "c0");
}

static void ids_carry_their_worker(void **state)
{
    struct fake_world *w = *state;

    assert_int_equal(conn_worker(fake_open(w, "")->id), 1);
    assert_int_equal(conn_worker(w->ids[0] | (conn_id)63 << 26), 64);
    assert_null(conn_find(w->hub, w->ids[0] | (conn_id)63 << 26));
    struct hub_crew *crew = hub_crew_create(64);
    struct hub *last = hub_create(w->loop, w->hub->events, w, crew, 64);
    struct session s = {0};
    struct conn *c;
    assert_int_equal(conn_open(last, &s, SLICE("ann"), &c), 0);
    assert_int_equal(conn_worker(c->id), 64);
    assert_ptr_equal(conn_find(last, c->id), c);
    assert_null(conn_find(w->hub, c->id));
    conn_close(c);
    hub_destroy(last);
    hub_crew_destroy(crew);
    hub_crew_destroy(NULL);
}

static void a_signal_is_heard(void **state)
{
    struct fake_world *w = *state;
    struct blob *value = blob_copy("42", 2);

    assert_int_equal(hub_signal(w->hub, SLICE("tea"), value), 0);
    fake_expect_log(w, "!tea/42 ");
    mem_fail_at(1);
    assert_int_equal(hub_signal(w->hub, SLICE("tea"), value), MT_ENOMEM);
    mem_fail_at(0);
    fake_expect_log(w, "");
    assert_int_equal(value->refs, 1);
    blob_unref(value);
}

static void malformed_names_are_no_id(void **state)
{
    static const char *const bad[] = {
        "", "c", "1", "C1", "c01", "c0", "cA", "c-1", "c1 ", "c 1", "x1", "c3w5e11264sgsg", "c1234567890123456"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(conn_parse(slice_of(bad[i])), 0);
    assert_int_equal(conn_parse((struct slice){"c1\0", 3}), 0);
    assert_int_equal(conn_parse(SLICE("c3w5e11264sgsf")), UINT64_MAX);
}

/* ---- people ---- */

static size_t tabs(struct fake_world *w, const char *user)
{
    return user_count(w->hub, slice_of(user));
}

static void a_user_is_all_its_connections(void **state)
{
    struct fake_world *w = *state;

    assert_int_equal(tabs(w, "ann"), 0);
    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_open(w, "ann");
    assert_int_equal(tabs(w, "ann"), 2);
    conn_detach(w->conns[0]);
    assert_int_equal(tabs(w, "ann"), 1);
    conn_detach(w->conns[0]); /* again is nothing */
    conn_detach(w->conns[2]);
    assert_int_equal(tabs(w, "ann"), 0);
    assert_true(slice_is(conn_user(w->conns[2]), SLICE("ann"))); /* for on_close */
}

static void all_of_a_user_close_join_and_leave(void **state)
{
    struct fake_world *w = *state;
    struct whom ann = {0, SLICE("ann")}, nobody = {0, SLICE("nobody")}, no_user = {0, SLICE("")};

    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_open(w, "ann");
    assert_int_equal(whom_join(w->hub, &ann, SLICE("r"), NULL), 0);
    assert_int_equal(room_count(w->hub, SLICE("r")), 1);
    assert_true(room_has_conn(w->hub, SLICE("r"), w->conns[0]));
    assert_true(room_has_conn(w->hub, SLICE("r"), w->conns[2]));
    assert_int_equal(whom_leave(w->hub, &ann, SLICE("r")), 1);
    assert_int_equal(whom_leave(w->hub, &ann, SLICE("r")), 0);
    assert_int_equal(room_count(w->hub, SLICE("r")), 0);
    assert_int_equal(whom_close(w->hub, &ann, 4002, SLICE("bye")), 0);
    assert_int_equal(w->sessions[0]->close_code, 4002);
    assert_int_equal(w->sessions[1]->close_code, 0);
    assert_int_equal(w->sessions[2]->close_code, 4002);
    assert_int_equal(whom_join(w->hub, &ann, SLICE("r"), NULL), MT_EOFFLINE); /* they are closing */
    assert_int_equal(whom_join(w->hub, &ann, SLICE(""), NULL), MT_EINVALID);
    for (int i = 0; i < 2; i++) {
        const struct whom *gone = i ? &nobody : &no_user;
        assert_int_equal(whom_join(w->hub, gone, SLICE("r"), NULL), MT_EOFFLINE);
        assert_int_equal(whom_leave(w->hub, gone, SLICE("r")), MT_EOFFLINE);
        assert_int_equal(whom_close(w->hub, gone, 1000, SLICE("")), MT_EOFFLINE);
    }
}

static void one_connection_by_its_id(void **state)
{
    struct fake_world *w = *state;
    struct packet *p = fake_packet("hi");

    fake_open(w, "ann");
    fake_open(w, "ann");
    struct whom one = {w->ids[1], SLICE("")}, elsewhere = {w->ids[1] | 5u << 26, SLICE("")};
    struct hub_except except = {.conns = &w->ids[1], .conn_count = 1};
    assert_int_equal(whom_send(w->hub, &one, p, NULL, NULL), 0);
    assert_int_equal(whom_send(w->hub, &one, p, NULL, &except), 0);
    fake_expect_sent(w, 0, "");
    fake_expect_sent(w, 1, "hi ");
    assert_int_equal(whom_send(w->hub, &elsewhere, p, NULL, NULL), MT_EOFFLINE);
    assert_int_equal(whom_join(w->hub, &one, SLICE("r"), NULL), 0);
    assert_false(room_has_conn(w->hub, SLICE("r"), w->conns[0]));
    assert_int_equal(whom_leave(w->hub, &one, SLICE("r")), 1);
    assert_int_equal(whom_close(w->hub, &one, 4000, SLICE("")), 0);
    assert_int_equal(whom_close(w->hub, &one, 4000, SLICE("")), MT_EOFFLINE);
    assert_int_equal(whom_send(w->hub, &one, p, NULL, NULL), MT_EOFFLINE);
    conn_detach(w->conns[1]);
    assert_int_equal(whom_leave(w->hub, &one, SLICE("r")), MT_EOFFLINE);
    packet_unref(p);
}

static void log_in_and_out(void **state)
{
    struct fake_world *w = *state;
    struct conn *c = fake_open(w, "");

    assert_int_equal(conn_user(c).len, 0);
    assert_int_equal(conn_set_user(c, SLICE("ann")), 0);
    assert_int_equal(tabs(w, "ann"), 1);
    assert_int_equal(conn_set_user(c, SLICE("bob")), 0);
    assert_int_equal(tabs(w, "ann"), 0);
    assert_int_equal(tabs(w, "bob"), 1);
    assert_int_equal(conn_set_user(c, conn_user(c)), 0); /* the same: nothing */
    assert_int_equal(conn_set_user(c, SLICE("")), 0);
    assert_int_equal(tabs(w, "bob"), 0);
    conn_detach(c);
    assert_int_equal(conn_set_user(c, SLICE("ann")), 0);
    assert_int_equal(tabs(w, "ann"), 0); /* it has no socket */
    fake_expect_log(w, "");
}

static void ids_may_hold_any_bytes(void **state)
{
    struct fake_world *w = *state;
    struct conn *c = fake_open(w, "");

    assert_int_equal(conn_set_user(c, (struct slice){"a\0b", 3}), 0);
    assert_int_equal(user_count(w->hub, (struct slice){"a\0b", 3}), 1);
    assert_int_equal(user_count(w->hub, (struct slice){"a\0c", 3}), 0);
    assert_int_equal(tabs(w, "a"), 0);
}

/* ---- sending ---- */

static void to_a_user(void **state)
{
    struct fake_world *w = *state;
    struct packet *p = fake_packet("hi");
    struct outbox_opts opts = {.key = 9, .is_volatile = true};
    struct whom ann = {0, SLICE("ann")};

    assert_int_equal(whom_send(w->hub, &ann, p, NULL, NULL), MT_EOFFLINE);
    fake_open(w, "ann");
    fake_open(w, "bob");
    fake_open(w, "ann");
    assert_int_equal(whom_send(w->hub, &ann, p, &opts, NULL), 0);
    fake_expect_sent(w, 0, "hi ");
    fake_expect_sent(w, 1, "");
    fake_expect_sent(w, 2, "hi ");
    assert_int_equal(w->sessions[2]->opts.key, 9);
    assert_true(w->sessions[2]->opts.is_volatile);

    struct hub_except except = {.conns = &w->ids[0], .conn_count = 1};
    assert_int_equal(whom_send(w->hub, &ann, p, NULL, &except), 0);
    fake_expect_sent(w, 0, "");
    fake_expect_sent(w, 2, "hi ");
    struct slice users[] = {SLICE("bob"), SLICE("ann")};
    except = (struct hub_except){.users = users, .user_count = 2};
    assert_int_equal(whom_send(w->hub, &ann, p, NULL, &except), 0);
    fake_expect_sent(w, 0, "");
    fake_expect_sent(w, 2, "");
    conn_detach(w->conns[0]);
    conn_detach(w->conns[2]);
    assert_int_equal(whom_send(w->hub, &ann, p, NULL, NULL), MT_EOFFLINE);
    packet_unref(p);
}

static void to_everybody(void **state)
{
    struct fake_world *w = *state;
    struct packet *p = fake_packet("all");
    static const char *const users[] = {"", "ann", "bob", "ann", "", "cid"};
    struct slice ann = SLICE("ann"), nobody = SLICE("nobody");

    hub_broadcast(w->hub, p, NULL, NULL);
    for (int i = 0; i < 6; i++)
        fake_open(w, users[i]);
    conn_detach(w->conns[2]);
    fake_close(w, 5);
    hub_broadcast(w->hub, p, NULL, NULL);
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i == 2 || i == 5 ? "" : "all ");

    conn_id ids[] = {w->ids[4], w->ids[5], w->ids[4], w->ids[2], 12345};
    struct hub_except except = {ids, 5, (struct slice[]){ann, nobody, ann}, 3};
    hub_broadcast(w->hub, p, NULL, &except);
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i == 0 ? "all " : "");
    hub_broadcast(w->hub, p, NULL, NULL); /* who was left out is back, who has gone is not */
    for (int i = 0; i < 6; i++)
        fake_expect_sent(w, i, i == 2 || i == 5 ? "" : "all ");
    packet_unref(p);
}

static void memory_may_run_out(void **state)
{
    struct fake_world *w = *state;
    struct conn *c;
    unsigned long n = 1;
    struct session s = {0};

    for (;; n++) {
        mem_fail_at(n);
        int rc = conn_open(w->hub, &s, SLICE("ann"), &c);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
        assert_int_equal(hub_count(w->hub), 0);
        assert_int_equal(tabs(w, "ann"), 0);
    }
    assert_true(n > 4);
    for (n = 1;; n++) {
        mem_fail_at(n);
        int rc = conn_set_user(c, SLICE("bob"));
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
        assert_true(slice_is(conn_user(c), SLICE("ann")));
    }
    assert_true(n > 1);
    for (n = 1; n <= 2; n++) { /* the hub, its crew of one */
        mem_fail_at(n);
        assert_null(hub_create(w->loop, NULL, NULL, NULL, 1));
    }
    mem_fail_at(0);
    conn_close(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
    const struct CMUnitTest tests[] = {
        TEST(ids_die_with_their_connection),
        TEST(fields_are_kept),
        TEST(people_are_counted_once_and_while_they_have_a_socket),
        TEST(rooms_are_counted_while_somebody_is_there),
        TEST(names_are_bounded),
        TEST(the_walk_survives_changes),
        TEST(names_go_both_ways),
        TEST(malformed_names_are_no_id),
        TEST(a_user_is_all_its_connections),
        TEST(all_of_a_user_close_join_and_leave),
        TEST(one_connection_by_its_id),
        TEST(ids_carry_their_worker),
        TEST(a_signal_is_heard),
        TEST(log_in_and_out),
        TEST(ids_may_hold_any_bytes),
        TEST(to_a_user),
        TEST(to_everybody),
        TEST(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
