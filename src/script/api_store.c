/* api_store.c - tide.store, the stores that tide.store:open gives, and their methods: the same ones for all.
 *
 * tide.store is a table of its version, as all library tables; a store that was opened is a userdata, whose type lives as long as
 * the VM. What the calls do is in store_call.c, store_update.c and store_scan.c.
 */
#include "script/api_store.h"

#include "script/api_help.h"
#include "script/store_call.h"
#include <lauxlib.h>
#include <math.h>

#define STORE_TYPE "moontide.store"

/* The functions of tide.store have that table as their upvalue. */
static const struct store_handle *check_store(lua_State *L)
{
    const struct store_handle *h = luaL_testudata(L, 1, STORE_TYPE);

    if (!h && lua_istable(L, 1) && lua_rawequal(L, 1, lua_upvalueindex(1)))
        return &store_root;
    return h ? h : luaL_checkudata(L, 1, STORE_TYPE); /* raises */
}

/* The store at 1 and the key at 2 as one key. */
static struct slice check_key(lua_State *L, const struct store_handle *h, struct store_key *out)
{
    return store_full_key(L, h, api_check_name(L, 2, "key", STORE_USER_KEY_MAX), out);
}

/* { ttl = seconds } at `arg` in milliseconds. What is over already still gets one, so that a moment that passed while the script
 * ran is no mistake. */
static uint64_t check_ttl(lua_State *L, int arg, uint64_t otherwise)
{
    static const char *const names[] = {"ttl", NULL};

    if (!api_check_table(L, arg, names))
        return otherwise;
    if (lua_getfield(L, arg, "ttl") == LUA_TNIL)
        return otherwise;
    lua_Number seconds = lua_tonumber(L, -1);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER && !isnan(seconds), arg, "ttl: a number of seconds");
    lua_pop(L, 1);
    return seconds < 0.001 ? 1 : seconds > 1e12 ? STORE_TTL_NONE : (uint64_t)(seconds * 1000);
}

/* ---- methods ---- */

/* store:get(key) -> value | nil */
static int l_store_get(lua_State *L)
{
    const struct store_handle *h = check_store(L);
    struct store_key full;
    struct store_request r = {.op = STORE_GET, .key = check_key(L, h, &full)};

    if (h->durable)
        script_check_acting(L, "store:get");
    store_check_wait(L, h);
    return store_call(L, h, &r);
}

/* store:set(key, value, {ttl=}) -> ok */
static int l_store_set(lua_State *L)
{
    const struct store_handle *h = check_store(L);
    struct store_key full;
    struct store_request r = {.op = STORE_SET, .key = check_key(L, h, &full)};

    luaL_argcheck(L, !lua_isnoneornil(L, 3), 3, "a value expected; store:delete removes a key");
    r.ttl = check_ttl(L, 4, STORE_TTL_NONE);
    r.code = store_read_value(L, 3, "store:set", &r.value);
    script_check_acting(L, "store:set");
    store_check_wait(L, h);
    return r.code != 0 ? store_push_failure(L, h, &r) : store_call(L, h, &r);
}

/* store:delete(key) -> whether it was there */
static int l_store_delete(lua_State *L)
{
    const struct store_handle *h = check_store(L);
    struct store_key full;
    struct store_request r = {.op = STORE_DELETE, .key = check_key(L, h, &full)};

    script_check_acting(L, "store:delete");
    store_check_wait(L, h);
    return store_call(L, h, &r);
}

/* store:incr(key, by=1, {ttl=}) -> the sum | nil, message, name */
static int l_store_incr(lua_State *L)
{
    const struct store_handle *h = check_store(L);
    struct store_key full;
    struct store_request r = {.op = STORE_INCR, .key = check_key(L, h, &full)};

    r.value = (struct store_value){STORE_INTEGER, luaL_optinteger(L, 3, 1), {NULL, 0}};
    r.ttl = check_ttl(L, 4, STORE_TTL_NONE);
    script_check_acting(L, "store:incr");
    store_check_wait(L, h);
    return store_call(L, h, &r);
}

/* store:update(key, fn, {ttl=}) -> what fn(old value) returned and is now stored; nil removes the key. fn may be called again
 * when somebody else wrote the key meanwhile. | nil, message, name */
static int l_store_update(lua_State *L)
{
    const struct store_handle *h = check_store(L);

    api_check_name(L, 2, "key", STORE_USER_KEY_MAX);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    uint64_t ttl = check_ttl(L, 4, STORE_TTL_KEEP);
    script_check_acting(L, "store:update");
    store_check_wait(L, h);
    return store_update(L, ttl);
}

static size_t check_limit(lua_State *L, int arg)
{
    static const char *const names[] = {"limit", NULL};

    if (!api_check_table(L, arg, names) || lua_getfield(L, arg, "limit") == LUA_TNIL)
        return SIZE_MAX;
    luaL_argcheck(L, lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0, arg, "limit: a whole number from 0");
    return (size_t)lua_tointeger(L, -1);
}

/* store:scan(prefix, {limit=}) -> iterator of key, value, sorted by key */
static int l_store_scan(lua_State *L)
{
    const struct store_handle *h = check_store(L);
    struct slice prefix = lua_isnoneornil(L, 2) ? SLICE("") : api_check_string(L, 2);
    size_t limit = check_limit(L, 3);

    luaL_argcheck(L, prefix.len <= STORE_USER_KEY_MAX, 2, "prefix: at most 1024 bytes");
    if (h->durable)
        script_check_acting(L, "store:scan");
    store_check_wait(L, h);
    return store_scan(L, h, prefix, limit);
}

/* Stores of one name in one place are equal. */
static int l_store_eq(lua_State *L)
{
    const struct store_handle *a = luaL_testudata(L, 1, STORE_TYPE), *b = luaL_testudata(L, 2, STORE_TYPE);

    lua_pushboolean(L, a && b && a->durable == b->durable && a->len == b->len && memcmp(a->prefix, b->prefix, a->len) == 0);
    return 1;
}

static int l_store_tostring(lua_State *L)
{
    lua_pushfstring(L, "store: %s", check_store(L)->prefix + 1);
    return 1;
}

/* ---- tide.store ---- */

static bool check_memory(lua_State *L, int arg)
{
    static const char *const names[] = {"memory", NULL};

    if (!api_check_table(L, arg, names) || lua_getfield(L, arg, "memory") == LUA_TNIL)
        return false;
    luaL_argcheck(L, lua_isboolean(L, -1), arg, "memory: true or false");
    return lua_toboolean(L, -1);
}

/* tide.store:open(name, {memory=}) -> store */
static int l_store_open(lua_State *L)
{
    luaL_argexpected(L, lua_rawequal(L, 1, lua_upvalueindex(1)), 1, "tide.store");
    struct slice name = api_check_name(L, 2, "store name", STORE_NAME_MAX);
    luaL_argcheck(L, memchr(name.data, '\0', name.len) == NULL, 2, "store name: no zero bytes");
    bool durable = !check_memory(L, 3);
    struct store_handle *h = lua_newuserdatauv(L, sizeof(*h), 0);

    *h = (struct store_handle){.durable = durable, .len = name.len + 2};
    memcpy(h->prefix + 1, name.data, name.len);
    luaL_setmetatable(L, STORE_TYPE);
    return 1;
}

static const luaL_Reg store_methods[] = {
    {"get", l_store_get},   {"set", l_store_set}, {"delete", l_store_delete}, {"incr", l_store_incr}, {"update", l_store_update},
    {"scan", l_store_scan}, {NULL, NULL}};

void api_store_open(lua_State *L)
{
    luaL_newmetatable(L, STORE_TYPE);
    luaL_newlib(L, store_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_store_eq);
    lua_setfield(L, -2, "__eq");
    lua_pushcfunction(L, l_store_tostring);
    lua_setfield(L, -2, "__tostring");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_store_fill(lua_State *L)
{
    static const luaL_Reg open[] = {{"open", l_store_open}, {NULL, NULL}};

    lua_newtable(L);
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, open, 1);
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, store_methods, 1);
    lua_setfield(L, -2, "store");
}
