/* hooks.c - the switch is a byte of lua_State, in the same place in all of Lua 5.4 so far. It is tried out before it is used. */
#include "script/hooks.h"

/* How lua_State begins (lobject.h CommonHeader, lstate.h). */
struct state_head {
    void *next;
    unsigned char type, marked, status, allow_hook;
};

static _Thread_local int calls; /* of the hook that the trial sets */

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

bool hooks_are_known(lua_State *L)
{
    const struct state_head *head = (const struct state_head *)L;

    return head->type == LUA_TTHREAD && head->status == LUA_OK && head->allow_hook == 1 && !is_seen(L, 0) && is_seen(L, 1);
}

void hooks_allow(lua_State *L)
{
    ((struct state_head *)L)->allow_hook = 1;
}
