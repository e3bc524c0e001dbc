/* copy.c - see copy.h. A queue and no recursion: the depth of a script's tables has no bound. */
#include "script/copy.h"

#include "base/clock.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { LOOK_EVERY = 256 }; /* fields between two looks at the clock */

struct copy {
    int seen;           /* index of a table: original -> copy */
    int queue;          /* index of a list: originals whose fields are to be copied */
    lua_Integer queued; /* length of the list */
    uint64_t until;     /* clock_us */
    double seconds;     /* for the message */
    unsigned fields;    /* so far */
};

static void look_at_clock(lua_State *L, struct copy *c)
{
    if (++c->fields % LOOK_EVERY == 0 && clock_us() > c->until)
        luaL_error(L, "reload.pause: more than %f s to copy tide.state", c->seconds);
}

static bool is_shared(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE)
        return true;
    if (luaL_getmetafield(L, index, "__gc") == LUA_TNIL)
        return false;
    lua_pop(L, 1);
    return true;
}

/* Pushes what stands in a copy for the value at `index`, which is absolute. */
static void push_copied(lua_State *L, struct copy *c, int index)
{
    lua_pushvalue(L, index);
    if (is_shared(L, index))
        return;
    if (lua_rawget(L, c->seen) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 0);
    if (lua_getmetatable(L, index))
        lua_setmetatable(L, -2);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, c->seen);
    lua_pushvalue(L, index);
    lua_rawseti(L, c->queue, ++c->queued);
}

static void copy_fields(lua_State *L, struct copy *c, int from, int to)
{
    for (lua_pushnil(L); lua_next(L, from);) {
        int value = lua_gettop(L), key = value - 1;

        push_copied(L, c, key);
        push_copied(L, c, value);
        lua_rawset(L, to);
        lua_settop(L, key);
        look_at_clock(L, c);
    }
}

void copy_push_deep(lua_State *L, int index, int keep, double seconds)
{
    int copied = lua_gettop(L) + 1;
    struct copy c = {copied + 1, copied + 2, 0, clock_us() + (uint64_t)(seconds * 1e6), seconds, 0};

    luaL_checkstack(L, 16, "copy");
    lua_pushnil(L);
    lua_newtable(L);
    lua_newtable(L); /* copied, seen, queue */
    lua_pushvalue(L, keep);
    lua_pushvalue(L, keep);
    lua_rawset(L, c.seen);
    push_copied(L, &c, index);
    lua_replace(L, copied);
    for (lua_Integer at = 1; at <= c.queued; at++) {
        lua_rawgeti(L, c.queue, at);
        push_copied(L, &c, lua_gettop(L)); /* original, its copy */
        copy_fields(L, &c, c.queue + 1, c.queue + 2);
        lua_settop(L, c.queue);
    }
    lua_settop(L, copied);
}
