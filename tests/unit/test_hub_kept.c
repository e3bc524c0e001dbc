/* test_hub_kept.c - current messages: order, replacing, forgetting, and the bound on all of them together. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/kept.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int put(struct kept_store *k, const char *room, const char *key, const char *text)
{
    struct packet *p = fake_packet(text);
    int rc = kept_put(k, slice_of(room), slice_of(key), 1 + strlen(key), p);
    assert_int_equal(p->refs, rc == 0 ? 2 : 1);
    packet_unref(p);
    return rc;
}

static void expect_kept(const struct kept_store *k, const char *room, const char *expected)
{
    struct session s = {0};
    kept_send(k, slice_of(room), &s);
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
    kept_send(&k, SLICE("r"), &s);
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
    kept_send(&k, SLICE("r"), &s);
    assert_int_equal(s.messages, 0);
    kept_fini(&k);
}

static void the_longest_not_renewed_goes(void **state)
{
    struct kept_store k;
    enum { COUNT = 70, SIZE = 1 << 20 };
    char *payload = calloc(1, SIZE), key[16];
    kept_init(&k);
    for (int i = 0; i < COUNT; i++) {
        struct packet *p = packet_create(FRAME_BINARY, payload, SIZE);
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(kept_put(&k, i % 2 ? SLICE("odd") : SLICE("even"), slice_of(key), 1, p), 0);
        if (i == 60) /* renewed: no longer the oldest */
            assert_int_equal(kept_put(&k, SLICE("even"), SLICE("k0"), 1, p), 0);
        assert_true(k.bytes <= HUB_CURRENT_MAX);
        packet_unref(p);
    }
    assert_true(k.bytes > HUB_CURRENT_MAX - SIZE - 1000);
    assert_false(kept_forget(&k, SLICE("odd"), SLICE("k1")));
    assert_true(kept_forget(&k, SLICE("even"), SLICE("k0")));
    assert_true(kept_forget(&k, SLICE("odd"), SLICE("k69")));
    kept_fini(&k);
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
            int rc = kept_put(&k, i < 10 ? SLICE("r") : SLICE("s"), slice_of(key), 1, p);
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
    kept_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_first_storing),
        cmocka_unit_test(they_are_sent_with_their_key),
        cmocka_unit_test(a_reader_that_closes_ends_the_sending),
        cmocka_unit_test(the_longest_not_renewed_goes),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
