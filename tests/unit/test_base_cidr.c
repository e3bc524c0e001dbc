/* test_base_cidr.c - addresses and networks: what parses, and which network counts. */
#include "base/cidr.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(slice_of(text), &ip));
    return ip;
}

static void texts_of_addresses(void **state)
{
    static const char *const same[] = {"0.0.0.0", "203.0.113.9", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1"};
    static const char *const bad[] = {"",      "1.2.3",     "1.2.3.4.5", "1.2.3.256", "01.2.3.4x", " 1.2.3.4", "1.2.3.4 ",
                                      "[::1]", "fe80::1%0", "1::2::3",   ":",         "::g",       "localhost"};
    char text[IP_TEXT_SIZE];

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct ip ip = ip_of(same[i]);
        ip_text(&ip, text);
        assert_string_equal(text, same[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ip ip;
        if (ip_parse(slice_of(bad[i]), &ip))
            fail_msg("%s was taken for an address", bad[i]);
    }
    struct ip mapped = ip_of("::ffff:127.1.2.3"), nul;
    assert_true(ip_is_v4(&mapped) && ip_is_loopback(&mapped));
    ip_text(&mapped, text);
    assert_string_equal(text, "127.1.2.3");
    assert_false(ip_parse((struct slice){"1.2.3.4\0", 8}, &nul));
}

static void sockets_and_text_agree(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct ip a, b;

    inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &v6.sin6_addr);
    assert_true(ip_from_sockaddr((struct sockaddr *)&v4, &a) && ip_from_sockaddr((struct sockaddr *)&v6, &b));
    assert_memory_equal(&a, &b, sizeof a); /* the same client, whatever socket it came through */
    assert_false(ip_from_sockaddr(&local, &a));
}

static void texts_of_networks(void **state)
{
    static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0", "1.2.3.4", "1.2.3.4/32", "::/0", "2001:db8::/33", "::1", "::1/128"};
    static const char *const bad[] = {"10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "10.0.0.0/8/8", "10.0.0.0/-1",
                                      "10.0.0.0/ 8", "2001:db8::1/64", "10/8", ""};
    char text[CIDR_TEXT_SIZE];
    struct cidr c;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(cidr_parse(slice_of(good[i]), &c));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_parse(slice_of(bad[i]), &c))
            fail_msg("%s was taken for a network", bad[i]);
    assert_true(cidr_parse(SLICE("10.0.0.0/8"), &c));
    assert_int_equal(c.bits, 104);
    assert_false(cidr_parse(SLICE("nonsense"), &c));
    assert_int_equal(c.bits, 104);
    assert_false(cidr_parse(SLICE("2001:db8::1/64"), &c)); /* what was meant */
    cidr_text(&c, text);
    assert_string_equal(text, "2001:db8::/64");
}

static void networks_as_text(void **state)
{
    static const char *const same[] = {"10.0.0.0/8", "0.0.0.0/0", "1.2.3.4", "::/0", "2001:db8::/33", "::1",
                                       "2001:db8:1234:5678:9abc:def0:1234:5670/124"};
    char text[CIDR_TEXT_SIZE];
    struct cidr c;

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_true(cidr_parse(slice_of(same[i]), &c));
        cidr_text(&c, text);
        assert_string_equal(text, same[i]);
    }
}

static void add(struct cidr_set *s, const char *text, int value)
{
    struct cidr c;
    assert_true(cidr_parse(slice_of(text), &c));
    assert_int_equal(cidr_set_add(s, &c, value), 0);
}

static int find(const struct cidr_set *s, const char *text)
{
    struct ip ip = ip_of(text);
    return cidr_set_find(s, &ip, -1);
}

static void the_smallest_network_counts(void **state)
{
    struct cidr_set s = {0};

    add(&s, "10.1.2.0/24", 3);
    add(&s, "10.0.0.0/8", 1);
    add(&s, "10.1.0.0/16", 2);
    add(&s, "10.1.2.3", 4);
    add(&s, "10.255.255.255", 5);
    add(&s, "255.255.255.255", 6);
    add(&s, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7);
    add(&s, "2001:db8::/32", 8);
    add(&s, "2001:db8::/48", 9);
    assert_int_equal(find(&s, "10.0.0.0"), -1); /* not built yet: empty */
    assert_int_equal(cidr_set_build(&s, NULL), 0);
    assert_int_equal(find(&s, "9.255.255.255"), -1);
    assert_int_equal(find(&s, "10.0.0.0"), 1);
    assert_int_equal(find(&s, "10.1.0.0"), 2);
    assert_int_equal(find(&s, "10.1.2.0"), 3);
    assert_int_equal(find(&s, "10.1.2.3"), 4);
    assert_int_equal(find(&s, "10.1.2.4"), 3);
    assert_int_equal(find(&s, "10.1.3.0"), 2);
    assert_int_equal(find(&s, "10.2.0.0"), 1);
    assert_int_equal(find(&s, "10.255.255.255"), 5);
    assert_int_equal(find(&s, "11.0.0.0"), -1);
    assert_int_equal(find(&s, "255.255.255.255"), 6);
    assert_int_equal(find(&s, "::1:0:0:0"), -1);
    assert_int_equal(find(&s, "2001:db8::1"), 9);
    assert_int_equal(find(&s, "2001:db8:1::"), 8);
    assert_int_equal(find(&s, "2001:db9::"), -1);
    assert_int_equal(find(&s, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 7);
    cidr_set_fini(&s);
}

static void everything_and_nothing(void **state)
{
    struct cidr_set s = {0};
    struct cidr twice;
    char text[CIDR_TEXT_SIZE];

    assert_int_equal(cidr_set_build(&s, NULL), 0);
    assert_int_equal(find(&s, "::"), -1);
    add(&s, "::/0", 1);
    add(&s, "0.0.0.0/0", 2);
    assert_int_equal(cidr_set_build(&s, NULL), 0);
    assert_int_equal(find(&s, "::"), 1);
    assert_int_equal(find(&s, "0.0.0.0"), 2);
    assert_int_equal(find(&s, "255.255.255.255"), 2);
    assert_int_equal(find(&s, "ffff::"), 1);
    add(&s, "0.0.0.0/0", 2); /* twice the same is no contradiction */
    assert_int_equal(cidr_set_build(&s, NULL), 0);
    add(&s, "0.0.0.0/0", 3);
    assert_int_equal(cidr_set_build(&s, &twice), MT_EBUSY);
    cidr_text(&twice, text);
    assert_string_equal(text, "0.0.0.0/0");
    cidr_set_fini(&s);
}

/* The slow way, which the set must agree with. */
static int scan(const struct cidr *networks, size_t count, const struct ip *ip)
{
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        struct ip head = ip_network(ip, networks[i].bits);
        if (memcmp(&head, &networks[i].base, sizeof head) == 0 && (best < 0 || networks[i].bits > networks[best].bits))
            best = (int)i;
    }
    return best < 0 ? -1 : (int)networks[best].bits;
}

static void agrees_with_a_scan(void **state)
{
    enum { NETWORKS = 400, ADDRESSES = 5000 };
    static struct cidr networks[NETWORKS];
    struct cidr_set s = {0};

    srand(7);
    for (size_t i = 0; i < NETWORKS; i++) {
        struct ip ip = {{0}};
        memset(ip.bytes, 0xff, 13); /* near each other, so that they nest */
        ip.bytes[13] = (unsigned char)(rand() % 4 + 252);
        ip.bytes[14] = (unsigned char)rand();
        ip.bytes[15] = (unsigned char)rand();
        networks[i].bits = 100 + (unsigned)(rand() % 29);
        networks[i].base = ip_network(&ip, networks[i].bits);
        assert_int_equal(cidr_set_add(&s, &networks[i], (int)networks[i].bits), 0);
    }
    assert_int_equal(cidr_set_build(&s, NULL), 0);
    for (int i = 0; i < ADDRESSES; i++) {
        struct ip ip;
        memset(ip.bytes, 0xff, 13);
        ip.bytes[13] = (unsigned char)(rand() % 6 + 250);
        ip.bytes[14] = (unsigned char)rand();
        ip.bytes[15] = (unsigned char)rand();
        assert_int_equal(cidr_set_find(&s, &ip, -1), scan(networks, NETWORKS, &ip));
    }
    cidr_set_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_addresses),          cmocka_unit_test(sockets_and_text_agree),
        cmocka_unit_test(texts_of_networks),
        cmocka_unit_test(networks_as_text),           cmocka_unit_test(the_smallest_network_counts),
        cmocka_unit_test(everything_and_nothing),      cmocka_unit_test(agrees_with_a_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
