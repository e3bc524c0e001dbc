/* send.c - arguments of sends, closes and joins. */
#include "script/send.h"

#include "base/err.h"
#include "base/utf8.h"
#include "script/api_conn.h"
#include "script/api_help.h"
#include "script/api_user.h"
#include "script/json.h"
#include <lauxlib.h>

static const char *const option_names[] = {"except", "key", "volatile", NULL};

/* ---- except ---- */

/* A conn gives *conn, a user id *user, a tide.user or tide.conn either; for those that nobody can be, both are empty, which
 * leaves out nobody. */
static bool read_one_except(lua_State *L, int index, conn_id *conn, struct slice *user)
{
    *conn = 0;
    *user = SLICE("");
    if (api_conn_test(L, index, conn) || api_user_test(L, index, user, conn))
        return true;
    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    user->data = lua_tolstring(L, index, &user->len);
    return true;
}

/* A list: its arrays are one userdata on the stack; the strings stay in the list. */
static void read_except_list(lua_State *L, int list, int arg, struct send_args *out)
{
    size_t count = lua_rawlen(L, list);
    struct slice *users = lua_newuserdatauv(L, (count + 1) * (sizeof(struct slice) + sizeof(conn_id)), 0);
    conn_id *conns = (conn_id *)(users + count);

    out->except = (struct hub_except){conns, 0, users, 0};
    for (size_t i = 1; i <= count; i++) {
        conn_id id;
        lua_rawgeti(L, list, (lua_Integer)i);
        if (!read_one_except(L, lua_gettop(L), &id, &users[out->except.user_count]))
            luaL_argerror(L, arg, "except: a conn, a user id or a list of them");
        if (id != 0)
            conns[out->except.conn_count++] = id;
        else if (users[out->except.user_count].len > 0)
            out->except.user_count++;
        lua_pop(L, 1);
    }
}

/* The value on top. A list's arrays come to lie below it. */
static void read_except(lua_State *L, int arg, struct send_args *out)
{
    int index = lua_gettop(L);

    if (read_one_except(L, index, &out->except_conn, &out->except_user)) {
        out->except = (struct hub_except){&out->except_conn, out->except_conn != 0, &out->except_user, out->except_user.len > 0};
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE)
        luaL_argerror(L, arg, "except: a conn, a user id or a list of them");
    read_except_list(L, index, arg, out);
}

/* ---- options ---- */

static void read_key(lua_State *L, int arg, struct send_args *out)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_argerror(L, arg, "key: a string expected");
    out->key.data = lua_tolstring(L, -1, &out->key.len);
    out->has_options = true;
}

static void read_volatile(lua_State *L, int arg, struct send_args *out)
{
    if (!lua_isboolean(L, -1))
        luaL_argerror(L, arg, "volatile: true or false expected");
    out->is_volatile = lua_toboolean(L, -1);
    out->has_options |= out->is_volatile;
}

static void read_options(lua_State *L, int arg, struct send_args *out)
{
    luaL_checktype(L, arg, LUA_TTABLE);
    api_check_table(L, arg, option_names);
    if (lua_getfield(L, arg, "key") != LUA_TNIL)
        read_key(L, arg, out);
    if (lua_getfield(L, arg, "volatile") != LUA_TNIL)
        read_volatile(L, arg, out);
    if (lua_getfield(L, arg, "except") != LUA_TNIL)
        read_except(L, arg, out);
    /* What was pushed stays, so that nothing it points to can be collected. */
}

static void read_table(lua_State *L, int value, const char *function, struct send_args *out)
{
    struct buf *scratch = &script_of(L)->scratch;
    const char *why;

    scratch->len = 0;
    if (json_encode(L, value, scratch, &why) != 0)
        luaL_error(L, "%s: %s", function, why);
    out->data = buf_slice(scratch);
}

void send_check(lua_State *L, int value, enum frame_op op, const char *function, struct send_args *out)
{
    int type = lua_type(L, value);

    script_check_acting(L, function);
    out->op = op;
    out->key = (struct slice){NULL, 0};
    out->is_volatile = out->has_options = false;
    out->except = (struct hub_except){NULL, 0, NULL, 0};
    if (!lua_isnoneornil(L, value + 1))
        read_options(L, value + 1, out);
    if (type == LUA_TSTRING) {
        out->data.data = lua_tolstring(L, value, &out->data.len);
        if (op == FRAME_TEXT && !utf8_valid(out->data.data, out->data.len))
            luaL_error(L, "%s: the text is not UTF-8 (send_binary takes any bytes)", function);
    } else if (type == LUA_TTABLE && op == FRAME_TEXT) {
        read_table(L, value, function, out);
    } else {
        luaL_typeerror(L, value, op == FRAME_TEXT ? "string or table" : "string");
    }
}

const struct outbox_opts *send_options(const struct send_args *a, struct outbox_opts *out)
{
    if (!a->has_options)
        return NULL;
    *out = (struct outbox_opts){0, a->is_volatile, false};
    if (a->key.len > 0) {
        out->key = map_hash(a->key);
        out->key += out->key == 0; /* 0 would be no key */
    }
    return out;
}

bool send_excepts(const struct send_args *a, const struct conn *c)
{
    struct slice user = conn_user(c);

    for (size_t i = 0; i < a->except.conn_count; i++)
        if (a->except.conns[i] == c->id)
            return true;
    for (size_t i = 0; i < a->except.user_count; i++)
        if (user.len > 0 && slice_is(a->except.users[i], user))
            return true;
    return false;
}

/* ---- close and join ---- */

void send_check_close(lua_State *L, int arg, const char *function, struct close_args *out)
{
    lua_Integer code = luaL_optinteger(L, arg, 1000);

    script_check_acting(L, function);
    luaL_argcheck(L, code >= 0 && code <= 4999 && frame_close_code_ok((unsigned)code), arg,
                  "close codes are 1000-1003, 1007-1014 and 3000-4999");
    out->code = (unsigned)code;
    out->reason = lua_isnoneornil(L, arg + 1) ? SLICE("") : api_check_string(L, arg + 1);
    luaL_argcheck(L, out->reason.len <= FRAME_CONTROL_MAX - 2, arg + 1, "the reason has at most 123 bytes");
    luaL_argcheck(L, utf8_valid(out->reason.data, out->reason.len), arg + 1, "the reason is not UTF-8");
}

struct blob *send_take_info(lua_State *L, int arg, const char *function)
{
    struct buf *scratch = &script_of(L)->scratch;
    struct blob *info;
    const char *why;

    if (lua_isnoneornil(L, arg))
        return NULL;
    scratch->len = 0;
    if (json_encode_as(L, arg, "info", scratch, &why) != 0)
        luaL_error(L, "%s: %s", function, why);
    luaL_argcheck(L, scratch->len <= SEND_INFO_MAX, arg, "info: more than 64 KiB");
    info = blob_copy(scratch->data, scratch->len);
    if (info == NULL)
        luaL_error(L, "%s: out of memory", function);
    return info;
}

struct slice send_check_room(lua_State *L, int arg)
{
    return api_check_name(L, arg, "room name", HUB_NAME_MAX);
}
