/* api_user.c - tide.user(id), tide.conn(id) and tide.broadcast.
 *
 * Both objects hold an id and look for connections at each call, because people come and go. Where nobody is, the
 * methods give nil, "nobody there", "offline".
 */
#include "script/api_user.h"

#include "base/err.h"
#include "script/api_help.h"
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

static const struct user *find_user(lua_State *L)
{
    struct slice id = check_user(L);

    return id.len > 0 ? user_find(script_hub(L), id) : NULL;
}

/* The connection of the remote handle at 1 as long as it has a socket, else NULL. */
static struct conn *find_conn(lua_State *L)
{
    const struct remote_handle *h = luaL_checkudata(L, 1, REMOTE_TYPE);
    struct conn *c = h->id != 0 ? conn_find(script_hub(L), h->id) : NULL;

    return c != NULL && c->session != NULL ? c : NULL;
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

/* ---- user ---- */

static int user_message(lua_State *L, enum frame_op op, const char *function)
{
    struct slice id = check_user(L);
    struct outbox_opts opts;
    struct send_args args;

    send_check(L, 2, op, function, &args);
    if (find_user(L) == NULL)
        return script_push_result(L, MT_EOFFLINE);
    struct packet *p = packet_create(op, args.data.data, args.data.len);
    int err = p != NULL ? user_send(script_hub(L), id, p, send_options(&args, &opts), &args.except) : MT_ENOMEM;
    packet_unref(p);
    return script_push_result(L, err);
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

/* The ids of the user's connections, to be freed by the caller, who must not raise while it has them: closing, joining and
 * leaving run hooks, which may change the list. NULL with *count 0 when nobody is there. */
static conn_id *take_conns(const struct user *u, size_t *count)
{
    *count = 0;
    return u != NULL ? user_conns(u, count) : NULL;
}

/* user:close(code=1000, reason) -> ok */
static int l_user_close(lua_State *L)
{
    struct close_args args;
    size_t count;

    send_check_close(L, 2, "user:close", &args);
    conn_id *ids = take_conns(find_user(L), &count);
    for (size_t i = 0; i < count; i++) {
        const struct conn *c = conn_find(script_hub(L), ids[i]);
        if (c != NULL && c->session != NULL)
            session_close(c->session, args.code, args.reason);
    }
    mem_free(ids);
    return script_push_result(L, count > 0 ? 0 : MT_EOFFLINE);
}

/* user:join(room, info) -> ok */
static int l_user_join(lua_State *L)
{
    struct slice room = send_check_room(L, 2);
    const struct user *u = find_user(L);
    size_t count;
    int err = 0;

    script_check_acting(L, "user:join");
    struct blob *info = send_take_info(L, 3, "user:join");
    conn_id *ids = take_conns(u, &count);
    for (size_t i = 0; i < count && err == 0; i++) {
        struct conn *c = conn_find(script_hub(L), ids[i]);
        if (c != NULL && c->session != NULL)
            err = room_join(c, room, info);
    }
    mem_free(ids);
    blob_unref(info);
    return script_push_result(L, count > 0 ? err : MT_EOFFLINE);
}

/* user:leave(room) -> whether one of the connections was a member | nil, message, name */
static int l_user_leave(lua_State *L)
{
    struct slice room = send_check_room(L, 2);
    bool left = false;
    size_t count;

    script_check_acting(L, "user:leave");
    conn_id *ids = take_conns(find_user(L), &count);
    for (size_t i = 0; i < count; i++) {
        struct conn *c = conn_find(script_hub(L), ids[i]);
        if (c != NULL)
            left |= room_leave(c, room);
    }
    mem_free(ids);
    if (count == 0)
        return script_push_result(L, MT_EOFFLINE);
    lua_pushboolean(L, left);
    return 1;
}

/* user:count() -> open connections */
static int l_user_count(lua_State *L)
{
    const struct user *u = find_user(L);

    lua_pushinteger(L, u != NULL ? (lua_Integer)user_count(u) : 0);
    return 1;
}

/* ---- conn, from anywhere ---- */

static int remote_message(lua_State *L, enum frame_op op, const char *function)
{
    struct outbox_opts opts;
    struct send_args args;

    luaL_checkudata(L, 1, REMOTE_TYPE);
    send_check(L, 2, op, function, &args);
    struct conn *c = find_conn(L);
    if (c == NULL)
        return script_push_result(L, MT_EOFFLINE);
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
    struct close_args args;

    send_check_close(L, 2, "conn:close", &args);
    struct conn *c = find_conn(L);
    return script_push_result(L, c != NULL && session_close(c->session, args.code, args.reason) == 0 ? 0 : MT_EOFFLINE);
}

static int l_remote_join(lua_State *L)
{
    struct slice room = send_check_room(L, 2);
    struct conn *c = find_conn(L);

    script_check_acting(L, "conn:join");
    if (c == NULL)
        return script_push_result(L, MT_EOFFLINE);
    struct blob *info = send_take_info(L, 3, "conn:join");
    int err = room_join(c, room, info);
    blob_unref(info);
    return script_push_result(L, err == MT_ECLOSED ? MT_EOFFLINE : err);
}

static int l_remote_leave(lua_State *L)
{
    struct slice room = send_check_room(L, 2);
    struct conn *c = find_conn(L);

    script_check_acting(L, "conn:leave");
    if (c == NULL)
        return script_push_result(L, MT_EOFFLINE);
    lua_pushboolean(L, room_leave(c, room));
    return 1;
}

static const luaL_Reg user_methods[] = {{"send", l_user_send},
                                        {"send_binary", l_user_send_binary},
                                        {"close", l_user_close},
                                        {"join", l_user_join},
                                        {"leave", l_user_leave},
                                        {"count", l_user_count},
                                        {NULL, NULL}};
static const luaL_Reg remote_methods[] = {{"send", l_remote_send},   {"send_binary", l_remote_send_binary},
                                          {"close", l_remote_close}, {"join", l_remote_join},
                                          {"leave", l_remote_leave}, {NULL, NULL}};

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
    hub_broadcast(script_hub(L), p, send_options(&args, &opts), &args.except);
    packet_unref(p);
    return script_push_result(L, 0);
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
