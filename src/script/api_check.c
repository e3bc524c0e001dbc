/* api_check.c - tide.check(value, shape) and tide.now() */
#include "script/api_check.h"

#include "base/clock.h"
#include "base/err.h"
#include "script/api_help.h"
#include "script/shape.h"
#include <lauxlib.h>

/* tide.check(value, shape) -> clean copy | nil, message, "invalid" */
static int l_tide_check(lua_State *L)
{
    lua_settop(L, 2);
    shape_compile_cached(L, 2, "shape");
    if (shape_check(L, 3, 1))
        return 1;
    return script_push_failure(L, lua_tostring(L, -1), err_name(MT_EINVALID));
}

/* tide.now() -> unix seconds with a fraction */
static int l_tide_now(lua_State *L)
{
    lua_pushnumber(L, clock_wall());
    return 1;
}

void api_check_open(lua_State *L)
{
    shape_open(L);
}

void api_check_fill(lua_State *L)
{
    lua_pushcfunction(L, l_tide_check);
    lua_setfield(L, -2, "check");
    lua_pushcfunction(L, l_tide_now);
    lua_setfield(L, -2, "now");
}
