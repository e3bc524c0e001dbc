/* test_client_guard.c - which addresses are public: the first and the last of each network, and their neighbours. */
#include "client/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

static const char *const closed[] = {
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200", "127.0.0.1",
    "127.255.255.255", "168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255",
    "192.0.0.0", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
    "198.51.100.7", "203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
    /* IPv6 */
    "::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:0:8.8.8.8", "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:1ff:ffff::", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::5", "2002:c0a8:101::", "3fff::1", "3fff:fff::1", "4000::1", "fc00::1", "fd00:ec2::254",
    "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ffff::"};
static const char *const open[] = {"1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
                                   "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
                                   "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
                                   "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.114.0", "223.255.255.255",
                                   /* IPv6 */
                                   "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2000::1", "2001:200::1", "2001:db7::1", "2001:db9::1",
                                   "2002:808:808::1", "2606:4700::1111", "2a00::1", "3ffe::1", "3fff:1000::1"};

static void what_is_public(void **state)
{
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        if (guard_is_public_text(closed[i]))
            fail_msg("%s is taken for public", closed[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (!guard_is_public_text(open[i]))
            fail_msg("%s is not taken for public", open[i]);
}

static void what_is_no_address(void **state)
{
    static const char *const bad[] = {"", "x", "8.8.8", "8.8.8.8 ", "8.8.8.8:80", "[::1]", "2000::1%lo", "localhost"};
    struct sockaddr_un local = {.sun_family = AF_UNIX};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(guard_is_public_text(bad[i]));
    assert_false(guard_is_public((const struct sockaddr *)&local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_public), cmocka_unit_test(what_is_no_address)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
