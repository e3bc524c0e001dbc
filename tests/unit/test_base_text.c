/* test_base_text.c - slices and the conversions of text. */
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void assert_buf(const struct buf *b, struct slice want)
{
    if (!slice_is(buf_slice(b), want))
        fail_msg("got \"%.*s\", want \"%.*s\"", (int)b->len, (char *)b->data, (int)want.len, want.data);
}

/* ---- slices ---- */

static void slices_compare(void **state)
{
    assert_true(slice_is((struct slice){NULL, 0}, SLICE("")));
    assert_true(slice_is(slice_of(NULL), SLICE("")));
    assert_false(slice_is(SLICE("a"), SLICE("A")));
    assert_true(slice_is_nocase(SLICE("Sec-WebSocket-Key"), SLICE("sec-websocket-KEY")));
    assert_false(slice_is_nocase(SLICE("abc"), SLICE("abcd")));
    assert_false(slice_is_nocase(SLICE("@["), SLICE("`{"))); /* beside the letters nothing folds */
    assert_false(slice_is_nocase(SLICE("\xC4"), SLICE("\xE4")));
    assert_true(slice_is_nocase((struct slice){NULL, 0}, SLICE("")));
}

static void slices_trim_and_split(void **state)
{
    static const char *const want[] = {"chat", "v2.chat", "x y"};
    struct slice rest = SLICE(" chat,\tv2.chat ,, ,x y,"), element;

    assert_true(slice_is(slice_trim(SLICE(" \ta b\t ")), SLICE("a b")));
    assert_int_equal(slice_trim(SLICE(" \t ")).len, 0);
    assert_int_equal(slice_trim(SLICE("\r\n")).len, 2); /* OWS is blank and tab only */
    for (int i = 0; i < 3; i++) {
        assert_true(slice_next(&rest, ',', &element));
        assert_true(slice_is(element, slice_of(want[i])));
    }
    assert_false(slice_next(&rest, ',', &element));
    assert_false(slice_next(&rest, ',', &element));
    rest = (struct slice){NULL, 0};
    assert_false(slice_next(&rest, ',', &element));
}

static void slices_to_numbers(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "1a", "101", "18446744073709551716", "99999999999999999999999"};
    unsigned long long n = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(slice_to_uint(slice_of(bad[i]), 100, &n));
    assert_int_equal(n, 7);
    assert_true(slice_to_uint(SLICE("100"), 100, &n) && n == 100);
    assert_true(slice_to_uint(SLICE("000"), 0, &n) && n == 0);
    assert_false(slice_to_uint(SLICE("5"), 4, &n));
    assert_true(slice_to_uint(SLICE("18446744073709551615"), UINT64_MAX, &n) && n == UINT64_MAX);
    assert_false(slice_to_uint(SLICE("18446744073709551616"), UINT64_MAX, &n));
}

/* ---- near names ---- */

static void nearest_names(void **state)
{
    static const char *const names[] = {"listen", "static", "workers", "watch", "log.level", "log.format", "tls", NULL};
    static const struct {
        const char *word, *want;
    } cases[] = {
        {"lisen", "listen"},
        {"Listen", "listen"},
        {"lsiten", "listen"},
        {"wokers", "workers"},
        {"log.levle", "log.level"},
        {"log.fmt", "log.format"},
        {"log.f", NULL},
        {"tsl", "tls"},
        {"xyz", NULL},
        {"", NULL},
        {"tls", "tls"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *got = text_nearest(slice_of(cases[i].word), names);
        if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
            fail_msg("%s: got %s, want %s", cases[i].word, got ? got : "none", cases[i].want ? cases[i].want : "none");
    }
    char *endless = calloc(1, 100000);
    memset(endless, 'a', 99999);
    assert_null(text_nearest(slice_of(endless), names));
    const char *const long_names[] = {endless, NULL};
    assert_null(text_nearest(SLICE("aaaa"), long_names));
    free(endless);
}

/* ---- hex, base64, percent ---- */

static void hex_both_ways(void **state)
{
    struct buf b = {0};
    assert_int_equal(text_hex(&b, "\x00\x7f\xff\xa5", 4), 0);
    assert_buf(&b, SLICE("007fffa5"));
    buf_clear(&b);
    assert_int_equal(text_unhex(&b, SLICE("007FffA5")), 0);
    assert_buf(&b, SLICE("\x00\x7f\xff\xa5"));
    assert_int_equal(text_unhex(&b, SLICE("")), 0);
    static const char *const bad[] = {"0", "0g", "g0", "00 ", "0x00", "/0", ":0", "@0", "`0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(text_unhex(&b, slice_of(bad[i])), MT_EMALFORMED);
    assert_int_equal(text_unhex(&b, SLICE("ff0z")), MT_EMALFORMED);
    assert_buf(&b, SLICE("\x00\x7f\xff\xa5")); /* a failure adds nothing */
    buf_fini(&b);
}

/* RFC 4648 section 10. */
static void base64_vectors(void **state)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    struct buf b = {0};

    for (int i = 0; i < 7; i++) {
        struct slice want = slice_of(coded[i]), bare = want;
        while (bare.len && bare.data[bare.len - 1] == '=')
            bare.len--;
        for (int url = 0; url < 2; url++) {
            buf_clear(&b);
            assert_int_equal(text_base64(&b, plain[i], strlen(plain[i]), url), 0);
            assert_buf(&b, url ? bare : want);
            buf_clear(&b);
            assert_int_equal(text_unbase64(&b, want, url), 0);
            assert_buf(&b, slice_of(plain[i]));
            buf_clear(&b);
            assert_int_equal(text_unbase64(&b, bare, url), url || bare.len == want.len ? 0 : MT_EMALFORMED);
        }
    }
    buf_fini(&b);
}

static void base64_round_trips(void **state)
{
    unsigned seed = 5;
    for (int round = 0; round < 2000; round++) {
        unsigned char bytes[70];
        size_t len = (size_t)rand_r(&seed) % sizeof(bytes);
        bool url = round % 2;
        struct buf text = {0}, back = {0};
        for (size_t i = 0; i < len; i++)
            bytes[i] = (unsigned char)rand_r(&seed);
        assert_int_equal(text_base64(&text, bytes, len, url), 0);
        assert_null(text.len ? memchr(text.data, url ? '+' : '-', text.len) : NULL);
        assert_int_equal(text_unbase64(&back, buf_slice(&text), url), 0);
        assert_buf(&back, (struct slice){(char *)bytes, len});
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void base64_is_strict(void **state)
{
    static const char *const bad[] = {"Z",     "Zg",   "Zg=", "Zg===", "Zh==", "Zo==",  "Zm+=", "Zm9=", "Zm8=Zm8=", "Zg==\n",
                                      " Zg==", "Zm=v", "=",   "==",    "====", "Zm9v=", "Zm-v", "Zm_v", "Z\x80==",  "Zm9v===="};
    static const char *const bad_url[] = {
        "Z", "Zh", "Zo", "Zm9", "Zm-", "Zg=", "Zm9v=", "Zm+v", "Zm/v", "Zg===", "====", "Zm9v===="};
    struct buf b = {0};
    buf_add_text(&b, "kept");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (text_unbase64(&b, slice_of(bad[i]), false) != MT_EMALFORMED)
            fail_msg("accepted %s", bad[i]);
    for (size_t i = 0; i < sizeof(bad_url) / sizeof(*bad_url); i++)
        if (text_unbase64(&b, slice_of(bad_url[i]), true) != MT_EMALFORMED)
            fail_msg("accepted %s", bad_url[i]);
    assert_buf(&b, SLICE("kept"));
    buf_fini(&b);
}

static void percent_signs(void **state)
{
    static const char *const bad[] = {"%", "a%", "%1", "%g1", "%1g", "ab%4", "%%41", "%-1"};
    struct buf b = {0};
    assert_int_equal(text_unpercent(&b, SLICE("/a%20b%2Fc+d%00"), false), 0);
    assert_buf(&b, SLICE("/a b/c+d\0"));
    buf_clear(&b);
    assert_int_equal(text_unpercent(&b, SLICE("a+b%2b%2B"), true), 0);
    assert_buf(&b, SLICE("a b++"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(text_unpercent(&b, slice_of(bad[i]), false), MT_EMALFORMED);
    assert_buf(&b, SLICE("a b++"));
    assert_int_equal(text_unpercent(&b, (struct slice){NULL, 0}, true), 0);
    buf_fini(&b);
}

static void form_encoding(void **state)
{
    struct buf b = {0}, back = {0};
    unsigned char all[256];

    assert_int_equal(text_form(&b, SLICE("a b&c=d+\xc3\xa4*-._~\0\xff")), 0);
    assert_buf(&b, SLICE("a+b%26c%3Dd%2B%C3%A4*-._%7E%00%FF"));
    buf_clear(&b);
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    assert_int_equal(text_form(&b, (struct slice){(char *)all, 256}), 0);
    assert_int_equal(text_unpercent(&back, buf_slice(&b), true), 0);
    assert_buf(&back, ((struct slice){(char *)all, 256}));
    assert_int_equal(text_form(&b, (struct slice){NULL, 0}), 0);
    buf_fini(&b);
    buf_fini(&back);
}

/* ---- JSON strings ---- */

static void json_strings(void **state)
{
#define FFFD "\xEF\xBF\xBD"
    static const struct {
        struct slice in, out;
    } cases[] = {
        {{"", 0}, {"\"\"", 2}},
        {{NULL, 0}, {"\"\"", 2}},
        {SLICE("a\"b\\c/"), SLICE("\"a\\\"b\\\\c/\"")},
        {SLICE("\b\t\n\f\r"), SLICE("\"\\b\\t\\n\\f\\r\"")},
        {SLICE("\0\x01\x1f\x7f"), SLICE("\"\\u0000\\u0001\\u001f\\u007f\"")},
        {SLICE("\xC3\xA9\xF0\x9F\x98\x80"), SLICE("\"\xC3\xA9\xF0\x9F\x98\x80\"")},
        {SLICE("a\x80z"), SLICE("\"a" FFFD "z\"")},
        {SLICE("\xC3\xA9\xFF\xC3\xA9"), SLICE("\"\xC3\xA9" FFFD "\xC3\xA9\"")},
        {SLICE("\xE2\x82"), SLICE("\"" FFFD "\"")},               /* one for a cut character */
        {SLICE("\xE2\x82z"), SLICE("\"" FFFD "z\"")},             /* which does not eat what follows */
        {SLICE("\xED\xA0\x80"), SLICE("\"" FFFD FFFD FFFD "\"")}, /* a surrogate is no start of anything */
        {SLICE("\xF0\x80\x80\n"), SLICE("\"" FFFD FFFD FFFD "\\n\"")},
        {SLICE("\xE2\x82\xE2\x82\xAC"), SLICE("\"" FFFD "\xE2\x82\xAC\"")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf b = {0};
        assert_int_equal(text_json_string(&b, cases[i].in), 0);
        assert_buf(&b, cases[i].out);
        buf_fini(&b);
    }
}

/* Every allocation fails once: nothing leaks (ASan), nothing half done stays. */
static void no_memory_adds_nothing(void **state)
{
    char big[300];
    memset(big, '\n', sizeof(big));
    struct slice text = {big, sizeof(big)};

    for (unsigned long n = 1;; n++) {
        struct buf b = {0};
        buf_add_text(&b, "kept");
        mem_fail_at(n);
        int err = text_json_string(&b, text);
        mem_fail_at(0);
        if (!err) {
            assert_int_equal(b.len, 4 + 2 + 2 * sizeof(big));
            assert_true(n > 1);
            buf_fini(&b);
            break;
        }
        assert_int_equal(err, MT_ENOMEM);
        assert_buf(&b, SLICE("kept"));
        buf_fini(&b);
    }
    struct buf b = {0};
    mem_fail_at(1);
    assert_int_equal(text_hex(&b, big, 99), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(text_base64(&b, big, 99, false), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(text_unbase64(&b, SLICE("Zm9v"), false), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(text_unhex(&b, SLICE("00")), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(text_unpercent(&b, SLICE("a"), false), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(text_form(&b, SLICE("a")), MT_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(text_hex(&b, big, SIZE_MAX / 2), MT_ENOMEM);
    assert_int_equal(text_form(&b, (struct slice){big, SIZE_MAX / 2}), MT_ENOMEM);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare),     cmocka_unit_test(slices_trim_and_split),  cmocka_unit_test(slices_to_numbers),
        cmocka_unit_test(nearest_names),      cmocka_unit_test(hex_both_ways),          cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_round_trips), cmocka_unit_test(base64_is_strict),       cmocka_unit_test(percent_signs),
        cmocka_unit_test(form_encoding),      cmocka_unit_test(json_strings),       cmocka_unit_test(no_memory_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
