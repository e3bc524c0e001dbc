/* test_net_deflate.c - permessage-deflate both ways: against zlib used directly, the RFC's examples, limits and broken data. */
#include "net/deflate.h"

#include "base/err.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(literal) (literal), sizeof(literal) - 1
#define HUGE_LIMIT (1u << 30)

static struct deflate *shared;

static int setup(void **state)
{
    shared = deflate_create(6);
    return shared ? 0 : -1;
}

static int teardown(void **state)
{
    deflate_destroy(shared);
    return 0;
}

/* Unpack from a block of exactly that size, so that a sanitizer sees a step over its end. */
static int unpack(const void *data, size_t len, size_t limit, struct buf *out)
{
    void *copy = malloc(len ? len : 1);

    memcpy(copy, data, len);
    int got = deflate_unpack(shared, copy, len, limit, out);
    free(copy);
    return got;
}

static void assert_unpacks(const void *data, size_t len, const void *want, size_t want_len)
{
    struct buf out = {0};

    assert_int_equal(unpack(data, len, HUGE_LIMIT, &out), 0);
    assert_int_equal(out.len, want_len);
    if (want_len)
        assert_memory_equal(out.data, want, want_len);
    buf_fini(&out);
}

static void fill(unsigned char *data, size_t len, unsigned kind)
{
    uint32_t seed = 12345;

    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = kind == 0 ? 'a' : kind == 1 ? (unsigned char)(seed >> 24) : (unsigned char)("the quick brown fox "[seed >> 28]);
    }
}

/* Sizes around zlib's windows and blocks, every window, data that shrinks and data that does not. */
static void test_round_trips(void **state)
{
    static const size_t sizes[] = {0,   1,   2,    125,   126,   255,   256,   257,   511,
                                   512, 513, 1023, 32767, 32768, 32769, 65535, 65536, 200000};
    static unsigned char data[200000];

    for (unsigned kind = 0; kind < 3; kind++) {
        fill(data, sizeof(data), kind);
        for (size_t i = 0; i < COUNT(sizes); i++) {
            for (int bits = 9; bits <= 15; bits++) {
                struct buf packed = {0};
                assert_int_equal(buf_add_text(&packed, "before"), 0);
                assert_int_equal(deflate_pack(shared, bits, data, sizes[i], &packed), 0);
                assert_memory_equal(packed.data, "before", 6);
                assert_unpacks(packed.data + 6, packed.len - 6, data, sizes[i]);
                buf_fini(&packed);
            }
        }
    }
}

/* A reader that inflates with exactly the window it asked for understands us. */
static void test_windows_are_kept(void **state)
{
    static unsigned char data[100000], back[100000];

    fill(data, sizeof(data), 2);
    for (int bits = 9; bits <= 15; bits++) {
        struct buf packed = {0};
        z_stream z = {0};
        assert_int_equal(deflate_pack(shared, bits, data, sizeof(data), &packed), 0);
        assert_int_equal(buf_add(&packed, "\x00\x00\xff\xff", 4), 0);
        assert_int_equal(inflateInit2(&z, -bits), Z_OK);
        z.next_in = packed.data;
        z.avail_in = (uInt)packed.len;
        for (size_t got = 0; got < sizeof(back);) { /* small outputs, so that zlib has to look things up in its window */
            z.next_out = back + got;
            z.avail_out = 100;
            assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
            got += 100 - z.avail_out;
        }
        assert_memory_equal(back, data, sizeof(data));
        inflateEnd(&z);
        buf_fini(&packed);
    }
}

/* RFC 7692 7.2.3, each form of "Hello". */
static void test_rfc_examples(void **state)
{
    assert_unpacks(BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), BYTES("Hello"));
    assert_unpacks(BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), BYTES("Hello"));
    assert_unpacks(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), BYTES("Hello"));
    assert_unpacks(BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), BYTES("Hello"));
    struct buf packed = {0};
    assert_int_equal(deflate_pack(shared, 15, "Hello", 5, &packed), 0);
    assert_int_equal(packed.len, 7);
    assert_memory_equal(packed.data, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    buf_fini(&packed);
}

static void test_empty_messages(void **state)
{
    struct buf packed = {0};

    assert_int_equal(deflate_pack(shared, 15, "", 0, &packed), 0);
    assert_int_equal(packed.len, 1);
    assert_int_equal(packed.data[0], 0);
    buf_fini(&packed);
    assert_unpacks(BYTES("\x00"), "", 0);
    assert_unpacks(BYTES("\x02\x00"), "", 0); /* an empty block with fixed codes */
    assert_unpacks("", 0, "", 0);             /* no RFC's form, but nobody can mean anything else by it */
}

/* Nothing of one message is left for the next. */
static void test_messages_are_independent(void **state)
{
    struct buf a = {0}, b = {0};

    assert_int_equal(deflate_pack(shared, 15, "same same same", 14, &a), 0);
    assert_int_equal(deflate_pack(shared, 15, "same same same", 14, &b), 0);
    assert_true(slice_is(buf_slice(&a), buf_slice(&b)));
    buf_fini(&a);
    buf_fini(&b);
    /* A reference to what the message before held. */
    assert_unpacks(BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), BYTES("Hello"));
    assert_int_equal(unpack(BYTES("\xf2\x00\x11\x00\x00"), 100, &a), MT_EMALFORMED);
    assert_int_equal(a.len, 0);
    buf_fini(&a);
}

/* Clients that end their data with Z_FINISH, with and without the extra byte. */
static void test_final_blocks(void **state)
{
    static unsigned char data[50000], packed[60000];

    fill(data, sizeof(data), 2);
    for (size_t len = 0; len <= sizeof(data); len += len < 20 ? 1 : 4998) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = data;
        z.avail_in = (uInt)len;
        z.next_out = packed;
        z.avail_out = sizeof(packed);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        size_t n = sizeof(packed) - z.avail_out;
        deflateEnd(&z);
        assert_unpacks(packed, n, data, len);
        packed[n] = 0;
        assert_unpacks(packed, n + 1, data, len);
    }
    /* Two finished streams in one message; the tail completes a final stored block. */
    assert_unpacks(BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00"), BYTES("HelloHello"));
    assert_unpacks(BYTES("\x01"), "", 0);
}

static void test_limits_are_exact(void **state)
{
    static unsigned char data[70000];

    for (unsigned kind = 0; kind < 2; kind++) {
        fill(data, sizeof(data), kind);
        for (size_t len = 1; len <= sizeof(data); len += len < 300 ? 1 : 7001) {
            struct buf packed = {0}, out = {0};
            assert_int_equal(deflate_pack(shared, 15, data, len, &packed), 0);
            assert_int_equal(unpack(packed.data, packed.len, len, &out), 0);
            assert_int_equal(out.len, len);
            out.len = 3;
            assert_int_equal(unpack(packed.data, packed.len, len - 1, &out), MT_ETOO_LARGE);
            assert_int_equal(out.len, 3);
            assert_int_equal(unpack(packed.data, packed.len, len, &out), 0);
            assert_int_equal(out.len, 3 + len);
            assert_int_equal(unpack(packed.data, packed.len, 0, &out), MT_ETOO_LARGE);
            assert_int_equal(unpack("", 1, 0, &out), 0);
            assert_int_equal(out.len, 3 + len);
            buf_fini(&out);
            buf_fini(&packed);
        }
    }
}

/* 64 MB of zeros in 64 KB: no more memory than the limit's is taken. */
static void test_bomb(void **state)
{
    size_t huge = 64u << 20;
    unsigned char *zeros = calloc(1, huge);
    struct buf packed = {0}, out = {0};

    assert_int_equal(deflate_pack(shared, 15, zeros, huge, &packed), 0);
    assert_true(packed.len < 100000);
    assert_int_equal(unpack(packed.data, packed.len, 65536, &out), MT_ETOO_LARGE);
    assert_true(out.cap <= 2 * 65536 && out.len == 0);
    assert_int_equal(unpack(packed.data, packed.len, huge, &out), 0);
    assert_int_equal(out.len, huge);
    assert_memory_equal(out.data, zeros, huge);
    buf_fini(&out);
    buf_fini(&packed);
    free(zeros);
}

static void test_broken_data(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } cases[] = {
        {BYTES("\x06")},                                         /* block type 3 */
        {BYTES("\xff\xff\xff\xff")},                             /* the same */
        {BYTES("\x00\x05\x00\xfa\xfe\x48")},                     /* length and its complement differ */
        {BYTES("\x00\x05\x00\xfa\xff\x48\x65")},                 /* stored block cut: the tail would become data */
        {BYTES("\xf2\x48\xcd\xc9")},                             /* cut in a block with fixed codes */
        {BYTES("\xf2\x48\xcd\xc9\xc9")},                         /* the same */
        {BYTES("\x04\xc0\x81\x08")},                             /* cut in the tables of a dynamic block */
        {BYTES("\x62\x00\x82\x00\x00")},                         /* distance before the start */
        {BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff")}, /* the tail left on */
        {BYTES("\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00")},         /* a zlib header */
        {BYTES("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")},     /* a gzip header */
        {BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x06")},             /* garbage behind a final block */
    };
    struct buf out = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(buf_add(&out, "x", 1), 0);
        size_t before = out.len;
        print_message("%zu\n", i);
        assert_int_equal(unpack(cases[i].data, cases[i].len, HUGE_LIMIT, &out), MT_EMALFORMED);
        assert_int_equal(out.len, before);
        assert_unpacks(BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), BYTES("Hello")); /* and the stream works on */
    }
    buf_fini(&out);
}

/* A stored block that was cut so that the four bytes of the tail are just what it lacks: they are not the client's bytes,
 * whatever the limit. */
static void test_cut_where_the_tail_fits(void **state)
{
    for (size_t limit = 5; limit < 20; limit++) {
        struct buf out = {0};
        int got = unpack(BYTES("\x00\x0b\x00\xf4\xff"
                               "Helere\x00"),
                         limit, &out);
        assert_int_equal(got, limit < 7 ? MT_ETOO_LARGE : MT_EMALFORMED);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
}

/* Every allocation failed once, on both ways: an error, nothing added, and it works afterwards. */
static void check_without_memory(unsigned kind)
{
    static unsigned char data[5000];
    int failed = 0;

    fill(data, sizeof(data), kind);
    for (unsigned long n = 1; n < 30; n++) {
        struct buf packed = {0}, out = {0};
        mem_fail_at(n);
        struct deflate *d = deflate_create(1);
        int packs = d ? deflate_pack(d, 12, data, sizeof(data), &packed) : MT_ENOMEM;
        int unpacks = packs ? MT_ENOMEM : deflate_unpack(d, packed.data, packed.len, sizeof(data), &out);
        mem_fail_at(0);
        failed += packs != 0 || unpacks != 0;
        assert_true(packs == 0 || (packs == MT_ENOMEM && packed.len == 0));
        assert_true(unpacks == 0 || (unpacks == MT_ENOMEM && out.len == 0));
        if (d && !packs)
            assert_int_equal(deflate_unpack(d, packed.data, packed.len, sizeof(data), &out), 0);
        if (d && packs)
            assert_int_equal(deflate_pack(d, 12, data, sizeof(data), &packed), 0);
        deflate_destroy(d);
        buf_fini(&packed);
        buf_fini(&out);
    }
    assert_true(failed > 5 && failed < 25);
}

static void test_without_memory(void **state)
{
    check_without_memory(0); /* grows a hundredfold: the first guess of its size is too small */
    check_without_memory(2);
}

static void test_destroy_nothing(void **state)
{
    deflate_destroy(NULL);
    deflate_destroy(deflate_create(9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_windows_are_kept),
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_empty_messages),
        cmocka_unit_test(test_messages_are_independent),
        cmocka_unit_test(test_final_blocks),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_broken_data),
        cmocka_unit_test(test_cut_where_the_tail_fits),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_destroy_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
