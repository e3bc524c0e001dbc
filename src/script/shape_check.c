/* shape_check.c - checks values against compiled shapes. */
#include "script/shape.h"

#include "base/utf8.h"
#include "script/json.h"
#include "script/path.h"
#include "script/shape_node.h"
#include <assert.h>
#include <lauxlib.h>
#include <math.h>

struct checker {
    lua_State *L;
    int values; /* stack index of the shape's table of Lua values */
};

static bool check_node(struct checker *c, const struct shape_node *node, int value, const struct path *path);

/* ---- messages ---- */

/* Pushes "place: problem", the problem being on top of the stack. A place without a name of its own is called "value". */
static bool refuse(struct checker *c, const struct path *path)
{
    char place[PATH_TEXT_MAX];

    path_print(path, place);
    lua_pushfstring(c->L, "%s%s: %s", place[0] == '\0' || place[0] == '[' ? "value" : "", place, lua_tostring(c->L, -1));
    return false;
}

static bool is_null(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

static const char *name_of(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nothing";
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            return "integer";
        return isnan(lua_tonumber(L, index)) ? "nan" : "float";
    case LUA_TTABLE:
        return json_is_array(L, index) || lua_rawlen(L, index) > 0 ? "list" : "object";
    case LUA_TLIGHTUSERDATA:
        return is_null(L, index) ? "null" : "userdata";
    default:
        return luaL_typename(L, index);
    }
}

static bool refuse_kind(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    lua_pushfstring(c->L, "%s expected, got %s", node->text, name_of(c->L, value));
    return refuse(c, path);
}

static bool refuse_count(struct checker *c, const struct shape_node *node, size_t count, const char *unit,
                         const struct path *path)
{
    lua_pushfstring(c->L, "%s expected, got %I%s", node->text, (LUAI_UACINT)count, unit);
    return refuse(c, path);
}

static bool accept(struct checker *c, int value)
{
    lua_pushvalue(c->L, value);
    return true;
}

/* ---- kinds ---- */

static bool check_integer(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    if (!lua_isinteger(c->L, value))
        return refuse_kind(c, node, value, path);
    lua_Integer number = lua_tointeger(c->L, value);
    if (number >= node->min && number <= node->max)
        return accept(c, value);
    lua_pushfstring(c->L, "%s expected, got %I", node->text, (LUAI_UACINT)number);
    return refuse(c, path);
}

static bool check_number(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    if (lua_type(c->L, value) != LUA_TNUMBER || isnan(lua_tonumber(c->L, value)))
        return refuse_kind(c, node, value, path);
    lua_Number number = lua_tonumber(c->L, value);
    if (number >= node->number_min && number <= node->number_max)
        return accept(c, value);
    lua_pushfstring(c->L, "%s expected, got %f", node->text, (LUAI_UACNUMBER)number);
    return refuse(c, path);
}

static bool check_string(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    size_t len;

    if (lua_type(c->L, value) != LUA_TSTRING)
        return refuse_kind(c, node, value, path);
    const char *text = lua_tolstring(c->L, value, &len);
    /* A code point takes one to four bytes: mostly that decides, without counting. */
    if ((lua_Integer)(len / 4) >= node->min && (lua_Integer)len <= node->max)
        return accept(c, value);
    size_t count = utf8_count(text, len);
    if ((lua_Integer)count >= node->min && (lua_Integer)count <= node->max)
        return accept(c, value);
    return refuse_count(c, node, count, count == 1 ? " character" : " characters", path);
}

static bool check_words(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    struct slice text = {NULL, 0};

    if (lua_type(c->L, value) == LUA_TSTRING) {
        text.data = lua_tolstring(c->L, value, &text.len);
        for (size_t i = 0; i < node->count; i++)
            if (slice_is(text, node->words[i]))
                return accept(c, value);
    }
    return refuse_kind(c, node, value, path);
}

static bool check_function(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    lua_State *L = c->L;

    lua_rawgeti(L, c->values, node->ref);
    lua_pushvalue(L, value);
    lua_call(L, 1, 2); /* ok, message */
    if (lua_toboolean(L, -2))
        return accept(c, value);
    if (lua_type(L, -1) != LUA_TSTRING)
        lua_pushliteral(L, "not valid");
    return refuse(c, path);
}

/* ---- objects and lists ---- */

static bool check_object(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    lua_State *L = c->L;
    struct path step = {path, {NULL, 0}, 0};

    if (lua_type(L, value) != LUA_TTABLE || json_is_array(L, value))
        return refuse_kind(c, node, value, path);
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    lua_createtable(L, 0, (int)node->count);
    int copy = lua_gettop(L);
    for (size_t i = 0; i < node->count; i++) {
        const struct shape_field *field = &node->fields[i];
        step.key = field->name;
        lua_rawgeti(L, c->values, field->key);
        lua_pushvalue(L, -1);
        lua_rawget(L, value); /* copy, key, value */
        if (!check_node(c, field->node, copy + 2, &step))
            return false;
        lua_replace(L, copy + 2); /* copy, key, clean value (perhaps below what the check left) */
        lua_settop(L, copy + 2);
        lua_rawset(L, copy);
    }
    return true;
}

static bool check_list(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    lua_State *L = c->L;
    struct path step = {path, {NULL, 0}, 0};

    if (lua_type(L, value) != LUA_TTABLE)
        return refuse_kind(c, node, value, path);
    lua_Integer count = (lua_Integer)lua_rawlen(L, value);
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    if (count == 0 && !json_is_array(L, value)) {
        lua_pushnil(L);
        if (lua_next(L, value)) /* it has fields: no list */
            return refuse_kind(c, node, value, path);
    }
    if (count < node->min || count > node->max)
        return refuse_count(c, node, (size_t)count, "", path);
    lua_createtable(L, (int)count, 0);
    int copy = lua_gettop(L);
    for (lua_Integer i = 1; i <= count; i++) {
        step.index = i;
        lua_rawgeti(L, value, i);
        if (!check_node(c, node->item, copy + 1, &step))
            return false;
        lua_rawseti(L, copy, i);
        lua_settop(L, copy);
    }
    json_mark_array(L);
    return true;
}

/* The value at the absolute `value`. On top: its clean copy, or the message; there may be more below it. */
static bool check_node(struct checker *c, const struct shape_node *node, int value, const struct path *path)
{
    if (node->kind == SHAPE_FUNCTION)
        return check_function(c, node, value, path);
    if (lua_isnoneornil(c->L, value))
        return node->optional ? accept(c, value) : refuse_kind(c, node, value, path);
    if (node->optional && is_null(c->L, value))
        return accept(c, value);
    switch (node->kind) {
    case SHAPE_ANY:
        return accept(c, value);
    case SHAPE_BOOLEAN:
        return lua_isboolean(c->L, value) ? accept(c, value) : refuse_kind(c, node, value, path);
    case SHAPE_INTEGER:
        return check_integer(c, node, value, path);
    case SHAPE_NUMBER:
        return check_number(c, node, value, path);
    case SHAPE_STRING:
        return check_string(c, node, value, path);
    case SHAPE_WORDS:
        return check_words(c, node, value, path);
    case SHAPE_OBJECT:
        return check_object(c, node, value, path);
    default:
        assert(node->kind == SHAPE_LIST);
        return check_list(c, node, value, path);
    }
}

bool shape_check(lua_State *L, int shape, int value)
{
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    value = lua_absindex(L, value);
    const struct shape *s = luaL_checkudata(L, shape, SHAPE_TYPE);
    int top = lua_gettop(L);
    lua_getiuservalue(L, shape, 1);
    struct checker c = {L, top + 1};
    bool ok = check_node(&c, s->root, value, NULL);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return ok;
}
