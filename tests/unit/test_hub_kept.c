/* test_hub_kept.c - current messages: order, replacing, forgetting, and the bound on all of them together. */
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

static uint64_t stamp;

static int put(struct kept_store *k, const char *room, const char *key, const char *text)
{
    struct packet *p = fake_packet(text);
    int rc = kept_put(k, slice_of(room), slice_of(key), 1 + strlen(key), ++stamp, p);
    assert_int_equal(p->refs, rc == 0 ? 2 : 1);
    packet_unref(p);
    return rc;
}

static void send_to(const struct kept_store *k, const char *room, struct session *s)
{
    struct kept_list list;
    assert_int_equal(kept_take_list(k, slice_of(room), &list), 0);
    kept_send_list(&list, s);
    assert_null(list.items);
}

static void expect_kept(const struct kept_store *k, const char *room, const char *expected)
{
    struct session s = {0};
    send_to(k, room, &s);
    assert_string_equal(s.sent, expected);
}

static void order_is_that_of_first_storing(void **state)
{
    struct kept_store k;
    kept_init(&k);
    put(&k, "r", "a", "a1");
    put(&k, "r", "b", "b1");
    put(&k, "s", "a", "s1");
    put(&k, "r", "c", "c1");
    put(&k, "r", "a", "a2");
    expect_kept(&k, "r", "a2 b1 c1 ");
    expect_kept(&k, "s", "s1 ");
    expect_kept(&k, "none", "");
    assert_true(kept_forget(&k, SLICE("r"), SLICE("b")));
    assert_false(kept_forget(&k, SLICE("r"), SLICE("b")));
    expect_kept(&k, "r", "a2 c1 ");
    put(&k, "r", "b", "b2");
    expect_kept(&k, "r", "a2 c1 b2 ");
    assert_true(kept_forget(&k, SLICE("s"), SLICE("a")));
    assert_int_equal(k.rooms.count, 1);
    kept_fini(&k);
    assert_int_equal(k.bytes, 0);
}

static void they_are_sent_with_their_key(void **state)
{
    struct kept_store k;
    struct session s = {0};
    kept_init(&k);
    put(&k, "r", "abc", "x");
    send_to(&k, "r", &s);
    assert_int_equal(s.opts.key, 4);
    assert_false(s.opts.is_volatile);
    kept_fini(&k);
}

static void a_reader_that_closes_ends_the_sending(void **state)
{
    struct kept_store k;
    struct session s = {.closed = true};
    kept_init(&k);
    put(&k, "r", "a", "x");
    send_to(&k, "r", &s);
    assert_int_equal(s.messages, 0);
    kept_fini(&k);
}

/* Those who join get what was there when they did, also when it is replaced before they are sent it. */
static void a_list_outlives_its_room(void **state)
{
    struct kept_store k;
    struct kept_list list;
    struct session s = {0};
    kept_init(&k);
    put(&k, "r", "a", "a1");
    assert_int_equal(kept_take_list(&k, SLICE("r"), &list), 0);
    put(&k, "r", "a", "a2");
    kept_fini(&k);
    kept_send_list(&list, &s);
    assert_string_equal(s.sent, "a1 ");
}

static void stamps_tell_the_age(void **state)
{
    struct kept_store k;
    kept_init(&k);
    assert_int_equal(kept_oldest(&k), UINT64_MAX);
    kept_drop_oldest(&k); /* nothing */
    stamp = 0;
    put(&k, "r", "a", "a1");
    put(&k, "r", "b", "b1");
    put(&k, "s", "a", "s1");
    put(&k, "r", "a", "a2"); /* renewed: no longer the oldest */
    assert_int_equal(kept_stamp(&k, SLICE("r"), SLICE("a")), 4);
    assert_int_equal(kept_stamp(&k, SLICE("r"), SLICE("c")), 0);
    assert_int_equal(kept_stamp(&k, SLICE("none"), SLICE("a")), 0);
    assert_int_equal(kept_oldest(&k), 2);
    kept_drop_oldest(&k);
    assert_int_equal(kept_oldest(&k), 3);
    expect_kept(&k, "r", "a2 ");
    kept_fini(&k);
}

/* The bound holds for all rooms of all workers together. */
static void the_longest_not_renewed_goes(void **state)
{
    struct fake_world *w = *state;
    enum { COUNT = 70, SIZE = 1 << 20 };
    char *payload = calloc(1, SIZE), key[16];
    w->current = true;
    for (int i = 0; i < COUNT; i++) {
        struct packet *p = packet_create(FRAME_BINARY, payload, SIZE);
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(room_send(w->hub, i % 2 ? SLICE("odd") : SLICE("even"), p, slice_of(key), false, NULL), 0);
        if (i == 60) /* renewed: no longer the oldest */
            assert_int_equal(room_send(w->hub, SLICE("even"), p, SLICE("k0"), false, NULL), 0);
        assert_true(w->hub->crew->kept_bytes <= HUB_CURRENT_MAX);
        packet_unref(p);
    }
    assert_true(w->hub->crew->kept_bytes > HUB_CURRENT_MAX - SIZE - 1000);
    assert_false(room_forget(w->hub, SLICE("odd"), SLICE("k1")));
    assert_true(room_forget(w->hub, SLICE("even"), SLICE("k0")));
    assert_true(room_forget(w->hub, SLICE("odd"), SLICE("k69")));
    free(payload);
}

static void memory_may_run_out(void **state)
{
    struct kept_store k;
    unsigned long n = 1;
    int failures = 0;
    kept_init(&k);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        struct packet *p = fake_packet("x");
        for (n = 1;; n++) {
            mem_fail_at(n);
            int rc = kept_put(&k, i < 10 ? SLICE("r") : SLICE("s"), slice_of(key), 1, ++stamp, p);
            mem_fail_at(0);
            if (rc == 0)
                break;
            assert_int_equal(rc, MT_ENOMEM);
            assert_int_equal(k.rooms.count, i == 0 ? 0 : i <= 10 ? 1 : 2);
            failures++;
        }
        packet_unref(p);
    }
    assert_true(failures > 20);
    expect_kept(&k, "r", "x x x x x x x x x x ");
    struct kept_list list;
    mem_fail_at(1);
    assert_int_equal(kept_take_list(&k, SLICE("r"), &list), MT_ENOMEM);
    mem_fail_at(0);
    assert_null(list.items);
    kept_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_first_storing),
        cmocka_unit_test(they_are_sent_with_their_key),
        cmocka_unit_test(a_reader_that_closes_ends_the_sending),
        cmocka_unit_test(a_list_outlives_its_room),
        cmocka_unit_test(stamps_tell_the_age),
        cmocka_unit_test_setup_teardown(the_longest_not_renewed_goes, fake_setup, fake_teardown),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
