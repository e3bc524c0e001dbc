/* test_script_heap.c - the memory of a VM: what its blocks begin with, and what it counts. */
#include "script/heap.h"
#include <lua.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { STATE_BYTES = 208 }; /* about a lua_State */

/* A word that an earlier block left in a hole of the state would be taken for the hook that mend.c looks for. */
static void a_new_state_is_zeroed(void **state)
{
    static const unsigned char zeros[STATE_BYTES];
    struct heap h = {.limit = SIZE_MAX};
    void *block = heap_alloc(&h, NULL, LUA_TTABLE, STATE_BYTES);

    assert_non_null(block);
    memset(block, 0xa5, STATE_BYTES);
    heap_alloc(&h, block, STATE_BYTES, 0);
    block = heap_alloc(&h, NULL, LUA_TTHREAD, STATE_BYTES);
    assert_non_null(block);
    assert_memory_equal(block, zeros, STATE_BYTES);
    assert_int_equal(h.used, STATE_BYTES);
    heap_alloc(&h, block, STATE_BYTES, 0);
    assert_int_equal(h.used, 0);
    heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_new_state_is_zeroed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
