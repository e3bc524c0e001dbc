/* test_base_utf8.c - the automaton against the grammar of RFC 3629, over all edges of the byte classes and every split. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* RFC 3629 section 4, word by word. */
static const struct form {
    size_t len;
    unsigned char low[4], high[4];
} forms[] = {
    {1, {0x00}, {0x7F}},
    {2, {0xC2, 0x80}, {0xDF, 0xBF}},
    {3, {0xE0, 0xA0, 0x80}, {0xE0, 0xBF, 0xBF}},
    {3, {0xE1, 0x80, 0x80}, {0xEC, 0xBF, 0xBF}},
    {3, {0xED, 0x80, 0x80}, {0xED, 0x9F, 0xBF}},
    {3, {0xEE, 0x80, 0x80}, {0xEF, 0xBF, 0xBF}},
    {4, {0xF0, 0x90, 0x80, 0x80}, {0xF0, 0xBF, 0xBF, 0xBF}},
    {4, {0xF1, 0x80, 0x80, 0x80}, {0xF3, 0xBF, 0xBF, 0xBF}},
    {4, {0xF4, 0x80, 0x80, 0x80}, {0xF4, 0x8F, 0xBF, 0xBF}},
};

enum { WHOLE, MIDDLE, WRONG };

/* What `len` bytes are to the grammar: whole characters, the start of something right, or hopeless. */
static int judge(const unsigned char *p, size_t len)
{
    while (len) {
        size_t used = 0;
        for (size_t f = 0; f < sizeof(forms) / sizeof(*forms) && !used; f++) {
            size_t have = len < forms[f].len ? len : forms[f].len, i = 0;
            while (i < have && p[i] >= forms[f].low[i] && p[i] <= forms[f].high[i])
                i++;
            if (i == have && have < forms[f].len)
                return MIDDLE;
            if (i == have)
                used = have;
        }
        if (!used)
            return WRONG;
        p += used;
        len -= used;
    }
    return WHOLE;
}

static int meaning(uint32_t state)
{
    return state == UTF8_ACCEPT ? WHOLE : state == UTF8_REJECT ? WRONG : MIDDLE;
}

static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                      0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};

/* Every way to cut `p` into pieces must give what the grammar says of every prefix. */
static void check_splits(const unsigned char *p, size_t len)
{
    for (unsigned cuts = 0; cuts < 1u << (len - 1); cuts++) {
        uint32_t state = UTF8_ACCEPT;
        size_t start = 0;
        for (size_t i = 0; i < len; i++) {
            if (i + 1 < len && !(cuts >> i & 1))
                continue;
            state = utf8_feed(state, p + start, i + 1 - start);
            start = i + 1;
            if (meaning(state) != judge(p, i + 1))
                fail_msg("%02x %02x %02x %02x: wrong at byte %zu of %zu with cuts %x", p[0], p[1], p[2], p[3], i + 1, len, cuts);
        }
    }
}

static void every_edge_in_every_split(void **state)
{
    enum { EDGES = sizeof(edges) };
    unsigned char p[4];

    for (size_t n = 0; n < (size_t)EDGES * EDGES * EDGES * EDGES; n++) {
        size_t rest = n;
        for (int i = 3; i >= 0; i--) {
            p[i] = edges[rest % EDGES];
            rest /= EDGES;
        }
        check_splits(p, 4);
        if (n % EDGES == 0)
            check_splits(p, 3);
        if (n % (EDGES * EDGES) == 0)
            check_splits(p, 2);
    }
    for (int b = 0; b < 256; b++) {
        unsigned char byte = (unsigned char)b;
        assert_int_equal(meaning(utf8_feed(UTF8_ACCEPT, &byte, 1)), judge(&byte, 1));
    }
}

static void every_two_bytes(void **state)
{
    for (unsigned n = 0; n < 65536; n++) {
        unsigned char p[2] = {(unsigned char)(n >> 8), (unsigned char)n};
        assert_int_equal(meaning(utf8_feed(UTF8_ACCEPT, p, 2)), judge(p, 2));
    }
}

static size_t encode(uint32_t c, unsigned char *p)
{
    if (c < 0x80) {
        p[0] = (unsigned char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; c >>= 6)
        p[i] = (unsigned char)(0x80 | (c & 0x3F));
    p[0] = (unsigned char)((0xF00 >> len & 0xFF) | c);
    return len;
}

static void every_code_point(void **state)
{
    for (uint32_t c = 0; c < 0x120000; c++) {
        unsigned char p[4] = {0};
        size_t len = encode(c, p);
        bool good = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
        if (utf8_valid(p, len) != good)
            fail_msg("U+%04X is judged wrongly", c);
    }
}

/* One special piece at every place of texts around the widths that the fast path takes, split once at every place. */
static void around_the_fast_path(void **state)
{
    static const char *const pieces[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x80",
                                         "\xED\xA0", "\xC3",         "\xF0\x9F\x98"};
    unsigned char text[80];

    for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
        size_t piece = strlen(pieces[k]);
        for (size_t len = piece; len <= 70; len++) {
            for (size_t at = 0; at + piece <= len; at++) {
                memset(text, 'a', len);
                memcpy(text + at, pieces[k], piece);
                int want = judge(text, len);
                assert_int_equal(meaning(utf8_feed(UTF8_ACCEPT, text, len)), want);
                for (size_t cut = 0; cut <= len; cut += 7)
                    assert_int_equal(meaning(utf8_feed(utf8_feed(UTF8_ACCEPT, text, cut), text + cut, len - cut)), want);
            }
        }
    }
}

/* Mixed text with one byte spoilt: fixed seed, the grammar decides. */
static void random_texts(void **state)
{
    unsigned seed = 20261123;
    unsigned char text[256];

    for (int round = 0; round < 20000; round++) {
        size_t len = 0, want = (size_t)rand_r(&seed) % 200;
        while (len < want) {
            static const uint32_t tops[] = {0x80, 0x80, 0x80, 0x800, 0xD800, 0x110000};
            uint32_t c = (uint32_t)rand_r(&seed) % tops[rand_r(&seed) % 6];
            if (c < 0xD800 || c > 0xDFFF)
                len += encode(c, text + len);
        }
        assert_int_equal(meaning(utf8_feed(UTF8_ACCEPT, text, len)), WHOLE);
        if (len) {
            text[(size_t)rand_r(&seed) % len] = edges[(size_t)rand_r(&seed) % sizeof(edges)];
            assert_int_equal(meaning(utf8_feed(UTF8_ACCEPT, text, len)), judge(text, len));
        }
    }
}

static void a_rejected_text_stays_rejected(void **state)
{
    uint32_t at = utf8_feed(UTF8_ACCEPT, "abc\xFF", 4);
    assert_int_equal(at, UTF8_REJECT);
    assert_int_equal(utf8_feed(at, "abc", 3), UTF8_REJECT);
    assert_int_equal(utf8_feed(at, "", 0), UTF8_REJECT);
}

static void nothing_changes_nothing(void **state)
{
    assert_int_equal(utf8_feed(UTF8_ACCEPT, NULL, 0), UTF8_ACCEPT);
    uint32_t middle = utf8_feed(UTF8_ACCEPT, "\xE2\x82", 2);
    assert_int_equal(utf8_feed(middle, NULL, 0), middle);
    assert_int_equal(utf8_feed(middle, "\xAC", 1), UTF8_ACCEPT);
}

static void counts_code_points(void **state)
{
    assert_int_equal(utf8_count("", 0), 0);
    assert_int_equal(utf8_count("abc", 3), 3);
    assert_int_equal(utf8_count("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10), 4);
}

static void mends_what_is_none(void **state)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"abc", "abc"},
                                           {"a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
                                           {"\xFF", "?"},
                                           {"cut \xF0\x9F\x98", "cut ???"},
                                           {"\xC3(\xC3\xA9", "?(\xC3\xA9"},
                                           {"\xED\xA0\x80\xC0\x80", "?????"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];

        strcpy(text, cases[i][0]);
        utf8_mend(text);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_edge_in_every_split),
        cmocka_unit_test(every_two_bytes),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(around_the_fast_path),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(a_rejected_text_stays_rejected),
        cmocka_unit_test(nothing_changes_nothing),
        cmocka_unit_test(counts_code_points),
        cmocka_unit_test(mends_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
