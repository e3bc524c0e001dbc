/* protect.c - the functions that could keep an error for themselves, as scripts see them.
 *
 * They behave as the reference manual says, except that a kill by the watchdog, tide.reject and a cancel pass through them
 * (script_pass_on), that coroutines of handlers cannot be resumed or closed by scripts, and that finalizers are refused: Lua runs
 * those with hooks off, where the watchdog could not end them.
 */
#include "script/protect.h"

#include "script/mend.h"
#include "script/state.h"
#include "script/task.h"
#include "script/watch.h"

#include <lauxlib.h>

enum { CLOSE_DEPTH_MAX = 50 };

/* ---- pcall, xpcall ---- */

/* Both leave a boolean below the results. `skip` values at the bottom are not results. */
static int finish_protected(lua_State *L, int status, lua_KContext skip)
{
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)skip;
    if (script_is_ending(L))
        return script_pass_on(L);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
}

static int l_pcall(lua_State *L)
{
    int status;

    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_protected);
    return finish_protected(L, status, 0);
}

/* Around the script's message handler, which would run inside the hook, with hooks off. */
static int on_xpcall_error(lua_State *L)
{
    if (script_is_ending(L))
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int l_xpcall(lua_State *L)
{
    int n = lua_gettop(L);
    int status;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, on_xpcall_error, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1); /* fn, handler, ..., true, fn */
    lua_rotate(L, 3, 2); /* fn, handler, true, fn, ... */
    status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, finish_protected);
    return finish_protected(L, status, 2);
}

bool protect_may_wait(lua_CFunction function)
{
    return function == l_pcall || function == l_xpcall;
}

/* ---- setmetatable ---- */

static int l_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available to scripts; use a `<close>` variable");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* ---- coroutines ---- */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

static bool is_task(lua_State *co)
{
    return script_context(co)->task != NULL;
}

/* lua_resetthread runs the <close> variables of co. False with the error on top of co. It starts to count C calls anew, so a
 * chain of coroutines that close each other needs a bound of its own. */
static bool close_coroutine(lua_State *L, lua_State *co)
{
    struct script *s = script_of(L);
    int status;

    if (s->closing >= CLOSE_DEPTH_MAX)
        luaL_error(L, "coroutines close each other too deep");
    s->closing++;
    mend_coroutine(co);
    watch_follow(s->watch, co);
    status = lua_resetthread(co);
    watch_follow(s->watch, L);
    s->closing--;
    return status == LUA_OK;
}

/* The end that is under way left co: its <close> variables run as always, then it goes on in L. */
static int leave_coroutine(lua_State *L, lua_State *co)
{
    struct task *t = script_of(L)->task;
    enum script_end ending = t ? t->ending : SCRIPT_GOES_ON;

    if (t)
        t->ending = SCRIPT_GOES_ON;
    close_coroutine(L, co);
    if (t)
        t->ending = ending;
    return script_pass_on(L);
}

/* Moves the values that a resumed coroutine gave to L; returns their number, or -1 with an error instead. */
static int take_results(lua_State *L, lua_State *co, int n)
{
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n);
    return n;
}

/* Runs `co` with the watchdog following; an end that no pcall may keep goes on in L. Returns the number of results on top of L,
 * or -1 with the error there. */
static int resume(lua_State *L, lua_State *co, int nargs)
{
    struct watch_slot *watch = script_of(L)->watch;
    int status, n;

    if (is_task(co)) {
        lua_pushliteral(L, "cannot resume a handler's coroutine");
        return -1;
    }
    if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, nargs);
    watch_follow(watch, co);
    status = lua_resume(co, L, nargs, &n);
    watch_follow(watch, L);
    if (script_is_ending(L) && co != L)
        return leave_coroutine(L, co);
    if (status == LUA_OK || status == LUA_YIELD)
        return take_results(L, co, n);
    lua_xmove(co, L, 1);
    return -1;
}

static int l_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    int n = resume(L, co, lua_gettop(L) - 1);

    if (n < 0) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushboolean(L, 1);
    lua_insert(L, -(n + 1));
    return n + 1;
}

static int l_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, co, lua_gettop(L));

    if (n >= 0)
        return n;
    if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD && !close_coroutine(L, co)) {
        lua_pop(L, 1);
        lua_xmove(co, L, 1); /* the error as the <close> variables left it */
        if (script_is_ending(L))
            return script_pass_on(L);
    }
    if (lua_type(L, -1) == LUA_TSTRING) { /* say where, as coroutine.wrap does */
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int l_wrap(lua_State *L)
{
    lua_State *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, l_wrapped, 1);
    return 1;
}

static bool may_close(lua_State *L, lua_State *co)
{
    lua_Debug frame;

    if (co == L || is_task(co))
        return false;
    if (lua_status(co) == LUA_OK) /* normal when it has frames: it resumed somebody */
        return lua_getstack(co, 0, &frame) == 0;
    return true;
}

static int l_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);

    if (!may_close(L, co))
        return luaL_error(L, "cannot close a running coroutine or a handler's");
    if (close_coroutine(L, co)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (script_is_ending(L))
        return script_pass_on(L);
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static int l_yield(lua_State *L)
{
    if (is_task(L))
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int l_isyieldable(lua_State *L)
{
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;

    lua_pushboolean(L, !is_task(co) && lua_isyieldable(co));
    return 1;
}

static const luaL_Reg base_functions[] = {
    {"pcall", l_pcall}, {"xpcall", l_xpcall}, {"setmetatable", l_setmetatable}, {NULL, NULL}};
static const luaL_Reg coroutine_functions[] = {
    {"resume", l_resume}, {"wrap", l_wrap}, {"close", l_close}, {"yield", l_yield}, {"isyieldable", l_isyieldable}, {NULL, NULL}};

void protect_fill_base(lua_State *L)
{
    luaL_setfuncs(L, base_functions, 0);
}

void protect_fill_coroutine(lua_State *L)
{
    luaL_setfuncs(L, coroutine_functions, 0);
}
