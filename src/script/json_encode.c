/* json_encode.c - Lua values to JSON text, straight into a buffer.
 *
 * Recursive, bounded by JSON_DEPTH_MAX. A table is read once in the order of lua_next: a list's items come there in their order
 * unless the list was filled backwards or by keys; then the text written so far is taken back and the list is read by index.
 */
#include "script/json.h"

#include "base/err.h"
#include "base/log.h"
#include "base/utf8.h"
#include "script/json_scan.h"
#include "script/number.h"
#include "script/path.h"
#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { WHY_MAX = PATH_TEXT_MAX + 120, INTEGER_TEXT = 24, STACK_PER_LEVEL = 6 };

static _Thread_local char why_text[WHY_MAX]; /* the sentence of the last failure */
static const char mark_key = 0;              /* its address keys the array mark in the registry */

struct writer {
    lua_State *L;
    struct buf *out;
    size_t limit;     /* out->len may not go above */
    const void *mark; /* the array mark's address */
    int depth;        /* tables open */
    bool hides;       /* values of members whose name looks secret */
};

static int write_value(struct writer *w, int index, const struct path *path);

/* ---- the array mark ---- */

void json_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

void json_push_mark(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &mark_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "list");
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &mark_key);
}

void json_mark_array(lua_State *L)
{
    json_push_mark(L);
    lua_setmetatable(L, -2);
}

static bool has_mark(lua_State *L, int index, const void *mark)
{
    int top = lua_gettop(L);

    if (!lua_getmetatable(L, index))
        return false;
    bool same = lua_topointer(L, -1) == mark || lua_rawgetp(L, -1, &mark_key) == LUA_TBOOLEAN;
    lua_settop(L, top);
    return same;
}

void json_mark_metatable(lua_State *L)
{
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &mark_key);
}

bool json_is_array(lua_State *L, int index)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &mark_key);
    const void *mark = lua_topointer(L, -1);
    lua_pop(L, 1);
    return has_mark(L, index, mark);
}

/* ---- output ---- */

static int fail(const struct path *path, int code, const char *problem, const char *detail)
{
    char place[PATH_TEXT_MAX];

    path_print(path, place);
    snprintf(why_text, sizeof(why_text), "%s: %s%.40s", place, problem, detail);
    return code;
}

static int out_of_room(struct writer *w, const struct path *path, size_t more)
{
    if (more > w->limit - w->out->len)
        return fail(path, MT_ETOO_LARGE, "the message is too large to write", "");
    return buf_reserve(w->out, more) == 0 ? 0 : fail(path, MT_ENOMEM, "out of memory", "");
}

/* Room for `more` bytes behind out->len: 0, MT_ETOO_LARGE or MT_ENOMEM. */
static inline int want(struct writer *w, const struct path *path, size_t more)
{
    return w->out->cap - w->out->len >= more && w->out->len + more <= w->limit ? 0 : out_of_room(w, path, more);
}

/* Into room that want() has made. */
static inline void put(struct writer *w, const void *data, size_t len)
{
    memcpy(w->out->data + w->out->len, data, len);
    w->out->len += len;
}

static inline void put_byte(struct writer *w, char byte)
{
    w->out->data[w->out->len++] = (unsigned char)byte;
}

static int write_literal(struct writer *w, const struct path *path, struct slice word)
{
    int err = want(w, path, word.len);

    if (err == 0)
        put(w, word.data, word.len);
    return err;
}

static void put_escape(struct writer *w, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = c != 0 ? strchr(from, c) : NULL;

    put_byte(w, '\\');
    if (found != NULL) {
        put_byte(w, to[found - from]);
        return;
    }
    put(w, "u00", 3);
    put_byte(w, hex[c >> 4]);
    put_byte(w, hex[c & 15]);
}

/* A string in quotes. One escape takes up to six bytes, so room is made run by run. */
static int write_string(struct writer *w, const struct path *path, const char *text, size_t len)
{
    const char *end = text + len;
    int err = want(w, path, len + 2);

    if (err != 0)
        return err;
    if (!utf8_valid(text, len))
        return fail(path, MT_EINVALID, "a string that is not UTF-8", "");
    put_byte(w, '"');
    for (;;) {
        const char *run = json_scan_plain(text, end);
        if ((err = want(w, path, (size_t)(run - text) + 7)) != 0)
            return err;
        put(w, text, (size_t)(run - text));
        if (run == end)
            break;
        put_escape(w, (unsigned char)*run);
        text = run + 1;
    }
    put_byte(w, '"');
    return 0;
}

static void put_integer(struct writer *w, lua_Integer value)
{
    char digits[INTEGER_TEXT];
    char *p = digits + sizeof(digits);
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        *--p = (char)('0' + size % 10);
        size /= 10;
    } while (size > 0);
    if (value < 0)
        *--p = '-';
    put(w, p, (size_t)(digits + sizeof(digits) - p));
}

static int write_number(struct writer *w, const struct path *path, int index)
{
    int err = want(w, path, NUMBER_TEXT_MAX);

    if (err != 0)
        return err;
    if (lua_isinteger(w->L, index)) {
        put_integer(w, lua_tointeger(w->L, index));
        return 0;
    }
    double real = lua_tonumber(w->L, index);
    if (!isfinite(real))
        return fail(path, MT_EINVALID, "JSON has no way to write ", isnan(real) ? "nan" : "inf");
    w->out->len += number_print(real, (char *)w->out->data + w->out->len);
    return 0;
}

/* ---- tables ---- */

static int refuse_list(struct writer *w, const struct path *path, int key)
{
    if (lua_type(w->L, key) == LUA_TSTRING)
        return fail(path, MT_EINVALID, "a list that also has the key ", lua_tostring(w->L, key));
    return fail(path, MT_EINVALID, "a list whose keys are not 1, 2, 3 and on (tide.null fills holes)", "");
}

/* The value of a member, which is on top of the stack at `index`. */
static int write_member(struct writer *w, int index, const struct path *member)
{
    if (w->hides && !lua_isboolean(w->L, index) && log_name_is_secret(member->key))
        return write_literal(w, member, SLICE("\"" LOG_HIDDEN "\""));
    return write_value(w, index, member);
}

/* An object; stack: ..., key, value of the first member. Leaves nothing of them. */
static int write_object(struct writer *w, const struct path *path, int table)
{
    lua_State *L = w->L;
    int key = lua_gettop(L) - 1;
    char before = '{';

    do {
        if (lua_type(L, key) != LUA_TSTRING)
            return fail(path, MT_EINVALID, "an object with a key that is no string: ", luaL_typename(L, key));
        struct path step = {path, {NULL, 0}, 0};
        step.key.data = lua_tolstring(L, key, &step.key.len);
        int err = want(w, path, 1);
        if (err != 0)
            return err;
        put_byte(w, before);
        before = ',';
        if ((err = write_string(w, &step, step.key.data, step.key.len)) != 0 || (err = want(w, &step, 1)) != 0)
            return err;
        put_byte(w, ':');
        if ((err = write_member(w, key + 1, &step)) != 0)
            return err;
        lua_settop(L, key);
    } while (lua_next(L, table));
    return write_literal(w, path, SLICE("}"));
}

/* A list whose keys do not come in order: they must be 1..n all the same. */
static int write_list_by_index(struct writer *w, const struct path *path, int table)
{
    lua_State *L = w->L;
    lua_Integer count = 0, last = 0;
    int err = 0;

    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1)
            return refuse_list(w, path, -2);
        if (lua_tointeger(L, -2) > last)
            last = lua_tointeger(L, -2);
        count++;
    }
    if (last != count)
        return refuse_list(w, path, table);
    for (lua_Integer i = 1; i <= count && err == 0; i++) {
        struct path step = {path, {NULL, 0}, i};
        if ((err = want(w, path, 1)) != 0)
            return err;
        put_byte(w, i == 1 ? '[' : ',');
        lua_rawgeti(L, table, i);
        err = write_value(w, lua_gettop(L), &step);
        lua_pop(L, 1);
    }
    return err != 0 ? err : write_literal(w, path, SLICE("]"));
}

/* A list; stack: ..., key, value of the first item. Leaves nothing of them. */
static int write_list(struct writer *w, const struct path *path, int table)
{
    lua_State *L = w->L;
    size_t start = w->out->len;
    int key = lua_gettop(L) - 1;
    struct path step = {path, {NULL, 0}, 1};

    do {
        if (!lua_isinteger(L, key) || lua_tointeger(L, key) != step.index) {
            w->out->len = start;
            lua_settop(L, key - 1);
            return write_list_by_index(w, path, table);
        }
        int err = want(w, path, 1);
        if (err != 0)
            return err;
        put_byte(w, step.index == 1 ? '[' : ',');
        if ((err = write_value(w, key + 1, &step)) != 0)
            return err;
        step.index++;
        lua_settop(L, key);
    } while (lua_next(L, table));
    return write_literal(w, path, SLICE("]"));
}

static int write_table(struct writer *w, int table, const struct path *path)
{
    lua_State *L = w->L;
    bool marked = has_mark(L, table, w->mark);
    int err;

    if (w->depth == JSON_DEPTH_MAX)
        return fail(path, MT_EINVALID, "nested too deep (a table that contains itself?)", "");
    if (!lua_checkstack(L, STACK_PER_LEVEL))
        return fail(path, MT_ENOMEM, "out of memory", "");
    w->depth++;
    lua_pushnil(L);
    if (!lua_next(L, table))
        err = write_literal(w, path, marked ? SLICE("[]") : SLICE("{}"));
    else if (marked || lua_type(L, -2) == LUA_TNUMBER)
        err = write_list(w, path, table);
    else
        err = write_object(w, path, table);
    w->depth--;
    return err;
}

static int refuse_value(struct writer *w, int index, const struct path *path)
{
    const char *name = luaL_typename(w->L, index);

    if (luaL_getmetafield(w->L, index, "__name") == LUA_TSTRING)
        name = lua_tostring(w->L, -1);
    return fail(path, MT_EINVALID, "cannot be written as JSON: ", name);
}

/* The value at the absolute `index`. May leave values on the stack above it. */
static int write_value(struct writer *w, int index, const struct path *path)
{
    lua_State *L = w->L;
    size_t len;
    const char *text;

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        return write_string(w, path, text, len);
    case LUA_TNUMBER:
        return write_number(w, path, index);
    case LUA_TBOOLEAN:
        return write_literal(w, path, lua_toboolean(L, index) ? SLICE("true") : SLICE("false"));
    case LUA_TTABLE:
        return write_table(w, index, path);
    case LUA_TNIL:
        return write_literal(w, path, SLICE("null"));
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL)
            return write_literal(w, path, SLICE("null"));
        return refuse_value(w, index, path);
    default:
        return refuse_value(w, index, path);
    }
}

static int encode(lua_State *L, int index, const char *root, struct buf *out, const char **why, bool hides)
{
    size_t start = out->len;
    int top = lua_gettop(L);
    struct path path = {NULL, slice_of(root), 0};
    struct writer w = {L, out, start + JSON_ENCODED_MAX, NULL, 0, hides};

    index = lua_absindex(L, index);
    *why = why_text;
    if (!lua_checkstack(L, STACK_PER_LEVEL))
        return fail(&path, MT_ENOMEM, "out of memory", "");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &mark_key);
    w.mark = lua_topointer(L, -1); /* NULL while no list was made: has_mark then never matches */
    lua_settop(L, top);
    int err = write_value(&w, index, &path);
    lua_settop(L, top);
    if (err != 0)
        out->len = start;
    return err;
}

int json_encode_as(lua_State *L, int index, const char *root, struct buf *out, const char **why)
{
    return encode(L, index, root, out, why, false);
}

int json_encode_for_log(lua_State *L, int index, struct buf *out, const char **why)
{
    return encode(L, index, "message", out, why, true);
}
