/* traceback.c - a traceback with an end. */
#include "script/traceback.h"

#include <lauxlib.h>

enum {
    DEEP = 200, /* calls: deeper stacks are not shown whole */
    SHOWN = 20, /* of those */
};

/* In Lua's own words. */
static void add_call(luaL_Buffer *b, lua_State *L, const lua_Debug *call)
{
    if (call->currentline > 0)
        lua_pushfstring(L, "\n\t%s:%d: in ", call->short_src, call->currentline);
    else
        lua_pushfstring(L, "\n\t%s: in ", call->short_src);
    luaL_addvalue(b);
    if (*call->namewhat)
        lua_pushfstring(L, "%s '%s'", call->namewhat, call->name);
    else if (*call->what == 'm')
        lua_pushliteral(L, "main chunk");
    else if (*call->what == 'C')
        lua_pushliteral(L, "?");
    else
        lua_pushfstring(L, "function <%s:%d>", call->short_src, call->linedefined);
    luaL_addvalue(b);
    if (call->istailcall)
        luaL_addstring(b, "\n\t(...tail calls...)");
}

void traceback_push(lua_State *L, lua_State *co, const char *message, int level)
{
    lua_Debug call;
    luaL_Buffer b;

    if (!lua_getstack(co, level + DEEP, &call)) {
        luaL_traceback(L, co, message, level);
        return;
    }
    luaL_buffinit(L, &b);
    if (message) {
        luaL_addstring(&b, message);
        luaL_addchar(&b, '\n');
    }
    luaL_addstring(&b, "stack traceback:");
    for (int i = level; i < level + SHOWN && lua_getstack(co, i, &call); i++) {
        lua_getinfo(co, "Slnt", &call);
        add_call(&b, L, &call);
    }
    luaL_addstring(&b, "\n\t...\t(deeper than 200 calls)");
    luaL_pushresult(&b);
}

/* debug.traceback([thread,] message, level) -> text; a message that is no text comes back as it is */
static int l_traceback(lua_State *L)
{
    int at = lua_isthread(L, 1) ? 2 : 1;
    lua_State *co = at == 2 ? lua_tothread(L, 1) : L;
    const char *message = lua_tostring(L, at);
    lua_Integer level = luaL_optinteger(L, at + 1, co == L ? 1 : 0);

    if (!message && !lua_isnoneornil(L, at)) {
        lua_pushvalue(L, at);
        return 1;
    }
    luaL_argcheck(L, level >= 0 && level < 1 << 30, at + 1, "level out of range");
    traceback_push(L, co, message, (int)level);
    return 1;
}

void traceback_fill(lua_State *L)
{
    lua_pushcfunction(L, l_traceback);
    lua_setfield(L, -2, "traceback");
}
