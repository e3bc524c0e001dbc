/* test_net_proxy.c - PROXY headers: what the protocol allows is read, in pieces too, and nothing else is. */
#include "net/proxy.h"

#include "base/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the headers above first
#include <cmocka.h>

static int parse(const void *data, size_t len, struct proxy_header *out)
{
    unsigned char *copy = malloc(len ? len : 1); /* of exact size, so that a sanitizer sees a read past its end */

    memcpy(copy, data, len);
    int rc = proxy_parse(copy, len, out);
    free(copy);
    return rc;
}

/* `header` with more behind it: exactly its own bytes are taken, and each beginning of it is one that may become whole. */
static void check_good(const void *header, size_t len, enum proxy_client client, const char *ip)
{
    unsigned char bytes[PROXY_HEADER_MAX + 32];
    struct proxy_header h;
    char text[IP_TEXT_SIZE];

    memcpy(bytes, header, len);
    memcpy(bytes + len, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(parse(bytes, len + 16, &h), len);
    assert_int_equal(h.client, client);
    if (ip) {
        ip_text(&h.ip, text);
        assert_string_equal(text, ip);
    }
    assert_int_equal(parse(header, len, &h), len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(parse(header, n, &h), 0);
}

static void check_bad(const void *data, size_t len)
{
    struct proxy_header h;

    assert_int_equal(parse(data, len, &h), MT_EINVALID);
}

/* ---- version 1 ---- */

static void lines_that_are_headers(void **state)
{
    static const struct {
        const char *line;
        enum proxy_client client;
        const char *ip;
    } cases[] = {
        {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", PROXY_NAMED, "192.168.0.1"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", PROXY_NAMED, "255.255.255.255"},
        {"PROXY TCP4 0.0.0.0 1.2.3.4 0 0\r\n", PROXY_NAMED, "0.0.0.0"},
        {"PROXY TCP6 2001:DB8::1 2001:db8::2 1 65535\r\n", PROXY_NAMED, "2001:db8::1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", PROXY_NAMED,
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"PROXY TCP6 ::1 :: 1 2\r\n", PROXY_NAMED, "::1"},
        {"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 1 2\r\n", PROXY_NAMED, "203.0.113.9"},
        {"PROXY UNKNOWN\r\n", PROXY_UNKNOWN, "::"},
        {"PROXY UNKNOWN \r\n", PROXY_UNKNOWN, "::"},
        {"PROXY UNKNOWN what  ever\t\x01 there is\r\n", PROXY_UNKNOWN, "::"},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         PROXY_UNKNOWN, "::"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_good(cases[i].line, strlen(cases[i].line), cases[i].client, cases[i].ip);
    assert_int_equal(strlen(cases[10].line), PROXY_V1_MAX);
}

static void lines_that_are_none(void **state)
{
    static const char *const cases[] = {
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY\r\n",
        "PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        " PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 99999999999999999999 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 00\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 x\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 256.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1/8 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1:80 2.2.2.2 1 2\r\n",
        "PROXY TCP4 localhost 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 elsewhere 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 ::ffff:1.1.1.1 ::ffff:1.1.1.1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 ::1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 [::1] [::1] 1 2\r\n",
        "PROXY TCP6 fe80::1%lo fe80::1%lo 1 2\r\n",
        "PROXY TCP6 1::2::3 ::1 1 2\r\n",
        "PROXY TCP6 12345::1 ::1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
        "PROXY UNKNOWN \r \r\n",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_bad(cases[i], strlen(cases[i]));
    check_bad(SLICE("PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n").data, 33);
}

static void a_line_is_given_up_where_it_is_too_long(void **state)
{
    char line[200] = "PROXY UNKNOWN ";
    struct proxy_header h;

    memset(line + 14, 'x', sizeof line - 14);
    assert_int_equal(parse(line, PROXY_V1_MAX - 1, &h), 0);
    check_bad(line, PROXY_V1_MAX);
    check_bad(line, sizeof line);
    memcpy(line + PROXY_V1_MAX - 1, "\r\n", 2); /* one byte too many */
    check_bad(line, PROXY_V1_MAX + 1);
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    check_good(line, PROXY_V1_MAX, PROXY_UNKNOWN, "::");
}

static void what_begins_no_header_is_seen_at_the_first_wrong_byte(void **state)
{
    check_bad("G", 1);
    check_bad("\0", 1);
    check_bad("\x16\x03\x01", 3); /* TLS */
    check_bad("PROXX", 5);
    check_bad("PROXY\r", 6);
    check_bad("\r\n\r\nG", 5);
    check_bad("\r\n\r\n\0\r\nQUIT\r", 12);
}

/* ---- version 2 ---- */

struct header {
    unsigned char bytes[PROXY_HEADER_MAX + 16];
    size_t len;
};

/* A header with `size` bytes of `rest`. */
static struct header v2(unsigned char command, unsigned char family, const void *rest, size_t size)
{
    struct header h = {.bytes = "\r\n\r\n\0\r\nQUIT\n", .len = 16 + size};

    h.bytes[12] = command;
    h.bytes[13] = family;
    h.bytes[14] = (unsigned char)(size >> 8);
    h.bytes[15] = (unsigned char)size;
    if (size)
        memcpy(h.bytes + 16, rest, size);
    return h;
}

static const unsigned char v4[12] = {203, 0, 113, 9, 192, 0, 2, 1, 0xdb, 0x04, 0x01, 0xbb};
static const unsigned char v6[36] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7, 0x20, 0x01, 0x0d, 0xb8, [31] = 1, 0xdb, 0x04, 0x01, 0xbb};
static const unsigned char local[216] = "/run/client";

static void binary_headers(void **state)
{
    static const struct {
        unsigned char command, family;
        const unsigned char *rest;
        size_t size;
        enum proxy_client client;
        const char *ip;
    } cases[] = {
        {0x21, 0x11, v4, sizeof v4, PROXY_NAMED, "203.0.113.9"},
        {0x21, 0x12, v4, sizeof v4, PROXY_NAMED, "203.0.113.9"},
        {0x21, 0x21, v6, sizeof v6, PROXY_NAMED, "2001:db8::7"},
        {0x21, 0x22, v6, sizeof v6, PROXY_NAMED, "2001:db8::7"},
        {0x21, 0x31, local, sizeof local, PROXY_UNKNOWN, "::"},
        {0x21, 0x32, local, sizeof local, PROXY_UNKNOWN, "::"},
        {0x21, 0x00, NULL, 0, PROXY_UNKNOWN, "::"},
        {0x21, 0x00, v6, 7, PROXY_UNKNOWN, "::"},
        {0x21, 0x10, v4, sizeof v4, PROXY_UNKNOWN, "::"},
        {0x21, 0x01, v4, sizeof v4, PROXY_UNKNOWN, "::"},
        {0x20, 0x00, NULL, 0, PROXY_ITSELF, "::"},
        {0x20, 0x11, v4, sizeof v4, PROXY_ITSELF, "::"},
        {0x20, 0x11, v4, 3, PROXY_ITSELF, "::"},
        {0x20, 0xff, v4, 3, PROXY_ITSELF, "::"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header h = v2(cases[i].command, cases[i].family, cases[i].rest, cases[i].size);
        check_good(h.bytes, h.len, cases[i].client, cases[i].ip);
    }
}

static void binary_headers_that_are_none(void **state)
{
    static const struct {
        unsigned char command, family;
        size_t size;
    } cases[] = {
        {0x11, 0x11, 12}, {0x31, 0x11, 12}, {0x01, 0x11, 12},  {0x22, 0x11, 12}, {0x2f, 0x11, 12}, {0x21, 0x41, 216},
        {0x21, 0xf1, 36}, {0x21, 0x13, 12}, {0x21, 0x1f, 12},  {0x21, 0x03, 0},  {0x21, 0x11, 11}, {0x21, 0x11, 0},
        {0x21, 0x21, 35}, {0x21, 0x21, 12}, {0x21, 0x31, 215},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct header h = v2(cases[i].command, cases[i].family, local, cases[i].size);
        check_bad(h.bytes, h.len);
    }
}

/* The length counts, not what it is for: a header of any legal length is skipped to its last byte. */
static void binary_headers_are_bounded(void **state)
{
    static const unsigned char nothing[PROXY_HEADER_MAX];
    struct header h = v2(0x20, 0, nothing, PROXY_HEADER_MAX - 16);

    check_good(h.bytes, h.len, PROXY_ITSELF, NULL);
    h = v2(0x20, 0, nothing, PROXY_HEADER_MAX - 15);
    check_bad(h.bytes, 16); /* seen before the rest is there */
    check_bad(h.bytes, h.len);
}

/* ---- what comes behind the addresses ---- */

static struct header with_vectors(const void *vectors, size_t size)
{
    unsigned char rest[1024];

    memcpy(rest, v4, sizeof v4);
    memcpy(rest + sizeof v4, vectors, size);
    return v2(0x21, 0x11, rest, sizeof v4 + size);
}

static void check_vectors(struct slice vectors, bool good, bool tls)
{
    struct header h = with_vectors(vectors.data, vectors.len);
    struct proxy_header out;

    assert_int_equal(parse(h.bytes, h.len, &out), good ? (int)h.len : MT_EINVALID);
    if (good) {
        assert_int_equal(out.client, PROXY_NAMED);
        assert_int_equal(out.tls, tls);
    }
}

static void vectors(void **state)
{
    check_vectors(SLICE("\x04\x00\x00"), true, false);
    check_vectors(SLICE("\x04\x00\x03pad\x02\x00\x05hello"), true, false);
    check_vectors(SLICE("\xee\x00\x01x"), true, false);
    check_vectors(SLICE("\x04\x00"), false, false);
    check_vectors(SLICE("\x04"), false, false);
    check_vectors(SLICE("\x04\x00\x04pad"), false, false);
    check_vectors(SLICE("\x04\xff\xff"), false, false);
    check_vectors(SLICE("\x04\x00\x03pad\x00"), false, false);
    check_vectors(SLICE("\x20\x00\x05\x01\x00\x00\x00\x00"), true, true);
    check_vectors(SLICE("\x20\x00\x0f\x07\x00\x00\x00\x01\x21\x00\x07TLSv1.3"), true, true);
    check_vectors(SLICE("\x20\x00\x05\x06\x00\x00\x00\x00"), true, false);
    check_vectors(SLICE("\x20\x00\x04\x01\x00\x00\x00"), false, false);
}

static void checksums(void **state)
{
    struct header h = with_vectors("\x03\x00\x04\0\0\0\0\x04\x00\x01x", 11);
    /* of these 39 bytes, by another program that has 0xe3069283 for "123456789", the check value of CRC32c */
    static const unsigned char sum[4] = {0x4e, 0xe6, 0x01, 0x3a};
    unsigned char *at = h.bytes + 16 + sizeof v4 + 3;

    check_bad(h.bytes, h.len);
    memcpy(at, sum, 4);
    check_good(h.bytes, h.len, PROXY_NAMED, "203.0.113.9");
    for (size_t bit = 8 * 16; bit < 8 * h.len; bit++) { /* any bit of the addresses and of what follows, but that it is a checksum */
        h.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (bit / 8 < 28 || bit / 8 > 30)
            check_bad(h.bytes, h.len);
        h.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    check_vectors(SLICE("\x03\x00\x03\0\0\0"), false, false);
    check_vectors(SLICE("\x03\x00\x05\0\0\0\0\0"), false, false);
    struct header twice = with_vectors("\x03\x00\x04\0\0\0\0\x03\x00\x04\0\0\0\0", 14);
    check_bad(twice.bytes, twice.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_are_headers),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(a_line_is_given_up_where_it_is_too_long),
        cmocka_unit_test(what_begins_no_header_is_seen_at_the_first_wrong_byte),
        cmocka_unit_test(binary_headers),
        cmocka_unit_test(binary_headers_that_are_none),
        cmocka_unit_test(binary_headers_are_bounded),
        cmocka_unit_test(vectors),
        cmocka_unit_test(checksums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
