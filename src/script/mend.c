/* mend.c - both are fields of lua_State: a byte that is in the same place in all of Lua 5.4 so far, and the word behind the hook.
 * They are looked for and tried out before they are used.
 */
#include "script/mend.h"

#include <stdatomic.h>
#include <stddef.h>

/* How lua_State begins (lobject.h CommonHeader, lstate.h). */
struct state_head {
    void *next;
    unsigned char type, marked, status, allow_hook;
};

enum { WORDS_MAX = 25 }; /* of a lua_State, at the least */

static _Thread_local int calls;     /* of the hook that the trial sets */
static atomic_size_t handler_place; /* word of a lua_State that tells where its message handler is, 0 until it is known */

static ptrdiff_t *handler_of(lua_State *L, size_t place)
{
    return (ptrdiff_t *)L + place;
}

static void count_call(lua_State *L, lua_Debug *ar)
{
    calls++;
}

static int do_nothing(lua_State *L)
{
    return 0;
}

/* Whether a call is seen by a hook, with the byte at `value`. */
static bool is_seen(lua_State *L, unsigned char value)
{
    struct state_head *head = (struct state_head *)L;

    calls = 0;
    head->allow_hook = value;
    lua_sethook(L, count_call, LUA_MASKCALL, 0);
    lua_pushcfunction(L, do_nothing);
    lua_call(L, 0, 0);
    lua_sethook(L, NULL, 0, 0);
    head->allow_hook = 1;
    return calls > 0;
}

static size_t find_handler_place(lua_State *L)
{
    size_t place = 2;

    lua_sethook(L, count_call, LUA_MASKCOUNT, 1 << 30);
    while (place < WORDS_MAX && *handler_of(L, place) != (ptrdiff_t)count_call)
        place++;
    lua_sethook(L, NULL, 0, 0);
    return place + 1;
}

/* In a call that has a message handler. Upvalue: the place. */
static int is_handler_set(lua_State *L)
{
    lua_pushboolean(L, *handler_of(L, (size_t)lua_tointeger(L, lua_upvalueindex(1))) != 0);
    return 1;
}

static bool is_handler_place(lua_State *L, size_t place)
{
    bool is_set;

    if (place > WORDS_MAX || *handler_of(L, place) != 0)
        return false;
    lua_pushcfunction(L, do_nothing);
    lua_pushinteger(L, (lua_Integer)place);
    lua_pushcclosure(L, is_handler_set, 1);
    if (lua_pcall(L, 0, 1, -2) != LUA_OK)
        lua_error(L);
    is_set = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return is_set && *handler_of(L, place) == 0;
}

bool mend_is_possible(lua_State *L)
{
    const struct state_head *head = (const struct state_head *)L;
    size_t place = find_handler_place(L);

    if (head->type != LUA_TTHREAD || head->status != LUA_OK || head->allow_hook != 1 || is_seen(L, 0) || !is_seen(L, 1) ||
        !is_handler_place(L, place))
        return false;
    atomic_store(&handler_place, place);
    return true;
}

void mend_coroutine(lua_State *L)
{
    ((struct state_head *)L)->allow_hook = 1;
    *handler_of(L, atomic_load_explicit(&handler_place, memory_order_relaxed)) = 0;
}
