/* test_net_access.c - who is let in: lists of addresses, what proxies say of their clients, origins of pages. */
#include "base/err.h"
#include "base/mem.h"
#include "net/access.h"
#include "net/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct access *make(const struct access_lists *lists)
{
    struct access *a;
    char *error;
    int rc = access_create(lists, &a, &error);

    if (rc)
        fail_msg("%s", error ? error : err_text(rc));
    return a;
}

static const struct ip *ip_of(const char *text)
{
    static struct ip ip;

    if (strcmp(text, "unix") == 0)
        return NULL;
    assert_true(ip_parse(slice_of(text), &ip));
    return &ip;
}

/* A request with these header lines ("A: b\r\n"); Host comes by itself. `head` must outlive it. */
static void read_request(struct http_request *r, char *head, size_t size, const char *host, const char *lines)
{
    const char *reason = "";
    size_t scanned = 0;
    int len = snprintf(head, size, "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, lines);

    assert_true(len > 0 && (size_t)len < size);
    if (http_parse_head(head, (size_t)len, (size_t)len, &scanned, r, &reason) != len)
        fail_msg("%s: %s", reason, lines);
}

/* ---- allow and deny ---- */

static void check_admits(const struct access *a, const char *yes, const char *no)
{
    char copy[512], *save = NULL;

    snprintf(copy, sizeof copy, "%s", yes);
    for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
        if (!access_admits(a, ip_of(t)))
            fail_msg("%s was not let in", t);
    snprintf(copy, sizeof copy, "%s", no);
    for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
        if (access_admits(a, ip_of(t)))
            fail_msg("%s was let in", t);
}

static void lists_of_addresses(void **state)
{
    struct access *a = make(&(struct access_lists){0});
    check_admits(a, "1.2.3.4 ::1 127.0.0.1 unix 2001:db8::1", "");
    access_unref(a);

    a = make(&(struct access_lists){.deny = LIST("203.0.113.0/24", "2001:db8::/32", "unix")});
    check_admits(
        a, "203.0.112.255 203.0.114.0 127.0.0.1 2001:db9::", "203.0.113.0 203.0.113.255 ::ffff:203.0.113.7 2001:db8::1 unix");
    access_unref(a);

    a = make(&(struct access_lists){.allow = LIST("10.0.0.0/8", "2001:db8::7"), .deny = LIST("10.6.6.0/24")});
    check_admits(a, "10.0.0.1 10.6.7.1 2001:db8::7", "10.6.6.6 11.0.0.1 2001:db8::8 127.0.0.1 ::1 unix");
    access_unref(a);

    a = make(&(struct access_lists){.allow = LIST("10.6.6.6", "unix"), .deny = LIST("10.6.6.0/24", "0.0.0.0/0")});
    check_admits(a, "10.6.6.6 unix", "10.6.6.7 10.0.0.1 ::1");
    access_unref(a);

    a = make(&(struct access_lists){.deny = LIST("::/0")}); /* IPv4 lies in it, as ::ffff:0:0/96 */
    check_admits(a, "unix", "1.2.3.4 ::1");
    access_unref(a);
}

static void a_proxy_may_connect_wherever_it_is(void **state)
{
    struct access *a = make(&(struct access_lists){.allow = LIST("203.0.113.0/24"), .proxies = LIST("10.0.0.2", "unix")});

    assert_true(access_opens(a, ip_of("10.0.0.2")) && access_opens(a, NULL) && access_opens(a, ip_of("203.0.113.5")));
    assert_false(access_opens(a, ip_of("10.0.0.3")));
    assert_false(access_admits(a, ip_of("10.0.0.2")) || access_admits(a, NULL)); /* as clients they are nobody */
    access_unref(a);
}

static void thousands_of_networks(void **state)
{
    enum { COUNT = 20000 };
    static char texts[COUNT][IP_TEXT_SIZE];
    static const char *list[COUNT + 1];
    struct access *a;
    char text[IP_TEXT_SIZE];

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "10.%u.%u.%u/31", i >> 12, (i >> 4) & 255, (i & 15) << 4);
        list[i] = texts[i];
    }
    a = make(&(struct access_lists){.deny = list});
    for (unsigned i = 0; i < COUNT; i += 97)
        for (unsigned last = 0; last < 3; last++) {
            snprintf(text, sizeof text, "10.%u.%u.%u", i >> 12, (i >> 4) & 255, ((i & 15) << 4) + last);
            assert_int_equal(access_admits(a, ip_of(text)), last == 2);
        }
    access_unref(a);
}

/* ---- what does not parse ---- */

static void mistakes_are_named(void **state)
{
    const struct {
        struct access_lists lists;
        const char *says;
    } cases[] = {
        {{.allow = LIST("10.0.0.0/8", "10.1.2.3/16")},
         "allow = \"10.1.2.3/16\" is not an address or a network such as 192.0.2.7, "
         "10.0.0.0/8, 2001:db8::/32 or unix; did you mean 10.1.0.0/16?"},
        {{.deny = LIST("2001:db8::1/64")}, "did you mean 2001:db8::/64?"},
        {{.deny = LIST("example.com")}, "deny = \"example.com\" is not an address"},
        {{.proxies = LIST("127.0.0.1", "")}, "proxies = \"\" is not an address"},
        {{.proxies = LIST("unix:/run/x.sock")}, "proxies = \"unix:/run/x.sock\" is not an address"},
        {{.allow = LIST("1.2.3.4", "10.0.0.0/8"), .deny = LIST("5.6.7.8", "10.0.0.0/8")},
         "deny = \"10.0.0.0/8\" is in allow too: one of them has to go"},
        {{.allow = LIST("1.2.3.4"), .deny = LIST("1.2.3.4/32")}, "deny = \"1.2.3.4\" is in allow too"},
        {{.allow = LIST("unix"), .deny = LIST("unix")}, "deny = \"unix\" is in allow too"},
        {{.origins = LIST("app.example")},
         "origins = \"app.example\" is not an origin such as https://app.example, "
         "https://app.example:8443, https://*.app.example, null or *; did you mean "
         "https://app.example?"},
        {{.origins = LIST("https://a.example", "https://app.example/")}, "did you mean https://app.example?"},
        {{.origins = LIST("http://localhost:3000/app?x")}, "did you mean http://localhost:3000?"},
        {{.origins = LIST("wss://app.example")}, "did you mean https://app.example?"},
        {{.origins = LIST("*.app.example")}, "did you mean https://*.app.example?"},
        {{.origins = LIST("nul")}, "did you mean null?"},
        {{.origins = LIST("https://app.*.example")}, "origins = \"https://app.*.example\" is not an origin"},
        {{.origins = LIST("https://app*.example")}, "is not an origin"},
        {{.origins = LIST("https://*.*.example")}, "is not an origin"},
        {{.origins = LIST("https://*")}, "is not an origin"},
        {{.origins = LIST("https://*.")}, "is not an origin"},
        {{.origins = LIST("https://user@app.example")}, "is not an origin"},
        {{.origins = LIST("https://app.example:")}, "is not an origin"},
        {{.origins = LIST("https://app.example:70000")}, "is not an origin"},
        {{.origins = LIST("https://app.example:0")}, "is not an origin"},
        {{.origins = LIST("https://2001:db8::1")}, "is not an origin"},
        {{.origins = LIST("https://[2001:db8::1")}, "is not an origin"},
        {{.origins = LIST("https://[1.2.3.4]")}, "is not an origin"},
        {{.origins = LIST("https://b\303\274cher.example")}, "is not an origin"},
        {{.origins = LIST("https://")}, "is not an origin"},
        {{.origins = LIST("")}, "origins = \"\" is not an origin"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct access *a = NULL;
        char *error;
        assert_int_equal(access_create(&cases[i].lists, &a, &error), MT_EINVALID);
        if (!error || !strstr(error, cases[i].says))
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, error, cases[i].says);
        mem_free(error);
    }
}

/* ---- what proxies say ---- */

static void check_client(const struct access *a, const char *peer, const char *lines, enum access_said said, const char *client)
{
    char head[2048], text[IP_TEXT_SIZE];
    struct http_request r;
    struct ip out;

    read_request(&r, head, sizeof head, "x", lines);
    if (access_client(a, ip_of(peer), &r, &out) != said)
        fail_msg("from %s: %s", peer, lines);
    if (said == ACCESS_CLIENT) {
        ip_text(&out, text);
        if (strcmp(text, client) != 0)
            fail_msg("from %s: %s gives %s", peer, lines, text);
    }
}

#define FOR(list) "X-Forwarded-For: " list "\r\n"
#define REAL(ip) "X-Real-IP: " ip "\r\n"

static void the_last_address_that_is_no_proxy(void **state)
{
    static const struct {
        const char *peer, *lines;
        enum access_said said;
        const char *client;
    } cases[] = {
        {"9.9.9.9", FOR("1.1.1.1") REAL("1.1.1.1"), ACCESS_SILENT, NULL}, /* anybody may say so */
        {"unix", FOR("1.1.1.1"), ACCESS_SILENT, NULL},
        {"10.0.0.2", "", ACCESS_SILENT, NULL},
        {"10.0.0.2", FOR("1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"},
        {"::ffff:10.0.0.2", "x-forwarded-for:1.1.1.1\r\n", ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", FOR("6.6.6.6, 127.0.0.1 ,1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"}, /* what stands before is the client's */
        {"10.0.0.2", FOR("6.6.6.6, 1.1.1.1, 10.0.0.3"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", FOR("6.6.6.6") FOR("1.1.1.1") FOR("10.0.0.3,10.0.0.4"), ACCESS_CLIENT, "1.1.1.1"}, /* lines are one list */
        {"10.0.0.2", FOR("unknown, <script>, 1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", FOR("10.0.0.3, 10.0.0.4"), ACCESS_CLIENT, "10.0.0.3"}, /* a proxy asks for itself */
        {"10.0.0.2", FOR("2001:db8::5"), ACCESS_CLIENT, "2001:db8::5"},
        {"2001:db8::2", FOR("6.6.6.6, [2001:db8::5]:4711"), ACCESS_CLIENT, "2001:db8::5"},
        {"10.0.0.2", FOR("[2001:db8::5]"), ACCESS_CLIENT, "2001:db8::5"},
        {"10.0.0.2", FOR("1.1.1.1:4711"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", FOR("::ffff:1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", FOR("unknown"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR(""), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("1.1.1.1,"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("unknown, 10.0.0.3"), ACCESS_NO_ADDRESS, NULL}, /* whoever asked 10.0.0.3, it was not itself */
        {"10.0.0.2", FOR("1.1.1.1:x"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("[1.1.1.1]"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("[2001:db8::5]4711"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("[2001:db8::5"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", FOR("\"1.1.1.1\""), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", REAL("1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", REAL("1.1.1.1") REAL("1.1.1.1"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", REAL("1.1.1.1, 2.2.2.2"), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", REAL(""), ACCESS_NO_ADDRESS, NULL},
        {"10.0.0.2", REAL("1.1.1.1") FOR("6.6.6.6, 1.1.1.1"), ACCESS_CLIENT, "1.1.1.1"},
        {"10.0.0.2", REAL("10.0.0.3") FOR("1.1.1.1, 10.0.0.3"), ACCESS_CLIENT, "1.1.1.1"}, /* what the nearest proxy saw */
        {"10.0.0.2", REAL("1.1.1.1") FOR("6.6.6.6"), ACCESS_NO_ADDRESS, NULL}, /* one of the two is the client's own */
        {"10.0.0.2", "Forwarded: for=1.1.1.1\r\n", ACCESS_SILENT, NULL},
    };
    struct access *a = make(&(struct access_lists){.proxies = LIST("10.0.0.0/24", "2001:db8::2")});

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_client(a, cases[i].peer, cases[i].lines, cases[i].said, cases[i].client);
    access_unref(a);
    a = make(&(struct access_lists){.proxies = LIST("unix")});
    check_client(a, "unix", FOR("1.1.1.1"), ACCESS_CLIENT, "1.1.1.1");
    check_client(a, "127.0.0.1", FOR("1.1.1.1"), ACCESS_SILENT, NULL);
    access_unref(a);
}

static bool is_secure(const struct access *a, const char *peer, const char *lines, bool secure)
{
    char head[1024];
    struct http_request r;

    read_request(&r, head, sizeof head, "x", lines);
    return access_is_secure(a, ip_of(peer), &r, secure);
}

static void a_proxy_says_whether_tls_was_spoken(void **state)
{
    struct access *a = make(&(struct access_lists){.proxies = LIST("10.0.0.2")});

    assert_true(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: https\r\n", false));
    assert_true(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: WSS\r\n", false));
    assert_false(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: http\r\n", true));
    assert_false(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", false));
    assert_false(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: https, http\r\n", false)); /* the nearest proxy's word */
    assert_true(is_secure(a, "10.0.0.2", "X-Forwarded-Proto: gopher\r\n", true));
    assert_false(is_secure(a, "10.0.0.2", "", false));
    assert_false(is_secure(a, "10.0.0.3", "X-Forwarded-Proto: https\r\n", false));
    assert_true(is_secure(a, "10.0.0.3", "X-Forwarded-Proto: http\r\n", true));
    access_unref(a);
}

/* ---- origins ---- */

static bool admits(const struct access *a, const char *host, const char *origin, bool secure)
{
    char head[2048], line[1024] = "";
    struct http_request r;

    if (origin)
        snprintf(line, sizeof line, "Origin: %s\r\n", origin);
    read_request(&r, head, sizeof head, host, line);
    return access_origin(a, &r, secure);
}

struct own_case {
    const char *host, *origin;
    bool plain, tls; /* whether it may over a plain socket, and by TLS */
};

static void check_own(const struct access *a, const struct own_case *c)
{
    if (admits(a, c->host, c->origin, false) != c->plain)
        fail_msg("plain, %s: %s", c->host, c->origin);
    if (admits(a, c->host, c->origin, true) != c->tls)
        fail_msg("TLS, %s: %s", c->host, c->origin);
}

static void pages_of_the_server_itself(void **state)
{
    static const struct own_case cases[] = {
        {"app.example", NULL, true, true},
        {"app.example", "http://app.example", true, false}, /* who can change that page would get at what TLS protects */
        {"app.example", "https://app.example", true, true}, /* TLS ends at a proxy */
        {"app.example:80", "http://app.example", true, false},
        {"app.example:443", "https://app.example", true, true},
        {"app.example", "https://app.example:443", true, true},
        {"APP.example", "https://app.EXAMPLE", true, true},
        {"app.example:8443", "https://app.example:8443", true, true},
        {"localhost:8765", "http://localhost:8765", true, false},
        {"[::1]:8765", "http://[::1]:8765", true, false},
        {"[2001:db8::1]", "https://[2001:db8::1]", true, true},
        {"app.example", "https://app.example:8443", false, false},
        {"app.example:8765", "https://app.example", false, false},
        {"app.example:80", "https://app.example", false, false},
        {"localhost:8765", "http://localhost:3000", false, false},
        {"localhost:8765", "http://127.0.0.1:8765", false, false},
        {"app.example", "https://evil.example", false, false},
        {"app.example", "https://app.example.evil.example", false, false},
        {"app.example", "https://sub.app.example", false, false},
        {"app.example", "https://app.example/", false, false},
        {"app.example", "https://app.example:", false, false},
        {"app.example", "https://x@app.example", false, false},
        {"app.example", "https://evil.example#app.example", false, false},
        {"app.example", "https:app.example", false, false},
        {"app.example", "//app.example", false, false},
        {"app.example", "app.example", false, false},
        {"app.example", "ftp://app.example", false, false},
        {"app.example", "null", false, false},
        {"app.example", "", false, false},
        {"app.example", "*", false, false},
        {"app.example", "https://app.example https://evil.example", false, false},
        {"", "https://app.example", false, false},
        {"", "http://", false, false},
        {"", "file://", false, false},
    };
    struct access *a = make(&(struct access_lists){0});

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_own(a, &cases[i]);
    access_unref(a);
}

static void pages_that_are_listed(void **state)
{
    static const char *const yes[] = {"https://app.example",
                                      "https://APP.example:443",
                                      "http://localhost:3000",
                                      "https://a.wild.example",
                                      "https://A-1.WILD.example",
                                      "https://x.port.example:8443",
                                      "https://[2001:db8::1]",
                                      "https://[2001:DB8:0:0::1]",
                                      "capacitor://localhost",
                                      "chrome-extension://abcdef",
                                      "file://",
                                      "http://plain.example"};
    static const char *const no[] = {"http://app.example",
                                     "https://app.example:8443",
                                     "https://wild.example",
                                     "https://.wild.example",
                                     "https://a.b.wild.example",
                                     "https://awild.example",
                                     "http://a.wild.example",
                                     "https://a.wild.example:444",
                                     "https://x.port.example",
                                     "https://*.wild.example",
                                     "null",
                                     "https://[2001:db8::2]",
                                     "capacitor://other",
                                     "https://plain.example",
                                     "https://a.wild.example.",
                                     "https://a.wild.example/",
                                     "https://a.wild.example@evil.example",
                                     "https://evil.example"};
    struct access *a = make(&(struct access_lists){
        .origins = LIST("https://app.example", "https://app.example:443", "http://LOCALHOST:3000", "https://*.wild.example",
                        "https://*.port.example:8443", "https://[2001:db8:0::1]", "capacitor://localhost",
                        "chrome-extension://abcdef", "file://", "http://plain.example:80")});

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!admits(a, "server.example", yes[i], true)) /* where TLS is spoken a listed page of http may: the list says so */
            fail_msg("%s was refused", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (admits(a, "server.example", no[i], false))
            fail_msg("%s was let in", no[i]);
    access_unref(a);
}

static void null_and_star(void **state)
{
    struct access *a = make(&(struct access_lists){.origins = LIST("null")});
    assert_true(admits(a, "x", "null", false));
    assert_false(admits(a, "x", "https://app.example", false));
    access_unref(a);

    a = make(&(struct access_lists){.origins = LIST("*")});
    assert_true(admits(a, "x", "null", false) && admits(a, "x", "https://app.example", true));
    assert_false(admits(a, "x", "", false));
    assert_false(admits(a, "x", "https://app.example/", false));
    access_unref(a);
}

static void several_origins_are_none(void **state)
{
    struct access *a = make(&(struct access_lists){.origins = LIST("*")});
    char head[512];
    struct http_request r;

    read_request(&r, head, sizeof head, "app.example", "Origin: http://app.example\r\norigin: http://app.example\r\n");
    assert_false(access_origin(a, &r, false));
    access_unref(a);
}

static void long_origins(void **state)
{
    char origin[400] = "https://";
    struct access *a = make(&(struct access_lists){.origins = LIST("https://*.example")});

    memset(origin + 8, 'a', 247);
    strcpy(origin + 8 + 247, ".example:65535"); /* 255 bytes of host, the longest there is */
    assert_false(admits(a, "x", origin, false));
    origin[8 + 255] = '\0';
    assert_true(admits(a, "x", origin, false));
    memset(origin + 8, 'a', 248);
    strcpy(origin + 8 + 248, ".example");
    assert_false(admits(a, "x", origin, false));
    access_unref(a);
}

static void thousands_of_origins(void **state)
{
    enum { COUNT = 5000 };
    static char texts[COUNT][40];
    static const char *list[COUNT + 1];
    struct access *a;

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "https://tenant-%u.example", i);
        list[i] = texts[i];
    }
    a = make(&(struct access_lists){.origins = list});
    assert_true(admits(a, "x", "https://tenant-0.example", false) && admits(a, "x", "https://tenant-4999.example", false));
    assert_false(admits(a, "x", "https://tenant-5000.example", false));
    access_unref(a);
}

/* ---- life ---- */

static void every_allocation_may_fail(void **state)
{
    const struct access_lists good = {.allow = LIST("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"),
                                      .deny = LIST("10.1.0.0/16"),
                                      .proxies = LIST("127.0.0.1", "::1"),
                                      .origins = LIST("https://a.example", "https://*.b.example")};
    const struct access_lists bad = {.allow = LIST("10.0.0.0/8"), .deny = LIST("10.0.0.0/8")};
    const struct access_lists *all[] = {&good, &bad};

    for (size_t i = 0; i < 2; i++) {
        int rc = MT_ENOMEM;
        for (unsigned long n = 1; rc == MT_ENOMEM; n++) {
            struct access *a = NULL;
            char *error;
            mem_fail_at(n);
            rc = access_create(all[i], &a, &error);
            mem_fail_at(0);
            assert_true(rc == MT_ENOMEM ? !a && !error : rc == (i ? MT_EINVALID : 0));
            access_unref(a);
            mem_free(error);
        }
    }
}

static void counted(void **state)
{
    struct access *a = make(&(struct access_lists){.deny = LIST("10.0.0.0/8")});

    assert_ptr_equal(access_ref(a), a);
    access_unref(a);
    assert_false(access_admits(a, ip_of("10.0.0.1")));
    access_unref(a);
    access_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_addresses),
        cmocka_unit_test(a_proxy_may_connect_wherever_it_is),
        cmocka_unit_test(thousands_of_networks),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(the_last_address_that_is_no_proxy),
        cmocka_unit_test(a_proxy_says_whether_tls_was_spoken),
        cmocka_unit_test(pages_of_the_server_itself),
        cmocka_unit_test(pages_that_are_listed),
        cmocka_unit_test(null_and_star),
        cmocka_unit_test(several_origins_are_none),
        cmocka_unit_test(long_origins),
        cmocka_unit_test(thousands_of_origins),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
