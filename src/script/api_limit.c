/* api_limit.c - tide.limit and what it gives.
 *
 * An object is a reference to a limit of the hub (hub/limits.h) and the rate that it takes with. So a version that is staged, or
 * goes again, changes nothing for the one that is live, and a probe, which has a hub of its own, touches no bucket at all.
 */
#include "script/api_limit.h"

#include "base/seldom.h"
#include "hub/limits.h"
#include "script/api_help.h"

#include <lauxlib.h>
#include <math.h>

#define LIMIT_TYPE "moontide.limit"

enum { RATE_MAX = 1000 * 1000 * 1000 }; /* of rates and bursts */

struct handle {
    struct limit *limit; /* a reference; NULL where there was no room for it */
    struct rate rate;
    uint64_t forgotten; /* of its buckets, as the log knows it */
    struct seldom told;
};

static struct handle *check_handle(lua_State *L)
{
    return luaL_checkudata(L, 1, LIMIT_TYPE);
}

/* ---- taking ---- */

/* Texts and numbers: what a user or an address is called, or the id of something in a database. */
static struct slice check_key(lua_State *L)
{
    struct slice key;

    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER)
        luaL_argerror(L, 2, lua_pushfstring(L, "key: string or number expected, got %s", luaL_typename(L, 2)));
    key.data = lua_tolstring(L, 2, &key.len);
    return key;
}

static lua_Number check_count(lua_State *L)
{
    lua_Number n = luaL_optnumber(L, 3, 1);

    luaL_argcheck(L, isfinite(n) && n >= 0, 3, "n: a number from 0 on expected");
    return n;
}

static void tell_forgotten(const struct script *s, struct handle *h, uint64_t forgotten)
{
    struct slice name = limit_name(h->limit);

    if (!seldom_count(&h->told, loop_now(s->loop)))
        return;
    log_warn(s->log, NULL, "tide.limit \"%.*s\": too many keys at once, %llu buckets were forgotten before they were full",
             (int)name.len, name.data, (unsigned long long)(forgotten - h->forgotten));
    h->forgotten = forgotten;
}

static int push_wait(lua_State *L, uint64_t wait)
{
    lua_pushboolean(L, 0);
    if (wait == LIMIT_NEVER)
        lua_pushnumber(L, HUGE_VAL);
    else
        lua_pushnumber(L, (lua_Number)((wait + 999) / 1000) / 1000); /* up to what a timer can wait */
    return 2;
}

/* limit:take(key, n=1) -> true | false, seconds */
static int l_limit_take(lua_State *L)
{
    struct handle *h = check_handle(L);
    struct slice key = check_key(L);
    lua_Number n = check_count(L);
    const struct script *s = script_of(L);

    script_check_acting(L, "limit:take");
    uint64_t wait = n > 0 ? limit_take(h->limit, &h->rate, key, loop_now(s->loop) * 1000, n) : 0;
    uint64_t forgotten = limit_forgotten(h->limit);
    if (forgotten != h->forgotten)
        tell_forgotten(s, h, forgotten);
    if (wait)
        return push_wait(L, wait);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_limit_gc(lua_State *L)
{
    struct handle *h = check_handle(L);

    if (h->limit)
        limit_close(h->limit);
    h->limit = NULL;
    return 0;
}

static int l_limit_tostring(lua_State *L)
{
    const struct handle *h = check_handle(L);
    struct slice name = limit_name(h->limit);

    lua_pushfstring(L, "limit %s: %f a second, bursts of %f", lua_pushlstring(L, name.data, name.len), h->rate.per_second,
                    h->rate.burst);
    return 1;
}

/* ---- making ---- */

static struct rate check_rate(lua_State *L)
{
    struct rate r = {.per_second = luaL_checknumber(L, 2)};

    luaL_argcheck(L, r.per_second > 0 && r.per_second <= RATE_MAX, 2, "rate: a number above 0, and up to 1e9, expected");
    r.burst = luaL_optnumber(L, 3, r.per_second > 1 ? r.per_second : 1);
    luaL_argcheck(L, r.burst >= 1 && r.burst <= RATE_MAX, 3, "burst: a number from 1 to 1e9 expected");
    return r;
}

/* tide.limit(name, rate, burst=rate) -> limit */
static int l_limit(lua_State *L)
{
    struct slice name = api_check_name(L, 1, "name", HUB_NAME_MAX);
    struct rate rate = check_rate(L);
    struct handle *h = lua_newuserdatauv(L, sizeof(*h), 0);

    *h = (struct handle){.rate = rate};
    luaL_setmetatable(L, LIMIT_TYPE);
    int rc = limit_open(hub_limits(script_hub(L)), name, &h->limit);
    if (rc == MT_EFULL)
        return luaL_error(L, "tide.limit: there are %d of them already; one has room for many keys", LIMITS_MAX);
    if (rc)
        return luaL_error(L, "not enough memory");
    h->forgotten = limit_forgotten(h->limit);
    return 1;
}

static const luaL_Reg limit_methods[] = {{"take", l_limit_take}, {NULL, NULL}};
static const luaL_Reg limit_meta[] = {{"__gc", l_limit_gc}, {"__tostring", l_limit_tostring}, {NULL, NULL}};

void api_limit_open(lua_State *L)
{
    luaL_newmetatable(L, LIMIT_TYPE);
    luaL_setfuncs(L, limit_meta, 0);
    luaL_newlib(L, limit_methods);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_limit_fill(lua_State *L)
{
    lua_pushcfunction(L, l_limit);
    lua_setfield(L, -2, "limit");
}
