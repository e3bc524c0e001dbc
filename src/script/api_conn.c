/* api_conn.c - conn: fields, and the methods send send_binary close join leave rooms request drain
 * spawn; and tide.conns.
 *
 * conn:send is the hottest path of the API. So a conn is recognised by a word of its own memory instead of by its metatable, one
 * lookup in a table of interned names finds method or field, and text goes to the outbox without a copy on our side.
 */
#include "script/api_conn.h"

#include "base/err.h"
#include "base/text.h"
#include "script/api_help.h"
#include "script/json.h"
#include "script/pace.h"
#include "script/peer.h"
#include "script/req.h"
#include "script/request.h"
#include "script/send.h"
#include "script/task.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#define CONN_TYPE "moontide.conn"

static const char conn_magic = 0; /* its address is the first word of every conn userdata, and of no other */

struct conn_handle {
    const void *magic;
    conn_id id;
};

enum conn_field {
    CONN_ID,
    CONN_IP,
    CONN_PATH,
    CONN_PARAMS,
    CONN_QUERY,
    CONN_PROTOCOL,
    CONN_USER,
    CONN_DATA,
    CONN_EXPIRES,
    CONN_LATENCY,
    CONN_BUFFERED,
    CONN_RESUMED
};

static const char *const field_names[] = {"id",   "ip",      "path",    "params",   "query",   "protocol", "user",
                                          "data", "expires", "latency", "buffered", "resumed", NULL};
/* For suggestions: fields, then methods. */
static const char *const all_names[] = {"id",      "ip",      "path",     "params",  "query",       "protocol", "user",  "data",
                                        "expires", "latency", "buffered", "resumed", "send_binary", "send",     "close", "join",
                                        "leave",   "rooms",   "drain",    "spawn",   "request",     NULL};

bool api_conn_test(lua_State *L, int index, conn_id *id)
{
    const struct conn_handle *h = lua_touserdata(L, index);

    if (h == NULL || lua_rawlen(L, index) != sizeof(*h) || h->magic != &conn_magic)
        return false;
    *id = h->id;
    return true;
}

static conn_id check_conn(lua_State *L)
{
    conn_id id = 0;

    if (!api_conn_test(L, 1, &id))
        luaL_typeerror(L, 1, "conn");
    return id;
}

/* The open connection that a method may act on; NULL when it is closed. */
static struct peer *find_open(lua_State *L, conn_id id)
{
    struct peer *p = peer_find(script_of(L), id);

    return p != NULL && !p->closed && p->session != NULL ? p : NULL;
}

static int push_closed(lua_State *L)
{
    return script_push_result(L, MT_ECLOSED);
}

/* ---- methods ---- */

static int send_message(lua_State *L, enum frame_op op, const char *function)
{
    conn_id id = check_conn(L);
    struct outbox_opts opts;
    struct send_args args;

    send_check(L, 2, op, function, &args);
    struct conn *c = conn_find(script_hub(L), id);
    if (c == NULL)
        return push_closed(L);
    if ((args.except.conn_count > 0 || args.except.user_count > 0) && send_excepts(&args, c))
        return script_push_result(L, 0);
    return script_push_result(L, conn_send(c, op, args.data.data, args.data.len, send_options(&args, &opts)));
}

/* conn:send(text or table, opts) -> ok */
static int l_conn_send(lua_State *L)
{
    return send_message(L, FRAME_TEXT, "conn:send");
}

/* conn:send_binary(bytes, opts) -> ok */
static int l_conn_send_binary(lua_State *L)
{
    return send_message(L, FRAME_BINARY, "conn:send_binary");
}

/* conn:close(code=1000, reason) -> ok */
static int l_conn_close(lua_State *L)
{
    conn_id id = check_conn(L);
    struct close_args args;

    send_check_close(L, 2, "conn:close", &args);
    struct peer *p = find_open(L, id);
    return p != NULL ? script_push_result(L, session_close(p->session, args.code, args.reason)) : push_closed(L);
}

/* conn:join(room, info) -> ok */
static int l_conn_join(lua_State *L)
{
    conn_id id = check_conn(L);
    struct slice room = send_check_room(L, 2);

    script_check_acting(L, "conn:join");
    struct peer *p = find_open(L, id);
    if (p == NULL)
        return push_closed(L);
    struct blob *info = send_take_info(L, 3, "conn:join");
    int err = room_join(p->conn, room, info);
    blob_unref(info);
    if (err == MT_EFULL)
        return script_push_failure(L, "the connection is in too many rooms", err_name(err));
    return script_push_result(L, err);
}

/* conn:leave(room) -> whether it was a member */
static int l_conn_leave(lua_State *L)
{
    conn_id id = check_conn(L);
    struct slice room = send_check_room(L, 2);

    script_check_acting(L, "conn:leave");
    struct peer *p = find_open(L, id);
    if (p == NULL)
        return push_closed(L);
    lua_pushboolean(L, room_leave(p->conn, room));
    return 1;
}

static int compare_slices(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* conn:rooms() -> sorted list of names; also in on_close */
static int l_conn_rooms(lua_State *L)
{
    struct peer *p = peer_find(script_of(L), check_conn(L));
    struct membership *m = NULL;
    const struct room *r;
    size_t count = 0;

    if (p == NULL)
        return push_closed(L);
    /* One walk: other workers may empty rooms at any moment, and a second one would find fewer. */
    struct slice *names = lua_newuserdatauv(L, (p->conn->room_count + (size_t)1) * sizeof(*names), 0);
    while ((r = conn_next_room(p->conn, &m)) != NULL)
        names[count++] = room_name(r);
    qsort(names, count, sizeof(*names), compare_slices);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, names[i].data, names[i].len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_mark_array(L);
    return 1;
}

/* conn:request(table, {timeout=10}) -> data | nil, message, name; waits for the client's answer */
static int l_conn_request(lua_State *L)
{
    return request_ask(L, &(struct whom){check_conn(L), SLICE("")}, "conn:request", MT_ECLOSED);
}

/* conn:drain(timeout) -> ok; waits until the outbox is empty */
static int l_conn_drain(lua_State *L)
{
    conn_id id = check_conn(L);
    int64_t ms = task_check_ms(L, 2, -1);
    struct peer *p = find_open(L, id);

    return p != NULL ? peer_drain(L, p, ms) : push_closed(L);
}

/* conn:spawn(fn, ...) -> task, cancelled when the connection closes */
static int l_conn_spawn(lua_State *L)
{
    conn_id id = check_conn(L);

    luaL_checktype(L, 2, LUA_TFUNCTION);
    script_check_acting(L, "conn:spawn");
    struct peer *p = find_open(L, id);
    return p != NULL ? task_push_spawned(L, 2, id, &p->tasks) : push_closed(L);
}

static const luaL_Reg conn_methods[] = {{"send", l_conn_send},   {"send_binary", l_conn_send_binary},
                                        {"close", l_conn_close}, {"join", l_conn_join},
                                        {"leave", l_conn_leave}, {"rooms", l_conn_rooms},
                                        {"drain", l_conn_drain}, {"request", l_conn_request},
                                        {"spawn", l_conn_spawn}, {NULL, NULL}};

/* ---- fields ---- */

static void push_slice(lua_State *L, struct slice s)
{
    if (s.len > 0)
        lua_pushlstring(L, s.data, s.len);
    else
        lua_pushnil(L);
}

static void push_params(lua_State *L, const struct peer *p)
{
    lua_createtable(L, 0, (int)p->param_count);
    for (size_t i = 0; i < p->param_count; i++) {
        lua_pushlstring(L, p->params[i].name.data, p->params[i].name.len);
        lua_pushlstring(L, p->params[i].value.data, p->params[i].value.len);
        lua_rawset(L, -3);
    }
}

/* conn.data: made when it is first touched. It is the userdata's, so it stays when the connection has gone. A chunk that loads
 * cannot have it at all, because nobody could see what it writes there. */
static void push_data(lua_State *L)
{
    script_check_acting(L, "conn.data");
    if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE)
        return;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
}

/* What only an open connection has: the outbox and the last ping. */
static void push_session_field(lua_State *L, const struct peer *p, enum conn_field field)
{
    double latency = p->session != NULL ? session_latency(p->session) : -1;

    if (field == CONN_BUFFERED)
        lua_pushinteger(L, p->session != NULL ? (lua_Integer)session_buffered(p->session) : 0);
    else if (latency >= 0)
        lua_pushnumber(L, latency);
    else
        lua_pushnil(L);
}

static void push_peer_field(lua_State *L, const struct peer *p, enum conn_field field)
{
    switch (field) {
    case CONN_IP:
        push_slice(L, p->ip);
        break;
    case CONN_PATH:
        push_slice(L, p->path);
        break;
    case CONN_PARAMS:
        push_params(L, p);
        break;
    case CONN_QUERY:
        req_push_query(L, p->query);
        break;
    case CONN_PROTOCOL:
        push_slice(L, p->protocol);
        break;
    case CONN_USER:
        push_slice(L, conn_user(p->conn));
        break;
    case CONN_EXPIRES:
        if (p->conn->expires > 0)
            lua_pushnumber(L, p->conn->expires);
        else
            lua_pushnil(L);
        break;
    case CONN_RESUMED:
        lua_pushboolean(L, 0); /* sessions are not resumed in this version */
        break;
    default:
        push_session_field(L, p, field);
    }
}

static int push_field(lua_State *L, conn_id id, enum conn_field field)
{
    char name[CONN_NAME_SIZE];
    const struct peer *p;

    if (field == CONN_ID) {
        conn_name(id, name);
        lua_pushstring(L, name);
    } else if (field == CONN_DATA) {
        push_data(L);
    } else if ((p = peer_find(script_of(L), id)) == NULL) {
        lua_pushnil(L);
    } else {
        push_peer_field(L, p, field);
    }
    return 1;
}

static int raise_no_field(lua_State *L)
{
    struct slice word;

    word.data = luaL_tolstring(L, 2, &word.len);
    const char *near = text_nearest(word, all_names);
    if (near != NULL)
        return luaL_error(L, "conn has no field '%s'; did you mean '%s'?", word.data, near);
    return luaL_error(L, "conn has no field '%s'; your own go in conn.data", word.data);
}

/* conn.NAME. Upvalue: name -> method, or number of a field. */
static int l_conn_index(lua_State *L)
{
    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
    case LUA_TFUNCTION:
        return 1;
    case LUA_TNUMBER:
        return push_field(L, check_conn(L), (enum conn_field)lua_tointeger(L, -1));
    default:
        return raise_no_field(L);
    }
}

static int set_user(lua_State *L, conn_id id)
{
    struct slice user = lua_isnil(L, 3) ? SLICE("") : api_check_name(L, 3, "conn.user", HUB_NAME_MAX);
    struct peer *p = find_open(L, id);

    script_check_acting(L, "conn.user");
    int rc = p != NULL ? conn_set_user(p->conn, user) : 0;
    if (rc == MT_ELIMITED)
        pace_refuse_user(p, user);
    else if (rc != 0)
        return luaL_error(L, "conn.user: out of memory");
    return 0;
}

static int set_expires(lua_State *L, conn_id id)
{
    lua_Number at = lua_isnil(L, 3) ? 0 : luaL_checknumber(L, 3);
    struct peer *p = find_open(L, id);

    script_check_acting(L, "conn.expires");
    luaL_argcheck(L, lua_isnil(L, 3) || (isfinite(at) && at > 0), 3, "conn.expires: unix seconds above 0, or nil for never");
    if (p != NULL && peer_set_expires(p, at) != 0)
        return luaL_error(L, "conn.expires: out of memory");
    return 0;
}

/* conn.NAME = value. Upvalue as above. On a closed connection it does nothing. */
static int l_conn_newindex(lua_State *L)
{
    conn_id id = check_conn(L);

    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TNIL)
        return raise_no_field(L);
    if (type == LUA_TNUMBER && lua_tointeger(L, -1) == CONN_USER)
        return set_user(L, id);
    if (type == LUA_TNUMBER && lua_tointeger(L, -1) == CONN_EXPIRES)
        return set_expires(L, id);
    return luaL_error(L, "conn.%s cannot be set; your own fields go in conn.data", lua_tostring(L, 2));
}

static int l_conn_tostring(lua_State *L)
{
    conn_id id = check_conn(L);
    const struct peer *p = find_open(L, id);
    char name[CONN_NAME_SIZE];

    conn_name(id, name);
    if (p == NULL) {
        lua_pushfstring(L, "conn %s (closed)", name);
        return 1;
    }
    struct slice user = conn_user(p->conn), ip = p->ip;
    if (user.len > 0)
        lua_pushfstring(L, "conn %s (%s, %s)", name, lua_pushlstring(L, user.data, user.len),
                        lua_pushlstring(L, ip.data, ip.len));
    else
        lua_pushfstring(L, "conn %s (%s)", name, lua_pushlstring(L, ip.data, ip.len));
    return 1;
}

/* ---- the userdata ---- */

void api_conn_push(lua_State *L, conn_id id)
{
    struct peer *p = peer_find(script_of(L), id);

    luaL_checkstack(L, 4, "conn");
    if (p != NULL && p->ref != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref);
        return;
    }
    struct conn_handle *h = lua_newuserdatauv(L, sizeof(*h), 1);
    h->magic = &conn_magic;
    h->id = id;
    luaL_setmetatable(L, CONN_TYPE);
    if (p != NULL) {
        lua_pushvalue(L, -1);
        p->ref = script_ref(L);
    }
}

void api_conn_set_data(lua_State *L, struct peer *p, int index)
{
    index = lua_absindex(L, index);
    api_conn_push(L, p->conn->id);
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    lua_pop(L, 1);
}

/* ---- tide.conns ---- */

/* The iterator. Upvalue: where the walk is. Connections may come and go between two steps. */
static int l_conns_next(lua_State *L)
{
    uint32_t at = (uint32_t)lua_tointeger(L, lua_upvalueindex(1));
    const struct conn *c;

    while ((c = conn_next(script_hub(L), &at)) != NULL) {
        const struct peer *p = c->owner;
        if (p == NULL || p->closed)
            continue;
        lua_pushinteger(L, at);
        lua_replace(L, lua_upvalueindex(1));
        api_conn_push(L, c->id);
        return 1;
    }
    lua_pushinteger(L, at);
    lua_replace(L, lua_upvalueindex(1));
    lua_pushnil(L);
    return 1;
}

/* tide.conns() -> iterator of the open connections of this worker */
static int l_tide_conns(lua_State *L)
{
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_conns_next, 1);
    return 1;
}

/* Push name -> method, or number of a field. */
static void push_names(lua_State *L)
{
    luaL_newlib(L, conn_methods);
    for (int i = 0; field_names[i] != NULL; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
}

void api_conn_open(lua_State *L)
{
    luaL_newmetatable(L, CONN_TYPE);
    push_names(L);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_conn_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, l_conn_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, l_conn_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "conn");
    lua_setfield(L, -2, "__name");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_conn_fill(lua_State *L)
{
    lua_pushcfunction(L, l_tide_conns);
    lua_setfield(L, -2, "conns");
}
