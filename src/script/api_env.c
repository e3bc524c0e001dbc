/* api_env.c - tide.env.NAME */
#include "script/api_env.h"

#include "script/api_help.h"
#include <lauxlib.h>
#include <stdlib.h>

/* env.NAME -> string | nil */
static int l_env_index(lua_State *L)
{
    struct slice name = api_check_string(L, 2);
    const char *value = memchr(name.data, '\0', name.len) == NULL ? getenv(name.data) : NULL;

    lua_pushstring(L, value); /* nil for NULL */
    return 1;
}

static int l_env_newindex(lua_State *L)
{
    return luaL_error(L, "tide.env is read only");
}

void api_env_fill(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 3); /* tide, env, metatable */
    lua_pushcfunction(L, l_env_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_env_newindex);
    lua_setfield(L, -2, "__newindex");
    api_seal_metatable(L);
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "env");
}
