/* tide_state.c - tide.state, and the guards in front of its fields. */
#include "script/tide_state.h"

#include "script/state.h"

#include <lauxlib.h>

/* Places in a guard, which is a metatable as well. */
enum { GUARD_FIELDS = 1, GUARD_META = 2 };

void tide_state_push(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->state_ref);
}

void tide_state_push_behind(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->behind_ref);
}

void tide_state_push_fields(lua_State *L)
{
    tide_state_push_behind(L);
    lua_rawgeti(L, -1, GUARD_FIELDS);
    lua_remove(L, -2);
}

/* Whether it is hidden for a purpose, and not only because there was no memory to show it. */
static bool must_stay_hidden(const struct script *s)
{
    return s->loading || (s->staged && s->staged->fresh_ref != LUA_NOREF);
}

/* ---- moving fields ---- */

static void copy_fields(lua_State *L, int from, int to)
{
    for (lua_pushnil(L); lua_next(L, from);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, to);
    }
}

/* Needs no memory: an existing field becomes nil. */
static void clear_field(lua_State *L, int table)
{
    lua_pushvalue(L, -2); /* ..., key, value, key */
    lua_pushnil(L);
    lua_rawset(L, table);
}

static void clear_fields(lua_State *L, int table)
{
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        clear_field(L, table);
}

/* Each field is in one of the tables at any time. */
static void move_fields(lua_State *L, int from, int to)
{
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, to);
        clear_field(L, from);
    }
}

static int show(lua_State *L)
{
    struct script *s = script_of(L);

    lua_settop(L, 0);
    tide_state_push(L);
    tide_state_push_behind(L);
    lua_rawgeti(L, 2, GUARD_FIELDS); /* state, guard, fields */
    move_fields(L, 3, 1);
    lua_rawgeti(L, 2, GUARD_META);
    lua_setmetatable(L, 1);
    script_unref(L, &s->behind_ref);
    return 0;
}

void tide_state_show(struct script *s)
{
    if (s->behind_ref != LUA_NOREF && script_protect(s, show, NULL) != LUA_OK)
        lua_pop(s->L, 1);
}

/* ---- what scripts meet while it is hidden; the upvalue is the table of the fields ---- */

/* Also for a script that comes while there was no memory to show it: now or never. */
static void show_now(lua_State *L)
{
    lua_pushcfunction(L, show);
    lua_call(L, 0, 0);
}

static int l_write(lua_State *L)
{
    script_check_acting(L, "tide.state");
    if (must_stay_hidden(script_of(L)))
        return luaL_error(L, "tide.state: not while versions are being switched");
    show_now(L);
    lua_rawset(L, 1);
    return 0;
}

/* What the check of a new version finds may be there in the workers. */
static int l_missing(lua_State *L)
{
    script_of(L)->missed_state = true;
    lua_pushnil(L);
    return 1;
}

static int l_pairs(lua_State *L)
{
    script_of(L)->missed_state = true;
    lua_getglobal(L, "next");
    if (must_stay_hidden(script_of(L))) {
        lua_pushvalue(L, lua_upvalueindex(1));
    } else {
        show_now(L);
        lua_pushvalue(L, 1);
    }
    lua_pushnil(L);
    return 3;
}

static int l_len(lua_State *L)
{
    script_of(L)->missed_state = true;
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

/* A guard in front of the table at `fields`; the value on top of the stack, which it replaces, is the metatable for later or nil.
 */
static void push_guard(lua_State *L, int fields)
{
    int meta = lua_gettop(L);

    lua_createtable(L, 2, 5);
    lua_pushvalue(L, fields);
    lua_rawseti(L, -2, GUARD_FIELDS);
    lua_pushvalue(L, meta);
    lua_rawseti(L, -2, GUARD_META);
    if (script_of(L)->probe)
        lua_pushcfunction(L, l_missing);
    else
        lua_pushvalue(L, fields);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, fields);
    lua_pushcclosure(L, l_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushvalue(L, fields);
    lua_pushcclosure(L, l_len, 1);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_replace(L, meta);
}

/* ---- hiding ---- */

static void push_metatable(lua_State *L, int table)
{
    if (!lua_getmetatable(L, table))
        lua_pushnil(L);
}

void tide_state_hide(lua_State *L)
{
    struct script *s = script_of(L);
    int state = lua_gettop(L) + 1, fields = state + 1, guard = fields + 1;

    luaL_checkstack(L, 12, "tide.state");
    if (s->behind_ref != LUA_NOREF)
        show_now(L);
    tide_state_push(L);
    lua_newtable(L);
    copy_fields(L, state, fields);
    push_metatable(L, state);
    push_guard(L, fields); /* state, fields, guard */
    lua_pushvalue(L, guard);
    s->behind_ref = script_ref(L);
    clear_fields(L, state);
    lua_setmetatable(L, state);
    lua_settop(L, state - 1);
}

/* ---- for an on_upgrade ---- */

void tide_state_cover(lua_State *L, int index)
{
    int state = lua_gettop(L) + 1;

    tide_state_push(L);
    lua_pushnil(L);
    push_guard(L, index);
    lua_setmetatable(L, state);
    lua_settop(L, state - 1);
}

void tide_state_uncover(struct script *s)
{
    tide_state_push(s->L);
    tide_state_push_behind(s->L);
    lua_setmetatable(s->L, -2);
    lua_pop(s->L, 1);
}

void tide_state_push_guard(lua_State *L, int index)
{
    int fields = lua_gettop(L) + 1;

    lua_newtable(L);
    copy_fields(L, index, fields);
    tide_state_push_behind(L);
    lua_rawgeti(L, -1, GUARD_META); /* what scripts set on the table stays with it */
    lua_remove(L, -2);
    push_guard(L, fields);
    lua_remove(L, fields);
}

void tide_state_replace(struct script *s, int *guard_ref)
{
    lua_State *L = s->L;
    int state = lua_gettop(L) + 1;

    script_unref(L, &s->behind_ref);
    s->behind_ref = *guard_ref;
    *guard_ref = LUA_NOREF;
    tide_state_push(L);
    clear_fields(L, state);
    tide_state_push_behind(L);
    lua_setmetatable(L, state);
    lua_settop(L, state - 1);
}
