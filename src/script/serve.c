/* serve.c - plain HTTP: the static folder, then on_http of the route; its results as an answer, whole or streamed. */
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/json.h"
#include "script/reject.h"
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>

enum { STREAM_BUFFERED_MAX = 256 << 10 }; /* bytes that may wait before the iterator does */
/* Places on the coroutine's stack. */
enum { AT_REQ = 1, AT_STATUS = 2, AT_BODY = 3, AT_HEADERS = 4 };

void serve_status(struct session *session, int status, struct slice head, struct slice text)
{
    struct buf lines = {0};

    if (http_put_header(&lines, SLICE("Content-Type"), SLICE("text/plain; charset=utf-8")) == 0 &&
        buf_add(&lines, head.data, head.len) == 0)
        session_respond(session, status, buf_slice(&lines), text);
    else
        session_abort(session);
    buf_fini(&lines);
}

/* ---- headers ---- */

static void put_header(lua_State *L, struct req *r, int name_at, int value_at)
{
    struct slice name, value;
    int rc;

    if (!lua_isstring(L, value_at))
        luaL_error(L, "on_http: header %s: string expected, got %s", lua_tostring(L, name_at), luaL_typename(L, value_at));
    name.data = lua_tolstring(L, name_at, &name.len);
    if (http_is_own_header(name))
        luaL_error(L, "on_http: header %s: the server writes it", name.data);
    lua_pushvalue(L, value_at); /* a number would be changed in the table */
    value.data = lua_tolstring(L, -1, &value.len);
    rc = http_put_header(&r->head, name, value);
    lua_pop(L, 1);
    if (rc != 0)
        luaL_error(L, "on_http: header %s: %s", name.data, err_text(rc));
}

/* All of the table at AT_HEADERS; a list makes a line for each of its values. Whether Content-Type was among them. */
static bool put_headers(lua_State *L, struct req *r)
{
    bool typed = false;

    if (lua_isnil(L, AT_HEADERS))
        return false;
    if (!lua_istable(L, AT_HEADERS))
        luaL_error(L, "on_http: headers: table expected, got %s", luaL_typename(L, AT_HEADERS));
    for (lua_pushnil(L); lua_next(L, AT_HEADERS); lua_pop(L, 1)) {
        int value = lua_gettop(L);

        if (lua_type(L, value - 1) != LUA_TSTRING)
            luaL_error(L, "on_http: headers: texts by name expected");
        typed = typed || slice_is_nocase(slice_of(lua_tostring(L, value - 1)), SLICE("content-type"));
        if (!lua_istable(L, value)) {
            put_header(L, r, value - 1, value);
            continue;
        }
        for (lua_Integer i = 1; lua_rawgeti(L, value, i) != LUA_TNIL; i++) {
            put_header(L, r, value - 1, value + 1);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    return typed;
}

static void put_type(lua_State *L, struct req *r, const char *type)
{
    if (http_put_header(&r->head, SLICE("Content-Type"), slice_of(type)) != 0)
        luaL_error(L, "not enough memory");
}

/* ---- the whole answer ---- */

/* The session is answered: the request has no more to do with it. */
static struct session *let_go(struct req *r)
{
    struct session *session = r->session;

    r->session = NULL;
    session_set_owner(session, NULL);
    return session;
}

static void respond(struct req *r, int status, struct slice body)
{
    if (r->session)
        session_respond(let_go(r), status, buf_slice(&r->head), body);
}

static void respond_json(lua_State *L, struct req *r, int status)
{
    struct buf *out = &r->script->scratch;
    const char *why;

    buf_clear(out);
    if (json_encode_as(L, AT_BODY, "body", out, &why) != 0)
        luaL_error(L, "on_http: %s", why);
    respond(r, status, buf_slice(out));
}

/* ---- streams ---- */

static int stream(lua_State *L, struct req *r);

static void leave_stream(void *arg)
{
    ((struct req *)arg)->waiting = NULL;
}

static int finish_drain(lua_State *L, void *arg, int code)
{
    return stream(L, arg);
}

/* Writes the piece on top of the stack. True when there is more to ask for. */
static bool write_piece(lua_State *L, struct req *r)
{
    struct slice piece;

    if (!r->session)
        return false;
    if (lua_isnil(L, -1)) {
        session_stream_end(let_go(r), true);
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "on_http: the iterator of a body gives strings, got %s", luaL_typename(L, -1));
    piece.data = lua_tolstring(L, -1, &piece.len);
    if (piece.len && session_stream_write(r->session, piece) != 0)
        return false; /* gone: on_gone follows */
    lua_pop(L, 1);
    return true;
}

static int after_piece(lua_State *L, int status, lua_KContext context)
{
    struct req *r = lua_touserdata(L, AT_REQ);

    return write_piece(L, r) ? stream(L, r) : 0;
}

/* Asks the iterator at AT_BODY for pieces until it has no more, or the reader is slow. */
static int stream(lua_State *L, struct req *r)
{
    static const struct task_wait_ops ops = {leave_stream, finish_drain};

    lua_settop(L, AT_BODY);
    while (r->session) {
        if (session_buffered(r->session) > STREAM_BUFFERED_MAX) {
            r->waiting = task_check_wait(L);
            session_want_drain(r->session);
            return task_wait(L, &ops, r, -1);
        }
        lua_pushvalue(L, AT_BODY);
        lua_callk(L, 0, 1, 0, after_piece);
        if (!write_piece(L, r))
            break;
    }
    return 0;
}

void serve_drained(struct req *r)
{
    struct task *t = r->waiting;

    r->waiting = NULL;
    if (t)
        task_wake(t, 0);
}

static int begin_stream(lua_State *L, struct req *r, int status)
{
    if (!r->session)
        return 0;
    if (session_stream_begin(r->session, status, buf_slice(&r->head)) != 0)
        return 0;
    r->streaming = true;
    if (slice_is(r->http->method, SLICE("HEAD"))) {
        session_stream_end(let_go(r), true);
        return 0;
    }
    return stream(L, r);
}

/* ---- on_http ---- */

static int check_status(lua_State *L)
{
    lua_Integer status = lua_tointeger(L, AT_STATUS);

    if (!lua_isinteger(L, AT_STATUS) || status < 200 || status > 599)
        luaL_error(L, "on_http: a status from 200 to 599 expected, got %s", luaL_tolstring(L, AT_STATUS, NULL));
    return (int)status;
}

static int after_http(lua_State *L, int status_of_call, lua_KContext context)
{
    struct req *r = lua_touserdata(L, AT_REQ);
    struct slice body = {0};
    bool typed;
    int status;

    if (lua_isnil(L, AT_STATUS)) {
        if (r->session)
            serve_status(let_go(r), 404, (struct slice){0}, SLICE("not found"));
        return 0;
    }
    status = check_status(L);
    typed = put_headers(L, r);
    switch (lua_type(L, AT_BODY)) {
    case LUA_TNIL:
        respond(r, status, body);
        return 0;
    case LUA_TSTRING:
    case LUA_TNUMBER:
        if (!typed)
            put_type(L, r, "text/plain; charset=utf-8");
        body.data = lua_tolstring(L, AT_BODY, &body.len);
        respond(r, status, body);
        return 0;
    case LUA_TTABLE:
        if (!typed)
            put_type(L, r, "application/json");
        respond_json(L, r, status);
        return 0;
    case LUA_TFUNCTION:
        if (!typed)
            put_type(L, r, "application/octet-stream");
        return begin_stream(L, r, status);
    default:
        return luaL_error(L, "on_http: body: string, table or iterator expected, got %s", luaL_typename(L, AT_BODY));
    }
}

static int run_http(lua_State *L)
{
    struct req *r = lua_touserdata(L, AT_REQ);

    dispatch_route(L, r);
    if (r->level->on_http == LUA_NOREF)
        return reject_raise(L, 404, SLICE("not found"));
    script_core_begin(r->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->level->on_http);
    req_push(L, r);
    script_core_end(r->script);
    lua_callk(L, 1, 3, 0, after_http);
    return after_http(L, LUA_OK, 0);
}

static void http_done(struct task *t, enum task_end end)
{
    struct req *r = t->arg;

    if (r->session && r->streaming)
        session_stream_end(let_go(r), false);
    else if (r->session && end == TASK_REJECTED)
        serve_status(let_go(r), t->reject.status, buf_slice(&t->reject.headers), buf_slice(&t->reject.message));
    else if (r->session)
        serve_status(let_go(r), 500, (struct slice){0}, SLICE("internal error"));
    script_unref(r->script->L, &r->object_ref);
    req_unref(r);
}

void serve_request(struct script *s, struct session *session, const struct session_request *request)
{
    bool reads = slice_is(request->http->method, SLICE("GET")) || slice_is(request->http->method, SLICE("HEAD"));
    struct route_params params;
    const struct level *level;
    struct task *t;
    struct req *r;
    int status;

    if (reads && session_respond_file(session))
        return;
    script_count_event(s);
    level = handlers_route(s->live->handlers, request->http->path, &params);
    if (!level || level->on_http == LUA_NOREF) {
        serve_status(session, 404, (struct slice){0}, SLICE("not found"));
        return;
    }
    r = req_create(s, session, request, level, &params, &status);
    t = r ? dispatch_task(s, TASK_EVENT, run_http, r, "on_http") : NULL;
    if (!t) {
        if (r)
            req_unref(r);
        serve_status(session, r ? 500 : status, (struct slice){0}, status == 400 ? SLICE("bad path") : SLICE("internal error"));
        return;
    }
    t->done = http_done;
    t->req = req_ref(r);
    session_set_owner(session, r);
    task_start_later(t, 1);
}
