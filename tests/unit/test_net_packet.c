/* test_net_packet.c - messages are framed once and compressed once per window, and only where it helps. */
#include "net/packet.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/deflate.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct deflate *d;
static char text[4000]; /* shrinks well */

static int setup(void **state)
{
    d = deflate_create(6);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "lorem ipsum dolor "[i % 18];
    return d ? 0 : -1;
}

static int teardown(void **state)
{
    deflate_destroy(d);
    return 0;
}

static void test_plain_frame(void **state)
{
    struct packet *p = packet_create(FRAME_TEXT, "hello", 5);

    assert_int_equal(p->head, 2);
    assert_int_equal(p->plain->len, 7);
    assert_memory_equal(p->plain->data, "\x81\x05hello", 7);
    assert_ptr_equal(packet_frame(p, 0, 0, d), p->plain);
    packet_unref(p);
    p = packet_create(FRAME_BINARY, NULL, 0);
    assert_int_equal(p->plain->len, 2);
    assert_memory_equal(p->plain->data, "\x82\x00", 2);
    assert_ptr_equal(packet_frame(p, 15, 0, d), p->plain); /* an empty message cannot shrink */
    packet_unref(p);
    p = packet_create(FRAME_TEXT, text, 126);
    assert_int_equal(p->head, 4);
    assert_memory_equal(p->plain->data,
                        "\x81\x7e\x00\x7e"
                        "lorem",
                        9);
    packet_unref(p);
}

static void test_threshold(void **state)
{
    struct packet *p = packet_create(FRAME_TEXT, text, 1024);

    assert_ptr_equal(packet_frame(p, 15, 1025, d), p->plain);
    assert_ptr_equal(packet_frame(p, 15, SIZE_MAX, NULL), p->plain);
    assert_null(p->deflated[15 - PACKET_BITS_MIN]);
    assert_ptr_not_equal(packet_frame(p, 15, 1024, d), p->plain);
    assert_ptr_equal(packet_frame(p, 0, 0, d), p->plain);
    packet_unref(p);
}

/* What a deflated frame says: RSV1, and the message after inflating. */
static void assert_deflated(const struct blob *frame, const char *want, size_t len)
{
    struct buf out = {0};
    size_t head = frame->data[1] < 126 ? 2 : 4;

    assert_int_equal(frame->data[0], 0xc1);
    assert_true(frame->len < len);
    assert_int_equal(deflate_unpack(d, frame->data + head, frame->len - head, len, &out), 0);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, want, len);
    buf_fini(&out);
}

static void test_compressed_once_per_window(void **state)
{
    struct packet *p = packet_create(FRAME_TEXT, text, sizeof(text));
    struct blob *frames[16] = {NULL};

    for (int bits = PACKET_BITS_MIN; bits <= PACKET_BITS_MAX; bits++) {
        frames[bits] = packet_frame(p, bits, 1024, d);
        assert_deflated(frames[bits], text, sizeof(text));
        for (int other = PACKET_BITS_MIN; other < bits; other++)
            assert_ptr_not_equal(frames[bits], frames[other]);
    }
    for (int bits = PACKET_BITS_MIN; bits <= PACKET_BITS_MAX; bits++)
        assert_ptr_equal(packet_frame(p, bits, 1024, d), frames[bits]);
    packet_unref(p);
}

/* Bytes of chance do not shrink: the plain frame serves, and that is not tried again. */
static void test_plain_where_compression_does_not_help(void **state)
{
    static unsigned char noise[3000];
    uint32_t seed = 1;

    for (size_t i = 0; i < sizeof(noise); i++) {
        seed = seed * 1664525 + 1013904223;
        noise[i] = (unsigned char)(seed >> 24);
    }
    struct packet *p = packet_create(FRAME_BINARY, noise, sizeof(noise));
    assert_ptr_equal(packet_frame(p, 15, 1024, d), p->plain);
    assert_ptr_equal(p->deflated[15 - PACKET_BITS_MIN], p->plain);
    assert_ptr_equal(packet_frame(p, 15, 1024, d), p->plain);
    packet_unref(p);
}

/* A reader's reference outlives the packet. */
static void test_frames_outlive_the_packet(void **state)
{
    struct packet *p = packet_create(FRAME_TEXT, text, sizeof(text));
    struct blob *plain = blob_ref(packet_frame(p, 0, 0, d)), *small = blob_ref(packet_frame(p, 10, 0, d));

    assert_ptr_equal(packet_ref(p), p);
    packet_unref(p);
    assert_int_equal(p->refs, 1);
    packet_unref(p);
    packet_unref(NULL);
    assert_memory_equal(plain->data + 4, text, sizeof(text));
    assert_deflated(small, text, sizeof(text));
    blob_unref(plain);
    blob_unref(small);
}

/* ---- several threads ---- */

enum { READERS = 3, PACKETS = 200 };

static struct packet *shared[PACKETS];
static pthread_barrier_t all_ready;

/* A worker that is sent the packets, with a deflate of its own; takes the compressed frames and gives its packets back. */
static void *read_all(void *arg)
{
    struct blob **frames = arg;
    struct deflate *own = deflate_create(6);

    for (int i = 0; i < PACKETS; i++) {
        pthread_barrier_wait(&all_ready); /* all at the same one at the same time */
        frames[i] = blob_ref(packet_frame(shared[i], 12, 0, own));
        packet_unref(shared[i]);
    }
    deflate_destroy(own);
    return NULL;
}

static void test_threads_compress_it_once(void **state)
{
    static struct blob *frames[READERS][PACKETS];
    pthread_t threads[READERS];

    pthread_barrier_init(&all_ready, NULL, READERS);
    for (int i = 0; i < PACKETS; i++) {
        shared[i] = packet_create(FRAME_TEXT, text, sizeof(text));
        for (int n = 1; n < READERS; n++)
            packet_ref(shared[i]);
    }
    for (int n = 0; n < READERS; n++)
        assert_int_equal(pthread_create(&threads[n], NULL, read_all, frames[n]), 0);
    for (int n = 0; n < READERS; n++)
        pthread_join(threads[n], NULL);
    for (int i = 0; i < PACKETS; i++) {
        assert_deflated(frames[0][i], text, sizeof(text));
        assert_int_equal(frames[0][i]->refs, READERS); /* the packet's own is gone with it */
        for (int n = 0; n < READERS; n++) {
            assert_ptr_equal(frames[n][i], frames[0][i]);
            blob_unref(frames[n][i]);
        }
    }
    pthread_barrier_destroy(&all_ready);
}

static void test_without_memory(void **state)
{
    for (unsigned long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_null(packet_create(FRAME_TEXT, text, 100));
    }
    mem_fail_at(0);
    struct packet *p = packet_create(FRAME_TEXT, text, sizeof(text));
    for (unsigned long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_ptr_equal(packet_frame(p, 9 + (int)n, 0, d), p->plain);
    }
    mem_fail_at(0);
    assert_deflated(packet_frame(p, 15, 0, d), text, sizeof(text));
    packet_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_frame),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_compressed_once_per_window),
        cmocka_unit_test(test_plain_where_compression_does_not_help),
        cmocka_unit_test(test_frames_outlive_the_packet),
        cmocka_unit_test(test_threads_compress_it_once),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
