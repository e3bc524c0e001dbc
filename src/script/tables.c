/* tables.c - see tables.h. What these do is in the reference manual, section 6.6. The library's own count on the table's length,
 * which a __len may give as math.maxinteger, and walk through it in C.
 */
#include "script/tables.h"

#include "script/meter.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>

enum { READS = 1, WRITES = 2, HAS_LENGTH = 4 };

/* The metatable on top of the stack has the field. */
static bool has_field(lua_State *L, const char *name)
{
    bool has;

    lua_pushstring(L, name);
    has = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* The argument is a table, or has the metamethods that make it one. */
static void check_table(lua_State *L, int arg, int uses)
{
    bool fine = lua_type(L, arg) == LUA_TTABLE;

    if (!fine && lua_getmetatable(L, arg)) {
        fine = (!(uses & READS) || has_field(L, "__index")) && (!(uses & WRITES) || has_field(L, "__newindex")) &&
               (!(uses & HAS_LENGTH) || has_field(L, "__len"));
        lua_pop(L, 1);
    }
    if (!fine)
        luaL_checktype(L, arg, LUA_TTABLE);
}

static lua_Integer check_length(lua_State *L, int arg, int uses)
{
    check_table(L, arg, uses | HAS_LENGTH);
    return luaL_len(L, arg);
}

/* ---- insert, remove, move ---- */

/* t[to] = t[from] */
static void copy_item(lua_State *L, struct meter *meter, lua_Integer from, lua_Integer to)
{
    meter_step(L, meter, METER_ITEM);
    lua_geti(L, 1, from);
    lua_seti(L, 1, to);
}

static int l_insert(lua_State *L)
{
    struct meter meter = {0};
    lua_Integer end = (lua_Integer)((lua_Unsigned)check_length(L, 1, READS | WRITES) + 1), at = end;

    switch (lua_gettop(L)) {
    case 2:
        break;
    case 3:
        at = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)at - 1u < (lua_Unsigned)end, 2, "position out of bounds");
        for (lua_Integer i = end; i > at; i--)
            copy_item(L, &meter, i - 1, i);
        break;
    default:
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, at);
    return 0;
}

static int l_remove(lua_State *L)
{
    struct meter meter = {0};
    lua_Integer size = check_length(L, 1, READS | WRITES), at = luaL_optinteger(L, 2, size);

    if (at != size)
        luaL_argcheck(L, (lua_Unsigned)at - 1u <= (lua_Unsigned)size, 2, "position out of bounds");
    lua_geti(L, 1, at);
    for (; at < size; at++)
        copy_item(L, &meter, at + 1, at);
    lua_pushnil(L);
    lua_seti(L, 1, at);
    return 1;
}

/* Whether moving forwards would write over what is still to be read. */
static bool overlaps(lua_State *L, lua_Integer from, lua_Integer last, lua_Integer to, int target)
{
    return to > from && to <= last && (target == 1 || lua_compare(L, 1, target, LUA_OPEQ));
}

static int l_move(lua_State *L)
{
    struct meter meter = {0};
    lua_Integer from = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    bool backwards;

    check_table(L, 1, READS);
    check_table(L, target, WRITES);
    if (last >= from) {
        luaL_argcheck(L, from > 0 || last < LUA_MAXINTEGER + from, 3, "too many elements to move");
        luaL_argcheck(L, to <= LUA_MAXINTEGER - (last - from), 4, "destination wrap around");
        backwards = overlaps(L, from, last, to, target);
        for (lua_Integer n = last - from, i = 0; i <= n; i++) {
            lua_Integer item = backwards ? n - i : i;

            meter_step(L, &meter, METER_ITEM);
            lua_geti(L, 1, from + item);
            lua_seti(L, target, to + item);
        }
    }
    lua_pushvalue(L, target);
    return 1;
}

/* ---- concat, unpack ---- */

static void add_item(lua_State *L, luaL_Buffer *b, struct meter *meter, lua_Integer i)
{
    meter_step(L, meter, METER_ITEM);
    lua_geti(L, 1, i);
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)i);
    luaL_addvalue(b);
}

static int l_concat(lua_State *L)
{
    struct meter meter = {0};
    lua_Integer last = check_length(L, 1, READS), i;
    size_t len;
    const char *between = luaL_optlstring(L, 2, "", &len);
    luaL_Buffer b;

    i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    luaL_buffinit(L, &b);
    for (; i < last; i++) {
        add_item(L, &b, &meter, i);
        luaL_addlstring(&b, between, len);
    }
    if (i == last)
        add_item(L, &b, &meter, i);
    luaL_pushresult(&b);
    return 1;
}

static int l_unpack(lua_State *L)
{
    struct meter meter = {0};
    lua_Integer i = luaL_optinteger(L, 2, 1), last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)i;

    if (i > last)
        return 0;
    if (n >= INT_MAX || !lua_checkstack(L, (int)++n))
        return luaL_error(L, "too many results to unpack");
    for (; i < last; i++) {
        meter_step(L, &meter, METER_ITEM);
        lua_geti(L, 1, i);
    }
    lua_geti(L, 1, last);
    return (int)n;
}

/* ---- sort ---- */

enum { QUICK_ITEMS = 50000, QUICK_BYTES = 1 << 20 };

/* Whether the library sorts the table at 1 by `<` in a moment: few items, short strings, no metamethods in the way. */
static bool is_quick(lua_State *L)
{
    size_t n, bytes = 0;

    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        return false;
    }
    n = lua_rawlen(L, 1);
    for (size_t i = 1; i <= n && n <= QUICK_ITEMS && bytes <= QUICK_BYTES; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING)
            bytes += lua_rawlen(L, -1);
        lua_pop(L, 1);
    }
    return n <= QUICK_ITEMS && bytes <= QUICK_BYTES;
}

/* `<` as a function: the hook of a kill sees its calls. */
static int l_less(lua_State *L)
{
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

/* The library's own, in the same frame. Upvalue: the function. */
static int l_sort(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TTABLE && lua_isnoneornil(L, 2) && !is_quick(L)) {
        lua_settop(L, 1);
        lua_pushcfunction(L, l_less);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static const luaL_Reg own[] = {{"insert", l_insert}, {"remove", l_remove}, {"move", l_move},
                               {"concat", l_concat}, {"unpack", l_unpack}, {NULL, NULL}};

void tables_bound(lua_State *L)
{
    luaL_setfuncs(L, own, 0);
    lua_getfield(L, -1, "sort");
    lua_pushcclosure(L, l_sort, 1);
    lua_setfield(L, -2, "sort");
}
