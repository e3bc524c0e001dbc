/* test_base_map.c - the hash map against an array that remembers everything, and SipHash against its reference. */
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* From the SipHash-1-3 vectors that CPython and Rust test with: key 00..0f, input 00..(n-1). */
static void siphash_vectors(void **state)
{
    static const uint64_t want[] = {0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u, 0x82cb9b024dc7d44du,
                                    0x8bf80ab8e7ddf7fbu, 0xcf75576088d38328u, 0xdef9d52f49533b67u,
                                    0xc50d2b50c59f22a7u, 0xd3927d989bb11140u, 0x369095118d299a8eu};
    unsigned char bytes[16];
    uint64_t key[2];

    for (int i = 0; i < 16; i++)
        bytes[i] = (unsigned char)i;
    memcpy(key, bytes, sizeof(key));
    for (size_t n = 0; n < sizeof(want) / sizeof(*want); n++)
        assert_int_equal(map_siphash(key, bytes, n), want[n]);
}

static void hash_is_keyed_and_stable(void **state)
{
    static const uint64_t zero[2];
    assert_int_equal(map_hash(SLICE("room")), map_hash(SLICE("room")));
    assert_int_not_equal(map_hash(SLICE("room")), map_hash(SLICE("rooM")));
    assert_int_not_equal(map_hash(SLICE("room")), map_siphash(zero, "room", 4));
}

static void empty_map_is_usable(void **state)
{
    struct map m = {0};
    size_t at = 0;
    assert_null(map_find(&m, SLICE("x")));
    assert_null(map_take(&m, SLICE("x")));
    assert_null(map_next(&m, &at, NULL));
    map_fini(&m);
}

static void put_find_take(void **state)
{
    struct map m = {0};
    int one, two;

    assert_int_equal(map_put(&m, SLICE("a"), &one), 0);
    assert_int_equal(map_put(&m, SLICE(""), &two), 0); /* the empty key is a key */
    assert_int_equal(map_put(&m, SLICE("a\0b"), &two), 0);
    assert_int_equal(m.count, 3);
    assert_ptr_equal(map_find(&m, SLICE("a")), &one);
    assert_ptr_equal(map_find(&m, SLICE("")), &two);
    assert_null(map_find(&m, SLICE("a\0c")));
    assert_ptr_equal(map_take(&m, SLICE("a")), &one);
    assert_null(map_take(&m, SLICE("a")));
    assert_int_equal(m.count, 2);
    map_fini(&m);
    assert_int_equal(m.count, 0);
    assert_null(map_find(&m, SLICE("")));
}

/* The key lives in the value: a replaced value takes its key with it. */
static void put_replaces_key_and_value(void **state)
{
    struct map m = {0};
    char *old = strdup("key"), *new = strdup("key");
    size_t at = 0;
    struct slice key;

    assert_int_equal(map_put(&m, slice_of(old), old), 0);
    assert_int_equal(map_put(&m, slice_of(new), new), 0);
    free(old);
    assert_int_equal(m.count, 1);
    assert_ptr_equal(map_next(&m, &at, &key), new);
    assert_ptr_equal(key.data, new);
    map_fini(&m);
    free(new);
}

enum { KEYS = 700 };
static struct entry {
    char key[12];
    bool in; /* the model: whether the map must have it */
} entries[KEYS];

static void check_all(const struct map *m)
{
    size_t held = 0, walked = 0, at = 0;
    struct slice key;
    struct entry *e;

    for (int i = 0; i < KEYS; i++) {
        held += entries[i].in;
        assert_ptr_equal(map_find(m, slice_of(entries[i].key)), entries[i].in ? &entries[i] : NULL);
    }
    assert_int_equal(m->count, held);
    while ((e = map_next(m, &at, &key))) {
        assert_true(e->in);
        assert_ptr_equal(key.data, e->key);
        walked++;
    }
    assert_int_equal(walked, held);
}

static void random_use_matches_the_model(void **state)
{
    struct map m = {0};
    unsigned seed = 7;

    for (int i = 0; i < KEYS; i++)
        snprintf(entries[i].key, sizeof(entries[i].key), "room-%d", i);
    for (int step = 0; step < 60000; step++) {
        /* Waves: the map fills, then empties, so that it grows and shrinks several times. */
        bool fill = step / 5000 % 2 == 0;
        struct entry *e = &entries[rand_r(&seed) % KEYS];
        if (rand_r(&seed) % 8 < (fill ? 7 : 1)) {
            assert_int_equal(map_put(&m, slice_of(e->key), e), 0);
            e->in = true;
        } else {
            assert_ptr_equal(map_take(&m, slice_of(e->key)), e->in ? e : NULL);
            e->in = false;
        }
        assert_true(m.count <= m.cap / 4 * 3);
        if (step % 499 == 0)
            check_all(&m);
    }
    check_all(&m);
    for (int i = 0; i < KEYS; i++) {
        map_take(&m, slice_of(entries[i].key));
        entries[i].in = false;
    }
    check_all(&m);
    assert_true(m.cap <= 64); /* what was big once must not stay slow to walk */
    map_fini(&m);
}

static void no_memory_leaves_the_map_as_it_was(void **state)
{
    struct map m = {0};
    int value;
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};

    mem_fail_at(1);
    assert_int_equal(map_put(&m, SLICE("a"), &value), MT_ENOMEM);
    for (int i = 0; i < 6; i++)
        assert_int_equal(map_put(&m, slice_of(keys[i]), &value), 0);
    mem_fail_at(1);
    assert_int_equal(map_put(&m, SLICE("g"), &value), MT_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(m.count, 6);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(map_find(&m, slice_of(keys[i])), &value);
    assert_int_equal(map_put(&m, SLICE("g"), &value), 0);
    map_fini(&m);
}

static void *hash_once(void *arg)
{
    *(uint64_t *)arg = map_hash(SLICE("same"));
    return NULL;
}

static void threads_share_the_key(void **state)
{
    pthread_t threads[4];
    uint64_t hashes[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_once, &hashes[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(hashes[i], map_hash(SLICE("same")));
}

/* The keys of one stripe must not all begin in the same slots of its map, and each stripe has its share. */
static void stripes_leave_the_maps_spread(void **state)
{
    enum { MANY = 20000, STRIPES = 64 };
    size_t share[STRIPES] = {0};
    uint64_t begins = 0; /* low bits of the hashes in stripe 0 */
    char key[16];

    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        unsigned stripe = map_stripe(slice_of(key), STRIPES);
        assert_true(stripe < STRIPES);
        share[stripe]++;
        if (stripe == 0)
            begins |= (uint64_t)1 << (map_hash(slice_of(key)) % 64);
    }
    assert_true(__builtin_popcountll(begins) > 48);
    for (int i = 0; i < STRIPES; i++)
        assert_true(share[i] > MANY / STRIPES / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_the_key), /* first: making the key races here */
        cmocka_unit_test(siphash_vectors),
        cmocka_unit_test(hash_is_keyed_and_stable),
        cmocka_unit_test(empty_map_is_usable),
        cmocka_unit_test(put_find_take),
        cmocka_unit_test(put_replaces_key_and_value),
        cmocka_unit_test(random_use_matches_the_model),
        cmocka_unit_test(no_memory_leaves_the_map_as_it_was),
        cmocka_unit_test(stripes_leave_the_maps_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
