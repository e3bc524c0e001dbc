/* api_room.c - tide.room(name), tide.rooms(prefix) and the methods of rooms.
 *
 * The userdata holds the name only. A message is built and framed once for all members.
 */
#include "script/api_room.h"

#include "base/err.h"
#include "base/text.h"
#include "script/api_conn.h"
#include "script/api_help.h"
#include "script/json.h"
#include "script/send.h"
#include <lauxlib.h>

#define ROOM_TYPE "moontide.room"

struct room_handle {
    size_t len;
    char name[]; /* not terminated */
};

static struct slice check_room(lua_State *L)
{
    const struct room_handle *h = luaL_checkudata(L, 1, ROOM_TYPE);

    return (struct slice){h->name, h->len};
}

/* ---- sending ---- */

static int send_message(lua_State *L, enum frame_op op, const char *function)
{
    struct slice room = check_room(L);
    struct hub *hub = script_hub(L);
    struct send_args args;

    send_check(L, 2, op, function, &args);
    /* Nobody hears it, and without a key nothing is kept for those who come later. */
    if (args.key.len == 0 && !room_is_heard(hub, room))
        return script_push_result(L, 0);
    struct packet *p = packet_create(op, args.data.data, args.data.len);
    int err = p != NULL ? room_send(hub, room, p, args.key, args.is_volatile, &args.except) : MT_ENOMEM;
    packet_unref(p);
    return script_push_result(L, err);
}

/* room:send(text or table, opts) -> ok */
static int l_room_send(lua_State *L)
{
    return send_message(L, FRAME_TEXT, "room:send");
}

/* room:send_binary(bytes, opts) -> ok */
static int l_room_send_binary(lua_State *L)
{
    return send_message(L, FRAME_BINARY, "room:send_binary");
}

/* room:forget(key) -> whether a current message of that key was there */
static int l_room_forget(lua_State *L)
{
    struct slice room = check_room(L), key = api_check_string(L, 2);

    script_check_acting(L, "room:forget");
    lua_pushboolean(L, room_forget(script_hub(L), room, key));
    return 1;
}

/* ---- asking ---- */

/* room:has(conn or user) -> boolean */
static int l_room_has(lua_State *L)
{
    struct slice room = check_room(L);
    struct hub *hub = script_hub(L);
    bool found;
    conn_id id;

    if (api_conn_test(L, 2, &id)) {
        const struct conn *c = conn_find(hub, id);
        found = c != NULL && room_has_conn(hub, room, c);
    } else if (lua_type(L, 2) == LUA_TSTRING) {
        found = room_has_user(hub, room, api_check_string(L, 2));
    } else {
        return luaL_typeerror(L, 2, "conn or user id");
    }
    lua_pushboolean(L, found);
    return 1;
}

/* room:count() -> people */
static int l_room_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)room_count(script_hub(L), check_room(L)));
    return 1;
}

void api_room_push_member(lua_State *L, const struct person *p)
{
    char name[CONN_NAME_SIZE];
    const char *why;

    luaL_checkstack(L, 4, "member");
    lua_createtable(L, 0, 3);
    if (p->user.len > 0) {
        lua_pushlstring(L, p->user.data, p->user.len);
        lua_setfield(L, -2, "user");
    }
    conn_name(p->conn, name);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "id");
    if (p->info.data != NULL && json_decode(L, p->info.data, p->info.len, &why) == 0)
        lua_setfield(L, -2, "info");
}

/* An empty buffer of the script for a list of the hub, so that a raise loses nothing. Nothing else uses it meanwhile. */
static struct buf *take_scratch(lua_State *L)
{
    struct buf *scratch = &script_of(L)->scratch;

    scratch->len = 0;
    return scratch;
}

/* room:members() -> list of { user =, id =, info = } in the order in which they came */
static int l_room_members(lua_State *L)
{
    struct slice room = check_room(L), left;
    struct buf *list = take_scratch(L);
    struct person p;
    lua_Integer i = 0;
    int count = room_members(script_hub(L), room, list);

    if (count < 0)
        return luaL_error(L, "room:members: out of memory");
    lua_createtable(L, count, 0);
    for (left = buf_slice(list); person_next(&left, &p);) {
        api_room_push_member(L, &p);
        lua_rawseti(L, -2, ++i);
    }
    api_free_scratch(L);
    json_mark_array(L);
    return 1;
}

/* room:history() */
static int l_room_history(lua_State *L)
{
    check_room(L);
    return luaL_error(L, "room:history: rooms keep no history in this version");
}

/* ---- emptying ---- */

/* room:empty(): everybody leaves at once */
static int l_room_empty(lua_State *L)
{
    struct slice room = check_room(L);

    script_check_acting(L, "room:empty");
    room_empty(script_hub(L), room);
    return 0;
}

/* room:close_all(code=1000, reason): closes the connections of all members */
static int l_room_close_all(lua_State *L)
{
    struct slice room = check_room(L);
    struct close_args args;

    send_check_close(L, 2, "room:close_all", &args);
    if (room_close(script_hub(L), room, args.code, args.reason) != 0)
        return luaL_error(L, "room:close_all: out of memory");
    return 0;
}

static const luaL_Reg room_methods[] = {{"send", l_room_send},
                                        {"send_binary", l_room_send_binary},
                                        {"has", l_room_has},
                                        {"count", l_room_count},
                                        {"members", l_room_members},
                                        {"history", l_room_history},
                                        {"forget", l_room_forget},
                                        {"empty", l_room_empty},
                                        {"close_all", l_room_close_all},
                                        {NULL, NULL}};
static const char *const all_names[] = {"name",    "send",   "send_binary", "has",       "count", "members",
                                        "history", "forget", "empty",       "close_all", NULL};

/* ---- the userdata ---- */

/* room.NAME. Upvalue: name -> method, or a number for the one field. */
static int l_room_index(lua_State *L)
{
    struct slice room = check_room(L), word;

    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
    case LUA_TFUNCTION:
        return 1;
    case LUA_TNUMBER:
        lua_pushlstring(L, room.data, room.len);
        return 1;
    }
    word.data = luaL_tolstring(L, 2, &word.len);
    const char *near = text_nearest(word, all_names);
    if (near != NULL)
        return luaL_error(L, "room has no field '%s'; did you mean '%s'?", word.data, near);
    return luaL_error(L, "room has no field '%s'", word.data);
}

static int l_room_eq(lua_State *L)
{
    const struct room_handle *a = luaL_testudata(L, 1, ROOM_TYPE), *b = luaL_testudata(L, 2, ROOM_TYPE);

    lua_pushboolean(L, a != NULL && b != NULL && a->len == b->len && memcmp(a->name, b->name, a->len) == 0);
    return 1;
}

static int l_room_tostring(lua_State *L)
{
    struct slice room = check_room(L);

    lua_pushfstring(L, "room: %s", lua_pushlstring(L, room.data, room.len));
    return 1;
}

void api_room_push(lua_State *L, struct slice name)
{
    luaL_checkstack(L, 3, "room");
    struct room_handle *h = lua_newuserdatauv(L, sizeof(*h) + name.len, 0);
    h->len = name.len;
    memcpy(h->name, name.data, name.len);
    luaL_setmetatable(L, ROOM_TYPE);
}

/* ---- tide.room, tide.rooms ---- */

/* tide.room(name) -> room */
static int l_tide_room(lua_State *L)
{
    api_room_push(L, send_check_room(L, 1));
    return 1;
}

/* tide.rooms(prefix="") -> list of { name =, count = } of rooms that somebody is in */
static int l_tide_rooms(lua_State *L)
{
    struct slice prefix = lua_isnoneornil(L, 1) ? SLICE("") : api_check_string(L, 1), left, name;
    struct buf *list = take_scratch(L);
    lua_Integer i = 0;
    size_t people;
    int count = room_list(script_hub(L), prefix, list);

    if (count < 0)
        return luaL_error(L, "tide.rooms: out of memory");
    lua_createtable(L, count, 0);
    for (left = buf_slice(list); room_list_next(&left, &name, &people);) {
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, name.data, name.len);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, (lua_Integer)people);
        lua_setfield(L, -2, "count");
        lua_rawseti(L, -2, ++i);
    }
    api_free_scratch(L);
    json_mark_array(L);
    return 1;
}

void api_room_open(lua_State *L)
{
    luaL_newmetatable(L, ROOM_TYPE);
    luaL_newlib(L, room_methods);
    lua_pushinteger(L, 0);
    lua_setfield(L, -2, "name");
    lua_pushcclosure(L, l_room_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_room_eq);
    lua_setfield(L, -2, "__eq");
    lua_pushcfunction(L, l_room_tostring);
    lua_setfield(L, -2, "__tostring");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_room_fill(lua_State *L)
{
    lua_pushcfunction(L, l_tide_room);
    lua_setfield(L, -2, "room");
    lua_pushcfunction(L, l_tide_rooms);
    lua_setfield(L, -2, "rooms");
}
