/* test_net_http.c - request heads and chunked bodies, legal ones and every known way to smuggle, whole and in every cut. */
#include "net/http.h"

#include "base/err.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct http_request req;
static const char *reason;

/* Parse the first `len` bytes from a block of exactly that size, so that a sanitizer sees a step over its end. */
static long parse_prefix(const char *data, size_t len, size_t limit, size_t *scanned)
{
    char *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    long got = http_parse_head(copy, len, limit, scanned, &req, &reason);
    free(copy);
    return got;
}

/* Parse in one go; then byte by byte and with every one cut, which must come to the same. `req` is left pointing into `data`. */
static long parse_limited(const char *data, size_t len, size_t limit)
{
    size_t scanned = 0;
    long whole = http_parse_head(data, len, limit, &scanned, &req, &reason);
    long step = 0;

    scanned = 0;
    for (size_t n = 0; n <= len && step == 0; n++)
        step = parse_prefix(data, n, limit, &scanned);
    assert_int_equal(step, whole);
    for (size_t cut = 0; cut<len; cut += len> 2000 ? 97 : 1) {
        scanned = 0;
        long got = parse_prefix(data, cut, limit, &scanned);
        if (got == 0)
            got = parse_prefix(data, len, limit, &scanned);
        assert_int_equal(got, whole);
    }
    scanned = 0;
    assert_int_equal(http_parse_head(data, len, limit, &scanned, &req, &reason), whole);
    assert_true((whole < 0) == (reason != NULL));
    return whole;
}

static long parse(const char *text)
{
    return parse_limited(text, strlen(text), HTTP_HEAD_MAX);
}

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    if (s.len > 0)
        assert_memory_equal(s.data, text, s.len);
}

#define H "Host: a\r\n"

/* ---- legal heads ---- */

static void test_simple_request(void **state)
{
    const char *text = "GET /chat/room?x=1&y=%20 HTTP/1.1\r\nHost: example.com:8765\r\nAccept:  text/html \t\r\nX-Empty:\r\n\r\n";

    assert_int_equal(parse(text), strlen(text));
    assert_slice(req.method, "GET");
    assert_slice(req.target, "/chat/room?x=1&y=%20");
    assert_slice(req.path, "/chat/room");
    assert_slice(req.query, "x=1&y=%20");
    assert_slice(req.host, "example.com:8765");
    assert_int_equal(req.header_count, 3);
    assert_slice(req.headers[1].name, "Accept");
    assert_slice(req.headers[1].value, "text/html");
    assert_slice(req.headers[2].value, "");
    assert_slice(http_find(&req, SLICE("aCCEPT")), "text/html");
    assert_null(http_find(&req, SLICE("Accep")).data);
    assert_true(req.minor == 1 && req.keep_alive);
    assert_false(req.chunked || req.has_length || req.expect_continue || req.upgrade_websocket);
}

static void test_length_ends_at_the_empty_line(void **state)
{
    assert_int_equal(parse("POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n"), 47);
    assert_true(req.has_length && req.length == 3);
    assert_int_equal(parse("GET / HTTP/1.1\r\n" H "\r\n\r\n\r\n\x01\x02"), 27);
}

static void test_one_empty_line_in_front(void **state)
{
    assert_int_equal(parse("\r\nGET / HTTP/1.1\r\n" H "\r\n"), 29);
    assert_slice(req.method, "GET");
    assert_int_equal(parse("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), -400);
    assert_int_equal(parse("\nGET / HTTP/1.1\r\n" H "\r\n"), -400);
}

static void test_targets(void **state)
{
    static const struct {
        const char *target, *path, *query, *cut, *host;
    } cases[] = {
        {"/", "/", "", "/", "a"},
        {"/?", "/", "", "/?", "a"},
        {"//a//b", "//a//b", "", "//a//b", "a"},
        {"/a?b?c=/d", "/a", "b?c=/d", "/a?b?c=/d", "a"},
        {"/%7e/|{}^`\\[]", "/%7e/|{}^`\\[]", "", "/%7e/|{}^`\\[]", "a"},
        {"http://b/x?y", "/x", "y", "/x?y", "b"},
        {"HTTPS://b:1/", "/", "", "/", "b:1"},
        {"http://b", "/", "", "/", "b"},
        {"http://b?q=1", "/", "q=1", "/", "b"},
        {"ws://[::1]:80/x", "/x", "", "/x", "[::1]:80"},
        {"wss://b/http://c/", "/http://c/", "", "/http://c/", "b"},
    };
    char text[200];

    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" H "\r\n", cases[i].target);
        assert_int_equal(parse(text), strlen(text));
        assert_slice(req.path, cases[i].path);
        assert_slice(req.query, cases[i].query);
        assert_slice(req.target, cases[i].cut);
        assert_slice(req.host, cases[i].host);
    }
    assert_true(parse("OPTIONS * HTTP/1.1\r\n" H "\r\n") > 0);
    assert_slice(req.target, "*");
    assert_slice(req.path, "/");
}

static void test_bad_targets(void **state)
{
    static const char *const bad[] = {
        "",          "*",        "a",       "a:80",      "x/y",         "/a#b",        "/\"",          "/<x>",
        "/\xc3\xa9", "/\x7f",    "http://", "http:///x", "http://u@b/", "http://b:x/", "http://[::1/", "http://a b/",
        "ftp://b/",  "http:/b/", "?x",      "http://?x", "http:// /"};
    char text[200];

    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" H "\r\n", bad[i]);
        print_message("%s\n", bad[i]);
        assert_int_equal(parse(text), -400);
    }
    assert_int_equal(parse("CONNECT a:80 HTTP/1.1\r\n" H "\r\n"), -400);
    assert_int_equal(parse("CONNECT / HTTP/1.1\r\n" H "\r\n"), -400);
}

static void test_request_lines(void **state)
{
    static const struct {
        const char *line;
        long want; /* 1: fine */
    } cases[] = {
        {"GET / HTTP/1.1", 1},
        {"get / HTTP/1.1", 1},
        {"M-SEARCH!#$%&'*+.^_`|~0 / HTTP/1.1", 1},
        {"GET / HTTP/1.0", 1},
        {"GET / HTTP/1.2", 1},
        {"GET / HTTP/1.9", 1},
        {"GET / HTTP/0.9", -505},
        {"GET / HTTP/2.0", -505},
        {"PRI * HTTP/2.0", -505},
        {"GET / HTTP/9.1", -505},
        {"GET /", -400},
        {"GET", -400},
        {"GET ", -400},
        {"", -400},
        {" GET / HTTP/1.1", -400},
        {"GET  / HTTP/1.1", -400},
        {"GET /  HTTP/1.1", -400},
        {"GET / HTTP/1.1 ", -400},
        {"GET /a b HTTP/1.1", -400},
        {"GET\t/ HTTP/1.1", -400},
        {"GET /\tHTTP/1.1", -400},
        {"G(T / HTTP/1.1", -400},
        {"G:T / HTTP/1.1", -400},
        {"GET / http/1.1", -400},
        {"GET / HTTP/1.1x", -400},
        {"GET / HTTP/11", -400},
        {"GET / HTTP/01.1", -400},
        {"GET / HTTP/1.10", -400},
        {"GET / HTTP/1,1", -400},
        {"GET / HTTP/x.1", -400},
        {"GET / HTTP/1.x", -400},
        {"GET / HTTP/+.1", -400},
        {"GET / ICY/1.1", -400},
        {"GET / HTTP/1.1\rX", -400},
        {"GET / HTTP/1.1\nX: y", -400},
        {"G\x01T / HTTP/1.1", -400},
        {"\x16\x03\x01", -400},
    };
    char text[200];

    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof(text), "%s\r\n" H "\r\n", cases[i].line);
        print_message("%s\n", cases[i].line);
        assert_int_equal(parse(text), cases[i].want == 1 ? (long)strlen(text) : cases[i].want);
    }
    assert_true(parse("GET / HTTP/1.9\r\n" H "\r\n") > 0);
    assert_int_equal(req.minor, 1);
}

/* A TLS client on a plain port hears of it by its first byte, not after a timeout. */
static void test_certain_errors_come_at_once(void **state)
{
    assert_int_equal(parse("\x16"), -400);
    assert_int_equal(parse("GET / HTTP/1.1\n"), -400);
    assert_int_equal(parse("GET / HTTP/1.1\r\nA: b\rc"), -400);
    assert_int_equal(parse_limited("GET /\0", 6, 100), -400);
    assert_int_equal(parse("GET / HTTP/1.1\r"), 0);
    assert_int_equal(parse(""), 0);
}

/* ---- header lines ---- */

static void test_header_lines(void **state)
{
    static const struct {
        const char *lines;
        long want;
    } cases[] = {
        {"A: b", 1},
        {"A:b", 1},
        {"A:\t b \t", 1},
        {"A:", 1},
        {"A: \x80\xff utf-8 \xc3\xa9", 1},
        {"A: b:c:d", 1},
        {"!#$%&'*+-.^_`|~9z: b", 1},
        {"A : b", -400},
        {"A\t: b", -400},
        {": b", -400},
        {"A", -400},
        {"A b: c", -400},
        {"A(: c", -400},
        {"A@: c", -400},
        {"\xc3\xa9: c", -400},
        {" A: b", -400},
        {"\tA: b", -400},
        {"A: b\r\n c", -400},
        {"A: b\r\n\tc", -400},
        {"A: b\r\n ", -400},
        {"A: b\nC: d", -400},
        {"A: b\rC: d", -400},
        {"A: b\r\r\nC: d", -400},
        {"A: b\n\r\nC: d", -400},
        {"A: \x01", -400},
        {"A: \x0b", -400},
        {"A: \x0c", -400},
        {"A: \x7f", -400},
        {"A\x01: b", -400},
    };
    char text[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].lines);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" H "%s\r\n\r\n", cases[i].lines);
        assert_int_equal(parse(text), cases[i].want == 1 ? (long)strlen(text) : cases[i].want);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n" H "\r\n", cases[i].lines);
        assert_int_equal(parse(text), cases[i].want == 1 ? (long)strlen(text) : cases[i].want);
    }
    static const char nul[] = "GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n";
    assert_int_equal(parse_limited(nul, sizeof(nul) - 1, HTTP_HEAD_MAX), -400);
}

static void test_hosts(void **state)
{
    static const struct {
        const char *lines;
        bool ok;
    } cases[] = {
        {"Host: a.example", true},
        {"host:a:1", true},
        {"Host:", true},
        {"Host: a:", true},
        {"Host: [::1]", true},
        {"Host: [fe80::1]:65535", true},
        {"Host: [::ffff:1.2.3.4]:1", true},
        {"Host: 127.0.0.1:80", true},
        {"Host: a_b-c.~%41", true},
        {"", false},
        {"Host: a\r\nHost: a", false},
        {"Host: a\r\nhost: b", false},
        {"Host: a, b", false},
        {"Host: a b", false},
        {"Host: a/b", false},
        {"Host: u@a", false},
        {"Host: a:b", false},
        {"Host: a:1:2", false},
        {"Host: :80", false},
        {"Host: []", false},
        {"Host: [::1", false},
        {"Host: ::1", false},
        {"Host: [::1]x", false},
        {"Host: [::1]]", false},
        {"Host: [x]", false},
        {"Host: a?b", false},
        {"Host: a#b", false},
        {"Host: \"a\"", false},
        {"Host: a\\b", false},
        {"Host: \xc3\xa9", false},
    };
    char text[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].lines);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s%s\r\n", cases[i].lines, cases[i].lines[0] ? "\r\n" : "");
        assert_int_equal(parse(text), cases[i].ok ? (long)strlen(text) : -400);
    }
    assert_true(parse("GET / HTTP/1.0\r\n\r\n") > 0);
    assert_null(req.host.data);
    assert_int_equal(parse("GET / HTTP/1.0\r\n" H H "\r\n"), -400);
    assert_int_equal(parse("GET http://b/ HTTP/1.1\r\n\r\n"), -400);
}

/* ---- where the body ends ---- */

/* Each of these was a way past some proxy or server. */
static void test_smuggling(void **state)
{
    static const struct {
        const char *lines;
        long want;
    } cases[] = {
        {"Content-Length: 5", 1},
        {"Content-Length: 0", 1},
        {"Content-Length: 0005", 1},
        {"Content-Length: 9223372036854775807", 1},
        {"Content-Length: 9223372036854775808", -400},
        {"Content-Length: 18446744073709551616", -400},
        {"Content-Length: 99999999999999999999999999", -400},
        {"Content-Length:", -400},
        {"Content-Length: +5", -400},
        {"Content-Length: -5", -400},
        {"Content-Length: 0x5", -400},
        {"Content-Length: 5x", -400},
        {"Content-Length: 5 5", -400},
        {"Content-Length: 5, 5", -400},
        {"Content-Length: 5,", -400},
        {"Content-Length: 5;", -400},
        {"Content-Length: 5.0", -400},
        {"Content-Length: 5e0", -400},
        {"Content-Length: 1_0", -400},
        {"Content-Length: \"5\"", -400},
        {"Content-Length: \xd9\xa5", -400}, /* a digit, but not an ASCII one */
        {"Content-Length: 5\r\nContent-Length: 5", -400},
        {"Content-Length: 5\r\nContent-Length: 6", -400},
        {"Content-Length: 5\r\ncontent-length: 5", -400},
        {"Content-Length: 5\r\nContent-Length:", -400},
        {"Content-Length : 5", -400},
        {"Content-Length\x0b: 5", -400},
        {"Content-Length: 5\r\n 6", -400},
        {"Transfer-Encoding: chunked", 1},
        {"transfer-encoding:Chunked", 1},
        {"Transfer-Encoding: \tCHUNKED\t", 1},
        {"Transfer-Encoding: gzip", -501},
        {"Transfer-Encoding: identity", -501},
        {"Transfer-Encoding: gzip, chunked", -501},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", -501},
        {"Transfer-Encoding: identity, chunked", -501},
        {"Transfer-Encoding: xchunked", -501},
        {"Transfer-Encoding: chunkedx", -501},
        {"Transfer-Encoding: chunked, gzip", -400},
        {"Transfer-Encoding: chunked, identity", -400},
        {"Transfer-Encoding: chunked, chunked", -400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", -400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", -400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding:", -400},
        {"Transfer-Encoding:\r\nTransfer-Encoding: chunked", -400},
        {"Transfer-Encoding:", -400},
        {"Transfer-Encoding: ,chunked", -400},
        {"Transfer-Encoding: chunked,", -400},
        {"Transfer-Encoding: , ", -400},
        {"Transfer-Encoding: gzip,,chunked", -400},
        {"Transfer-Encoding: chunked;q=1", -400},
        {"Transfer-Encoding: \"chunked\"", -400},
        {"Transfer-Encoding: 'chunked'", -501},
        {"Transfer-Encoding: chunked x", -400},
        {"Transfer-Encoding: x chunked", -400},
        {"Transfer-Encoding: \x0b"
         "chunked",
         -400},
        {"Transfer-Encoding: chunked\x0c", -400},
        {"Transfer-Encoding: \xc2\xa0"
         "chunked",
         -400},
        {"Transfer-Encoding: chun\xc4\xb7"
         "ed",
         -400},
        {"Transfer-Encoding : chunked", -400},
        {"Transfer-Encoding\t: chunked", -400},
        {" Transfer-Encoding: chunked", -400},
        {"X: y\r\n Transfer-Encoding: chunked", -400},
        {"Transfer-Encoding\r\n: chunked", -400},
        {"Transfer-Encoding:\r\n chunked", -400},
        {"X: y\rTransfer-Encoding: chunked", -400},
        {"X: y\nTransfer-Encoding: chunked", -400},
        {"X: y\n\nGET /hidden HTTP/1.1", -400},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked", -400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5", -400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 0", -400},
    };
    char text[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].lines);
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" H "%s\r\n\r\n", cases[i].lines);
        assert_int_equal(parse(text), cases[i].want == 1 ? (long)strlen(text) : cases[i].want);
    }
    assert_int_equal(parse("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), -400);
}

/* Names that only look like the ones that count are other headers. */
static void test_lookalike_names(void **state)
{
    assert_true(parse("POST / HTTP/1.1\r\n" H "Content_Length: 5\r\nX-Transfer-Encoding: chunked\r\nContent-Lengt: 1\r\n\r\n") >
                0);
    assert_false(req.has_length || req.chunked);
}

static void test_framing_fields(void **state)
{
    assert_true(parse("POST / HTTP/1.1\r\n" H "Content-Length: 1234567890123\r\n\r\n") > 0);
    assert_true(req.has_length && !req.chunked && req.length == 1234567890123);
    assert_true(parse("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n") > 0);
    assert_true(req.chunked && !req.has_length);
}

/* ---- connection ---- */

static void test_connection(void **state)
{
    static const struct {
        const char *head;
        bool keep, upgrade, expect;
    } cases[] = {
        {"GET / HTTP/1.1\r\n", true, false, false},
        {"GET / HTTP/1.1\r\nConnection: close\r\n", false, false, false},
        {"GET / HTTP/1.1\r\nConnection: x, CLOSE\r\n", false, false, false},
        {"GET / HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close\r\n", false, false, false},
        {"GET / HTTP/1.1\r\nConnection: closed\r\n", true, false, false},
        {"GET / HTTP/1.0\r\n", false, false, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true, false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false, false, false},
        {"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", true, true, false},
        {"GET / HTTP/1.1\r\nConnection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket\r\n", true, true, false},
        {"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", true, false, false},
        {"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", true, false, false},
        {"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websockets\r\n", true, false, false},
        {"GET / HTTP/1.1\r\nExpect: 100-Continue\r\n", true, false, true},
        {"GET / HTTP/1.1\r\nExpect: 200\r\n", true, false, false},
        {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n", false, false, false},
    };
    char text[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof(text), "%s" H "\r\n", cases[i].head);
        assert_int_equal(parse(text), strlen(text));
        assert_int_equal(req.keep_alive, cases[i].keep);
        assert_int_equal(req.upgrade_websocket, cases[i].upgrade);
        assert_int_equal(req.expect_continue, cases[i].expect);
    }
}

static void test_has_token(void **state)
{
    assert_true(parse("GET / HTTP/1.1\r\n" H "V: a , b\r\nv: ,,C\r\n\r\n") > 0);
    assert_true(http_has_token(&req, SLICE("v"), SLICE("A")));
    assert_true(http_has_token(&req, SLICE("v"), SLICE("b")));
    assert_true(http_has_token(&req, SLICE("V"), SLICE("c")));
    assert_false(http_has_token(&req, SLICE("v"), SLICE("d")));
    assert_false(http_has_token(&req, SLICE("v"), SLICE("")));
    assert_false(http_has_token(&req, SLICE("w"), SLICE("a")));
}

/* ---- limits ---- */

static void test_head_limit(void **state)
{
    const char *text = "GET / HTTP/1.1\r\n" H "X: 123456\r\n\r\n";
    size_t len = strlen(text);

    assert_int_equal(parse_limited(text, len, len), len);
    assert_int_equal(parse_limited(text, len, len - 1), -431);
    assert_int_equal(parse_limited(text, len - 1, len - 1), -431);
    assert_int_equal(parse_limited(text, len - 1, len), 0);
    assert_int_equal(parse_limited("GET /abcdefgh HTTP/1.1", 22, 20), -414);
    assert_int_equal(parse_limited("\r\nGET /abcdefgh HTTP/1.1", 24, 22), -414);
}

static void test_target_limit(void **state)
{
    static char text[9000];

    for (size_t n = 8190; n <= 8194; n++) {
        memset(text, 'a', sizeof(text));
        memcpy(text, "GET /", 5);
        strcpy(text + 4 + n, " HTTP/1.1\r\n" H "\r\n");
        assert_int_equal(parse(text), n <= 8192 ? (long)strlen(text) : -414);
    }
}

static void test_header_count_limit(void **state)
{
    static char text[2000];

    for (int n = 99; n <= 102; n++) {
        strcpy(text, "GET / HTTP/1.1\r\n" H);
        for (int i = 1; i < n; i++)
            strcat(text, "a: b\r\n");
        strcat(text, "\r\n");
        assert_int_equal(parse(text), n <= HTTP_HEADERS_MAX ? (long)strlen(text) : -431);
        assert_int_equal(req.header_count, n <= HTTP_HEADERS_MAX ? n : HTTP_HEADERS_MAX);
    }
}

/* Bytes that were looked at are not looked at again. */
static void test_scan_goes_on(void **state)
{
    char text[] = "GET / HTTP/1.1\r\n" H "X: yyyy\r\n\r\n";
    size_t scanned = 0;

    assert_int_equal(http_parse_head(text, 30, 100, &scanned, &req, &reason), 0);
    assert_int_equal(scanned, 30);
    text[28] = 1;
    assert_int_equal(http_parse_head(text, 31, 100, &scanned, &req, &reason), 0);
    scanned = 0;
    assert_int_equal(http_parse_head(text, 31, 100, &scanned, &req, &reason), -400);
}

/* ---- chunked bodies ---- */

/* Decode cut at `a` and `b`. Returns the status; *end is where the body ended. */
static int feed_cut(const char *data, size_t len, size_t a, size_t b, size_t limit, struct buf *out, size_t *end)
{
    const size_t cuts[] = {0, a, b, len};
    struct http_chunks c = {0};

    buf_clear(out);
    *end = 0;
    for (int i = 0; i < 3; i++) {
        size_t n = cuts[i + 1] - cuts[i], used = 99;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, data + cuts[i], n);
        int got = http_chunks_feed(&c, copy, n, &used, out, limit);
        free(copy);
        if (got < 0)
            return got;
        *end += used;
        if (got == 1) {
            assert_int_equal(http_chunks_feed(&c, "x", 1, &used, out, limit), 1);
            assert_int_equal(used, 0);
            return 1;
        }
        assert_int_equal(used, n);
    }
    return 0;
}

static void check_chunks(const char *data, size_t len, size_t limit, int want, size_t end, const char *body)
{
    struct buf out = {0};

    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b += len > 200 ? 101 : 1) {
            size_t ended;
            assert_int_equal(feed_cut(data, len, a, b, limit, &out, &ended), want);
            if (want < 0)
                continue;
            assert_int_equal(ended, end);
            assert_slice(buf_slice(&out), body);
        }
    }
    buf_fini(&out);
}

static void test_chunks(void **state)
{
    static const struct {
        const char *body, *want;
        const char *rest; /* behind the body */
    } cases[] = {
        {"0\r\n\r\n", "", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", "GET"},
        {"00005\r\nhello\r\n0000\r\n\r\n", "hello", "\r\n"},
        {"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", "0\r\n\r\n"},
        {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""},
        {"000000000000000C\r\n\r\n0\r\n\r\nabcde\r\n0\r\n\r\n", "\r\n0\r\n\r\nabcde", ""},
        {"3;a=b\r\nabc\r\n0;x\r\n\r\n", "abc", "x"},
        {"3 \t ; a=\"q;\\\"\"\r\nabc\r\n0\r\n\r\n", "abc", ""},
        {"3;\r\nabc\r\n0\r\n\r\n", "abc", ""},
        {"1\r\na\r\n0\r\nTrailer: x\r\nOther:\r\nContent-Length: 7\r\n\r\n", "a", "z"},
    };
    char text[200];

    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof(text), "%s%s", cases[i].body, cases[i].rest);
        check_chunks(text, strlen(text), 100, 1, strlen(cases[i].body), cases[i].want);
        for (size_t n = 0; n < strlen(cases[i].body); n++) {
            struct buf out = {0};
            size_t end;
            assert_int_equal(feed_cut(text, n, n / 2, n, 100, &out, &end), 0);
            assert_int_equal(end, n);
            buf_fini(&out);
        }
    }
}

static void test_bad_chunks(void **state)
{
    static const char *const bad[] = {
        "\r\n",
        ";\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "\t1\r\n",
        "1 \r\n",
        "1\t\r\n",
        "1 a\r\n",
        "1\n",
        "1\r\r\n",
        "1\ra",
        "1;a\n",
        "1;a\rb",
        "1;\x01\r\n",
        "1;\x7f\r\n",
        "1;a\r\r\n",
        "1,\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\r0",
        "1\r\na0\r\n",
        "1\r\na\r\n\r",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\r\n a: b",
        "0\r\n\ta: b",
        "0\r\na b: c",
        "0\r\na : b",
        "0\r\n: b",
        "0\r\na\r\n",
        "0\r\na: b\n",
        "0\r\na: b\rc: d",
        "0\r\na: \x01b",
        "0\r\na: b\r\n c",
        "0\n\n",
        "1\r\na\r\n0\n\n",
        "00000000000000001\r\n",
        "5\r\nhello0",
        "\n",
        "1_0\r\n",
        "1.\r\n",
        "0\r\n(: b\r\n",
        "1\r\n\na\r\n",
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        print_message("%zu: %s\n", i, bad[i]);
        check_chunks(bad[i], strlen(bad[i]), 100, -400, 0, "");
    }
    check_chunks("1;a\0b\r\n", 7, 100, -400, 0, "");
}

static void test_chunk_limits(void **state)
{
    const char *five = "5\r\nhello\r\n0\r\n\r\n", *two = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

    check_chunks(five, strlen(five), 5, 1, strlen(five), "hello");
    check_chunks(five, strlen(five), 4, -413, 0, "");
    check_chunks(two, strlen(two), 5, 1, strlen(two), "abcde");
    check_chunks(two, strlen(two), 4, -413, 0, "");
    check_chunks("0\r\n\r\n", 5, 0, 1, 5, "");
    check_chunks("ffffffffffffffff\r\nx", 19, 100, -413, 0, "");
    check_chunks("8000000000000000\r\nx", 19, 100, -413, 0, "");
}

/* Extensions and trailers carry nothing, so nobody may send them without end, neither at once nor a little with every chunk. */
static void test_chunk_extras_are_bounded(void **state)
{
    struct http_chunks c = {0};
    struct buf out = {0};
    size_t used;
    int got = 0, fed = 0;

    assert_int_equal(http_chunks_feed(&c, "1;", 2, &used, &out, 100), 0);
    for (; got == 0 && fed < 100000; fed++)
        got = http_chunks_feed(&c, "x", 1, &used, &out, 100);
    assert_int_equal(got, -400);
    assert_in_range(fed, 16384, 16386);
    c = (struct http_chunks){0};
    for (fed = 0, got = 0; got == 0 && fed < 100000; fed++)
        got = http_chunks_feed(&c, "1;ext\r\na\r\n", 10, &used, &out, 100000);
    assert_int_equal(got, -400);
    assert_in_range(fed, 4095, 4100);
    c = (struct http_chunks){0};
    assert_int_equal(http_chunks_feed(&c, "0\r\n", 3, &used, &out, 100000), 0);
    for (fed = 0, got = 0; got == 0 && fed < 100000; fed++)
        got = http_chunks_feed(&c, "a:b\r\n", 5, &used, &out, 100);
    assert_int_equal(got, -400);
    buf_fini(&out);
}

static void test_chunks_without_memory(void **state)
{
    struct http_chunks c = {0};
    struct buf out = {0};
    size_t used;

    mem_fail_at(1);
    assert_int_equal(http_chunks_feed(&c, "1\r\na\r\n", 6, &used, &out, 100), -500);
    mem_fail_at(0);
    buf_fini(&out);
}

/* ---- arguments and cookies ---- */

static void check_pairs(bool next(struct slice *, struct slice *, struct slice *), const char *text, const char *want)
{
    struct slice rest = slice_of(text), name, value;
    struct buf out = {0};

    while (next(&rest, &name, &value)) {
        assert_int_equal(buf_add(&out, name.data, name.len), 0);
        assert_int_equal(buf_add(&out, "=", 1), 0);
        assert_int_equal(buf_add(&out, value.data, value.len), 0);
        assert_int_equal(buf_add(&out, "|", 1), 0);
    }
    assert_slice(buf_slice(&out), want);
    assert_false(next(&rest, &name, &value));
    buf_fini(&out);
}

static void test_args(void **state)
{
    check_pairs(http_next_arg, "", "");
    check_pairs(http_next_arg, "a", "a=|");
    check_pairs(http_next_arg, "a=1&b=2", "a=1|b=2|");
    check_pairs(http_next_arg, "&&a=1&", "a=1|");
    check_pairs(http_next_arg, "a=b=c&=x&d=", "a=b=c|=x|d=|");
    check_pairs(http_next_arg, "x=1;y=2&a=+%20", "x=1;y=2|a=+%20|");
}

static void test_cookies(void **state)
{
    check_pairs(http_next_cookie, "", "");
    check_pairs(http_next_cookie, "a=1; b=2", "a=1|b=2|");
    check_pairs(http_next_cookie, "a=1;b=2;", "a=1|b=2|");
    check_pairs(http_next_cookie, " a = x y ;;b=\"q\"; c=\"; d=\"\"", "a=x y|b=q|c=\"|d=|");
    check_pairs(http_next_cookie, "lonely; =x; t=a=b", "t=a=b|");
}

/* ---- answers ---- */

static void test_status_line(void **state)
{
    struct buf out = {0};

    assert_int_equal(http_put_status(&out, 404), 0);
    assert_int_equal(http_put_header(&out, SLICE("X-A"), SLICE("b \t\xc3\xa9")), 0);
    assert_int_equal(http_put_end(&out), 0);
    assert_int_equal(out.len,
                     strlen("HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-A: b \t\xc3\xa9\r\n\r\n"));
    assert_memory_equal(out.data, "HTTP/1.1 404 Not Found\r\nDate: ", 30);
    assert_true(http_parse_date((struct slice){(char *)out.data + 30, 29}) > 1700000000);
    assert_memory_equal(out.data + 59, "\r\nX-A: b \t\xc3\xa9\r\n\r\n", 16);
    buf_fini(&out);
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_text(299), "Status");
}

static void test_headers_cannot_split(void **state)
{
    static const struct slice bad[][2] = {
        {SLICE("A"), SLICE("b\r\nC: d")}, {SLICE("A"), SLICE("b\n")}, {SLICE("A"), SLICE("\r")},  {SLICE("A"), SLICE("\0")},
        {SLICE("A"), SLICE("\x7f")},      {SLICE("A b"), SLICE("c")}, {SLICE("A:"), SLICE("c")},  {SLICE(""), SLICE("c")},
        {SLICE("A\r\nB"), SLICE("c")},    {SLICE("\xc3"), SLICE("")}, {SLICE("A\0"), SLICE("c")},
    };
    struct buf out = {0};

    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(http_put_header(&out, bad[i][0], bad[i][1]), MT_EINVALID);
        assert_int_equal(out.len, 0);
    }
    mem_fail_at(1);
    assert_int_equal(http_put_header(&out, SLICE("A"), SLICE("b")), MT_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void check_date(int64_t when, const char *text)
{
    char out[30];

    http_date(out, when);
    assert_string_equal(out, text);
    assert_int_equal(http_parse_date(slice_of(text)), when);
}

static void test_dates(void **state)
{
    check_date(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_date(784111777, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_date(951782399, "Mon, 28 Feb 2000 23:59:59 GMT");
    check_date(951782400, "Tue, 29 Feb 2000 00:00:00 GMT");
    check_date(951868800, "Wed, 01 Mar 2000 00:00:00 GMT");
    check_date(4107542400, "Mon, 01 Mar 2100 00:00:00 GMT");
    check_date(253402300799, "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_int_equal(http_parse_date(SLICE("Sunday, 06-Nov-94 08:49:37 GMT")), 784111777);
    assert_int_equal(http_parse_date(SLICE("Sun Nov  6 08:49:37 1994")), 784111777);
    assert_int_equal(http_parse_date(SLICE("Sun Nov 16 08:49:37 1994")), 784975777);
}

/* Every day of 400 years against the C library. */
static void test_dates_agree_with_libc(void **state)
{
    char mine[30], libc[40];

    for (time_t when = 3661; when < 400LL * 366 * 86400; when += 86400 - 7) {
        struct tm tm;
        gmtime_r(&when, &tm);
        strftime(libc, sizeof(libc), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http_date(mine, when);
        assert_string_equal(mine, libc);
        assert_int_equal(http_parse_date(slice_of(mine)), when);
    }
}

static void test_bad_dates(void **state)
{
    static const char *const bad[] = {
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Xun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 +8:49:37 GMT",
        "Sun, 32 Jan 1994 08:49:37 GMT",
        "Sun, 06 Xyz 1994 08:49:37 GMT",
        "Sunday, 06-Nov-9x 08:49:37 GMT",
    };

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(http_parse_date(slice_of(bad[i])), -1);
}

static void test_dates_out_of_range(void **state)
{
    char out[30];

    http_date(out, -1);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date(out, INT64_MAX);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_request),
        cmocka_unit_test(test_length_ends_at_the_empty_line),
        cmocka_unit_test(test_one_empty_line_in_front),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_bad_targets),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_certain_errors_come_at_once),
        cmocka_unit_test(test_header_lines),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_lookalike_names),
        cmocka_unit_test(test_framing_fields),
        cmocka_unit_test(test_connection),
        cmocka_unit_test(test_has_token),
        cmocka_unit_test(test_head_limit),
        cmocka_unit_test(test_target_limit),
        cmocka_unit_test(test_header_count_limit),
        cmocka_unit_test(test_scan_goes_on),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_bad_chunks),
        cmocka_unit_test(test_chunk_limits),
        cmocka_unit_test(test_chunk_extras_are_bounded),
        cmocka_unit_test(test_chunks_without_memory),
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_status_line),
        cmocka_unit_test(test_headers_cannot_split),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_dates_agree_with_libc),
        cmocka_unit_test(test_bad_dates),
        cmocka_unit_test(test_dates_out_of_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
