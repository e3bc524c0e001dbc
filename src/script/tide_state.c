/* tide_state.c - tide.state, and its protection while a chunk loads. */
#include "script/tide_state.h"

#include "script/state.h"

#include <lauxlib.h>

static const char behind_key = 0; /* its address keys the hidden fields in the registry, while they are */

void tide_state_push(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->state_ref);
}

static int l_no_write(lua_State *L)
{
    script_check_acting(L, "tide.state");
    lua_rawset(L, 1); /* only when showing it failed for want of memory */
    return 0;
}

/* pairs(tide.state) while it is hidden. */
static int l_pairs(lua_State *L)
{
    lua_getglobal(L, "next");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &behind_key);
    lua_pushnil(L);
    return 3;
}

static void push_guard(lua_State *L, int behind)
{
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, behind);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_no_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, l_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

static void copy_fields(lua_State *L, int from, int to)
{
    for (lua_pushnil(L); lua_next(L, from);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, to);
    }
}

void tide_state_hide(lua_State *L)
{
    int state = lua_gettop(L) + 1, behind = state + 1;

    tide_state_push(L);
    lua_newtable(L); /* state, behind */
    copy_fields(L, state, behind);
    push_guard(L, behind); /* state, behind, guard */
    lua_pushvalue(L, behind);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &behind_key);
    for (lua_pushnil(L); lua_next(L, behind); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushnil(L);
        lua_rawset(L, state); /* an existing field: needs no memory */
    }
    lua_setmetatable(L, state);
    lua_settop(L, state - 1);
}

void tide_state_show(lua_State *L)
{
    int state = lua_gettop(L) + 1, behind = state + 1;

    tide_state_push(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &behind_key) == LUA_TTABLE) {
        copy_fields(L, behind, state);
        lua_pushnil(L);
        lua_setmetatable(L, state);
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &behind_key);
    }
    lua_settop(L, state - 1);
}
