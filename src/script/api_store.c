/* api_store.c - tide.store:open(name, { memory = true }) and the stores that it gives.
 *
 * All workers of a server share one memory store, which outlives reloads. A store that a script holds is its name only: keys go
 * in as name, zero byte, key. Strings are kept as they are, whatever bytes they have; integers as integers, so that incr works;
 * all else as JSON text. Each get gives a copy.
 */
#include "script/api_store.h"

#include "base/err.h"
#include "script/api_help.h"
#include "script/json.h"
#include "store/memory.h"
#include <lauxlib.h>
#include <math.h>

#define STORE_TYPE "moontide.store"
#define NOT_YET "tide.store.%s: only tide.store:open(name, { memory = true }) is there in this version"

enum {
    NAME_MAX_BYTES = 64,
    KEY_MAX_BYTES = 1024,
    VALUE_MAX_BYTES = 1 << 20,
    UPDATE_TRIES = 1000, /* of one update, while other workers keep writing the same key; one of them gets through each time */
};

struct store {
    size_t len;                      /* of prefix */
    char prefix[NAME_MAX_BYTES + 1]; /* name and a zero byte */
};

/* A key with its store's prefix, on the C stack. */
struct full_key {
    char bytes[NAME_MAX_BYTES + 1 + KEY_MAX_BYTES];
    size_t len;
};

static const struct store *check_store(lua_State *L, int arg)
{
    return luaL_checkudata(L, arg, STORE_TYPE);
}

static struct slice make_key(const struct store *store, struct slice key, struct full_key *out)
{
    memcpy(out->bytes, store->prefix, store->len);
    memcpy(out->bytes + store->len, key.data, key.len);
    out->len = store->len + key.len;
    return (struct slice){out->bytes, out->len};
}

/* The store at 1 and the key at 2 as one key. */
static struct slice check_key(lua_State *L, struct full_key *out)
{
    const struct store *store = check_store(L, 1);

    return make_key(store, api_check_name(L, 2, "key", KEY_MAX_BYTES), out);
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
    return seconds < 0.001 ? 1 : seconds > 1e12 ? MEMORY_TTL_NONE : (uint64_t)(seconds * 1000);
}

/* ---- values ---- */

/* The value at `index` for the store; its bytes are Lua's or in the script's scratch buffer. 0 or MT_ETOO_LARGE. Raises for what
 * cannot be kept. */
static int read_value(lua_State *L, int index, const char *function, struct memory_value *out)
{
    struct buf *scratch = &script_of(L)->scratch;
    const char *why;

    *out = (struct memory_value){MEMORY_BYTES, 0, {NULL, 0}, 0};
    if (lua_type(L, index) == LUA_TSTRING) {
        out->data.data = lua_tolstring(L, index, &out->data.len);
    } else if (lua_isinteger(L, index)) {
        out->kind = MEMORY_INTEGER;
        out->integer = lua_tointeger(L, index);
    } else {
        out->kind = MEMORY_JSON;
        scratch->len = 0;
        int err = json_encode_as(L, index, "value", scratch, &why);
        if (err == MT_ETOO_LARGE)
            return err;
        if (err != 0)
            luaL_error(L, "%s: %s", function, why);
        out->data = buf_slice(scratch);
    }
    return out->data.len <= VALUE_MAX_BYTES ? 0 : MT_ETOO_LARGE;
}

/* Pushes the value of a key and returns 1, with nil for one that is not there; or a failure and 3. *version as
 * memory_store_replace wants it. */
static int push_stored(lua_State *L, struct slice key, uint64_t *version)
{
    struct buf *scratch = &script_of(L)->scratch;
    struct memory_value value;
    const char *why;

    *version = 0;
    scratch->len = 0;
    int err = memory_store_get(script_of(L)->memory, key, &value, scratch);
    if (err == MT_ENOT_FOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (err != 0)
        return script_push_result(L, err);
    *version = value.version;
    if (value.kind == MEMORY_INTEGER)
        lua_pushinteger(L, value.integer);
    else if (value.kind == MEMORY_BYTES)
        lua_pushlstring(L, value.data.data, value.data.len);
    else if (json_decode(L, value.data.data, value.data.len, &why) != 0)
        return luaL_error(L, "store: %s", why); /* cannot be: the store holds what json_encode wrote */
    return 1;
}

static int push_write_result(lua_State *L, int err)
{
    if (err == MT_EFULL)
        return script_push_failure(L, "the stores in memory are full", err_name(err));
    if (err == MT_ETOO_LARGE)
        return script_push_failure(L, "a value of more than 1 MiB", err_name(err));
    return script_push_result(L, err);
}

/* ---- methods ---- */

/* store:get(key) -> value | nil */
static int l_store_get(lua_State *L)
{
    struct full_key full;
    uint64_t version;

    return push_stored(L, check_key(L, &full), &version);
}

/* store:set(key, value, {ttl=}) -> ok */
static int l_store_set(lua_State *L)
{
    struct full_key full;
    struct memory_value value;
    struct slice key = check_key(L, &full);

    script_check_acting(L, "store:set");
    luaL_argcheck(L, !lua_isnoneornil(L, 3), 3, "a value expected; store:delete removes a key");
    uint64_t ttl = check_ttl(L, 4, MEMORY_TTL_NONE);
    int err = read_value(L, 3, "store:set", &value);
    return push_write_result(L, err != 0 ? err : memory_store_set(script_of(L)->memory, key, &value, ttl));
}

/* store:delete(key) -> whether it was there */
static int l_store_delete(lua_State *L)
{
    struct full_key full;
    struct slice key = check_key(L, &full);

    script_check_acting(L, "store:delete");
    lua_pushboolean(L, memory_store_delete(script_of(L)->memory, key));
    return 1;
}

/* store:incr(key, by=1, {ttl=}) -> the sum | nil, message, name */
static int l_store_incr(lua_State *L)
{
    struct full_key full;
    struct slice key = check_key(L, &full);
    lua_Integer by = luaL_optinteger(L, 3, 1);
    uint64_t ttl = check_ttl(L, 4, MEMORY_TTL_NONE);
    int64_t sum;

    script_check_acting(L, "store:incr");
    int err = memory_store_incr(script_of(L)->memory, key, by, ttl, &sum);
    if (err == MT_EINVALID)
        return script_push_failure(L, "not an integer, or the sum would not be one", err_name(err));
    if (err != 0)
        return push_write_result(L, err);
    lua_pushinteger(L, sum);
    return 1;
}

/* One try of an update: 0 with the new value on top, MT_EBUSY when the key has changed meanwhile, or another code. */
static int try_update(lua_State *L, struct slice key, uint64_t ttl)
{
    struct memory_value value;
    uint64_t version;

    lua_settop(L, 4);
    lua_pushvalue(L, 3);
    if (push_stored(L, key, &version) != 1)
        return MT_ENOMEM;
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1))
        return memory_store_remove(script_of(L)->memory, key, version);
    int err = read_value(L, lua_gettop(L), "store:update", &value);
    return err != 0 ? err : memory_store_replace(script_of(L)->memory, key, &value, ttl, version);
}

/* store:update(key, fn, {ttl=}) -> what fn(old value) returned and is now stored; nil removes the key. fn may be called again
 * when somebody else wrote the key meanwhile. | nil, message, name */
static int l_store_update(lua_State *L)
{
    struct full_key full;
    struct slice key = check_key(L, &full);
    int err = MT_EBUSY;

    luaL_checktype(L, 3, LUA_TFUNCTION);
    uint64_t ttl = check_ttl(L, 4, MEMORY_TTL_KEEP);
    script_check_acting(L, "store:update");
    for (int i = 0; i < UPDATE_TRIES && err == MT_EBUSY; i++)
        err = try_update(L, key, ttl);
    return err == 0 ? 1 : push_write_result(L, err);
}

/* ---- scan ---- */

/* The keys that were there when scan was called; one userdata, so that Lua frees it whenever the loop ends. */
struct scan {
    size_t at, len; /* place and number of bytes in keys */
    char keys[];    /* uint32_t length and the full key, repeatedly */
};

/* The iterator. Upvalues: the store, its struct scan. Keys that are gone by now are left out. */
static int l_scan_next(lua_State *L)
{
    const struct store *store = lua_touserdata(L, lua_upvalueindex(1));
    struct scan *scan = lua_touserdata(L, lua_upvalueindex(2));
    uint64_t version;
    uint32_t len;

    while (scan->at < scan->len) {
        memcpy(&len, scan->keys + scan->at, sizeof(len));
        struct slice key = {scan->keys + scan->at + sizeof(len), len};
        scan->at += sizeof(len) + len;
        lua_settop(L, 0);
        lua_pushlstring(L, key.data + store->len, key.len - store->len);
        if (push_stored(L, key, &version) != 1)
            return luaL_error(L, "store:scan: out of memory");
        if (!lua_isnil(L, 2))
            return 2;
    }
    lua_pushnil(L);
    return 1;
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
    const struct store *store = check_store(L, 1);
    struct slice prefix = lua_isnoneornil(L, 2) ? SLICE("") : api_check_string(L, 2);
    size_t limit = check_limit(L, 3), count;
    struct buf *scratch = &script_of(L)->scratch;
    struct full_key full;

    luaL_argcheck(L, prefix.len <= KEY_MAX_BYTES, 2, "prefix: at most 1024 bytes");
    scratch->len = 0;
    int err = memory_store_scan(script_of(L)->memory, make_key(store, prefix, &full), limit, scratch, &count);
    if (err != 0)
        return luaL_error(L, "store:scan: %s", err_text(err));
    lua_pushvalue(L, 1);
    struct scan *scan = lua_newuserdatauv(L, sizeof(*scan) + scratch->len, 0);
    scan->at = 0;
    scan->len = scratch->len;
    if (scan->len > 0)
        memcpy(scan->keys, scratch->data, scan->len);
    lua_pushcclosure(L, l_scan_next, 2);
    return 1;
}

/* Stores of one name are equal. */
static int l_store_eq(lua_State *L)
{
    const struct store *a = luaL_testudata(L, 1, STORE_TYPE), *b = luaL_testudata(L, 2, STORE_TYPE);

    lua_pushboolean(L, a != NULL && b != NULL && a->len == b->len && memcmp(a->prefix, b->prefix, a->len) == 0);
    return 1;
}

static int l_store_tostring(lua_State *L)
{
    lua_pushfstring(L, "store: %s", check_store(L, 1)->prefix);
    return 1;
}

/* ---- tide.store ---- */

/* tide.store:open(name, {memory = true}) -> store */
static int l_store_open(lua_State *L)
{
    static const char *const names[] = {"memory", NULL};

    luaL_checktype(L, 1, LUA_TTABLE);
    struct slice name = api_check_name(L, 2, "store name", NAME_MAX_BYTES);
    luaL_argcheck(L, memchr(name.data, '\0', name.len) == NULL, 2, "store name: no zero bytes");
    if (api_check_table(L, 3, names))
        lua_getfield(L, 3, "memory");
    else
        lua_pushnil(L);
    if (!lua_isboolean(L, -1) || !lua_toboolean(L, -1))
        return luaL_error(L, NOT_YET, "open");
    struct store *store = lua_newuserdatauv(L, sizeof(*store), 0);
    store->len = name.len + 1;
    memcpy(store->prefix, name.data, name.len);
    store->prefix[name.len] = '\0';
    luaL_setmetatable(L, STORE_TYPE);
    return 1;
}

/* The durable store's functions; the upvalue is the name. */
static int l_store_not_yet(lua_State *L)
{
    return luaL_error(L, NOT_YET, lua_tostring(L, lua_upvalueindex(1)));
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
    lua_newtable(L);
    lua_pushcfunction(L, l_store_open);
    lua_setfield(L, -2, "open");
    for (const luaL_Reg *f = store_methods; f->name != NULL; f++) {
        lua_pushstring(L, f->name);
        lua_pushcclosure(L, l_store_not_yet, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_setfield(L, -2, "store");
}
