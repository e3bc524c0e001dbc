/* test_net_quota.c - what each address takes: sockets, handshakes, and that little is remembered. */
#include "net/quota.h"

#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the headers above first
#include <cmocka.h>

enum { SECOND = 1000000, NOW = 5 * SECOND };

static const struct rate twice = {2, 3}; /* 3 at once, then 2 a second */

static struct ip ip_of(const char *text)
{
    struct ip ip;

    assert_true(ip_parse(slice_of(text), &ip));
    return ip;
}

static struct quota *create(size_t idle_max)
{
    struct quota *q = quota_create(idle_max);

    if (q)
        quota_set_rate(q, &twice);
    return q;
}

static bool enter(struct quota *q, const char *text, size_t limit)
{
    struct ip ip = ip_of(text);

    return quota_enter(q, &ip, limit);
}

static void leave(struct quota *q, const char *text, uint64_t now)
{
    struct ip ip = ip_of(text);

    quota_leave(q, &ip, now);
}

static uint64_t handshake(struct quota *q, const char *text, uint64_t now)
{
    struct ip ip = ip_of(text);

    return quota_handshake(q, &ip, now);
}

static void sockets_are_limited_by_address(void **state)
{
    struct quota *q = create(10);

    assert_true(enter(q, "203.0.113.9", 2) && enter(q, "203.0.113.9", 2));
    assert_false(enter(q, "203.0.113.9", 2));
    assert_false(enter(q, "::ffff:203.0.113.9", 2)); /* the same client on a socket of both families */
    assert_true(enter(q, "203.0.113.10", 2));
    leave(q, "203.0.113.9", NOW);
    assert_true(enter(q, "203.0.113.9", 2));
    assert_true(enter(q, "203.0.113.9", 3)); /* the setting was raised */
    assert_false(enter(q, "203.0.113.9", 1));
    quota_destroy(q);
}

static void ipv6_is_counted_by_its_network(void **state)
{
    struct quota *q = create(10);

    assert_true(enter(q, "2001:db8:1:2::1", 1));
    assert_false(enter(q, "2001:db8:1:2:ffff:ffff:ffff:ffff", 1));
    assert_true(enter(q, "2001:db8:1:3::1", 1));
    leave(q, "2001:db8:1:2:5::", NOW);
    assert_true(enter(q, "2001:db8:1:2::2", 1));
    quota_destroy(q);
}

static void handshakes_come_at_a_rate(void **state)
{
    struct quota *q = create(10);

    for (int i = 0; i < 3; i++)
        assert_int_equal(handshake(q, "203.0.113.9", NOW), 0);
    assert_int_equal(handshake(q, "203.0.113.9", NOW), SECOND / 2);
    assert_int_equal(handshake(q, "203.0.113.10", NOW), 0);
    assert_int_equal(handshake(q, "203.0.113.9", NOW + SECOND / 4), SECOND / 4); /* being refused has cost nothing */
    assert_int_equal(handshake(q, "203.0.113.9", NOW + SECOND / 2), 0);
    assert_int_not_equal(handshake(q, "203.0.113.9", NOW + SECOND / 2), 0);
    quota_destroy(q);
}

/* Neither by opening and closing sockets nor by waiting for others is a debt forgotten; when it is paid off all is. */
static void who_owes_nothing_is_forgotten(void **state)
{
    struct quota *q = create(10);

    for (int i = 0; i < 3; i++)
        assert_int_equal(handshake(q, "203.0.113.9", NOW), 0);
    assert_true(enter(q, "203.0.113.9", 5));
    leave(q, "203.0.113.9", NOW);
    assert_int_not_equal(handshake(q, "203.0.113.9", NOW), 0);
    assert_int_equal(quota_count(q), 1);
    assert_true(enter(q, "203.0.113.9", 5));
    leave(q, "203.0.113.9", NOW + 2 * SECOND); /* full again */
    assert_int_equal(quota_count(q), 0);
    handshake(q, "203.0.113.9", NOW);
    handshake(q, "203.0.113.10", NOW + 10 * SECOND);
    assert_int_equal(quota_count(q), 1);
    quota_destroy(q);
}

/* Who was to wait for an hour does not under a rate that is high. */
static void a_new_rate_forgets(void **state)
{
    struct quota *q = create(10);
    static const struct rate slow = {0.001, 1}, fast = {100, 1};

    quota_set_rate(q, &slow);
    assert_true(enter(q, "203.0.113.9", 1));
    assert_int_equal(handshake(q, "203.0.113.9", NOW), 0);
    assert_int_equal(handshake(q, "203.0.113.10", NOW), 0);
    quota_set_rate(q, &slow);
    assert_int_equal(handshake(q, "203.0.113.9", NOW), 1000ull * SECOND);
    assert_int_equal(handshake(q, "203.0.113.10", NOW), 1000ull * SECOND);
    quota_set_rate(q, &fast);
    assert_int_equal(quota_count(q), 1);
    assert_int_equal(handshake(q, "203.0.113.9", NOW), 0);
    assert_int_equal(handshake(q, "203.0.113.10", NOW), 0);
    assert_false(enter(q, "203.0.113.9", 1)); /* sockets are not forgotten */
    quota_destroy(q);
}

static struct ip nth(unsigned i)
{
    struct ip ip = ip_of("2001:db8::");

    ip.bytes[4] = (unsigned char)(i >> 24);
    ip.bytes[5] = (unsigned char)(i >> 16);
    ip.bytes[6] = (unsigned char)(i >> 8);
    ip.bytes[7] = (unsigned char)i;
    return ip;
}

static void an_attack_from_everywhere_takes_little(void **state)
{
    struct quota *q = create(100);

    assert_true(enter(q, "203.0.113.9", 1)); /* has a socket: remembered whatever comes */
    for (unsigned i = 0; i < 100000; i++) {
        struct ip ip = nth(i);
        assert_int_equal(quota_handshake(q, &ip, NOW), 0); /* nobody is kept out by the others */
        assert_true(quota_count(q) <= 101);
    }
    assert_false(enter(q, "203.0.113.9", 1));
    struct ip last = nth(99999);
    assert_int_equal(quota_handshake(q, &last, NOW), 0);
    assert_int_equal(quota_handshake(q, &last, NOW), 0);
    assert_int_not_equal(quota_handshake(q, &last, NOW), 0); /* the newest are remembered */
    quota_destroy(q);
}

static void without_memory_nobody_new_is_let_in(void **state)
{
    int failures = 0;

    for (unsigned long n = 1;; n++) {
        struct ip ip = ip_of("203.0.113.9");
        mem_fail_at(n);
        struct quota *q = create(1);
        bool in = q && quota_enter(q, &ip, 1);
        mem_fail_at(0);
        if (in) {
            quota_leave(q, &ip, NOW);
            mem_fail_at(1);
            assert_int_equal(quota_handshake(q, &ip, NOW), SECOND);
            mem_fail_at(0);
            assert_int_equal(quota_handshake(q, &ip, NOW), 0);
        } else {
            assert_true(!q || quota_count(q) == 0);
        }
        quota_destroy(q);
        if (in)
            break;
        failures++;
    }
    assert_int_equal(failures, 3);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000, ADDRESSES = 7, LIMIT = 3 };

static void *come_and_go(void *arg)
{
    struct quota *q = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ip ip = nth(i % ADDRESSES);
        quota_handshake(q, &ip, NOW + i);
        if (quota_enter(q, &ip, LIMIT))
            quota_leave(q, &ip, NOW + i);
    }
    return NULL;
}

static void workers_share_it(void **state)
{
    struct quota *q = create(3);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, come_and_go, q);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < ADDRESSES; i++) { /* all have left */
        struct ip ip = nth(i);
        for (int n = 0; n < LIMIT; n++)
            assert_true(quota_enter(q, &ip, LIMIT));
        assert_false(quota_enter(q, &ip, LIMIT));
    }
    quota_destroy(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_limited_by_address),
        cmocka_unit_test(ipv6_is_counted_by_its_network),
        cmocka_unit_test(handshakes_come_at_a_rate),
        cmocka_unit_test(who_owes_nothing_is_forgotten),
        cmocka_unit_test(a_new_rate_forgets),
        cmocka_unit_test(an_attack_from_everywhere_takes_little),
        cmocka_unit_test(without_memory_nobody_new_is_let_in),
        cmocka_unit_test(workers_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
