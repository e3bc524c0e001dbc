/* api_log.c - tide.log.debug, info, warn, error (message, fields) */
#include "script/api_log.h"

#include "script/api_help.h"
#include "script/json.h"
#include <lauxlib.h>
#include <stdlib.h>

enum { FIELDS_MAX = 32 }; /* more than that of one line are left out */

/* Pushes the value at `index` as text, which lives as long as it stays on the stack. Strings are themselves, all else JSON, and
 * what JSON cannot hold as tostring has it. */
static struct slice push_value(lua_State *L, int index, bool *json)
{
    struct script *s = script_of(L);
    struct slice text;
    const char *why;

    *json = false;
    if (lua_type(L, index) != LUA_TSTRING) {
        s->scratch.len = 0;
        *json = json_encode_for_log(L, index, &s->scratch, &why) == 0;
    }
    if (*json)
        api_push_scratch(L);
    else
        luaL_tolstring(L, index, NULL);
    text.data = lua_tolstring(L, -1, &text.len);
    return text;
}

static int compare_fields(const void *a, const void *b)
{
    const struct log_field *x = a, *y = b;
    size_t len = x->key.len < y->key.len ? x->key.len : y->key.len;
    int order = memcmp(x->key.data, y->key.data, len);

    return order != 0 ? order : (x->key.len > y->key.len) - (x->key.len < y->key.len);
}

/* The fields of the table at `index`, sorted by name, because a table has no order. Their texts stay on the stack. */
static size_t push_fields(lua_State *L, int index, struct log_field *fields)
{
    size_t count = 0;

    luaL_checkstack(L, 2 * FIELDS_MAX + 8, "log");
    lua_pushnil(L);
    while (count < FIELDS_MAX && lua_next(L, index)) {
        struct log_field *f = &fields[count++]; /* ..., key, value */
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_argerror(L, index, "fields have names");
        f->key.data = lua_tolstring(L, -2, &f->key.len);
        f->value = push_value(L, lua_gettop(L), &f->json);
        lua_replace(L, -2);   /* ..., key, text */
        lua_pushvalue(L, -2); /* ..., key, text, key */
    }
    qsort(fields, count, sizeof(*fields), compare_fields);
    return count;
}

/* log.LEVEL(message, fields); the level is the upvalue. */
static int l_log(lua_State *L)
{
    struct script *s = script_of(L);
    enum log_level level = (enum log_level)lua_tointeger(L, lua_upvalueindex(1));
    struct log_field fields[FIELDS_MAX];
    struct slice message;
    size_t count = 0;

    luaL_checkany(L, 1);
    lua_settop(L, 2);
    if (!lua_isnil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    if (!log_wants(s->log, level))
        return 0;
    if (!lua_isnil(L, 2))
        count = push_fields(L, 2, fields);
    message.data = luaL_tolstring(L, 1, &message.len);
    script_say(s, level, message, fields, count);
    return 0;
}

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {{"debug", LOG_LEVEL_DEBUG}, {"info", LOG_LEVEL_INFO}, {"warn", LOG_LEVEL_WARN}, {"error", LOG_LEVEL_ERROR}};

void api_log_fill(lua_State *L)
{
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
        lua_pushinteger(L, levels[i].level);
        lua_pushcclosure(L, l_log, 1);
        lua_setfield(L, -2, levels[i].name);
    }
    lua_setfield(L, -2, "log");
}
