/* api_help.c - checks of arguments. */
#include "script/api_help.h"

#include "base/text.h"
#include <lauxlib.h>

enum { SCRATCH_KEEP = 1 << 20 }; /* a larger scratch buffer is given back after use */

struct slice api_check_string(lua_State *L, int arg)
{
    struct slice s;

    luaL_checktype(L, arg, LUA_TSTRING);
    s.data = lua_tolstring(L, arg, &s.len);
    return s;
}

struct slice api_check_name(lua_State *L, int arg, const char *what, size_t max)
{
    struct slice s = api_check_string(L, arg);

    if (s.len == 0 || s.len > max)
        luaL_argerror(L, arg, lua_pushfstring(L, "%s: 1 to %d bytes", what, (int)max));
    return s;
}

int api_raise_unknown(lua_State *L, int arg, const char *what, struct slice word, const char *const *names)
{
    const char *near = text_nearest(word, names);
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    luaL_addstring(&b, "unknown ");
    luaL_addstring(&b, what);
    luaL_addstring(&b, " '");
    luaL_addlstring(&b, word.data, word.len < 40 ? word.len : 40);
    luaL_addstring(&b, near != NULL ? "'; did you mean " : "'; there are");
    if (near != NULL) {
        luaL_addstring(&b, near);
        luaL_addchar(&b, '?');
    } else {
        for (; *names != NULL; names++) {
            luaL_addchar(&b, ' ');
            luaL_addstring(&b, *names);
        }
    }
    luaL_pushresult(&b);
    return luaL_argerror(L, arg, lua_tostring(L, -1));
}

/* The place of `word` in the list, negative when it is not there. */
static int find_name(struct slice word, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++)
        if (slice_is(word, slice_of(names[i])))
            return i;
    return -1;
}

int api_check_option(lua_State *L, int arg, const char *what, const char *const *names, int otherwise)
{
    if (otherwise >= 0 && lua_isnoneornil(L, arg))
        return otherwise;
    struct slice word = api_check_string(L, arg);
    int found = find_name(word, names);
    return found >= 0 ? found : api_raise_unknown(L, arg, what, word, names);
}

bool api_check_table(lua_State *L, int arg, const char *const *names)
{
    if (lua_isnoneornil(L, arg))
        return false;
    luaL_checktype(L, arg, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
        struct slice word;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_argerror(L, arg, "options have names");
        word.data = lua_tolstring(L, -2, &word.len);
        if (find_name(word, names) < 0)
            api_raise_unknown(L, arg, "option", word, names);
    }
    return true;
}

int api_push_scratch(lua_State *L)
{
    struct buf *scratch = &script_of(L)->scratch;

    lua_pushlstring(L, (const char *)scratch->data, scratch->len);
    api_free_scratch(L);
    return 1;
}

void api_free_scratch(lua_State *L)
{
    struct buf *scratch = &script_of(L)->scratch;

    if (scratch->cap > SCRATCH_KEEP)
        buf_fini(scratch);
}

void api_seal_metatable(lua_State *L)
{
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}
