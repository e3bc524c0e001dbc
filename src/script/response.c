/* response.c - the response object: fields, json, and the iterators over its body, which wait where there is a stream. */
#include "script/response.h"

#include "base/text.h"
#include "script/api_help.h"
#include "script/headers.h"
#include "script/json.h"
#include "script/shape.h"
#include "script/task.h"

#include <assert.h>
#include <lauxlib.h>
#include <string.h>

static const char response_type[] = "moontide.response";

struct response {
    struct http_call *call; /* owned; NULL: the answer is whole, and in the fields */
    struct task *reader;    /* waits for the head, or in an iterator; NULL: nobody */
    int64_t ms;             /* how long to wait for the answer, and for each piece of a stream */
    const char *stage;      /* what the call was doing when it was given up, static text */
    size_t longest;         /* bytes of a line */
    size_t scanned;         /* bytes of a stream's data that have no line break */
    size_t at;              /* of a whole body, how far the iterators are */
    bool stream, late;      /* late: a piece did not come in time */
    bool over;              /* the iterators have come to the end */
};

static struct response *check_response(lua_State *L)
{
    return luaL_checkudata(L, 1, response_type);
}

/* ---- the call ---- */

static void on_change(void *arg)
{
    struct response *r = arg;

    if (r->reader)
        task_wake(r->reader, 0);
}

struct http_call *response_push(lua_State *L, struct http_client *c)
{
    struct response *r = lua_newuserdatauv(L, sizeof(*r), 1);

    memset(r, 0, sizeof(*r));
    luaL_setmetatable(L, response_type);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    r->call = http_call_create(c, on_change, r);
    if (!r->call)
        luaL_error(L, "not enough memory");
    return r->call;
}

static void drop_call(struct response *r)
{
    http_call_destroy(r->call);
    r->call = NULL;
}

int response_push_failure(lua_State *L)
{
    struct response *r = lua_touserdata(L, -1);
    int n = script_push_failure(L, http_call_text(r->call), err_name(http_call_code(r->call)));

    drop_call(r);
    return n;
}

/* For both waits, when nobody waits any more. A task that is cancelled while it reads takes the stream with it: nobody else is
 * going to close it. */
static void give_up(void *arg)
{
    struct response *r = arg;

    r->reader = NULL;
    if (!r->stage && !http_call_ended(r->call))
        r->stage = http_call_stage(r->call);
    http_call_stop(r->call, MT_ECANCELLED, "the task that read it was cancelled");
}

/* ---- waiting for the answer ---- */

/* Sets a field of the object at `index` to the value on top of the stack, which is popped. */
static void set_field(lua_State *L, int index, const char *name)
{
    lua_getiuservalue(L, index, 1);
    lua_insert(L, -2); /* fields, value */
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* The object is at 1. */
static void make_fields(lua_State *L, struct response *r)
{
    struct slice name, value;
    size_t at = 0;

    lua_pushinteger(L, http_call_status(r->call));
    set_field(L, 1, "status");
    headers_push(L, 8);
    while (http_call_next_header(r->call, &at, &name, &value))
        headers_add(L, name, value);
    set_field(L, 1, "headers");
    if (r->stream)
        return;
    value = http_call_data(r->call);
    lua_pushlstring(L, value.data, value.len);
    set_field(L, 1, "body");
    drop_call(r);
}

static int push_timeout(lua_State *L, struct response *r)
{
    drop_call(r);
    lua_pushfstring(L, "timeout after %f s, while %s", (lua_Number)r->ms / 1000, r->stage ? r->stage : "reading the answer");
    return script_push_failure(L, lua_tostring(L, -1), err_name(MT_ETIMEOUT));
}

static int finish_request(lua_State *L, void *arg, int code)
{
    struct response *r = arg;

    r->reader = NULL;
    if (code == MT_ETIMEOUT)
        return push_timeout(L, r);
    if (!http_call_has_head(r->call) || (!r->stream && http_call_code(r->call) != 0))
        return response_push_failure(L);
    make_fields(L, r);
    return 1;
}

int response_wait(lua_State *L, int64_t ms, bool stream, size_t longest)
{
    static const struct task_wait_ops ops = {give_up, finish_request};
    struct response *r = lua_touserdata(L, -1);

    lua_replace(L, 1);
    lua_settop(L, 1); /* where it stays while the task waits */
    r->ms = ms;
    r->stream = stream;
    r->longest = longest;
    r->reader = task_of(L);
    return task_wait(L, &ops, r, ms);
}

/* ---- iterators ---- */
/* They are closures with the object as upvalue. What follows runs in them, also after a wait. */

/* What there is of the body and was not given out; *whole: there comes no more. The bytes are the call's, or those of the body,
 * which the object holds. */
static struct slice look(lua_State *L, const struct response *r, bool *whole)
{
    struct slice body;

    if (r->call) {
        *whole = http_call_ended(r->call);
        return http_call_data(r->call);
    }
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
    lua_getfield(L, -1, "body");
    body.data = lua_tolstring(L, -1, &body.len);
    lua_pop(L, 2);
    *whole = true;
    return (struct slice){body.data + r->at, body.len - r->at};
}

static void take(struct response *r, size_t n)
{
    r->scanned = 0;
    if (r->call)
        http_call_take(r->call, n);
    else
        r->at += n;
}

/* Pushes the next line. False when it is not there yet, or never. */
static bool push_line(lua_State *L, struct response *r)
{
    bool whole;
    struct slice data = look(L, r, &whole);
    const char *end = data.len > r->scanned ? memchr(data.data + r->scanned, '\n', data.len - r->scanned) : NULL;
    size_t len = end ? (size_t)(end - data.data) : data.len;

    if (r->call && len > r->longest) {
        http_call_stop(r->call, MT_ETOO_LARGE, "a line is longer than max_body");
        return false;
    }
    r->scanned = data.len;
    if (!end && (!whole || len == 0))
        return false;
    if (end && len > 0 && data.data[len - 1] == '\r')
        lua_pushlstring(L, data.data, len - 1);
    else
        lua_pushlstring(L, data.data, len);
    take(r, end ? len + 1 : len);
    return true;
}

static bool push_chunk(lua_State *L, struct response *r)
{
    bool whole;
    struct slice data = look(L, r, &whole);

    if (data.len == 0)
        return false;
    lua_pushlstring(L, data.data, data.len);
    take(r, data.len);
    return true;
}

static int next_line(lua_State *L, struct response *r);
static int next_chunk(lua_State *L, struct response *r);

/* The last piece is given out. */
static int end_of_body(lua_State *L, struct response *r)
{
    r->over = true;
    if (r->call)
        http_call_stop(r->call, 0, ""); /* it has ended: what is left is its memory */
    lua_pushnil(L);
    return 1;
}

static int wait_for_more(lua_State *L, struct response *r, const struct task_wait_ops *ops)
{
    if (r->over || !r->call || http_call_ended(r->call))
        return end_of_body(L, r);
    if (r->reader)
        return luaL_error(L, "another task is reading this answer");
    r->reader = task_check_wait(L);
    return task_wait(L, ops, r, r->ms);
}

/* What came in time is there to be looked at. */
static bool came(struct response *r, int code)
{
    r->reader = NULL;
    r->late = code == MT_ETIMEOUT;
    return !r->late;
}

static int finish_line(lua_State *L, void *arg, int code)
{
    return came(arg, code) ? next_line(L, arg) : end_of_body(L, arg);
}

static int finish_chunk(lua_State *L, void *arg, int code)
{
    return came(arg, code) ? next_chunk(L, arg) : end_of_body(L, arg);
}

/* Asks for more than the usual until the line is complete. True when more came at once, out of what libcurl held back. */
static bool ask_for_more(struct response *r)
{
    size_t before;

    if (!r->call || http_call_ended(r->call))
        return false;
    before = http_call_data(r->call).len;
    http_call_need(r->call, r->longest);
    return http_call_ended(r->call) || http_call_data(r->call).len > before;
}

static int next_line(lua_State *L, struct response *r)
{
    static const struct task_wait_ops ops = {give_up, finish_line};
    bool found;

    while (!(found = push_line(L, r)) && ask_for_more(r))
        ;
    if (!found)
        return wait_for_more(L, r, &ops);
    if (r->call)
        http_call_need(r->call, 0);
    return 1;
}

static int next_chunk(lua_State *L, struct response *r)
{
    static const struct task_wait_ops ops = {give_up, finish_chunk};

    return push_chunk(L, r) ? 1 : wait_for_more(L, r, &ops);
}

static int l_next_line(lua_State *L)
{
    return next_line(L, lua_touserdata(L, lua_upvalueindex(1)));
}

static int l_next_chunk(lua_State *L)
{
    return next_chunk(L, lua_touserdata(L, lua_upvalueindex(1)));
}

/* ---- methods ---- */

/* res:lines() -> iterator of lines without their line breaks */
static int l_response_lines(lua_State *L)
{
    check_response(L);
    lua_settop(L, 1);
    lua_pushcclosure(L, l_next_line, 1);
    return 1;
}

/* res:chunks() -> iterator of pieces as they come */
static int l_response_chunks(lua_State *L)
{
    check_response(L);
    lua_settop(L, 1);
    lua_pushcclosure(L, l_next_chunk, 1);
    return 1;
}

/* res:json(shape) -> value | nil, message, name */
static int l_response_json(lua_State *L)
{
    const struct response *r = check_response(L);
    struct slice body;
    const char *why;

    if (r->stream)
        return luaL_error(L, "res:json: a stream is read with res:lines or res:chunks");
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, 1);
    lua_getfield(L, -1, "body"); /* res, shape, fields, body */
    body.data = lua_tolstring(L, 4, &body.len);
    if (body.len > JSON_DECODED_MAX)
        return script_push_failure(L, "JSON of more than 16 MiB", err_name(MT_ETOO_LARGE));
    if (json_decode(L, body.data, body.len, &why) != 0)
        return script_push_failure(L, why, err_name(MT_EJSON));
    if (lua_isnil(L, 2))
        return 1;
    shape_compile_cached(L, 2, "res:json"); /* res, shape, fields, body, value, compiled */
    if (shape_check(L, 6, 5))
        return 1;
    return script_push_failure(L, lua_tostring(L, -1), err_name(MT_EINVALID));
}

/* res:close(). Again: nothing. Somebody who reads hears the end. */
static int l_response_close(lua_State *L)
{
    struct response *r = check_response(L);

    if (!r->call || r->over)
        return 0;
    http_call_stop(r->call, MT_ECLOSED, "closed by the script");
    r->over = true;
    on_change(r);
    return 0;
}

static int l_response_gc(lua_State *L)
{
    struct response *r = lua_touserdata(L, 1);

    if (r->call)
        drop_call(r);
    return 0;
}

/* ---- fields ---- */

enum field { FIELD_STORED = 1, FIELD_ERROR };

static int push_error(lua_State *L, const struct response *r)
{
    if (r->late)
        lua_pushfstring(L, "timeout: nothing came for %f s", (lua_Number)r->ms / 1000);
    else if (r->over && r->call && http_call_code(r->call) != 0)
        lua_pushstring(L, http_call_text(r->call));
    else
        lua_pushnil(L);
    return 1;
}

static int refuse_field(lua_State *L, const char *name)
{
    static const char *const names[] = {"status", "headers", "body", "error", "json", "lines", "chunks", "close", NULL};
    const char *near = text_nearest(slice_of(name), names);

    if (near)
        return luaL_error(L, "res has no field '%s'; did you mean %s?", name, near);
    return luaL_error(L, "res has no field '%s'", name);
}

/* Upvalue 1: name -> method, or enum field. */
static int l_response_index(lua_State *L)
{
    struct response *r = check_response(L);
    const char *name = luaL_checkstring(L, 2);

    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TFUNCTION)
        return 1;
    switch (lua_tointeger(L, -1)) {
    case FIELD_STORED:
        lua_getiuservalue(L, 1, 1);
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
        return 1;
    case FIELD_ERROR:
        return push_error(L, r);
    default:
        return refuse_field(L, name);
    }
}

static int l_response_newindex(lua_State *L)
{
    return luaL_error(L, "res.%s cannot be set", luaL_tolstring(L, 2, NULL));
}

static const luaL_Reg response_methods[] = {{"json", l_response_json},
                                            {"lines", l_response_lines},
                                            {"chunks", l_response_chunks},
                                            {"close", l_response_close},
                                            {NULL, NULL}};
static const luaL_Reg response_meta[] = {
    {"__newindex", l_response_newindex}, {"__close", l_response_close}, {"__gc", l_response_gc}, {NULL, NULL}};

void api_response_open(lua_State *L)
{
    static const char *const stored[] = {"status", "headers", "body"};

    luaL_newmetatable(L, response_type);
    luaL_setfuncs(L, response_meta, 0);
    luaL_newlib(L, response_methods);
    for (size_t i = 0; i < sizeof(stored) / sizeof(stored[0]); i++) {
        lua_pushinteger(L, FIELD_STORED);
        lua_setfield(L, -2, stored[i]);
    }
    lua_pushinteger(L, FIELD_ERROR);
    lua_setfield(L, -2, "error");
    lua_pushcclosure(L, l_response_index, 1);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}
