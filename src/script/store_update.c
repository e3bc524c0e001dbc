/* store_update.c - store:update reads, lets the function make the new value, and writes if nobody else has written meanwhile.
 *
 * Each of the three steps may wait. What one leaves for the next is on the stack:
 *     1 store  2 key  3 function  4 options  5 ttl  6 the errand of the read, or nil  7 kind of the old value  8 its bytes or
 *     integer  9 the new value  10 the errand of the write
 */
#include "script/store_call.h"

#include <lauxlib.h>

enum {
    UPDATE_TRIES = 1000, /* of one update, while others keep writing the same key; one of them gets through each time */
    AT_TTL = 5,
    AT_READ,
    AT_KIND,
    AT_OLD,
    AT_NEW,
    AT_WRITE,
    TRY_AGAIN = -1, /* instead of a number of results */
};

static int try_often(lua_State *L, int tries);

/* A step has ended after a wait. */
static int go_on(lua_State *L, int tries, int results)
{
    return results == TRY_AGAIN ? try_often(L, tries + 1) : results;
}

static struct slice key_of(lua_State *L, struct store_key *full)
{
    struct slice key;

    key.data = lua_tolstring(L, 2, &key.len);
    return store_full_key(L, store_handle_at(L, 1), key, full);
}

/* ---- write ---- */

static struct store_value old_value(lua_State *L)
{
    struct store_value old = {(enum store_kind)lua_tointeger(L, AT_KIND), 0, {NULL, 0}};

    if (old.kind == STORE_INTEGER)
        old.integer = lua_tointeger(L, AT_OLD);
    else if (old.kind != STORE_NOTHING)
        old.data.data = lua_tolstring(L, AT_OLD, &old.data.len);
    return old;
}

static int end_try(lua_State *L, const struct store_request *r, int tries)
{
    bool overtaken = r->code == MT_EBUSY && !r->why[0]; /* else it is the store that is busy */

    if (overtaken && tries + 1 < UPDATE_TRIES)
        return TRY_AGAIN;
    if (r->code != 0)
        return store_push_failure(L, store_handle_at(L, 1), r);
    lua_pushvalue(L, AT_NEW);
    return 1;
}

static int finish_write(lua_State *L, struct errand *errand, int code)
{
    struct store_errand *e = (struct store_errand *)errand;
    int tries = e->tries, results = end_try(L, &e->request, tries);

    if (results == TRY_AGAIN)
        lua_closeslot(L, AT_WRITE); /* frees it */
    return go_on(L, tries, results);
}

static int write_new(lua_State *L, int tries)
{
    static const struct errand_ops ops = {finish_write, NULL, store_errand_destroy};
    const struct store_handle *h = store_handle_at(L, 1);
    struct store_key full;
    struct store_request r = {.op = STORE_REPLACE, .key = key_of(L, &full), .ttl = (uint64_t)lua_tointeger(L, AT_TTL)};

    r.expected = old_value(L);
    if (!lua_isnil(L, AT_NEW))
        r.code = store_read_value(L, AT_NEW, "store:update", &r.value);
    if (r.code == 0 && !store_call_now(L, h, &r)) {
        struct store_errand *e = store_errand_push(L, &r, &ops);
        e->tries = tries;
        return store_errand_wait(L, e);
    }
    return end_try(L, &r, tries);
}

/* ---- make the new value ---- */

static int on_made(lua_State *L, int status, lua_KContext tries)
{
    return go_on(L, (int)tries, write_new(L, (int)tries));
}

/* The errand of the read, or nil, is on top. */
static int make_new(lua_State *L, int tries, const struct store_value *old)
{
    bool waited = !lua_isnil(L, AT_READ);

    lua_pushinteger(L, old->kind);
    if (old->kind == STORE_INTEGER)
        lua_pushinteger(L, old->integer);
    else if (old->kind == STORE_NOTHING)
        lua_pushnil(L);
    else
        lua_pushlstring(L, old->data.data, old->data.len);
    lua_pushvalue(L, 3);
    int results = store_push_value(L, old);
    if (results != 1)
        return results;
    if (waited)
        lua_closeslot(L, AT_READ);
    lua_callk(L, 1, 1, tries, on_made);
    return write_new(L, tries);
}

/* ---- read ---- */

static int finish_read(lua_State *L, struct errand *errand, int code)
{
    struct store_errand *e = (struct store_errand *)errand;
    int tries = e->tries;

    if (e->request.code != 0)
        return store_push_failure(L, store_handle_at(L, 1), &e->request);
    return go_on(L, tries, make_new(L, tries, &e->request.answer));
}

static int read_old(lua_State *L, int tries)
{
    static const struct errand_ops ops = {finish_read, NULL, store_errand_destroy};
    struct store_key full;
    struct store_request r = {.op = STORE_GET, .key = key_of(L, &full)};

    if (!store_call_now(L, store_handle_at(L, 1), &r)) {
        struct store_errand *e = store_errand_push(L, &r, &ops);
        e->tries = tries;
        return store_errand_wait(L, e);
    }
    if (r.code != 0)
        return store_push_failure(L, store_handle_at(L, 1), &r);
    lua_pushnil(L); /* no errand */
    return make_new(L, tries, &r.answer);
}

static int try_often(lua_State *L, int tries)
{
    int results;

    do {
        lua_settop(L, AT_TTL);
        results = read_old(L, tries++);
    } while (results == TRY_AGAIN);
    return results;
}

int store_update(lua_State *L, uint64_t ttl)
{
    lua_settop(L, AT_TTL - 1);
    lua_pushinteger(L, (lua_Integer)ttl);
    return try_often(L, 0);
}
