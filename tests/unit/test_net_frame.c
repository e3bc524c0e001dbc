/* test_net_frame.c - the frame codec: every stream whole, cut at every place, and one byte at a time. */
#include "net/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- building what a client sends ---- */

struct stream {
    unsigned char data[400000];
    size_t len;
};

static void put_bytes(struct stream *s, const void *data, size_t len)
{
    assert_true(s->len + len <= sizeof(s->data));
    memcpy(s->data + s->len, data, len);
    s->len += len;
}

/* One masked frame; `first` is its first byte. The mask differs from frame to frame. */
static void put_frame(struct stream *s, unsigned first, const void *payload, size_t len)
{
    unsigned char head[14] = {(unsigned char)first};
    unsigned char mask[4] = {0x12, (unsigned char)(0x34 + s->len), 0x56, (unsigned char)(len * 7 + 1)};
    size_t n = 2;

    if (len < 126) {
        head[1] = (unsigned char)len;
    } else if (len < 65536) {
        head[1] = 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        n = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    head[1] |= 0x80;
    memcpy(head + n, mask, 4);
    put_bytes(s, head, n + 4);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = ((const unsigned char *)payload)[i] ^ mask[i & 3];
        put_bytes(s, &byte, 1);
    }
}

static void put_text(struct stream *s, unsigned first, const char *payload)
{
    put_frame(s, first, payload, strlen(payload));
}

/* ---- what the decoder says, as one line of text ---- */

/* A message is T{...} or B{...}, with z before the brace where it is deflated; controls are C(...) P(...) O(...); a violation
 * is "!1002". Parts of one message run together, so the line does not depend on where the bytes were cut. */
struct heard {
    char line[1000000];
    size_t len;
};

static void say(struct heard *h, const char *text, size_t len)
{
    assert_true(h->len + len < sizeof(h->line));
    memcpy(h->line + h->len, text, len);
    h->len += len;
    h->line[h->len] = 0;
}

static void say_part(struct heard *h, const struct frame_part *p)
{
    const char *data = (const char *)p->data;

    if (p->op >= FRAME_CLOSE) {
        const char *name = p->op == FRAME_CLOSE ? "C(" : p->op == FRAME_PING ? "P(" : "O(";
        assert_true(p->first && p->last && !p->deflated && p->left == 0 && p->len <= FRAME_CONTROL_MAX);
        say(h, name, 2);
        say(h, data, p->len);
        say(h, ")", 1);
        return;
    }
    if (p->first) {
        say(h, p->op == FRAME_TEXT ? "T" : "B", 1);
        say(h, "z", p->deflated);
        say(h, "{", 1);
    }
    say(h, data, p->len);
    if (p->last)
        say(h, "}", 1);
}

/* A reader as the session is one: bytes come in pieces, what was not taken is kept and comes again. */
struct reader {
    struct frame_decoder d;
    struct heard *heard;
    unsigned char *kept; /* a block of exactly kept_len bytes, so that a sanitizer sees every step over its end */
    size_t kept_len;
    bool failed;
};

static void read_piece(struct reader *r, const unsigned char *data, size_t len)
{
    if (r->failed)
        return;
    size_t total = r->kept_len + len, at = 0;
    unsigned char *bytes = malloc(total ? total : 1);
    memcpy(bytes, r->kept, r->kept_len);
    memcpy(bytes + r->kept_len, data, len);
    for (;;) {
        struct frame_part part;
        size_t used = 999;
        int got = frame_next(&r->d, bytes + at, total - at, &used, &part);
        if (got == -1002) {
            say(r->heard, "!1002", 5);
            r->failed = true;
            break;
        }
        if (got == 0) {
            assert_int_equal(used, 0);
            break;
        }
        assert_int_equal(got, 1);
        assert_true(used > 0 && used <= total - at);
        assert_true(part.data >= bytes + at && part.data + part.len == bytes + at + used);
        say_part(r->heard, &part);
        at += used;
    }
    free(r->kept);
    r->kept_len = r->failed ? 0 : total - at;
    assert_true(r->kept_len < 131);
    r->kept = malloc(r->kept_len ? r->kept_len : 1);
    memcpy(r->kept, bytes + at, r->kept_len);
    free(bytes);
}

static void reader_init(struct reader *r, struct heard *h, bool rsv1)
{
    h->len = 0;
    h->line[0] = 0;
    *r = (struct reader){.heard = h, .kept = malloc(1), .d.allow_rsv1 = rsv1};
}

static struct heard heard;

/* The stream cut at `a` and `b` must be heard as `expect`. */
static void check_cut(const struct stream *s, bool rsv1, size_t a, size_t b, const char *expect)
{
    struct reader r;

    reader_init(&r, &heard, rsv1);
    read_piece(&r, s->data, a);
    read_piece(&r, s->data + a, b - a);
    read_piece(&r, s->data + b, s->len - b);
    free(r.kept);
    assert_string_equal(heard.line, expect);
}

/* Whole, byte by byte, cut once everywhere, and twice everywhere where the stream is short. */
static void check_stream(const struct stream *s, bool rsv1, const char *expect)
{
    struct reader r;

    check_cut(s, rsv1, s->len, s->len, expect);
    reader_init(&r, &heard, rsv1);
    for (size_t i = 0; i < s->len; i++)
        read_piece(&r, s->data + i, 1);
    free(r.kept);
    assert_string_equal(heard.line, expect);
    for (size_t a = 0; a <= s->len; a++) {
        if (s->len > 160)
            check_cut(s, rsv1, a, a, expect);
        for (size_t b = a; s->len <= 160 && b <= s->len; b++)
            check_cut(s, rsv1, a, b, expect);
    }
}

static struct stream st;

#define START() (st.len = 0)

/* ---- legal streams ---- */

static void test_messages(void **state)
{
    START();
    put_text(&st, 0x81, "hello");
    put_text(&st, 0x82, "\x01\x02");
    put_text(&st, 0x81, "");
    put_text(&st, 0x81, "a");
    check_stream(&st, false, "T{hello}B{\x01\x02}T{}T{a}");
}

static void test_fragments(void **state)
{
    START();
    put_text(&st, 0x01, "one ");
    put_text(&st, 0x00, "two ");
    put_text(&st, 0x00, "");
    put_text(&st, 0x80, "three");
    put_text(&st, 0x02, "");
    put_text(&st, 0x80, "");
    put_text(&st, 0x02, "");
    put_text(&st, 0x00, "x");
    put_text(&st, 0x80, "");
    check_stream(&st, false, "T{one two three}B{}B{x}");
}

static void test_control_between_fragments(void **state)
{
    START();
    put_text(&st, 0x01, "ab");
    put_text(&st, 0x89, "ping");
    put_text(&st, 0x8a, "");
    put_text(&st, 0x00, "cd");
    put_text(&st, 0x89, "");
    put_text(&st, 0x80, "ef");
    put_text(&st, 0x8a, "pong");
    put_frame(&st, 0x88,
              "\x03\xe8"
              "bye",
              5);
    check_stream(&st, false,
                 "T{abP(ping)O()cdP()ef}O(pong)C(\x03\xe8"
                 "bye)");
}

static void test_deflated_flag(void **state)
{
    START();
    put_text(&st, 0xc1, "zz");
    put_text(&st, 0x81, "plain");
    put_text(&st, 0x42, "q");
    put_text(&st, 0x89, "");
    put_text(&st, 0x80, "r");
    put_text(&st, 0x81, "end");
    check_stream(&st, true, "Tz{zz}T{plain}Bz{qP()r}T{end}");
    /* The flag is the message's: it does not survive into the next. */
    START();
    put_text(&st, 0xc1, "z");
    put_text(&st, 0x01, "a");
    put_text(&st, 0x80, "b");
    check_stream(&st, true, "Tz{z}T{ab}");
}

static void fill_pattern(unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (unsigned char)('a' + (i * 7 + i / 26) % 26);
}

/* Every length form, one below, at and above its border. */
static void test_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 124, 125, 126, 127, 128, 255, 256, 1000};
    static unsigned char payload[1000];
    static char expect[1100];

    fill_pattern(payload, sizeof(payload));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        START();
        put_frame(&st, 0x82, payload, lengths[i]);
        put_text(&st, 0x81, "x");
        snprintf(expect, sizeof(expect), "B{%.*s}T{x}", (int)lengths[i], (const char *)payload);
        check_stream(&st, false, expect);
    }
}

static void test_large_frames(void **state)
{
    static const size_t lengths[] = {65534, 65535, 65536, 65537, 300000};
    static unsigned char payload[300000];
    static char expect[300100];

    fill_pattern(payload, sizeof(payload));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        START();
        put_frame(&st, 0x01, payload, lengths[i]);
        put_text(&st, 0x89, "p");
        put_text(&st, 0x80, "end");
        int n = snprintf(expect, sizeof(expect), "T{%.*s", (int)lengths[i], (const char *)payload);
        snprintf(expect + n, sizeof(expect) - (size_t)n, "P(p)end}");
        check_cut(&st, false, st.len, st.len, expect);
        for (size_t a = 0; a < 20; a++)
            check_cut(&st, false, a, st.len - a, expect);
        check_cut(&st, false, 65535, 65537, expect);
    }
}

/* The parts themselves: first, last and left over one message in three reads. */
static void test_part_fields(void **state)
{
    struct frame_decoder d = {0};
    struct frame_part p;
    size_t used;

    START();
    put_text(&st, 0x01, "0123456789");
    put_text(&st, 0x80, "abc");
    assert_int_equal(frame_next(&d, st.data, 6, &used, &p), 0); /* a header alone */
    assert_int_equal(used, 0);
    assert_int_equal(frame_next(&d, st.data, 9, &used, &p), 1);
    assert_true(p.first && !p.last && p.len == 3 && p.left == 7 && used == 9 && p.op == FRAME_TEXT);
    assert_memory_equal(p.data, "012", 3);
    assert_int_equal(frame_next(&d, st.data + 9, 0, &used, &p), 0);
    assert_int_equal(used, 0);
    assert_int_equal(frame_next(&d, st.data + 9, st.len - 9, &used, &p), 1);
    assert_true(!p.first && !p.last && p.len == 7 && p.left == 0 && used == 7);
    assert_memory_equal(p.data, "3456789", 7);
    assert_int_equal(frame_next(&d, st.data + 16, st.len - 16, &used, &p), 1);
    assert_true(!p.first && p.last && p.len == 3 && p.left == 0 && p.op == FRAME_TEXT);
    assert_int_equal(d.message_op, 0);
}

/* The largest length that is legal: its first byte of payload tells how much is to come. */
static void test_huge_length_is_told(void **state)
{
    unsigned char bytes[] = {0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 'x'};
    struct frame_decoder d = {0};
    struct frame_part p;
    size_t used;

    assert_int_equal(frame_next(&d, bytes, sizeof(bytes), &used, &p), 1);
    assert_true(p.len == 1 && p.left == INT64_MAX - 1 && !p.last);
}

/* ---- violations ---- */

/* After `before`, the bytes `hex` are refused with the last of them, and not one earlier. */
struct bad {
    const char *name, *before, *bytes;
    size_t len;
    bool rsv1;
};

#define BAD(name, before, bytes, rsv1)                                                                                           \
    {                                                                                                                            \
        name, before, bytes, sizeof(bytes) - 1, rsv1                                                                             \
    }

static const struct bad bad_frames[] = {
    BAD("rsv1 without deflate", "", "\xc1", false),
    BAD("rsv2", "", "\xa1", false),
    BAD("rsv3", "", "\x91", false),
    BAD("rsv2 with deflate", "", "\xa1", true),
    BAD("rsv3 with deflate", "", "\x91", true),
    BAD("rsv1 and rsv2 with deflate", "", "\xe2", true),
    BAD("rsv1 on a continuation", "f", "\xc0", true),
    BAD("rsv1 on a middle fragment", "f", "\x40", true),
    BAD("rsv1 on a ping", "", "\xc9", true),
    BAD("rsv1 on a pong", "", "\xca", true),
    BAD("rsv1 on a close", "", "\xc8", true),
    BAD("opcode 3", "", "\x83", false),
    BAD("opcode 4", "", "\x84", false),
    BAD("opcode 5", "", "\x85", false),
    BAD("opcode 6", "", "\x86", false),
    BAD("opcode 7", "", "\x87", false),
    BAD("opcode 7 in a message", "f", "\x87", false),
    BAD("opcode 11", "", "\x8b", false),
    BAD("opcode 12", "", "\x8c", false),
    BAD("opcode 13", "", "\x8d", false),
    BAD("opcode 14", "", "\x8e", false),
    BAD("opcode 15", "", "\x8f", false),
    BAD("fragmented close", "", "\x08", false),
    BAD("fragmented ping", "", "\x09", false),
    BAD("fragmented pong", "f", "\x0a", false),
    BAD("continuation without a start", "", "\x80", false),
    BAD("middle fragment without a start", "", "\x00", false),
    BAD("continuation after a whole message", "m", "\x80", false),
    BAD("continuation after the last fragment", "fe", "\x00", false),
    BAD("text inside a message", "f", "\x81", false),
    BAD("binary inside a message", "f", "\x82", false),
    BAD("new fragment inside a message", "f", "\x01", false),
    BAD("unmasked text", "", "\x81\x05", false),
    BAD("unmasked empty text", "", "\x81\x00", false),
    BAD("unmasked ping", "", "\x89\x00", false),
    BAD("unmasked close", "", "\x88\x02", false),
    BAD("unmasked continuation", "f", "\x80\x01", false),
    BAD("unmasked 16 bits", "", "\x82\x7e", false),
    BAD("ping of 126", "", "\x89\xfe", false),
    BAD("close of 127", "", "\x88\xff", false),
    BAD("pong of 126 in a message", "f", "\x8a\xfe", false),
    BAD("0 in 16 bits", "", "\x81\xfe\x00\x00", false),
    BAD("125 in 16 bits", "", "\x81\xfe\x00\x7d", false),
    BAD("0 in 64 bits", "", "\x81\xff\x00\x00\x00\x00\x00\x00", false),
    BAD("65535 in 64 bits", "f", "\x80\xff\x00\x00\x00\x00\x00\x00", false),
    BAD("bit 63", "", "\x82\xff\x80", false),
    BAD("all bits", "", "\x82\xff\xff", false),
};

static void test_violations_at_once(void **state)
{
    for (size_t i = 0; i < sizeof(bad_frames) / sizeof(bad_frames[0]); i++) {
        const struct bad *b = &bad_frames[i];
        char expect[64] = "";

        START();
        for (const char *c = b->before; *c; c++) {
            put_text(&st, *c == 'f' ? 0x01 : *c == 'e' ? 0x80 : 0x81, "ab");
            strcat(expect, *c == 'f' ? "T{ab" : *c == 'e' ? "ab}" : "T{ab}");
        }
        put_bytes(&st, b->bytes, b->len - 1);
        print_message("%s\n", b->name);
        check_stream(&st, b->rsv1, expect);
        put_bytes(&st, b->bytes + b->len - 1, 1);
        strcat(expect, "!1002");
        check_stream(&st, b->rsv1, expect);
        put_bytes(&st, "garbage behind", 14);
        check_stream(&st, b->rsv1, expect);
    }
}

/* The borders next to the violations above are legal. */
static void test_borders_are_legal(void **state)
{
    static const char *const legal[] = {"\x81\xfe\x00\x7e", "\x81\xfe\x01\x00", "\x89\xfd", "\x82\xff\x00\x00\x00\x00\x00\x01",
                                        "\x82\xff\x7f",     "\x82\xff\x00\x01"};
    static const size_t lens[] = {4, 4, 2, 8, 3, 4};

    for (size_t i = 0; i < 6; i++) {
        START();
        put_bytes(&st, legal[i], lens[i]);
        check_stream(&st, false, "");
    }
}

/* ---- the pieces ---- */

static void test_mask_all_lengths_and_turns(void **state)
{
    unsigned char data[300], plain[300];
    const unsigned char key[4] = {0xa1, 0x02, 0x7f, 0xfe};
    uint32_t mask;

    memcpy(&mask, key, 4);
    for (size_t off = 0; off < 8; off++) {
        for (size_t len = 0; len + off <= 200; len++) {
            for (size_t i = 0; i < sizeof(data); i++)
                data[i] = plain[i] = (unsigned char)(i * 31 + len);
            uint32_t next = frame_mask(data + off, len, mask);
            for (size_t i = 0; i < sizeof(data); i++) {
                bool inside = i >= off && i < off + len;
                assert_int_equal(data[i], plain[i] ^ (inside ? key[(i - off) & 3] : 0));
            }
            unsigned char turned[4];
            memcpy(turned, &next, 4);
            for (size_t i = 0; i < 4; i++)
                assert_int_equal(turned[i], key[(len + i) & 3]);
        }
    }
}

static void test_put_head(void **state)
{
    static const struct {
        uint64_t len;
        const char *head;
        size_t size;
    } cases[] = {
        {0, "\x81\x00", 2},
        {125, "\x81\x7d", 2},
        {126, "\x81\x7e\x00\x7e", 4},
        {65535, "\x81\x7e\xff\xff", 4},
        {65536, "\x81\x7f\0\0\0\0\0\1\0\0", 10},
        {0x0102030405060708, "\x81\x7f\1\2\3\4\5\6\7\x08", 10},
    };
    unsigned char out[FRAME_HEAD_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(frame_put_head(out, FRAME_TEXT, false, cases[i].len), cases[i].size);
        assert_memory_equal(out, cases[i].head, cases[i].size);
    }
    assert_int_equal(frame_put_head(out, FRAME_BINARY, true, 3), 2);
    assert_memory_equal(out, "\xc2\x03", 2);
    assert_int_equal(frame_put_head(out, FRAME_PONG, false, 0), 2);
    assert_memory_equal(out, "\x8a\x00", 2);
}

static void test_close_codes(void **state)
{
    for (unsigned code = 0; code < 70000; code++) {
        bool ok = code == 1000 || code == 1001 || code == 1002 || code == 1003 || code == 1007 || code == 1008 || code == 1009 ||
                  code == 1010 || code == 1011 || code == 1012 || code == 1013 || code == 1014 || (code >= 3000 && code <= 4999);
        assert_int_equal(frame_close_code_ok(code), ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_control_between_fragments),
        cmocka_unit_test(test_deflated_flag),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_part_fields),
        cmocka_unit_test(test_huge_length_is_told),
        cmocka_unit_test(test_violations_at_once),
        cmocka_unit_test(test_borders_are_legal),
        cmocka_unit_test(test_mask_all_lengths_and_turns),
        cmocka_unit_test(test_put_head),
        cmocka_unit_test(test_close_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
