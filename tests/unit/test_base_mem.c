/* test_base_mem.c - memory, buffers, blobs, clocks and error names: the small parts of base. */
#include "base/blob.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* ---- mem ---- */

static void *alloc_elsewhere(void *arg)
{
    return mem_alloc(8);
}

static void the_nth_allocation_fails_once(void **state)
{
    void *a, *b;

    mem_fail_at(2);
    assert_non_null(a = mem_alloc(8));
    assert_null(mem_zalloc(1, 8));
    assert_non_null(b = mem_alloc(8));
    mem_fail_at(1);
    assert_null(mem_resize(a, 16));
    memset(a, 1, 8); /* still valid */
    mem_fail_at(1);
    assert_null(mem_strdup("x", 1));
    mem_fail_at(1);
    mem_fail_at(0);
    void *c = mem_alloc(1);
    assert_non_null(c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

static void injection_is_per_thread(void **state)
{
    pthread_t t;
    void *p = NULL;
    mem_fail_at(1);
    assert_int_equal(pthread_create(&t, NULL, alloc_elsewhere, NULL), 0);
    pthread_join(t, &p);
    assert_non_null(p);
    mem_free(p);
    assert_null(mem_alloc(1));
}

static void odd_sizes(void **state)
{
    void *none = mem_alloc(0);
    assert_non_null(none); /* NULL means no memory, nothing else */
    none = mem_resize(none, 0);
    assert_non_null(none);
    mem_free(none);
    none = mem_zalloc(0, 8);
    assert_non_null(none);
    mem_free(none);
    assert_null(mem_zalloc(SIZE_MAX / 2, 4));
    assert_null(mem_strdup("x", SIZE_MAX));
    unsigned char *zeros = mem_zalloc(3, 5);
    for (int i = 0; i < 15; i++)
        assert_int_equal(zeros[i], 0);
    mem_free(zeros);
    char *copy = mem_strdup("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    mem_free(copy);
    copy = mem_strdup(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
}

/* ---- buf ---- */

static void assert_buf(const struct buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_memory_equal(b->data, text, b->len);
}

static void buf_adds_and_drops(void **state)
{
    struct buf b = {0};
    assert_int_equal(buf_slice(&b).len, 0);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    assert_null(b.data);
    buf_drop(&b, 0);
    assert_int_equal(buf_add(&b, "abc", 3), 0);
    assert_int_equal(buf_add_text(&b, "def"), 0);
    assert_int_equal(buf_add_byte(&b, '!'), 0);
    assert_buf(&b, "abcdef!");
    buf_drop(&b, 2);
    assert_buf(&b, "cdef!");
    buf_drop(&b, 5);
    assert_int_equal(b.len, 0);
    buf_add_text(&b, "x");
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_int_not_equal(b.cap, 0);
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(buf_add_text(&b, "again"), 0);
    assert_buf(&b, "again");
    buf_fini(&b);
}

static void buf_formats_at_every_fill(void **state)
{
    char want[300];
    for (int fill = 0; fill < 140; fill++) {
        struct buf b = {0};
        for (int i = 0; i < fill; i++)
            buf_add_byte(&b, 'x');
        assert_int_equal(buf_addf(&b, "%d-%s", fill, "0123456789"), 0);
        memset(want, 'x', (size_t)fill);
        snprintf(want + fill, sizeof(want) - (size_t)fill, "%d-0123456789", fill);
        assert_buf(&b, want);
        buf_fini(&b);
    }
}

static void buf_grows_by_doubling(void **state)
{
    struct buf b = {0};
    int moves = 0;
    size_t cap = 0;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buf_add_byte(&b, (unsigned char)i), 0);
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_true(moves < 15);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (unsigned char)i);
    buf_fini(&b);
}

static void buf_without_memory_is_unchanged(void **state)
{
    struct buf b = {0};
    buf_add_text(&b, "abc");
    size_t room = b.cap - b.len;
    assert_int_equal(buf_reserve(&b, SIZE_MAX), MT_ENOMEM);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(buf_reserve(&b, room + 1), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(buf_addf(&b, "%200s", "x"), MT_ENOMEM);
    mem_fail_at(1);
    assert_int_equal(buf_reserve(&b, room), 0); /* there is room already */
    mem_fail_at(0);
    assert_buf(&b, "abc");
    buf_fini(&b);
}

/* ---- blob ---- */

static void blob_counts(void **state)
{
    struct blob *b = blob_copy("abc", 3);
    assert_int_equal(b->len, 3);
    assert_memory_equal(b->data, "abc", 3);
    assert_ptr_equal(blob_ref(b), b);
    blob_ref_n(b, 5);
    assert_int_equal(atomic_load(&b->refs), 7);
    blob_unref_n(b, 6);
    blob_unref_n(b, 0);
    assert_memory_equal(b->data, "abc", 3);
    blob_unref(b); /* ASan sees it when this does not free */
    blob_unref(NULL);
    b = blob_copy(NULL, 0);
    assert_int_equal(b->len, 0);
    blob_unref(b);
    assert_null(blob_create(SIZE_MAX));
    assert_null(blob_create(SIZE_MAX - 8));
    mem_fail_at(1);
    assert_null(blob_copy("abc", 3));
}

enum { SHARERS = 4, ROUNDS = 20000 };

static void *share(void *arg)
{
    struct blob *b = arg;
    uintptr_t bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        blob_ref(b);
        bad += b->data[0] != 'x';
        blob_unref(b);
    }
    blob_unref(b);
    return (void *)bad;
}

static void blob_crosses_threads(void **state)
{
    pthread_t threads[SHARERS];
    struct blob *b = blob_copy("x", 1);
    blob_ref_n(b, SHARERS);
    for (int i = 0; i < SHARERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, share, b), 0);
    blob_unref(b); /* the last one frees, whoever that is */
    for (int i = 0; i < SHARERS; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

/* ---- the rest ---- */

static void clocks_agree_with_the_system(void **state)
{
    uint64_t ms = clock_ms(), us = clock_us();
    assert_true(us / 1000 >= ms);
    assert_true(us / 1000 < ms + 60000);
    assert_true(clock_us() >= us);
    double now = (double)time(NULL);
    assert_true(clock_wall() > now - 2 && clock_wall() < now + 60);
}

static void errors_have_names(void **state)
{
    static const int codes[] = {
#define CODE(code, value, name, text) code,
        MT_ERRORS(CODE)
#undef CODE
    };
    size_t n = sizeof(codes) / sizeof(*codes);
    assert_string_equal(err_name(MT_ECLOSED), "closed");
    assert_string_equal(err_text(MT_EDNS), "name not found");
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_name(-9999), "unknown");
    assert_string_equal(err_text(-9999), "unknown error");
    for (size_t i = 0; i < n; i++) {
        assert_true(codes[i] < 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(err_name(codes[i]), err_name(codes[j]));
        }
    }
}

static void lists_move_and_remove(void **state)
{
    struct list_node head, other, a, b, c;
    list_init(&head);
    list_init(&other);
    list_init(&a);
    list_remove(&a); /* in no list: fine */
    list_take(&other, &head);
    assert_true(list_empty(&other));
    list_add_tail(&head, &a);
    list_add_tail(&head, &b);
    list_add_tail(&head, &c);
    list_remove(&b);
    list_take(&other, &head);
    assert_true(list_empty(&head));
    assert_ptr_equal(other.next, &a);
    assert_ptr_equal(other.prev, &c);
    int n = 0;
    list_each_safe(node, next, &other)
    {
        list_remove(node);
        n++;
    }
    assert_int_equal(n, 2);
    assert_true(list_empty(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(injection_is_per_thread),
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(buf_adds_and_drops),
        cmocka_unit_test(buf_formats_at_every_fill),
        cmocka_unit_test(buf_grows_by_doubling),
        cmocka_unit_test(buf_without_memory_is_unchanged),
        cmocka_unit_test(blob_counts),
        cmocka_unit_test(blob_crosses_threads),
        cmocka_unit_test(clocks_agree_with_the_system),
        cmocka_unit_test(errors_have_names),
        cmocka_unit_test(lists_move_and_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
