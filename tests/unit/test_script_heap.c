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

/* One block is never all of the limit: the time that Lua's libraries take grows with it. */
static void a_block_has_a_limit(void **state)
{
    enum { MIB = 1 << 20, HEAD = 4096 };
    struct heap h = {.limit = (size_t)256 * MIB};
    void *block = heap_alloc(&h, NULL, LUA_TSTRING, 16 * MIB + HEAD);

    assert_non_null(block);
    heap_alloc(&h, block, 16 * MIB + HEAD, 0);
    assert_null(heap_alloc(&h, NULL, LUA_TSTRING, 16 * MIB + HEAD + 1));
    assert_null(heap_alloc(&h, NULL, 0, 64 * MIB + HEAD + 1));
    block = heap_alloc(&h, NULL, 0, 64 * MIB + HEAD);
    assert_non_null(block);
    assert_null(heap_alloc(&h, block, 64 * MIB + HEAD, 64 * MIB + HEAD + 1));
    h.core = 1; /* the core may */
    assert_non_null(block = heap_alloc(&h, block, 64 * MIB + HEAD, 65 * MIB + HEAD));
    heap_alloc(&h, block, 65 * MIB + HEAD, 0);
    assert_int_equal(h.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_new_state_is_zeroed), cmocka_unit_test(a_block_has_a_limit)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
