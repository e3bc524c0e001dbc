/* connect.c - handshakes: route, app.on_connect, the route's on_connect, then the 101 and on_open. It fails closed: what is not
 * clearly a yes is answered with an error status. */
#include "base/text.h"
#include "net/upgrade.h"
#include "script/api_conn.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/pace.h"
#include "script/reject.h"
#include "script/task.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

/* What is needed to accept, from the session's own request or from a req's copy. */
struct offer {
    struct script *script;
    struct session *session;
    const struct http_request *http;
    const struct route_params *params;
    const struct level *level;
    const struct level *app;
    const struct req_accept *accept; /* NULL: no on_connect */
    struct req *req;                 /* NULL: no on_connect */
};

/* ---- accepting ---- */

struct data_job {
    struct peer *peer;
    struct req *req;
};

/* { data = } of on_connect becomes conn.data. */
static int give_data(lua_State *L)
{
    struct data_job *job = lua_touserdata(L, 1);

    req_push(L, job->req);
    if (lua_getfield(L, -1, "data") != LUA_TNIL)
        api_conn_set_data(L, job->peer, lua_gettop(L));
    return 0;
}

static const char *choose_protocol(const struct offer *o)
{
    char **ours = o->level->protocols ? o->level->protocols : o->app->protocols;

    if (o->accept && o->accept->protocol.len)
        return (const char *)o->accept->protocol.data;
    const char *chosen = ours ? upgrade_protocol(o->http, (const char *const *)ours) : NULL;
    /* Browsers fail a connection where none of their list is chosen; the token itself is never said again. */
    return chosen || !o->accept || !o->accept->bearer ? chosen : "bearer";
}

static int make_peer(const struct offer *o, struct conn *c, const char *protocol, struct peer **out)
{
    struct peer_param params[ROUTE_PARTS_MAX];
    struct buf path = {0}, memory = {0};
    struct peer_facts facts = {o->http->path, {0}, o->http->query, slice_of(protocol), params, o->params->count};
    int rc = req_decode_path(o->http->path, &path);

    if (rc == 0)
        rc = req_decode_params(o->params, params, &memory);
    facts.path = buf_slice(&path);
    *out = rc == 0 ? peer_create(o->script, c, o->session, &facts) : NULL;
    buf_fini(&path);
    buf_fini(&memory);
    return rc == 0 && !*out ? MT_ENOMEM : rc;
}

/* Cuts a NUL-terminated text off the front. */
static struct slice next_text(struct slice *rest)
{
    struct slice text = {rest->data, strnlen(rest->data, rest->len)};

    rest->data += text.len + 1;
    rest->len -= text.len + 1;
    return text;
}

static struct session_header *list_headers(const struct req_accept *accept)
{
    struct session_header *headers = mem_zalloc(accept->header_count, sizeof(*headers));
    struct slice rest = buf_slice(&accept->headers);

    for (size_t i = 0; headers && i < accept->header_count; i++) {
        headers[i].name = next_text(&rest);
        headers[i].value = next_text(&rest);
    }
    return headers;
}

/* The 101, with the headers that on_connect gave. */
static int send_accept(const struct offer *o, const char *protocol)
{
    struct session_accept a = {.protocol = protocol};
    struct session_header *headers = NULL;
    int rc;

    a.message_limit = o->level->message_limit ? o->level->message_limit : o->app->message_limit;
    a.messages = o->level->messages.per_second > 0 ? o->level->messages : o->app->messages;
    a.bytes = o->level->bytes.per_second > 0 ? o->level->bytes : o->app->bytes;
    if (o->accept && o->accept->header_count) {
        headers = list_headers(o->accept);
        if (!headers)
            return MT_ENOMEM;
        a.headers = headers;
        a.header_count = o->accept->header_count;
    }
    rc = session_accept(o->session, &a);
    mem_free(headers);
    return rc;
}

static int open_peer(const struct offer *o, struct peer *p, const char *protocol)
{
    struct script *s = o->script;
    int rc = 0;

    if (o->req) {
        struct data_job job = {p, o->req};

        if (script_protect(s, give_data, &job) != LUA_OK) {
            lua_pop(s->L, 1);
            return MT_ENOMEM;
        }
        rc = peer_set_expires(p, o->accept->expires);
    }
    return rc == 0 ? send_accept(o, protocol) : rc;
}

/* Accept the handshake, or answer with an error. */
static void accept_offer(const struct offer *o)
{
    struct slice user = o->accept ? buf_slice(&o->accept->user) : (struct slice){0};
    const char *protocol = choose_protocol(o);
    struct session *session = o->session;
    struct peer *p = NULL;
    struct conn *c = NULL;
    int rc = conn_open(o->script->hub, session, user, &c);

    if (rc == 0)
        rc = make_peer(o, c, protocol, &p);
    if (rc == 0)
        rc = open_peer(o, p, protocol);
    if (rc == 0) {
        dispatch_event(p, &(struct peer_event){.kind = PEER_OPEN});
        return;
    }
    if (p) {
        peer_destroy(p);
    } else if (c) {
        conn_detach(c);
        conn_close(c);
    }
    if (rc == MT_ELIMITED) {
        pace_refuse_handshake(o->script, session, user, o->http->path);
        return;
    }
    if (rc == MT_EMALFORMED) {
        serve_status(session, 400, (struct slice){0}, SLICE("bad path"));
        return;
    }
    if (rc == MT_EINVALID) {
        struct log_about about = {.peer = session_peer(session), .path = o->http->path};

        script_report(o->script, o->script->live, &about, "on_connect", "a header, the protocol or the user cannot be used");
    }
    serve_status(session, 500, (struct slice){0}, SLICE("internal error"));
}

/* ---- what on_connect returns ---- */

static void take_user(lua_State *L, struct req *r)
{
    struct slice user;

    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "on_connect: user: string expected, got %s", luaL_typename(L, -1));
    user.data = lua_tolstring(L, -1, &user.len);
    if (user.len == 0 || user.len > HUB_NAME_MAX)
        luaL_error(L, "on_connect: user: 1 to %d bytes expected", HUB_NAME_MAX);
    buf_clear(&r->accept.user);
    if (buf_add(&r->accept.user, user.data, user.len) != 0)
        luaL_error(L, "not enough memory");
}

static void take_protocol(lua_State *L, struct req *r)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "on_connect: protocol: string expected, got %s", luaL_typename(L, -1));
    if (lua_rawlen(L, -1) == 0 || strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
        luaL_error(L, "on_connect: protocol: one that the client lists expected; nil for none");
    buf_clear(&r->accept.protocol);
    if (buf_add(&r->accept.protocol, lua_tostring(L, -1), lua_rawlen(L, -1) + 1) != 0)
        luaL_error(L, "not enough memory");
}

static void take_expires(lua_State *L, struct req *r)
{
    lua_Number at = lua_tonumber(L, -1);

    if (lua_type(L, -1) != LUA_TNUMBER || isnan(at) || at <= 0)
        luaL_error(L, "on_connect: expires: unix seconds expected");
    r->accept.expires = at;
}

static void take_data(lua_State *L, struct req *r)
{
    if (!lua_istable(L, -1))
        luaL_error(L, "on_connect: data: table expected, got %s", luaL_typename(L, -1));
}

static void take_headers(lua_State *L, struct req *r)
{
    if (!lua_istable(L, -1))
        luaL_error(L, "on_connect: headers: table expected, got %s", luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "on_connect: headers: texts by name expected");
        if (http_is_own_header(slice_of(lua_tostring(L, -2))))
            luaL_error(L, "on_connect: headers: %s: the server writes it", lua_tostring(L, -2));
        if (strlen(lua_tostring(L, -2)) != lua_rawlen(L, -2) || strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
            luaL_error(L, "on_connect: headers: a zero byte");
        if (buf_add(&r->accept.headers, lua_tostring(L, -2), lua_rawlen(L, -2) + 1) != 0 ||
            buf_add(&r->accept.headers, lua_tostring(L, -1), lua_rawlen(L, -1) + 1) != 0)
            luaL_error(L, "not enough memory");
        r->accept.header_count++;
    }
}

struct result_key {
    const char *name;
    void (*take)(lua_State *L, struct req *r); /* the value is on top of the stack */
    bool field;                                /* also seen as req.NAME by the route's on_connect */
};
static const struct result_key result_keys[] = {
    {"user", take_user, true},          {"data", take_data, true},        {"expires", take_expires, false},
    {"protocol", take_protocol, false}, {"headers", take_headers, false}, {NULL, NULL, false},
};

static void refuse_key(lua_State *L, int index)
{
    const char *names[] = {"user", "data", "expires", "protocol", "headers", NULL}, *near, *name;

    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "on_connect: a table with names as keys expected");
    name = lua_tostring(L, index);
    near = text_nearest(slice_of(name), names);
    if (near)
        luaL_error(L, "on_connect: unknown key '%s'; did you mean %s?", name, near);
    luaL_error(L, "on_connect: unknown key '%s'", name);
}

/* The table on top of the stack. The object of the request is at index 2. */
static void take_table(lua_State *L, struct req *r)
{
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const struct result_key *key = result_keys;

        while (key->name && (lua_type(L, -2) != LUA_TSTRING || strcmp(key->name, lua_tostring(L, -2)) != 0))
            key++;
        if (!key->name)
            refuse_key(L, -2);
        key->take(L, r);
        if (key->field) {
            lua_pushvalue(L, -1);
            req_set_field(L, 2, key->name);
        }
    }
}

/* ---- calling: index 1 is the req, index 2 its object ---- */

static int connect_stage(lua_State *L, struct req *r, lua_KContext stage);

/* Takes the two results of an on_connect, which are on top of the stack. */
static void take_results(lua_State *L, struct req *r)
{
    if (lua_isnil(L, -2) && !lua_isnil(L, -1)) {
        struct slice message;

        if (!lua_isstring(L, -1))
            luaL_error(L, "on_connect: nil and a message expected, got nil and a %s", luaL_typename(L, -1));
        message.data = lua_tolstring(L, -1, &message.len);
        reject_raise(L, 403, message);
    }
    lua_pop(L, 1);
    if (lua_istable(L, -1))
        take_table(L, r);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "on_connect: table or nothing expected, got %s", luaL_typename(L, -1));
    lua_settop(L, 2);
}

static int after_stage(lua_State *L, int status, lua_KContext stage)
{
    struct req *r = lua_touserdata(L, 1);

    take_results(L, r);
    return connect_stage(L, r, stage + 1);
}

/* Stage 0 is the app's on_connect, stage 1 the route's. */
static int connect_stage(lua_State *L, struct req *r, lua_KContext stage)
{
    for (; stage < 2; stage++) {
        const struct level *app = &task_of(L)->version->handlers->app;
        int ref = stage == 0 ? app->on_connect : r->level != app ? r->level->on_connect : LUA_NOREF;

        if (ref == LUA_NOREF)
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
        lua_pushvalue(L, 2);
        lua_callk(L, 1, 2, stage, after_stage);
        take_results(L, r);
    }
    return 0;
}

static int run_connect(lua_State *L)
{
    struct req *r = lua_touserdata(L, 1);

    dispatch_route(L, r);
    script_core_begin(r->script);
    req_push(L, r);
    script_core_end(r->script);
    return connect_stage(L, r, 0);
}

/* Whether a reload took the route away while on_connect waited. */
static bool is_lost(const struct req *r, const struct version *v)
{
    struct route_params params;

    return v != r->script->live && !handlers_route(r->script->live->handlers, r->http->path, &params);
}

/* The session is answered: the request has no more to do with it. NULL when the client has gone. */
static struct session *let_go(struct req *r)
{
    struct session *session = r->session;

    r->session = NULL;
    if (session)
        session_set_owner(session, NULL);
    return session;
}

/* on_connect has waited too long. Its <close> variables run at the end of this turn. */
static void on_limit(struct loop_timer *timer)
{
    struct req *r = list_entry(timer, struct req, limit);
    struct session *session = let_go(r);
    struct script_about about = {0};

    req_fill_about(r, &about);
    script_report(r->script, r->deciding->version, &about.about, "on_connect",
                  "it has not decided within connect.timeout, and is ended");
    if (session)
        serve_status(session, 503, (struct slice){0}, SLICE("no decision in time"));
    task_cancel_later(r->deciding);
}

static void connect_done(struct task *t, enum task_end end)
{
    struct req *r = t->arg;
    struct session *session = let_go(r);

    loop_timer_stop(r->script->loop, &r->limit);
    r->deciding = NULL;
    if (session) {
        if (end == TASK_RETURNED && is_lost(r, t->version))
            serve_status(session, 404, (struct slice){0}, SLICE("not found"));
        else if (end == TASK_RETURNED)
            accept_offer(
                &(struct offer){r->script, session, r->http, &r->params, r->level, &t->version->handlers->app, &r->accept, r});
        else if (end == TASK_REJECTED)
            serve_status(session, t->reject.status, buf_slice(&t->reject.headers), buf_slice(&t->reject.message));
        else if (end == TASK_CANCELLED)
            serve_status(session, 503, (struct slice){0}, SLICE("not now")); /* it was too old, or the server stops */
        else
            serve_status(session, 500, (struct slice){0}, SLICE("internal error"));
    }
    script_unref(r->script->L, &r->object_ref);
    req_unref(r);
}

void connect_request(struct script *s, struct session *session, const struct session_request *request)
{
    const struct handlers *h = s->live->handlers;
    struct route_params params;
    const struct level *level = handlers_route(h, request->http->path, &params);
    struct task *t;
    struct req *r;
    int status;

    script_count_event(s);
    if (!level) {
        serve_status(session, 404, (struct slice){0}, SLICE("not found"));
        return;
    }
    if (h->app.on_connect == LUA_NOREF && level->on_connect == LUA_NOREF) {
        accept_offer(&(struct offer){s, session, request->http, &params, level, &h->app, NULL, NULL});
        return;
    }
    r = req_create(s, session, request, level, &params, &status);
    t = r ? dispatch_task(s, TASK_EVENT, run_connect, r, "on_connect") : NULL;
    if (!t) {
        if (r)
            req_unref(r);
        serve_status(session, r ? 500 : status, (struct slice){0}, status == 400 ? SLICE("bad path") : SLICE("internal error"));
        return;
    }
    t->done = connect_done;
    t->req = req_ref(r);
    r->deciding = t;
    loop_timer_init(&r->limit, on_limit);
    if (s->config.connect_ms)
        loop_timer_start(s->loop, &r->limit, s->config.connect_ms);
    session_set_owner(session, r);
    task_start_later(t, 1);
}
