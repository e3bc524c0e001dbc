/* sandbox.c - what a script finds in its globals.
 *
 * Every version gets copies of the library tables, so that one version's changes are not seen by the next. Not there, unless
 * sandbox.allow opens them: io, most of os, debug, C loaders. Never there: precompiled chunks, finalizers, dofile and loadfile.
 */
#include "script/sandbox.h"

#include "script/modules.h"
#include "script/meter.h"
#include "script/protect.h"
#include "script/traceback.h"
#include "script/vm.h"

#include <lauxlib.h>
#include <string.h>

bool sandbox_allows(const struct script *s, const char *library)
{
    for (const char *const *name = s->config.sandbox_allow; name && *name; name++)
        if (strcmp(*name, library) == 0)
            return true;
    return false;
}

/* ---- functions of our own in _G ---- */

/* print(...): one info line of the log, values separated by tabs. */
static int l_print(lua_State *L)
{
    struct slice line;
    luaL_Buffer b;
    int n = lua_gettop(L);

    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    line.data = lua_tolstring(L, -1, &line.len);
    script_say(script_of(L), LOG_LEVEL_INFO, line, NULL, 0);
    return 0;
}

static int l_collectgarbage(lua_State *L)
{
    if (strcmp(luaL_optstring(L, 1, "collect"), "count") != 0)
        return luaL_error(L, "collectgarbage: scripts may only ask for \"count\"");
    lua_pushnumber(L, (lua_Number)script_of(L)->heap.used / 1024);
    return 1;
}

/* What load() compiles, in pieces: the parser cannot be interrupted, but asks for the next one often enough. */
struct source {
    const char *text; /* the rest of a chunk given as text; NULL: a function gives it */
    size_t len;
};

enum { PIECE_BYTES = 1024, AT_CHUNK = 1, AT_NAME = 2, AT_MODE = 3, AT_ENV = 4, AT_PIECE = 5 };

static const char *read_text(lua_State *L, void *arg, size_t *size)
{
    struct source *source = arg;
    const char *piece = source->text;

    meter_look(L);
    *size = source->len < PIECE_BYTES ? source->len : PIECE_BYTES;
    source->text += *size;
    source->len -= *size;
    return *size ? piece : NULL;
}

static const char *read_function(lua_State *L, void *arg, size_t *size)
{
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, AT_CHUNK);
    lua_call(L, 0, 1);
    *size = 0;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return NULL;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "reader function must return a string");
    lua_replace(L, AT_PIECE); /* the parser reads it until it asks for the next */
    return lua_tolstring(L, AT_PIECE, size);
}

/* load(chunk, name, mode, env): text only, in the version's own globals. Upvalue: the environment. */
static int l_load(lua_State *L)
{
    bool has_env = lua_gettop(L) >= AT_ENV;
    struct source source = {0};
    const char *name;
    int status;

    source.text = lua_tolstring(L, AT_CHUNK, &source.len);
    name = luaL_optstring(L, AT_NAME, source.text ? source.text : "=(load)");
    if (!strchr(luaL_optstring(L, AT_MODE, "bt"), 't')) {
        lua_pushnil(L);
        lua_pushliteral(L, "load: precompiled chunks are not loaded");
        return 2;
    }
    if (!source.text)
        luaL_checktype(L, AT_CHUNK, LUA_TFUNCTION);
    lua_settop(L, AT_PIECE);
    status = source.text ? lua_load(L, read_text, &source, name, "t") : lua_load(L, read_function, NULL, name, "t");
    if (status != LUA_OK) {
        if (script_is_ending(L))
            return script_pass_on(L);
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, has_env ? AT_ENV : lua_upvalueindex(1));
    if (!lua_setupvalue(L, -2, 1))
        lua_pop(L, 1);
    return 1;
}

/* __newindex of _G. */
static int l_undeclared(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);

    return luaL_error(L, "undeclared global '%s': write `local %s`, or keep it in a table (tide.state lives on over reloads)",
                      name, name);
}

static const luaL_Reg own_functions[] = {
    {"print", l_print}, {"collectgarbage", l_collectgarbage}, {"require", l_require}, {NULL, NULL}};

/* ---- copies of libraries ---- */

/* Copy the named fields of a library into the table on top of the stack; names NULL: all of them. */
static void copy_fields(lua_State *L, const char *library, const char *const *names)
{
    int to = lua_gettop(L), from = to + 1;

    vm_push_library(L, library);
    for (; names && *names; names++) {
        lua_getfield(L, from, *names);
        lua_setfield(L, to, *names);
    }
    if (!names) {
        for (lua_pushnil(L); lua_next(L, from);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2); /* library, key, key, value */
            lua_settable(L, to);
        }
    }
    lua_pop(L, 1);
}

/* A library as scripts have it. */
struct library {
    const char *name;
    const char *const *fields;    /* what is there without being asked for; NULL: all of it */
    void (*finish)(lua_State *L); /* replaces functions in the copy on top of the stack */
};

/* What sandbox.allow adds. */
struct opening {
    const char *allow, *library;
    const char *const *fields; /* NULL: all of it */
};

static const char *const base_fields[] = {"assert",   "error",  "getmetatable", "ipairs", "next",   "pairs",
                                          "rawequal", "rawget", "rawlen",       "rawset", "select", "tonumber",
                                          "tostring", "type",   "_VERSION",     NULL};
static const char *const nothing[] = {NULL};
static const char *const os_fields[] = {"clock", "date", "difftime", "time", NULL};
static const char *const debug_fields[] = {"traceback", NULL};

/* Not even on request: os.exit would end the server under its feet, os.setlocale changes how all threads read numbers. */
static const char *const os_opened[] = {"getenv", "remove", "rename", "tmpname", NULL};
static const char *const os_process[] = {"execute", NULL};
static const char *const io_opened[] = {"close",  "flush", "input",  "lines",   "open", "output", "read",
                                        "stderr", "stdin", "stdout", "tmpfile", "type", "write",  NULL};
static const char *const io_process[] = {"popen", NULL};
/* Without the searchers and what is preloaded: those belong to the require that scripts do not have, and to all versions. */
static const char *const package_opened[] = {"config", "cpath", "loadlib", "path", "searchpath", NULL};

static const struct library libraries[] = {
    {"string", NULL, NULL},
    {"table", NULL, NULL},
    {"math", NULL, NULL},
    {"utf8", NULL, NULL},
    {"coroutine", NULL, protect_fill_coroutine},
    {"os", os_fields, NULL},
    {"debug", debug_fields, traceback_fill},
    {"io", nothing, NULL},
    {"package", nothing, NULL},
};

static const struct opening openings[] = {
    {"io", "io", io_opened},
    {"os", "os", os_opened},
    {"process", "io", io_process},
    {"process", "os", os_process},
    {"package", "package", package_opened},
    {"debug", "debug", NULL},
};

/* Push the library as the version that loads has it. */
static void push_library(lua_State *L, const struct library *l)
{
    lua_newtable(L);
    copy_fields(L, l->name, l->fields);
    for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++)
        if (strcmp(openings[i].library, l->name) == 0 && sandbox_allows(script_of(L), openings[i].allow))
            copy_fields(L, l->name, openings[i].fields);
    if (l->finish)
        l->finish(L);
}

static bool is_empty(lua_State *L, int index)
{
    lua_pushnil(L);
    if (!lua_next(L, index))
        return true;
    lua_pop(L, 2);
    return false;
}

static void guard_globals(lua_State *L, int env)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_undeclared);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, env);
}

static void put_load(lua_State *L, int env)
{
    lua_pushvalue(L, env);
    lua_pushcclosure(L, l_load, 1);
    lua_setfield(L, env, "load");
}

/* The library as a global and in package.loaded, unless there is nothing in it. */
static void put_library(lua_State *L, const struct library *l, int loaded, int env)
{
    push_library(L, l); /* loaded, env, library */
    if (strcmp(l->name, "package") == 0) {
        lua_pushvalue(L, loaded);
        lua_setfield(L, -2, "loaded");
    }
    if (!is_empty(L, lua_gettop(L))) {
        lua_pushvalue(L, -1);
        lua_setfield(L, loaded, l->name);
        lua_setfield(L, env, l->name);
    } else {
        lua_pop(L, 1);
    }
}

void sandbox_push_env(lua_State *L)
{
    int loaded = lua_gettop(L) + 1, env = loaded + 1;

    luaL_checkstack(L, 16, "environment");
    lua_newtable(L);
    lua_newtable(L); /* loaded, env */
    copy_fields(L, LUA_GNAME, base_fields);
    protect_fill_base(L);
    luaL_setfuncs(L, own_functions, 0);
    put_load(L, env);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        put_library(L, &libraries[i], loaded, env);
    lua_pushvalue(L, env);
    lua_setfield(L, env, "_G");
    lua_pushvalue(L, env);
    lua_setfield(L, loaded, "_G");
    guard_globals(L, env);
}
