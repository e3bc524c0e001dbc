/* config_file.c - moontide.conf.lua: a chunk that returns a table, run in a VM of its own with nothing in its environment.
 *
 * Without functions there is nothing that such a chunk could do but build tables; loops are ended by a count hook, which is fine
 * here: nothing is fast about configuration. This VM is not a worker's, so the gate has no part in it.
 */
#include "script/number.h"
#include "script/script.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MEMORY_MAX = 64 << 20, CONFIG_MS_MAX = 1000, CONFIG_HOOK_COUNT = 10000, CONFIG_DEPTH_MAX = 16 };

struct reader {
    int (*set)(void *arg, const char *key, const char *value, char **error);
    void *arg;
    char **error;
    const char *path;
    struct buf key;    /* of the value that is looked at */
    size_t used;       /* bytes of the VM */
    uint64_t deadline; /* clock_ms */
    int rc;            /* of set, when it refused */
};

static void *config_alloc(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    struct reader *r = arg;
    size_t old = ptr ? old_size : 0;
    void *block = NULL;

    if (new_size == 0)
        mem_free(ptr);
    else if (new_size <= old || r->used + (new_size - old) <= CONFIG_MEMORY_MAX)
        block = mem_resize(ptr, new_size);
    if (new_size == 0 || block)
        r->used += new_size - old;
    else if (new_size <= old)
        block = ptr; /* Lua relies on shrinking */
    return block;
}

static struct reader *reader_of(lua_State *L)
{
    return *(struct reader **)lua_getextraspace(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    if (clock_ms() > reader_of(L)->deadline)
        luaL_error(L, "the configuration runs longer than 1 s");
}

/* ---- walking over the table; the key so far is r->key ---- */

static void walk(lua_State *L, struct reader *r, int depth);

static void check_memory(lua_State *L, int rc)
{
    if (rc != 0)
        luaL_error(L, "not enough memory");
}

static void give(lua_State *L, struct reader *r, const char *value)
{
    r->rc = r->set(r->arg, (const char *)r->key.data, value, r->error);
    if (r->rc != 0)
        luaL_error(L, "refused"); /* *r->error says why */
}

static void give_number(lua_State *L, struct reader *r)
{
    char text[NUMBER_TEXT_MAX];
    lua_Number x = lua_tonumber(L, -1);

    if (lua_isinteger(L, -1))
        snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(L, -1));
    else if (x == floor(x) && fabs(x) < 1e15)
        snprintf(text, sizeof(text), "%.0f", x);
    else if (isfinite(x))
        number_print(x, text);
    else
        luaL_error(L, "%s: a finite number expected", r->key.data);
    give(L, r, text);
}

/* The value on top of the stack, under the key so far. */
static void give_value(lua_State *L, struct reader *r, int depth)
{
    check_memory(L, buf_add_byte(&r->key, '\0')); /* behind it, not of it */
    r->key.len--;
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        walk(L, r, depth + 1);
        break;
    case LUA_TSTRING:
        if (strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
            luaL_error(L, "%s: a zero byte in a text", r->key.data);
        give(L, r, lua_tostring(L, -1));
        break;
    case LUA_TBOOLEAN:
        give(L, r, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        give_number(L, r);
        break;
    default:
        luaL_error(L, "%s: string, number, boolean or table expected, got %s", r->key.data, luaL_typename(L, -1));
    }
}

static void walk_list(lua_State *L, struct reader *r, int depth)
{
    size_t len = r->key.len;
    lua_Integer n = luaL_len(L, -1);

    for (lua_Integer i = 1; i <= n; i++) {
        check_memory(L, buf_addf(&r->key, "[%lld]", (long long)i));
        lua_geti(L, -1, i);
        give_value(L, r, depth);
        lua_pop(L, 1);
        r->key.len = len;
    }
}

/* The table on top of the stack: list items first, in their order, then fields. */
static void walk(lua_State *L, struct reader *r, int depth)
{
    size_t len = r->key.len;

    if (depth > CONFIG_DEPTH_MAX)
        luaL_error(L, "tables are nested too deep");
    luaL_checkstack(L, 8, "configuration");
    walk_list(L, r, depth);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_isinteger(L, -2))
            continue;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "keys are names, got a %s", luaL_typename(L, -2));
        check_memory(L, len ? buf_add_byte(&r->key, '.') : 0);
        check_memory(L, buf_add(&r->key, lua_tostring(L, -2), lua_rawlen(L, -2)));
        give_value(L, r, depth);
        r->key.len = len;
    }
}

/* ---- reading ---- */

static int read_file(lua_State *L)
{
    struct reader *r = lua_touserdata(L, 1);

    if (luaL_loadfilex(L, r->path, "t") != LUA_OK)
        return lua_error(L);
    lua_newtable(L);
    lua_setupvalue(L, -2, 1); /* nothing in its environment */
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "the file returned %s: a table expected", lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    walk(L, r, 0);
    return 0;
}

static int run(lua_State *L, struct reader *r)
{
    const char *text;

    *(struct reader **)lua_getextraspace(L) = r;
    lua_sethook(L, on_count, LUA_MASKCOUNT, CONFIG_HOOK_COUNT);
    lua_pushcfunction(L, read_file);
    lua_pushlightuserdata(L, r);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return 0;
    if (r->rc != 0)
        return r->rc;
    text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "the error cannot be shown";
    *r->error = mem_strdup(text, strlen(text));
    return MT_ESCRIPT;
}

int script_read_config(const char *path, int (*set)(void *arg, const char *key, const char *value, char **error), void *arg,
                       char **error)
{
    struct reader r = {.set = set, .arg = arg, .error = error, .path = path, .deadline = clock_ms() + CONFIG_MS_MAX};
    lua_State *L = lua_newstate(config_alloc, &r);
    int rc;

    *error = NULL;
    if (!L)
        return MT_ENOMEM;
    rc = run(L, &r);
    lua_close(L);
    buf_fini(&r.key);
    return rc;
}
