/* headers.c - the type of header tables. */
#include "script/headers.h"

#include "script/api_help.h"

#include <lauxlib.h>
#include <string.h>

static const char headers_type[] = "moontide.headers";

static void push_lower(lua_State *L, struct slice name)
{
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, name.len);

    for (size_t i = 0; i < name.len; i++)
        to[i] = name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] + 32) : name.data[i];
    luaL_pushresultsize(&b, name.len);
}

void headers_push(lua_State *L, size_t count)
{
    lua_createtable(L, 0, (int)count);
    luaL_setmetatable(L, headers_type);
}

static const char *joint_of(const char *name)
{
    if (strcmp(name, "cookie") == 0)
        return "; ";
    return strcmp(name, "set-cookie") == 0 ? "\n" : ", ";
}

void headers_add(lua_State *L, struct slice name, struct slice value)
{
    push_lower(L, name);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TSTRING) { /* headers, name, earlier */
        lua_pushstring(L, joint_of(lua_tostring(L, -2)));
        lua_pushlstring(L, value.data, value.len);
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
        lua_pushlstring(L, value.data, value.len);
    }
    lua_rawset(L, -3);
}

static int l_headers_index(lua_State *L)
{
    struct slice name;

    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    name.data = lua_tolstring(L, 2, &name.len);
    push_lower(L, name);
    lua_rawget(L, 1);
    return 1;
}

void headers_open(lua_State *L)
{
    luaL_newmetatable(L, headers_type);
    lua_pushcfunction(L, l_headers_index);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}
