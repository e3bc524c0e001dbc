/* api_user.c - tide.user(id), tide.conn(id) and tide.broadcast.
 *
 * Both objects hold an id and look for connections at each call, because people come and go. Where nobody is, the
 * methods give nil, "nobody there", "offline".
 */
#include "script/api_user.h"

#include "base/err.h"
#include "script/api_help.h"
#include "script/request.h"
#include "script/send.h"
#include <lauxlib.h>

#define USER_TYPE "moontide.user"
#define REMOTE_TYPE "moontide.conn.remote"

/* Any text may be asked for: it often comes from clients. What nobody can be called is kept as an empty id. */
struct user_handle {
    const void *magic; /* &user_magic */
    size_t len;
    char id[]; /* not terminated */
};

struct remote_handle {
    const void *magic; /* &remote_magic */
    conn_id id;        /* 0: no connection is called that */
};

static const char user_magic = 0, remote_magic = 0; /* their addresses are the first words of the userdata */

static struct slice check_user(lua_State *L)
{
    const struct user_handle *h = luaL_checkudata(L, 1, USER_TYPE);

    return (struct slice){h->id, h->len};
}

static struct whom whom_user(lua_State *L)
{
    return (struct whom){0, check_user(L)};
}

/* Id 0 for what no connection is called; as no user is called "", that is nobody. */
static struct whom whom_conn(lua_State *L)
{
    const struct remote_handle *h = luaL_checkudata(L, 1, REMOTE_TYPE);

    return (struct whom){h->id, SLICE("")};
}

bool api_user_test(lua_State *L, int index, struct slice *user, conn_id *conn)
{
    const struct user_handle *u = lua_touserdata(L, index);
    size_t size = lua_rawlen(L, index);

    if (u == NULL || size < sizeof(struct remote_handle))
        return false;
    if (u->magic == &user_magic)
        *user = (struct slice){u->id, u->len};
    else if (u->magic == &remote_magic)
        *conn = ((const struct remote_handle *)u)->id;
    return u->magic == &user_magic || u->magic == &remote_magic;
}

/* ---- what both do ---- */

/* The message goes to connections of any worker in one packet. */
static int send_packet(lua_State *L, const struct whom *w, const struct send_args *args)
{
    struct outbox_opts opts;
    struct packet *p = packet_create(args->op, args->data.data, args->data.len);
    int err = p != NULL ? whom_send(script_hub(L), w, p, send_options(args, &opts), &args->except) : MT_ENOMEM;

    packet_unref(p);
    return script_push_result(L, err);
}

static int push_close(lua_State *L, const struct whom *w, const char *function)
{
    struct close_args args;

    send_check_close(L, 2, function, &args);
    return script_push_result(L, whom_close(script_hub(L), w, args.code, args.reason));
}

static int push_join(lua_State *L, const struct whom *w, const char *function)
{
    struct slice room = send_check_room(L, 2);

    script_check_acting(L, function);
    struct blob *info = send_take_info(L, 3, function);
    int err = whom_join(script_hub(L), w, room, info);
    blob_unref(info);
    return script_push_result(L, err);
}

static int push_leave(lua_State *L, const struct whom *w, const char *function)
{
    struct slice room = send_check_room(L, 2);

    script_check_acting(L, function);
    int left = whom_leave(script_hub(L), w, room);
    if (left < 0)
        return script_push_result(L, left);
    lua_pushboolean(L, left);
    return 1;
}

/* ---- user ---- */

static int user_message(lua_State *L, enum frame_op op, const char *function)
{
    struct whom w = whom_user(L);
    struct send_args args;

    send_check(L, 2, op, function, &args);
    if (user_count(script_hub(L), w.user) == 0)
        return script_push_result(L, MT_EOFFLINE);
    return send_packet(L, &w, &args);
}

/* user:send(text or table, opts) -> ok */
static int l_user_send(lua_State *L)
{
    return user_message(L, FRAME_TEXT, "user:send");
}

/* user:send_binary(bytes, opts) -> ok */
static int l_user_send_binary(lua_State *L)
{
    return user_message(L, FRAME_BINARY, "user:send_binary");
}

/* user:close(code=1000, reason) -> ok */
static int l_user_close(lua_State *L)
{
    struct whom w = whom_user(L);

    return push_close(L, &w, "user:close");
}

/* user:join(room, info) -> ok */
static int l_user_join(lua_State *L)
{
    struct whom w = whom_user(L);

    return push_join(L, &w, "user:join");
}

/* user:leave(room) -> whether one of the connections was a member | nil, message, name */
static int l_user_leave(lua_State *L)
{
    struct whom w = whom_user(L);

    return push_leave(L, &w, "user:leave");
}

/* user:request(table, {timeout=10}) -> data | nil, message, name; waits for the first reply */
static int l_user_request(lua_State *L)
{
    struct whom w = whom_user(L);

    return request_ask(L, &w, "user:request", MT_EOFFLINE);
}

/* user:count() -> open connections */
static int l_user_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)user_count(script_hub(L), check_user(L)));
    return 1;
}

/* ---- conn, from anywhere ---- */

static int remote_message(lua_State *L, enum frame_op op, const char *function)
{
    struct whom w = whom_conn(L);
    struct outbox_opts opts;
    struct send_args args;

    send_check(L, 2, op, function, &args);
    struct conn *c = conn_find(script_hub(L), w.conn);
    if (c == NULL || c->session == NULL)
        return send_packet(L, &w, &args);
    if (send_excepts(&args, c))
        return script_push_result(L, 0);
    int err = conn_send(c, op, args.data.data, args.data.len, send_options(&args, &opts));
    return script_push_result(L, err == MT_ECLOSED ? MT_EOFFLINE : err);
}

static int l_remote_send(lua_State *L)
{
    return remote_message(L, FRAME_TEXT, "conn:send");
}

static int l_remote_send_binary(lua_State *L)
{
    return remote_message(L, FRAME_BINARY, "conn:send_binary");
}

static int l_remote_close(lua_State *L)
{
    struct whom w = whom_conn(L);

    return push_close(L, &w, "conn:close");
}

static int l_remote_join(lua_State *L)
{
    struct whom w = whom_conn(L);

    return push_join(L, &w, "conn:join");
}

static int l_remote_leave(lua_State *L)
{
    struct whom w = whom_conn(L);

    return push_leave(L, &w, "conn:leave");
}

static int l_remote_request(lua_State *L)
{
    struct whom w = whom_conn(L);

    return request_ask(L, &w, "conn:request", MT_EOFFLINE);
}

static const luaL_Reg user_methods[] = {
    {"send", l_user_send},   {"send_binary", l_user_send_binary}, {"close", l_user_close}, {"join", l_user_join},
    {"leave", l_user_leave}, {"request", l_user_request},         {"count", l_user_count}, {NULL, NULL}};
static const luaL_Reg remote_methods[] = {{"send", l_remote_send},
                                          {"send_binary", l_remote_send_binary},
                                          {"close", l_remote_close},
                                          {"join", l_remote_join},
                                          {"leave", l_remote_leave},
                                          {"request", l_remote_request},
                                          {NULL, NULL}};

/* ---- tide ---- */

/* tide.user(id) -> user */
static int l_tide_user(lua_State *L)
{
    struct slice id = api_check_string(L, 1);
    size_t len = id.len <= HUB_NAME_MAX ? id.len : 0;
    struct user_handle *h = lua_newuserdatauv(L, sizeof(*h) + len, 0);

    h->magic = &user_magic;
    h->len = len;
    memcpy(h->id, id.data, len);
    luaL_setmetatable(L, USER_TYPE);
    return 1;
}

/* tide.conn(id) -> the connection of that id, wherever it is */
static int l_tide_conn(lua_State *L)
{
    struct slice id = api_check_string(L, 1);
    struct remote_handle *h = lua_newuserdatauv(L, sizeof(*h), 0);

    h->magic = &remote_magic;
    h->id = conn_parse(id);
    luaL_setmetatable(L, REMOTE_TYPE);
    return 1;
}

/* tide.broadcast(text or table, opts) -> ok: to every connection */
static int l_tide_broadcast(lua_State *L)
{
    struct outbox_opts opts;
    struct send_args args;

    send_check(L, 1, FRAME_TEXT, "tide.broadcast", &args);
    struct packet *p = packet_create(FRAME_TEXT, args.data.data, args.data.len);
    if (p == NULL)
        return script_push_result(L, MT_ENOMEM);
    int err = hub_broadcast(script_hub(L), p, send_options(&args, &opts), &args.except);
    packet_unref(p);
    return script_push_result(L, err);
}

static const luaL_Reg tide_functions[] = {
    {"user", l_tide_user}, {"conn", l_tide_conn}, {"broadcast", l_tide_broadcast}, {NULL, NULL}};

static void open_type(lua_State *L, const char *type, const luaL_Reg *methods)
{
    luaL_newmetatable(L, type);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_user_open(lua_State *L)
{
    open_type(L, USER_TYPE, user_methods);
    open_type(L, REMOTE_TYPE, remote_methods);
}

void api_user_fill(lua_State *L)
{
    luaL_setfuncs(L, tide_functions, 0);
}
