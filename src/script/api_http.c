/* api_http.c - tide.http.get, post and request: what the script asks for becomes a call; response.c waits for it. */
#include "script/api_http.h"

#include "base/text.h"
#include "net/http.h"
#include "script/api_help.h"
#include "script/json.h"
#include "script/response.h"
#include "script/task.h"

#include <lauxlib.h>
#include <math.h>

enum { AT_METHOD = 1, AT_URL = 2, AT_OPTS = 3, TIMEOUT_MS = 30000, METHOD_MAX = 32, URL_MAX = 16 << 10 };

/* ---- options ---- */

/* Pushes the option of that name. False when it is not given. */
static bool push_option(lua_State *L, const char *name)
{
    if (lua_isnil(L, AT_OPTS))
        lua_pushnil(L);
    else
        lua_getfield(L, AT_OPTS, name);
    return !lua_isnil(L, -1);
}

static bool check_flag(lua_State *L, const char *name, bool otherwise)
{
    bool given = push_option(L, name), value = lua_toboolean(L, -1);

    if (given && !lua_isboolean(L, -1))
        luaL_argerror(L, AT_OPTS, lua_pushfstring(L, "%s: true or false", name));
    lua_pop(L, 1);
    return given ? value : otherwise;
}

static int64_t check_timeout(lua_State *L)
{
    bool given = push_option(L, "timeout");
    lua_Number seconds = lua_tonumber(L, -1);

    if (given && (lua_type(L, -1) != LUA_TNUMBER || !(seconds >= 0)))
        luaL_argerror(L, AT_OPTS, "timeout: a number of seconds");
    lua_pop(L, 1);
    return !given ? TIMEOUT_MS : seconds < 1e12 ? (int64_t)ceil(seconds * 1000) : (int64_t)1e15;
}

static size_t check_max_body(lua_State *L, size_t otherwise)
{
    bool given = push_option(L, "max_body");
    lua_Integer bytes = lua_tointeger(L, -1);

    if (given && (!lua_isinteger(L, -1) || bytes < 0))
        luaL_argerror(L, AT_OPTS, "max_body: a whole number of bytes");
    lua_pop(L, 1);
    return given ? (size_t)bytes : otherwise;
}

static struct slice check_method(lua_State *L)
{
    struct slice method = api_check_name(L, AT_METHOD, "method", METHOD_MAX);
    bool fine = http_is_token(method) && !slice_is(method, SLICE("CONNECT"));

    for (size_t i = 0; i < method.len; i++)
        fine = fine && !(method.data[i] >= 'a' && method.data[i] <= 'z');
    luaL_argcheck(L, fine, AT_METHOD, "method: a name in capitals, as GET");
    return method;
}

/* ---- headers ---- */

/* The client writes these: a second one could split the request in two. */
static bool is_own_header(struct slice name)
{
    static const char *const own[] = {
        "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "expect", "te", "trailer", NULL};

    for (const char *const *p = own; *p; p++)
        if (slice_is_nocase(name, slice_of(*p)))
            return true;
    return name.len >= 6 && slice_is_nocase((struct slice){name.data, 6}, SLICE("proxy-"));
}

/* A bad header; `name` is a string of Lua's. */
static int refuse_header(lua_State *L, const char *name, const char *why)
{
    return luaL_argerror(L, AT_OPTS, lua_pushfstring(L, "header %s: %s", name, why));
}

/* The name at `name_at`, the value on top of the stack. */
static void add_header(lua_State *L, struct http_call *call, int name_at)
{
    struct slice name, value;

    name.data = lua_tolstring(L, name_at, &name.len);
    if (!lua_isstring(L, -1))
        refuse_header(L, name.data, "string expected");
    lua_pushvalue(L, -1); /* a number would be changed in the table */
    value.data = lua_tolstring(L, -1, &value.len);
    if (!http_is_token(name))
        refuse_header(L, name.data, "not a name of a header");
    if (is_own_header(name))
        refuse_header(L, name.data, "the client writes it");
    if (!http_is_value(value))
        refuse_header(L, name.data, "line breaks and control characters cannot be sent");
    if (http_call_add_header(call, name, value) != 0)
        luaL_error(L, "not enough memory");
    lua_pop(L, 1);
}

/* A list makes a line for each of its values. */
static void add_values(lua_State *L, struct http_call *call, int name_at)
{
    if (!lua_istable(L, -1)) {
        add_header(L, call, name_at);
        return;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, name_at + 1, i) != LUA_TNIL; i++) {
        add_header(L, call, name_at);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Whether Content-Type was among them. */
static bool add_headers(lua_State *L, struct http_call *call)
{
    bool given = push_option(L, "headers"), typed = false;
    int table = lua_gettop(L);

    if (given && !lua_istable(L, table))
        luaL_argerror(L, AT_OPTS, "headers: a table of texts by name");
    if (given) {
        for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
            if (lua_type(L, table + 1) != LUA_TSTRING)
                luaL_argerror(L, AT_OPTS, "headers: a table of texts by name");
            typed = typed || slice_is_nocase(slice_of(lua_tostring(L, table + 1)), SLICE("content-type"));
            add_values(L, call, table + 1);
        }
    }
    lua_pop(L, 1);
    return typed;
}

/* ---- the body ---- */

static struct slice text_body(lua_State *L)
{
    struct slice body;

    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, AT_OPTS, "body: a string");
    body.data = lua_tolstring(L, -1, &body.len); /* the table of options holds it */
    return body;
}

static struct slice json_body(lua_State *L)
{
    struct buf *out = &script_of(L)->scratch;
    const char *why;

    if (json_encode_as(L, -1, "json", out, &why) != 0)
        luaL_argerror(L, AT_OPTS, why);
    return buf_slice(out);
}

static void put_form_text(lua_State *L, int index, struct buf *out)
{
    struct slice text;

    if (!lua_isstring(L, index))
        luaL_argerror(L, AT_OPTS, "form: texts and numbers by name");
    lua_pushvalue(L, index); /* a number would be changed in the table */
    text.data = lua_tolstring(L, -1, &text.len);
    if (text_form(out, text) != 0)
        luaL_error(L, "not enough memory");
    lua_pop(L, 1);
}

static struct slice form_body(lua_State *L)
{
    struct buf *out = &script_of(L)->scratch;
    int table = lua_gettop(L);

    if (!lua_istable(L, table))
        luaL_argerror(L, AT_OPTS, "form: texts and numbers by name");
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (out->len > 0 && buf_add_byte(out, '&') != 0)
            luaL_error(L, "not enough memory");
        put_form_text(L, table + 1, out);
        if (buf_add_byte(out, '=') != 0)
            luaL_error(L, "not enough memory");
        put_form_text(L, table + 2, out);
    }
    return out->len ? buf_slice(out) : SLICE("");
}

/* The bytes, which are Lua's or in the script's scratch buffer, and their type; data NULL: none. */
static struct slice check_body(lua_State *L, const char **type)
{
    static const struct {
        const char *name;
        struct slice (*make)(lua_State *L); /* of the value on top of the stack */
        const char *type;                   /* NULL: the script says */
    } kinds[] = {{"body", text_body, NULL},
                 {"json", json_body, "application/json"},
                 {"form", form_body, "application/x-www-form-urlencoded"}};
    struct slice body = {NULL, 0};

    *type = NULL;
    buf_clear(&script_of(L)->scratch);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (push_option(L, kinds[i].name)) {
            if (body.data)
                luaL_argerror(L, AT_OPTS, "one of body, json and form");
            body = kinds[i].make(L);
            *type = kinds[i].type;
        }
        lua_pop(L, 1);
    }
    return body;
}

/* ---- the call ---- */

/* An object with a call that has not begun. */
static struct http_call *push_call(lua_State *L)
{
    struct http_client *client = script_http(script_of(L));

    if (!client)
        luaL_error(L, "not enough memory");
    return response_push(L, client);
}

/* Method, URL and options at 1, 2, 3. */
static int request(lua_State *L)
{
    static const char *const names[] = {"headers", "body", "json", "form", "timeout", "stream", "max_body", "private", NULL};
    struct http_call_config c = {.method = check_method(L), .url = api_check_string(L, AT_URL)};
    const char *type;

    lua_settop(L, AT_OPTS);
    api_check_table(L, AT_OPTS, names);
    int64_t ms = check_timeout(L);
    c.patience_ms = (uint64_t)ms;
    c.stream = check_flag(L, "stream", false);
    c.guarded = !check_flag(L, "private", true);
    c.limit = check_max_body(L, script_of(L)->config.http.body);
    c.body = check_body(L, &type);
    luaL_argcheck(L, !c.body.data || !slice_is(c.method, SLICE("HEAD")), AT_OPTS, "a HEAD request has no body");
    script_check_acting(L, "tide.http");
    task_check_wait(L);
    if (c.url.len > URL_MAX)
        return script_push_failure(L, "the URL is longer than 16 KiB", err_name(MT_EINVALID));
    struct http_call *call = push_call(L);
    if (!add_headers(L, call) && type && http_call_add_header(call, SLICE("Content-Type"), slice_of(type)) != 0)
        return luaL_error(L, "not enough memory");
    int rc = http_call_start(call, &c);
    api_free_scratch(L);
    return rc == 0 ? response_wait(L, ms, c.stream, c.limit) : response_push_failure(L);
}

/* http.request(method, url, opts) -> res | nil, message, name */
static int l_http_request(lua_State *L)
{
    return request(L);
}

static int request_with(lua_State *L, const char *method)
{
    lua_settop(L, 2);
    lua_pushstring(L, method);
    lua_insert(L, AT_METHOD);
    return request(L);
}

/* http.get(url, opts) */
static int l_http_get(lua_State *L)
{
    return request_with(L, "GET");
}

/* http.post(url, opts) */
static int l_http_post(lua_State *L)
{
    return request_with(L, "POST");
}

static const luaL_Reg http_functions[] = {{"get", l_http_get}, {"post", l_http_post}, {"request", l_http_request}, {NULL, NULL}};

void api_http_fill(lua_State *L)
{
    luaL_newlib(L, http_functions);
    lua_setfield(L, -2, "http");
}
