/* api_json.c - tide.json: encode, decode, array; and tide.null. */
#include "script/api_json.h"

#include "base/err.h"
#include "script/api_help.h"
#include "script/json.h"
#include <lauxlib.h>

/* json.encode(value) -> text. Raises on what JSON cannot hold. */
static int l_json_encode(lua_State *L)
{
    struct script *s = script_of(L);
    const char *why;

    luaL_checkany(L, 1);
    s->scratch.len = 0;
    if (json_encode_as(L, 1, "value", &s->scratch, &why) != 0)
        return luaL_error(L, "json.encode: %s", why);
    return api_push_scratch(L);
}

/* json.decode(text) -> value | nil, message, name. nil is the world's failure: a body or a message that is not there. */
static int l_json_decode(lua_State *L)
{
    size_t len;
    const char *why, *text;

    if (lua_isnoneornil(L, 1))
        return script_push_failure(L, "no JSON", err_name(MT_EJSON));
    luaL_checktype(L, 1, LUA_TSTRING);
    text = lua_tolstring(L, 1, &len);
    if (len > JSON_DECODED_MAX)
        return script_push_failure(L, "JSON of more than 16 MiB", err_name(MT_ETOO_LARGE));
    if (json_decode(L, text, len, &why) != 0)
        return script_push_failure(L, why, err_name(MT_EJSON));
    return 1;
}

/* ---- the same as scripts know it from lua-cjson ---- */

/* Upvalue: whether failures are returned (cjson.safe) or raised. */
static int fail_cjson(lua_State *L, const char *why)
{
    if (!lua_toboolean(L, lua_upvalueindex(1)))
        return luaL_error(L, "%s", why);
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_cjson_encode(lua_State *L)
{
    struct script *s = script_of(L);
    const char *why;

    luaL_checkany(L, 1);
    s->scratch.len = 0;
    if (json_encode_as(L, 1, "value", &s->scratch, &why) != 0)
        return fail_cjson(L, why);
    return api_push_scratch(L);
}

static int l_cjson_decode(lua_State *L)
{
    size_t len;
    const char *why, *text = luaL_checklstring(L, 1, &len);

    if (len > JSON_DECODED_MAX)
        return fail_cjson(L, "JSON of more than 16 MiB");
    return json_decode(L, text, len, &why) == 0 ? 1 : fail_cjson(L, why);
}

void api_json_push_cjson(lua_State *L, bool safe)
{
    static const luaL_Reg functions[] = {{"encode", l_cjson_encode}, {"decode", l_cjson_decode}, {NULL, NULL}};

    luaL_newlibtable(L, functions);
    lua_pushboolean(L, safe);
    luaL_setfuncs(L, functions, 1);
    json_push_null(L);
    lua_setfield(L, -2, "null");
}

/* json.array(t) -> t, which is written as a list even while it is empty. */
static int l_json_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        luaL_argcheck(L, json_is_array(L, 1), 1, "the table has a metatable of its own");
    }
    lua_settop(L, 1);
    json_mark_array(L);
    return 1;
}

static const luaL_Reg json_functions[] = {
    {"encode", l_json_encode}, {"decode", l_json_decode}, {"array", l_json_array}, {NULL, NULL}};

void api_json_fill(lua_State *L)
{
    json_push_null(L);
    lua_setfield(L, -2, "null");
    luaL_newlib(L, json_functions);
    lua_setfield(L, -2, "json");
}
