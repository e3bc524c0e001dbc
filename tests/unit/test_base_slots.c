/* test_base_slots.c - ids must never mean a newer object. */
#include "base/mem.h"
#include "base/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void ids_find_their_object_only(void **state)
{
    struct slots s;
    int a, b;
    slots_init(&s);
    assert_null(slots_find(&s, 0));
    assert_null(slots_find(&s, 1ull << 32));

    slot_id ia = slots_put(&s, &a);
    assert_true(ia >> 32 == 1); /* generations start at 1 */
    assert_ptr_equal(slots_find(&s, ia), &a);
    assert_ptr_equal(slots_take(&s, ia), &a);
    assert_null(slots_take(&s, ia));
    assert_null(slots_find(&s, ia));

    slot_id ib = slots_put(&s, &b);
    assert_int_equal((uint32_t)ib, (uint32_t)ia); /* the slot is used again */
    assert_int_not_equal(ib, ia);
    assert_null(slots_find(&s, ia));
    assert_null(slots_take(&s, ia));
    assert_ptr_equal(slots_find(&s, ib), &b);
    assert_int_equal(s.count, 1);
    assert_null(slots_find(&s, 0));
    assert_null(slots_find(&s, ib + 1));
    assert_null(slots_find(&s, UINT64_MAX));
    slots_fini(&s);
    assert_null(slots_find(&s, ib));
}

enum { OBJECTS = 300 };

static void random_use_matches_the_model(void **state)
{
    static int objects[OBJECTS];
    slot_id ids[OBJECTS] = {0};
    struct slots s;
    unsigned seed = 3, held = 0;

    slots_init(&s);
    for (int step = 0; step < 50000; step++) {
        int i = rand_r(&seed) % OBJECTS;
        if (ids[i]) {
            slot_id old = ids[i];
            assert_ptr_equal(slots_take(&s, old), &objects[i]);
            assert_null(slots_find(&s, old));
            ids[i] = 0;
            held--;
        } else {
            ids[i] = slots_put(&s, &objects[i]);
            assert_int_not_equal(ids[i], 0);
            held++;
        }
        assert_int_equal(s.count, held);
        int j = rand_r(&seed) % OBJECTS;
        if (ids[j])
            assert_ptr_equal(slots_find(&s, ids[j]), &objects[j]);
    }
    assert_true(s.cap <= 512); /* free slots are used again */
    slots_fini(&s);
}

/* Callbacks during a broadcast close connections and open new ones. */
static void a_walk_survives_changes(void **state)
{
    int objects[40];
    slot_id ids[40];
    bool seen[40] = {false};
    struct slots s;
    uint32_t at = 0;
    int *p;

    slots_init(&s);
    for (int i = 0; i < 10; i++)
        ids[i] = slots_put(&s, &objects[i]);
    int next = 10;
    while ((p = slots_next(&s, &at))) {
        int i = (int)(p - objects);
        assert_false(seen[i]);
        seen[i] = true;
        if (i == 2)
            slots_take(&s, ids[2]); /* itself */
        if (i == 3)
            slots_take(&s, ids[7]); /* one ahead */
        if (i < 10)
            for (int k = 0; k < 2 && next < 40; k++, next++) /* the table moves */
                ids[next] = slots_put(&s, &objects[next]);
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(seen[i], i != 7);
    slots_fini(&s);
}

static void a_worn_out_slot_is_retired(void **state)
{
    struct slots s;
    int object;
    slots_init(&s);
    slot_id id = slots_put(&s, &object);
    slots_take(&s, id);
    /* Four billion takes are too many for a test: wear the slot by hand. The layout is {object, generation, next}. */
    uint32_t worn = UINT32_MAX;
    memcpy((char *)s.items + (uint32_t)id * 16 + 8, &worn, sizeof(worn));
    id = slots_put(&s, &object);
    assert_int_equal(id >> 32, UINT32_MAX);
    assert_ptr_equal(slots_take(&s, id), &object);
    assert_null(slots_find(&s, id));
    for (int i = 0; i < 40; i++)
        assert_int_not_equal((uint32_t)slots_put(&s, &object), (uint32_t)id);
    slots_fini(&s);
}

static void no_memory_gives_no_id(void **state)
{
    struct slots s;
    int object;
    slots_init(&s);
    mem_fail_at(1);
    assert_int_equal(slots_put(&s, &object), 0);
    assert_int_equal(s.count, 0);
    slot_id id = slots_put(&s, &object);
    assert_ptr_equal(slots_find(&s, id), &object);
    for (int i = 1; i < 16; i++)
        slots_put(&s, &object);
    mem_fail_at(1);
    assert_int_equal(slots_put(&s, &object), 0);
    mem_fail_at(0);
    assert_ptr_equal(slots_find(&s, id), &object);
    assert_int_equal(s.count, 16);
    slots_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_find_their_object_only), cmocka_unit_test(random_use_matches_the_model),
        cmocka_unit_test(a_walk_survives_changes),    cmocka_unit_test(a_worn_out_slot_is_retired),
        cmocka_unit_test(no_memory_gives_no_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
