/* req.c - the request object: copy of the request, fields on demand, token and json. */
#include "script/req.h"

#include "base/text.h"
#include "base/utf8.h"
#include "script/headers.h"
#include "script/json.h"
#include "script/reject.h"
#include "script/shape.h"

#include <lauxlib.h>
#include <stddef.h>
#include <string.h>

static const char req_type[] = "moontide.req";

/* ---- the copy ---- */

static size_t text_size(const struct session_request *r, const struct route_params *params)
{
    const struct http_request *h = r->http;
    size_t n = h->method.len + h->path.len + h->query.len + h->host.len + r->body.len;

    for (size_t i = 0; i < params->count; i++)
        n += params->items[i].name.len + params->items[i].value.len;
    for (size_t i = 0; i < h->header_count; i++)
        n += h->headers[i].name.len + h->headers[i].value.len;
    return n;
}

static struct slice keep(char **at, struct slice text)
{
    struct slice kept = {text.data ? *at : NULL, text.len};

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return kept;
}

static size_t tls_size(const struct session_tls *tls)
{
    return slice_of(tls->version).len + slice_of(tls->cipher).len + slice_of(tls->sni).len;
}

/* One block: the parsed head without unused header places, then every text. */
static int copy_request(struct req *r, const struct session_request *from, const struct route_params *params)
{
    const struct http_request *h = from->http;
    size_t fixed = offsetof(struct http_request, headers) + h->header_count * sizeof(h->headers[0]);
    struct slice ip = session_peer(r->session);
    struct session_tls tls = {0};
    struct http_request *copy;
    char *at;

    if (!session_tls(r->session, &tls))
        tls = (struct session_tls){0};
    copy = mem_alloc(fixed + text_size(from, params) + ip.len + tls_size(&tls));
    if (!copy)
        return MT_ENOMEM;
    memcpy(copy, h, fixed);
    r->http = copy;
    at = (char *)copy + fixed;
    copy->method = keep(&at, h->method);
    copy->path = copy->target = keep(&at, h->path);
    copy->query = keep(&at, h->query);
    copy->host = keep(&at, h->host);
    for (size_t i = 0; i < h->header_count; i++) {
        copy->headers[i].name = keep(&at, h->headers[i].name);
        copy->headers[i].value = keep(&at, h->headers[i].value);
    }
    r->params.count = params->count;
    for (size_t i = 0; i < params->count; i++) {
        r->params.items[i].name = keep(&at, params->items[i].name); /* the pattern belongs to a version */
        r->params.items[i].value = keep(&at, params->items[i].value);
    }
    r->body = keep(&at, from->body);
    r->ip = keep(&at, ip);
    r->tls_version = keep(&at, slice_of(tls.version));
    r->tls_cipher = keep(&at, slice_of(tls.cipher));
    r->tls_sni = keep(&at, slice_of(tls.sni));
    return 0;
}

/* 0, also without one, or MT_ENOMEM. */
static int copy_client(struct req *r)
{
    int rc = session_client(r->session, &r->client);

    return rc == MT_ENOT_FOUND ? 0 : rc;
}

int req_decode_path(struct slice raw, struct buf *out)
{
    int rc = text_unpercent(out, raw, false);

    if (rc == 0 && out->len && (!utf8_valid(out->data, out->len) || memchr(out->data, '\0', out->len)))
        return MT_EMALFORMED;
    return rc;
}

struct req *req_create(struct script *s, struct session *session, const struct session_request *from, const struct level *level,
                       const struct route_params *params, int *status)
{
    struct req *r = mem_zalloc(1, sizeof(*r));
    int rc = MT_ENOMEM;

    if (r) {
        r->owner_kind = OWNER_REQ;
        r->script = s;
        r->refs = 1;
        r->session = session;
        r->level = level;
        r->upgrade = from->upgrade;
        r->secure = from->secure;
        r->object_ref = LUA_NOREF;
        rc = copy_request(r, from, params);
        if (rc == 0)
            rc = copy_client(r);
        if (rc == 0)
            rc = req_decode_path(r->http->path, &r->path);
    }
    *status = rc == 0 ? 0 : rc == MT_EMALFORMED ? 400 : 500;
    if (rc != 0 && r)
        req_unref(r);
    return rc == 0 ? r : NULL;
}

struct req *req_ref(struct req *r)
{
    r->refs++;
    return r;
}

int req_set_route(struct req *r, const struct level *level, const struct route_params *params)
{
    size_t size = 1;
    char *names, *at;

    for (size_t i = 0; i < params->count; i++)
        size += params->items[i].name.len;
    names = at = mem_alloc(size);
    if (!names)
        return MT_ENOMEM;
    mem_free(r->names);
    r->names = names;
    r->level = level;
    r->params.count = params->count;
    for (size_t i = 0; i < params->count; i++)
        r->params.items[i] = (struct route_param){keep(&at, params->items[i].name), params->items[i].value};
    return 0;
}

void req_unref(struct req *r)
{
    if (--r->refs > 0)
        return;
    session_client_fini(&r->client);
    mem_free(r->names);
    mem_free(r->http);
    buf_fini(&r->path);
    buf_fini(&r->accept.user);
    buf_fini(&r->accept.protocol);
    buf_fini(&r->accept.headers);
    buf_fini(&r->head);
    mem_free(r);
}

void req_fill_about(const struct req *r, struct script_about *out)
{
    out->about.peer = r->ip;
    out->about.path = buf_slice(&r->path);
}

int req_decode_params(const struct route_params *raw, struct peer_param *out, struct buf *memory)
{
    size_t ends[ROUTE_PARTS_MAX], start = 0;

    for (size_t i = 0; i < raw->count; i++) {
        int rc = req_decode_path(raw->items[i].value, memory);

        if (rc != 0)
            return rc;
        ends[i] = memory->len;
    }
    for (size_t i = 0; i < raw->count; i++) { /* the memory does not move any more */
        out[i].name = raw->items[i].name;
        out[i].value = ends[i] > start ? (struct slice){(const char *)memory->data + start, ends[i] - start} : SLICE("");
        start = ends[i];
    }
    return 0;
}

/* ---- fields ---- */

static void push_slice(lua_State *L, struct slice s)
{
    if (s.data)
        lua_pushlstring(L, s.data, s.len);
    else
        lua_pushnil(L);
}

static void put_decoded(lua_State *L, struct buf *memory, struct slice text)
{
    buf_clear(memory);
    if (text_unpercent(memory, text, true) == 0)
        lua_pushlstring(L, memory->len ? (const char *)memory->data : "", memory->len);
    else
        lua_pushlstring(L, text.data, text.len); /* as it came: better than nothing */
}

void req_push_query(lua_State *L, struct slice raw)
{
    struct buf *memory = &script_of(L)->scratch; /* of the script, so that a raise loses nothing */
    struct slice name, value;

    lua_newtable(L);
    while (http_next_arg(&raw, &name, &value)) {
        put_decoded(L, memory, name);
        put_decoded(L, memory, value);
        lua_rawset(L, -3);
    }
}

static void push_method(lua_State *L, struct req *r)
{
    push_slice(L, r->http->method);
}
static void push_path(lua_State *L, struct req *r)
{
    lua_pushlstring(L, r->path.len ? (const char *)r->path.data : "", r->path.len);
}
static void push_query(lua_State *L, struct req *r)
{
    req_push_query(L, r->http->query);
}
static void push_ip(lua_State *L, struct req *r)
{
    push_slice(L, r->ip);
}
static void push_origin(lua_State *L, struct req *r)
{
    push_slice(L, http_find(r->http, SLICE("origin")));
}
static void push_body(lua_State *L, struct req *r)
{
    lua_pushlstring(L, r->body.len ? r->body.data : "", r->body.len);
}

static void push_params(lua_State *L, struct req *r)
{
    struct buf *memory = &script_of(L)->scratch;
    struct peer_param params[ROUTE_PARTS_MAX];

    lua_newtable(L);
    buf_clear(memory);
    if (req_decode_params(&r->params, params, memory) != 0)
        return; /* the path was decoded whole before: only memory can be missing */
    for (size_t i = 0; i < r->params.count; i++) {
        push_slice(L, params[i].name);
        push_slice(L, params[i].value);
        lua_rawset(L, -3);
    }
}

static void push_headers(lua_State *L, struct req *r)
{
    headers_push(L, r->http->header_count);
    for (size_t i = 0; i < r->http->header_count; i++)
        headers_add(L, r->http->headers[i].name, r->http->headers[i].value);
}

static void push_cookies(lua_State *L, struct req *r)
{
    lua_newtable(L);
    for (size_t i = 0; i < r->http->header_count; i++) {
        struct slice rest = r->http->headers[i].value, name, value;

        if (!slice_is_nocase(r->http->headers[i].name, SLICE("cookie")))
            continue;
        while (http_next_cookie(&rest, &name, &value)) {
            push_slice(L, name);
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -3) == LUA_TNIL) { /* the first of a name is the one of the nearest path */
                lua_pop(L, 1);
                push_slice(L, value);
                lua_rawset(L, -3);
            } else {
                lua_pop(L, 2);
            }
        }
    }
}

/* Next subprotocol that the client lists, over all its header lines. *at and *rest start at 0 and empty. */
static bool next_protocol(const struct http_request *h, size_t *at, struct slice *rest, struct slice *token)
{
    while (!slice_next(rest, ',', token)) {
        while (*at < h->header_count && !slice_is_nocase(h->headers[*at].name, SLICE("sec-websocket-protocol")))
            (*at)++;
        if (*at == h->header_count)
            return false;
        *rest = h->headers[(*at)++].value;
    }
    return true;
}

static void push_protocols(lua_State *L, struct req *r)
{
    struct slice rest = {0}, token;
    size_t at = 0;

    lua_newtable(L);
    json_mark_array(L);
    for (lua_Integer i = 1; next_protocol(r->http, &at, &rest, &token); i++) {
        push_slice(L, token);
        lua_rawseti(L, -2, i);
    }
}

/* Sets a text of the table on top of the stack; NULL leaves it out. */
static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* Pushes the list of alternative names. */
static void push_names(lua_State *L, const struct buf *names)
{
    const char *at = (const char *)names->data, *end = at + names->len;

    lua_newtable(L);
    json_mark_array(L);
    for (lua_Integer i = 1; at < end; i++, at += strlen(at) + 1) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, i);
    }
}

static void push_client(lua_State *L, const struct session_client *c)
{
    lua_createtable(L, 0, 7);
    set_text(L, "cn", c->cn);
    set_text(L, "subject", c->subject);
    set_text(L, "issuer", c->issuer);
    set_text(L, "fingerprint", c->fingerprint);
    set_text(L, "serial", c->serial);
    lua_pushnumber(L, c->not_after);
    lua_setfield(L, -2, "not_after");
    push_names(L, &c->names);
    lua_setfield(L, -2, "san");
}

static void push_tls(lua_State *L, struct req *r)
{
    if (!r->tls_version.data) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 4);
    push_slice(L, r->tls_version);
    lua_setfield(L, -2, "version");
    push_slice(L, r->tls_cipher);
    lua_setfield(L, -2, "cipher");
    push_slice(L, r->tls_sni);
    lua_setfield(L, -2, "sni");
    if (r->client.subject) {
        push_client(L, &r->client);
        lua_setfield(L, -2, "client");
    }
}

static void push_secure(lua_State *L, struct req *r)
{
    lua_pushboolean(L, r->secure);
}

static void push_nothing(lua_State *L, struct req *r)
{
    lua_pushnil(L); /* user and data are set by on_connect */
}

struct req_field {
    const char *name;
    void (*push)(lua_State *L, struct req *r);
};
static const struct req_field fields[] = {
    {"method", push_method},   {"path", push_path},       {"params", push_params},       {"query", push_query},
    {"headers", push_headers}, {"cookies", push_cookies}, {"protocols", push_protocols}, {"ip", push_ip},
    {"origin", push_origin},   {"tls", push_tls},         {"body", push_body},           {"user", push_nothing},
    {"data", push_nothing},    {"secure", push_secure},
};
enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]) };

static struct req *check_req(lua_State *L)
{
    return *(struct req **)luaL_checkudata(L, 1, req_type);
}

static int refuse_field(lua_State *L, const char *name)
{
    const char *names[FIELD_COUNT + 3] = {"token", "json"};
    const char *near;

    for (size_t i = 0; i < FIELD_COUNT; i++)
        names[i + 2] = fields[i].name;
    near = text_nearest(slice_of(name), names);
    if (near)
        return luaL_error(L, "req has no field '%s'; did you mean %s?", name, near);
    return luaL_error(L, "req has no field '%s'", name);
}

/* Upvalue 1: name -> method, or place of the field in `fields`. User value 1: the fields made so far. */
static int l_req_index(lua_State *L)
{
    struct req *r = check_req(L);
    const char *name = luaL_checkstring(L, 2);
    int type;

    lua_settop(L, 2);
    lua_getiuservalue(L, 1, 1); /* req, name, made */
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 3) != LUA_TNIL)
        return 1;
    lua_pushvalue(L, 2);
    type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TFUNCTION)
        return 1;
    if (type == LUA_TNIL)
        return refuse_field(L, name);
    fields[lua_tointeger(L, -1)].push(L, r);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 3);
    return 1;
}

static int l_req_newindex(lua_State *L)
{
    return luaL_error(L, "req.%s cannot be set; return { data = ... } from on_connect", luaL_tolstring(L, 2, NULL));
}

static int l_req_gc(lua_State *L)
{
    struct req **object = lua_touserdata(L, 1);

    if (*object)
        req_unref(*object);
    *object = NULL;
    return 0;
}

void req_push(lua_State *L, struct req *r)
{
    struct req **object;

    if (r->object_ref != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, r->object_ref);
        return;
    }
    object = lua_newuserdatauv(L, sizeof(*object), 1);
    *object = NULL;
    luaL_setmetatable(L, req_type);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    r->object_ref = script_ref(L);
    *object = req_ref(r);
}

void req_set_field(lua_State *L, int index, const char *name)
{
    lua_getiuservalue(L, index, 1);
    lua_insert(L, -2); /* made, value */
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* ---- req:token ---- */

static bool is_bearer(struct slice value, struct slice *token)
{
    if (value.len < 7 || !slice_is_nocase((struct slice){value.data, 7}, SLICE("bearer ")))
        return false;
    *token = slice_trim((struct slice){value.data + 7, value.len - 7});
    return token->len > 0;
}

/* "bearer.<token>", or what follows the entry "bearer". *named: the second. */
static bool protocol_token(const struct http_request *h, struct slice *token, bool *named)
{
    struct slice rest = {0}, entry;
    bool next = false;
    size_t at = 0;

    while (next_protocol(h, &at, &rest, &entry)) {
        if (next) {
            *token = entry;
            *named = true;
            return true;
        }
        next = slice_is_nocase(entry, SLICE("bearer"));
        if (entry.len > 7 && slice_is_nocase((struct slice){entry.data, 7}, SLICE("bearer."))) {
            *token = (struct slice){entry.data + 7, entry.len - 7};
            return true;
        }
    }
    return false;
}

/* Pushes table[name] of a field of the object at 1 when that is a string that is not empty. */
static bool push_from(lua_State *L, const char *field, const char *name)
{
    size_t len;

    lua_getfield(L, 1, field);
    lua_getfield(L, -1, name);
    return lua_type(L, -1) == LUA_TSTRING && lua_tolstring(L, -1, &len) && len > 0;
}

/* req:token(name = "token") -> string | nil: Authorization header, query, cookie, subprotocol */
static int l_req_token(lua_State *L)
{
    struct req *r = check_req(L);
    const char *name = luaL_optstring(L, 2, "token");
    struct slice token;

    if (is_bearer(http_find(r->http, SLICE("authorization")), &token)) {
        push_slice(L, token);
        return 1;
    }
    if (push_from(L, "query", name) || push_from(L, "cookies", name))
        return 1;
    if (!protocol_token(r->http, &token, &r->accept.bearer))
        token = (struct slice){0};
    push_slice(L, token);
    return 1;
}

/* ---- req:json ---- */

/* req:json(shape) -> value; else the request is answered with 400 and the reason */
static int l_req_json(lua_State *L)
{
    struct req *r = check_req(L);
    struct slice reason;
    const char *why;

    lua_settop(L, 2);
    if (json_decode(L, r->body.len ? r->body.data : "", r->body.len, &why) != 0)
        return reject_raise(L, 400, slice_of(why));
    if (lua_isnil(L, 2))
        return 1;
    shape_compile_cached(L, 2, "req:json"); /* req, shape, value, compiled */
    if (shape_check(L, 4, 3))
        return 1;
    reason.data = lua_tolstring(L, -1, &reason.len);
    return reject_raise(L, 400, reason);
}

static const luaL_Reg req_methods[] = {{"token", l_req_token}, {"json", l_req_json}, {NULL, NULL}};
static const luaL_Reg req_meta[] = {{"__newindex", l_req_newindex}, {"__gc", l_req_gc}, {NULL, NULL}};

void api_req_open(lua_State *L)
{
    luaL_newmetatable(L, req_type);
    luaL_setfuncs(L, req_meta, 0);
    luaL_newlib(L, req_methods);
    for (int i = 0; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, l_req_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
