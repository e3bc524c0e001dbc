/* test_net_upgrade.c - what is a handshake and what is not, subprotocols, and the offers of permessage-deflate. */
#include "net/upgrade.h"

#include "base/err.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static struct http_request req;
static char head[HTTP_HEAD_MAX];

/* Parse "<line>\r\nHost: a\r\n<headers>\r\n"; the request stays in `req`. */
static void parse(const char *line, const char *headers)
{
    size_t scanned = 0;
    const char *reason;
    int len = snprintf(head, sizeof(head), "%s\r\nHost: a\r\n%s\r\n", line, headers);

    if (http_parse_head(head, (size_t)len, sizeof(head), &scanned, &req, &reason) != len)
        fail_msg("%s: %s", headers, reason ? reason : "incomplete");
}

static int check(const char *line, const char *headers)
{
    const char *reason = "unset";

    parse(line, headers);
    int status = upgrade_check(&req, &reason);
    assert_true((status == 0) == (reason == NULL));
    return status;
}

static void test_checks(void **state)
{
    static const struct {
        const char *line, *headers;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1", UPGRADE VERSION KEY, 0},
        {"GET /x?y HTTP/1.1", "connection: keep-alive, UPGRADE\r\nupgrade: h2c, WebSocket\r\n" VERSION KEY, 0},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Content-Length: 0\r\n", 0},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Sec-WebSocket-Extensions: a, b; c=\"d\"\r\n", 0},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Sec-WebSocket-Extensions:\r\n", 0},
        {"POST / HTTP/1.1", UPGRADE VERSION KEY, 405},
        {"HEAD / HTTP/1.1", UPGRADE VERSION KEY, 405},
        {"get / HTTP/1.1", UPGRADE VERSION KEY, 405},
        {"GET / HTTP/1.0", UPGRADE VERSION KEY, 400},
        {"GET / HTTP/1.1", VERSION KEY, 400},
        {"GET / HTTP/1.1", "Upgrade: websocket\r\n" VERSION KEY, 400},
        {"GET / HTTP/1.1", "Connection: Upgrade\r\n" VERSION KEY, 400},
        {"GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n" VERSION KEY, 400},
        {"GET / HTTP/1.1", "Upgrade: websocket\r\nConnection: close\r\n" VERSION KEY, 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Content-Length: 1\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Transfer-Encoding: chunked\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 14\r\n" KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 013\r\n" KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 13, 8\r\n" KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version:\r\n" KEY, 426},
        {"GET / HTTP/1.1", UPGRADE VERSION VERSION KEY, 426},
        {"GET / HTTP/1.1", UPGRADE "Sec-WebSocket-Version: 8\r\n", 426}, /* an old client hears of the version first */
        {"GET / HTTP/1.1", UPGRADE VERSION, 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY KEY, 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Sec-WebSocket-Extensions: a;\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Sec-WebSocket-Extensions: a b\r\n", 400},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s %s\n", cases[i].line, cases[i].headers);
        assert_int_equal(check(cases[i].line, cases[i].headers), cases[i].status);
    }
}

static void test_keys(void **state)
{
    static const struct {
        const char *key;
        bool ok;
    } cases[] = {
        {"AAAAAAAAAAAAAAAAAAAAAA==", true},
        {"//////////////////////==", true},
        {"+abcXYZ019++++++++++++==", true},
        {"  dGhlIHNhbXBsZSBub25jZQ== \t", true},
        {"", false},
        {"AAAAAAAAAAAAAAAAAAAAAA", false},
        {"AAAAAAAAAAAAAAAAAAAAAA=", false},
        {"AAAAAAAAAAAAAAAAAAAAAAA=", false}, /* 17 bytes */
        {"AAAAAAAAAAAAAAAAAAAAAAAA", false}, /* 18 bytes */
        {"AAAAAAAAAAAAAAAAAAAA", false},     /* 15 bytes */
        {"SGVsbG8sIHdvcmxkIQ==", false},     /* 13 bytes */
        {"AAAAAAAAAAAAAAAAAAAAAA==AAAA", false},
        {"AAAAAAAAAAAAAAAAAAAAA===", false},
        {"AAAAAAAAAAA=AAAAAAAAAA==", false},
        {"AAAAAAAAAAAAAAAAAAAA-_==", false}, /* the alphabet of URLs */
        {"AAAAAAAAAAA AAAAAAAAAA==", false},
        {"AAAAAAAAAAAAAAAAAAAAA\xc3\xa9==", false},
    };
    char headers[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].key);
        snprintf(headers, sizeof(headers), UPGRADE VERSION "Sec-WebSocket-Key:%s\r\n", cases[i].key);
        assert_int_equal(check("GET / HTTP/1.1", headers), cases[i].ok ? 0 : 400);
    }
}

/* The example of RFC 6455 1.3. */
static void test_accept(void **state)
{
    char out[29];

    parse("GET / HTTP/1.1", UPGRADE VERSION KEY);
    assert_int_equal(upgrade_accept(&req, out), 0);
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    mem_fail_at(1);
    assert_int_equal(upgrade_accept(&req, out), MT_ENOMEM);
    mem_fail_at(0);
    parse("GET / HTTP/1.1", "Sec-WebSocket-Key: short\r\n");
    assert_int_equal(upgrade_accept(&req, out), MT_EINVALID);
    parse("GET / HTTP/1.1", "");
    assert_int_equal(upgrade_accept(&req, out), MT_EINVALID);
}

static void test_protocols(void **state)
{
    static const char *const ours[] = {"v2.chat", "v1.chat", NULL}, *const none[] = {NULL};
    static const struct {
        const char *headers, *want;
    } cases[] = {
        {"", NULL},
        {"Sec-WebSocket-Protocol: v1.chat\r\n", "v1.chat"},
        {"Sec-WebSocket-Protocol: v1.chat, v2.chat\r\n", "v2.chat"},
        {"Sec-WebSocket-Protocol: v1.chat\r\nsec-websocket-protocol: x , v2.chat\r\n", "v2.chat"},
        {"Sec-WebSocket-Protocol: bearer, a.b-c_d==,v1.chat\r\n", "v1.chat"},
        {"Sec-WebSocket-Protocol: V1.CHAT\r\n", NULL}, /* names of subprotocols have a case */
        {"Sec-WebSocket-Protocol: v1.cha, v1.chatx\r\n", NULL},
        {"Sec-WebSocket-Protocols: v1.chat\r\n", NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        parse("GET / HTTP/1.1", cases[i].headers);
        const char *got = upgrade_protocol(&req, ours);
        assert_true(cases[i].want ? got && strcmp(got, cases[i].want) == 0 : !got);
        assert_null(upgrade_protocol(&req, none));
    }
}

/* ---- permessage-deflate ---- */

#define PMD "permessage-deflate"
#define ANSWER PMD "; server_no_context_takeover; client_no_context_takeover"

/* Up to two header lines; "" is no answer. */
static const struct {
    const char *offer, *second, *answer;
    int client_bits;
} offers[] = {
    {PMD, NULL, ANSWER, 15},
    {"PerMessage-Deflate", NULL, ANSWER, 15},
    {PMD "; client_max_window_bits", NULL, ANSWER, 15},
    {PMD ";client_max_window_bits=10", NULL, ANSWER, 10},
    {PMD "; client_max_window_bits=8", NULL, ANSWER, 8},
    {PMD " ; client_max_window_bits = \"15\" ", NULL, ANSWER, 15},
    {PMD "; server_no_context_takeover", NULL, ANSWER, 15},
    {PMD "; client_no_context_takeover; server_no_context_takeover", NULL, ANSWER, 15},
    {PMD "; server_max_window_bits=9", NULL, ANSWER "; server_max_window_bits=9", 15},
    {PMD "; server_max_window_bits=15", NULL, ANSWER "; server_max_window_bits=15", 15},
    {PMD "; server_max_window_bits=\"12\"; client_max_window_bits", NULL, ANSWER "; server_max_window_bits=12", 15},
    {PMD "; server_max_window_bits=\"1\\2\"", NULL, ANSWER "; server_max_window_bits=12", 15},
    /* what an offer must not have: the next one is looked at */
    {PMD "; server_max_window_bits=8", NULL, "", 0},
    {PMD "; server_max_window_bits=7", NULL, "", 0},
    {PMD "; server_max_window_bits=16", NULL, "", 0},
    {PMD "; server_max_window_bits=0", NULL, "", 0},
    {PMD "; server_max_window_bits=010", NULL, "", 0},
    {PMD "; server_max_window_bits=09", NULL, "", 0},
    {PMD "; server_max_window_bits=+9", NULL, "", 0},
    {PMD "; server_max_window_bits=10x", NULL, "", 0},
    {PMD "; server_max_window_bits=1000000000000", NULL, "", 0},
    {PMD "; server_max_window_bits=4294967306", NULL, "", 0},
    {PMD "; server_max_window_bits", NULL, "", 0},
    {PMD "; client_max_window_bits=7", NULL, "", 0},
    {PMD "; client_max_window_bits=16", NULL, "", 0},
    {PMD "; client_max_window_bits=a", NULL, "", 0},
    {PMD "; server_no_context_takeover=1", NULL, "", 0},
    {PMD "; client_no_context_takeover=true", NULL, "", 0},
    {PMD "; client_no_context_takeover; client_no_context_takeover", NULL, "", 0},
    {PMD "; server_no_context_takeover; server_no_context_takeover", NULL, "", 0},
    {PMD "; server_max_window_bits=10; server_max_window_bits=10", NULL, "", 0},
    {PMD "; client_max_window_bits; client_max_window_bits=10", NULL, "", 0},
    {PMD "; unknown", NULL, "", 0},
    {PMD "; unknown; server_max_window_bits=10", NULL, "", 0},
    {PMD "; server_max_window_bits=8; server_max_window_bits=10", NULL, "", 0},
    {"x-webkit-deflate-frame", NULL, "", 0},
    {"permessage-deflat", NULL, "", 0},
    {"permessage-bzip2; client_max_window_bits", NULL, "", 0},
    {"", NULL, "", 0},
    /* several */
    {PMD "; server_max_window_bits=8, " PMD "; client_max_window_bits", NULL, ANSWER, 15},
    {PMD "; server_max_window_bits=10, " PMD, NULL, ANSWER "; server_max_window_bits=10", 15},
    {"foo, bar; baz=\"q\", " PMD ", " PMD "; server_max_window_bits=10", NULL, ANSWER, 15},
    {"foo; x=\"" PMD "\"", NULL, "", 0},
    {PMD "; unknown", PMD "; server_max_window_bits=11", ANSWER "; server_max_window_bits=11", 15},
    {PMD "; client_max_window_bits=9", PMD "; server_max_window_bits=11", ANSWER, 9},
    {", ,\t" PMD " , ,", NULL, ANSWER, 15},
    {"foo", PMD, ANSWER, 15},
    /* what breaks the grammar takes everything with it */
    {PMD "; ", NULL, "", -1},
    {PMD "; =10", NULL, "", -1},
    {PMD "; server_max_window_bits=", NULL, "", -1},
    {PMD "; server_max_window_bits=\"10", NULL, "", -1},
    {PMD "; server_max_window_bits=\"10\\", NULL, "", -1},
    {PMD "; server_max_window_bits=\"\"", NULL, "", -1},
    {PMD "; server_max_window_bits=\"1 0\"", NULL, "", -1},
    {PMD "; server_max_window_bits=10=10", NULL, "", -1},
    {PMD " client_max_window_bits", NULL, "", -1},
    {PMD "; client_max_window_bits / x", NULL, "", -1},
    {"\"" PMD "\"", NULL, "", -1},
    {PMD, "(", "", -1},
    {";", NULL, "", -1},
    {"=", NULL, "", -1},
};

static void test_offers(void **state)
{
    char headers[500];

    for (size_t i = 0; i < COUNT(offers); i++) {
        struct upgrade_deflate d;
        struct buf out = {0};
        const char *reason;
        int n = snprintf(headers, sizeof(headers), UPGRADE VERSION KEY "Sec-WebSocket-Extensions: %s\r\n", offers[i].offer);
        if (offers[i].second)
            snprintf(headers + n, sizeof(headers) - (size_t)n, "X: y\r\nsec-websocket-extensions:%s\r\n", offers[i].second);
        print_message("%s\n", offers[i].offer);
        parse("GET / HTTP/1.1", headers);
        assert_int_equal(upgrade_check(&req, &reason), offers[i].client_bits < 0 ? 400 : 0);
        upgrade_deflate(&req, &d);
        assert_int_equal(d.on, offers[i].answer[0] != 0);
        if (!d.on)
            continue;
        assert_int_equal(upgrade_put_deflate(&out, &d), 0);
        assert_true(slice_is(buf_slice(&out), slice_of(offers[i].answer)));
        assert_int_equal(d.client_bits, offers[i].client_bits);
        assert_in_range(d.server_bits, 9, 15);
        buf_fini(&out);
    }
}

static void test_no_offer(void **state)
{
    struct upgrade_deflate d = {.on = true};

    parse("GET / HTTP/1.1", UPGRADE VERSION KEY);
    upgrade_deflate(&req, &d);
    assert_false(d.on);
}

static void test_answer(void **state)
{
    const struct upgrade_deflate d = {true, 10, 9, true, true};
    struct buf out = {0};

    assert_int_equal(upgrade_put_deflate(&out, &d), 0);
    assert_true(slice_is(buf_slice(&out), SLICE(ANSWER "; server_max_window_bits=10; client_max_window_bits=9")));
    buf_fini(&out);
    mem_fail_at(1);
    assert_int_equal(upgrade_put_deflate(&out, &d), MT_ENOMEM);
    mem_fail_at(0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks),    cmocka_unit_test(test_keys),   cmocka_unit_test(test_accept),
        cmocka_unit_test(test_protocols), cmocka_unit_test(test_offers), cmocka_unit_test(test_no_offer),
        cmocka_unit_test(test_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
