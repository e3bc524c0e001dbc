/* vm.c - makes and closes the VM of a worker.
 *
 * The memory limit holds only while script code runs: what the core pushes for an event must not fail because a script is at its
 * limit, and everything that runs outside of a protected call would end the process. heap.core counts those who are the core.
 */
#include "script/vm.h"

#include "script/mend.h"
#include "script/strings.h"
#include "script/tables.h"
#include "script/watch.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

static const char libraries_key = 0; /* its address keys the table of pristine libraries in the registry */

/* A raise outside of every protected call: memory ran out in the core itself, or a bug. Lua ends the process after this. */
static int vm_panic(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";

    log_error(script_of(L)->log, NULL, "unprotected error in Lua: %s", text);
    return 0;
}

static void vm_warn(void *arg, const char *text, int more)
{
    struct script *s = arg;

    if (!more)
        log_warn(s->log, NULL, "lua: %s", text);
}

static void open_standard(lua_State *L)
{
    static const luaL_Reg standard[] = {
        {LUA_GNAME, luaopen_base},        {LUA_LOADLIBNAME, luaopen_package}, {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_TABLIBNAME, luaopen_table},  {LUA_IOLIBNAME, luaopen_io},        {LUA_OSLIBNAME, luaopen_os},
        {LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math},    {LUA_UTF8LIBNAME, luaopen_utf8},
        {LUA_DBLIBNAME, luaopen_debug},
    };

    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++) {
        luaL_requiref(L, standard[i].name, standard[i].func, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, 1, standard[i].name); /* libraries, library */
        lua_pop(L, 1);
    }
}

static void bound_library(lua_State *L, const char *name, void (*bound)(lua_State *L))
{
    lua_getfield(L, 1, name);
    bound(L);
    lua_pop(L, 1);
}

/* Once for all versions: ("x"):rep() uses the pristine table. */
static void bound_libraries(lua_State *L)
{
    bound_library(L, LUA_STRLIBNAME, strings_bound);
    bound_library(L, LUA_TABLIBNAME, tables_bound);
    bound_library(L, LUA_OSLIBNAME, strings_bound_os);
}

static void open_modules(lua_State *L, const struct script_config *c)
{
    for (size_t i = 0; i < c->module_count; i++) {
        luaL_requiref(L, c->modules[i].name, c->modules[i].open, 0);
        lua_setfield(L, 1, c->modules[i].name);
    }
}

static void lock_metatable(lua_State *L)
{
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ("x"):upper() goes through a metatable that all versions share, and so do the methods of files: hidden from getmetatable, over
 * tables that nobody else has. */
static void lock_shared(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* "", metatable */
    lock_metatable(L);
    lua_pop(L, 1);
    luaL_getmetatable(L, LUA_FILEHANDLE);
    lock_metatable(L);
}

static int open_all(lua_State *L)
{
    struct script *s = script_of(L);

    lua_settop(L, 0);
    if (!mend_is_possible(L))
        return luaL_error(L, "scripts cannot be kept in their time with this build of Lua: 5.4.0 to 5.4.7 are known to work");
    lua_newtable(L); /* libraries */
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libraries_key);
    open_standard(L);
    bound_libraries(L);
    open_modules(L, &s->config);
    lock_shared(L);
    lua_newtable(L);
    s->state_ref = script_ref(L);
    api_all_open(L);
    lua_gc(L, LUA_GCGEN, 0, 0);
    return 0;
}

void vm_push_library(lua_State *L, const char *name)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

int vm_open(struct script *s, char **error)
{
    s->heap.core = 1;
    s->L = lua_newstate(heap_alloc, &s->heap);
    if (!s->L)
        return MT_ENOMEM;
    s->context.script = s;
    *(struct script_context **)lua_getextraspace(s->L) = &s->context;
    lua_atpanic(s->L, vm_panic);
    lua_setwarnf(s->L, vm_warn, s);
    if (script_protect(s, open_all, NULL) == LUA_OK)
        return 0;
    *error = mem_strdup(lua_tostring(s->L, -1), lua_rawlen(s->L, -1));
    lua_pop(s->L, 1);
    return MT_ESCRIPT;
}

void vm_close(struct script *s)
{
    if (s->L)
        lua_close(s->L);
    s->L = NULL;
    heap_fini(&s->heap);
}
