/* test_store_memory.c - the key-value store in memory, with a clock that the tests turn. */
#include "store/memory.h"

#include "base/err.h"
#include "base/mem.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static uint64_t clock_now = 1000;

static uint64_t now(void)
{
    return clock_now;
}

static struct store_value bytes(const char *text)
{
    return (struct store_value){STORE_BYTES, 0, slice_of(text)};
}

static int set(struct memory_store *m, const char *key, const char *text, uint64_t ttl)
{
    struct store_value v = bytes(text);
    return memory_store_set(m, slice_of(key), &v, ttl);
}

static void expect(struct memory_store *m, const char *key, const char *text)
{
    struct store_value v;
    struct buf copy = {0};
    int err = memory_store_get(m, slice_of(key), &v, &copy);

    if (text == NULL) {
        assert_int_equal(err, MT_ENOT_FOUND);
    } else {
        assert_int_equal(err, 0);
        assert_true(slice_is(v.data, slice_of(text)));
    }
    buf_fini(&copy);
}

static void test_set_and_get(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);
    struct store_value v = {STORE_BYTES, 0, {"a\0\xff", 3}};
    struct buf copy = {0};

    expect(m, "k", NULL);
    assert_int_equal(set(m, "k", "one", STORE_TTL_NONE), 0);
    assert_int_equal(set(m, "k", "two", STORE_TTL_NONE), 0);
    expect(m, "k", "two");
    assert_int_equal(set(m, "", "", STORE_TTL_NONE), 0);
    expect(m, "", "");
    assert_int_equal(memory_store_set(m, SLICE("b\0c"), &v, 0), 0);
    assert_int_equal(buf_add_text(&copy, "before"), 0);
    assert_int_equal(memory_store_get(m, SLICE("b\0c"), &v, &copy), 0);
    assert_memory_equal(v.data.data, "a\0\xff", 3);
    assert_memory_equal(copy.data, "beforea\0\xff", 9);
    assert_true(memory_store_delete(m, SLICE("k")));
    assert_false(memory_store_delete(m, SLICE("k")));
    expect(m, "k", NULL);
    buf_fini(&copy);
    memory_store_destroy(m);
}

static void test_time_to_live(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);
    int64_t n;

    set(m, "short", "x", 100);
    set(m, "long", "x", 1000);
    set(m, "keeps", "x", 100);
    set(m, "keeps", "y", STORE_TTL_KEEP);
    set(m, "freed", "x", 100);
    set(m, "freed", "y", STORE_TTL_NONE);
    assert_int_equal(memory_store_incr(m, SLICE("n"), 5, 100, &n), 0);
    clock_now += 99;
    assert_int_equal(memory_store_incr(m, SLICE("n"), 5, 100, &n), 0); /* does not live longer by that */
    assert_int_equal(n, 10);
    expect(m, "short", "x");
    clock_now += 1;
    expect(m, "short", NULL);
    expect(m, "keeps", NULL);
    expect(m, "freed", "y");
    expect(m, "long", "x");
    assert_int_equal(memory_store_incr(m, SLICE("n"), 5, 0, &n), 0);
    assert_int_equal(n, 5);
    assert_false(memory_store_delete(m, SLICE("short")));
    memory_store_destroy(m);
}

static void test_incr(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);
    struct store_value v = {STORE_INTEGER, INT64_MAX, {NULL, 0}};
    int64_t n = 0;

    assert_int_equal(memory_store_incr(m, SLICE("a"), 1, 0, &n), 0);
    assert_int_equal(memory_store_incr(m, SLICE("a"), -3, 0, &n), 0);
    assert_int_equal(n, -2);
    set(m, "text", "5", 0);
    assert_int_equal(memory_store_incr(m, SLICE("text"), 1, 0, &n), MT_EINVALID);
    expect(m, "text", "5");
    assert_int_equal(memory_store_set(m, SLICE("top"), &v, 0), 0);
    assert_int_equal(memory_store_incr(m, SLICE("top"), 1, 0, &n), MT_EINVALID);
    assert_int_equal(memory_store_incr(m, SLICE("top"), -1, 0, &n), 0);
    assert_true(n == INT64_MAX - 1);
    memory_store_destroy(m);
}

static void test_replace(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);
    struct store_value nothing = {.kind = STORE_NOTHING}, v = bytes("new"), w = bytes("other"), five = {.kind = STORE_INTEGER};
    struct store_value text = {STORE_JSON, 0, SLICE("new")};

    five.integer = 5;
    assert_int_equal(memory_store_replace(m, SLICE("k"), &v, &w, 0), MT_EBUSY);
    assert_int_equal(memory_store_replace(m, SLICE("k"), &nothing, &v, 0), 0);
    assert_int_equal(memory_store_replace(m, SLICE("k"), &nothing, &v, 0), MT_EBUSY);
    assert_int_equal(memory_store_replace(m, SLICE("k"), &text, &w, 0), MT_EBUSY); /* the same bytes, another kind */
    assert_int_equal(memory_store_replace(m, SLICE("k"), &w, &nothing, 0), MT_EBUSY);
    expect(m, "k", "new");
    assert_int_equal(memory_store_replace(m, SLICE("k"), &v, &five, 0), 0);
    five.integer = 6;
    assert_int_equal(memory_store_replace(m, SLICE("k"), &five, &w, 0), MT_EBUSY);
    five.integer = 5;
    assert_int_equal(memory_store_replace(m, SLICE("k"), &five, &w, 0), 0);
    expect(m, "k", "other");
    assert_int_equal(memory_store_replace(m, SLICE("k"), &w, &nothing, 0), 0);
    expect(m, "k", NULL);
    assert_int_equal(memory_store_replace(m, SLICE("k"), &nothing, &nothing, 0), 0);
    set(m, "short", "new", 50);
    clock_now += 50;
    assert_int_equal(memory_store_replace(m, SLICE("short"), &v, &w, 0), MT_EBUSY);
    assert_int_equal(memory_store_replace(m, SLICE("short"), &nothing, &w, 0), 0);
    memory_store_destroy(m);
}

static void scan(struct memory_store *m, const char *prefix, size_t limit, const char *want)
{
    struct buf keys = {0}, joined = {0};
    size_t count = 0;

    assert_int_equal(memory_store_scan(m, slice_of(prefix), limit, &keys, &count), 0);
    for (size_t i = 0, at = 0; i < count; i++) {
        uint32_t len;
        memcpy(&len, keys.data + at, sizeof(len));
        assert_int_equal(buf_add(&joined, keys.data + at + sizeof(len), len) | buf_add_byte(&joined, ' '), 0);
        at += sizeof(len) + len;
    }
    assert_true(slice_is(buf_slice(&joined), slice_of(want)));
    buf_fini(&keys);
    buf_fini(&joined);
}

static void test_scan(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);

    scan(m, "", 10, "");
    set(m, "a:2", "x", 0);
    set(m, "a:10", "x", 0);
    set(m, "a:1", "x", 50);
    set(m, "a", "x", 0);
    set(m, "b:1", "x", 0);
    set(m, "\xff", "x", 0);
    scan(m, "a:", 10, "a:1 a:10 a:2 ");
    scan(m, "", 10, "a a:1 a:10 a:2 b:1 \xff ");
    scan(m, "a:", 2, "a:1 a:10 ");
    scan(m, "a:", 0, "");
    clock_now += 50;
    scan(m, "a:", 10, "a:10 a:2 ");
    scan(m, "c", 10, "");
    memory_store_destroy(m);
}

static void test_limit(void **state)
{
    struct memory_store *m = memory_store_create(20000, now);
    char key[16];
    int kept = 0, err = 0;

    for (; kept < 1000 && err == 0; kept++) {
        snprintf(key, sizeof(key), "k%d", kept);
        err = set(m, key, "0123456789", 10000);
    }
    assert_int_equal(err, MT_EFULL);
    assert_in_range(kept, 50, 300);
    assert_in_range(memory_store_size(m), 15000, 20000);
    expect(m, "k0", "0123456789");
    assert_int_equal(set(m, "huge", "x", 0), MT_EFULL);
    assert_int_equal(set(m, "k0", "012345678901234567890123456789", 0), MT_EFULL); /* the old value stays */
    expect(m, "k0", "0123456789");
    clock_now += 10000; /* what has expired makes room, although nobody asked for it */
    for (int i = 0; i < kept - 1; i++) {
        snprintf(key, sizeof(key), "n%d", i);
        assert_int_equal(set(m, key, "0123456789", 0), 0);
    }
    assert_int_equal(set(m, "huge", "x", 0), MT_EFULL);
    for (int i = 0; i < kept - 1; i++) {
        snprintf(key, sizeof(key), "n%d", i);
        assert_true(memory_store_delete(m, slice_of(key)));
    }
    assert_int_equal(memory_store_size(m), 0);
    memory_store_destroy(m);
}

/* Writes alone clean up what expired elsewhere, so a store that is only written to does not grow for ever. */
static void test_sweep_by_writes(void **state)
{
    struct memory_store *m = memory_store_create(1 << 30, now);
    char key[16];

    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(set(m, key, "x", 10), 0);
        clock_now += 1;
    }
    assert_in_range(memory_store_size(m), 1, 500000); /* all of them would be 3 million */
    memory_store_destroy(m);
}

static void test_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        mem_fail_at(0);
        struct memory_store *m = memory_store_create(1 << 20, now);
        struct buf copy = {0}, keys = {0};
        struct store_value v;
        size_t count;
        set(m, "a", "old", 0);
        mem_fail_at(n);
        int err = set(m, "a", "new", 0);
        int got = memory_store_get(m, SLICE("a"), &v, &copy);
        int scanned = memory_store_scan(m, SLICE(""), 10, &keys, &count);
        mem_fail_at(0);
        assert_true(err == 0 || err == MT_ENOMEM);
        expect(m, "a", err == 0 ? "new" : "old");
        assert_true(scanned == 0 || keys.len == 0);
        buf_fini(&copy);
        buf_fini(&keys);
        memory_store_destroy(m);
        if (err == 0 && got == 0 && scanned == 0)
            break;
        assert_true(n < 100);
    }
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *arg)
{
    struct memory_store *m = arg;
    int64_t n;

    for (int i = 0; i < ROUNDS; i++) {
        memory_store_incr(m, SLICE("total"), 1, 0, &n);
        int err;
        do { /* read, add, replace if nobody was faster */
            struct store_value old = {.kind = STORE_NOTHING}, v = {.kind = STORE_INTEGER};
            struct buf copy = {0};
            memory_store_get(m, SLICE("cas"), &old, &copy);
            v.integer = old.integer + 1;
            err = memory_store_replace(m, SLICE("cas"), &old, &v, 0);
            buf_fini(&copy);
        } while (err == MT_EBUSY);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct memory_store *m = memory_store_create(1 << 20, now);
    pthread_t threads[THREADS];
    struct store_value v;
    struct buf copy = {0};

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, m), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(memory_store_get(m, SLICE("total"), &v, &copy), 0);
    assert_int_equal(v.integer, THREADS * ROUNDS);
    assert_int_equal(memory_store_get(m, SLICE("cas"), &v, &copy), 0);
    assert_int_equal(v.integer, THREADS * ROUNDS);
    buf_fini(&copy);
    memory_store_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_get),     cmocka_unit_test(test_time_to_live), cmocka_unit_test(test_incr),
        cmocka_unit_test(test_replace),         cmocka_unit_test(test_scan),         cmocka_unit_test(test_limit),
        cmocka_unit_test(test_sweep_by_writes), cmocka_unit_test(test_memory),       cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
