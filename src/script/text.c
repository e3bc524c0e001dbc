/* text.c - text messages for the handlers of `on`: JSON, type, shape, call, reply. Also the joins that rooms allow clients to ask
 * for.
 *
 * Runs as the bottom function of the task's coroutine, so that everything, from decoding to the reply, is protected. What the
 * client got wrong is answered and never raised.
 */
#include "base/text.h"
#include "script/answer.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/json.h"
#include "script/shape.h"
#include "script/task.h"

#include <lauxlib.h>

enum { ID_MAX = 256 };
/* Places on the coroutine's stack. */
enum { AT_PEER = 1, AT_MESSAGE = 2, AT_TYPE = 3, AT_HANDLER = 4, AT_ROOM = 4 };

static int refuse(lua_State *L, struct slice code, struct slice message)
{
    struct peer *p = lua_touserdata(L, AT_PEER);

    p->script->stats.client_errors++;
    answer_error(p, &task_of(L)->reply_id, code, false, message);
    return 0;
}

static int refuse_top(lua_State *L, struct slice code)
{
    struct slice message;

    message.data = luaL_tolstring(L, -1, &message.len);
    return refuse(L, code, message);
}

/* Text that `on` does not take goes to on_message where there is one. */
static int not_for_on(lua_State *L, struct peer *p, struct slice code)
{
    script_core_end(p->script);
    if (peer_level(p)->on_message == LUA_NOREF)
        return refuse_top(L, code);
    buf_clear(&task_of(L)->reply_id);
    lua_settop(L, AT_PEER);
    return dispatch_run_message(L);
}

/* Keeps the message's id as JSON, for the reply and for an error when the handler raises. False when it is too long. */
static bool keep_id(lua_State *L)
{
    struct buf *id = &task_of(L)->reply_id;
    const char *why;
    bool fine = true;

    if (lua_getfield(L, AT_MESSAGE, "id") != LUA_TNIL)
        fine = json_encode(L, -1, id, &why) == 0 && id->len <= ID_MAX;
    if (!fine)
        buf_clear(id);
    lua_pop(L, 1);
    return fine;
}

/* Pushes the handler for the type at AT_TYPE, or nil. */
static bool push_handler(lua_State *L, const struct level *l)
{
    if (l->on == LUA_NOREF || lua_type(L, AT_TYPE) != LUA_TSTRING) {
        lua_pushnil(L);
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->on);
    lua_pushvalue(L, AT_TYPE);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return lua_isfunction(L, -1);
}

/* ---- the handler of a type ---- */

/* Replaces the message by its clean copy when its type has a shape. False with the reason on top of the stack. */
static bool accept(lua_State *L, const struct level *l)
{
    if (l->accepts == LUA_NOREF)
        return true;
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->accepts);
    lua_pushvalue(L, AT_TYPE);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 2);
        return true;
    }
    if (!shape_check(L, lua_gettop(L), AT_MESSAGE))
        return false;
    lua_pushvalue(L, AT_TYPE);
    lua_setfield(L, -2, "type");
    lua_getfield(L, AT_MESSAGE, "id");
    lua_setfield(L, -2, "id");
    lua_replace(L, AT_MESSAGE);
    lua_pop(L, 2);
    return true;
}

/* The traceback of what its handler returned would not lead to the handler. */
static int refuse_reply(lua_State *L, const char *why)
{
    lua_Debug handler;

    lua_pushvalue(L, AT_HANDLER);
    lua_getinfo(L, ">S", &handler);
    return luaL_error(L, "the reply of on.%s (%s:%d) cannot be sent: %s", lua_tostring(L, AT_TYPE), handler.short_src,
                      handler.linedefined, why);
}

static int after_on(lua_State *L, int status, lua_KContext context)
{
    struct peer *p = lua_touserdata(L, AT_PEER);
    const struct buf *id = &task_of(L)->reply_id;
    int results = lua_gettop(L) - 2; /* value, message, name */
    const char *why = answer_failure(L, p, id, results) ? NULL : answer_reply(L, p, id, results);

    return why ? refuse_reply(L, why) : 0;
}

static int call_on(lua_State *L, struct peer *p, const struct level *l)
{
    script_core_end(p->script); /* shapes may hold functions of the script */
    if (!accept(L, l))
        return refuse_top(L, SLICE("invalid"));
    lua_pushvalue(L, AT_HANDLER);
    dispatch_push_conn(L, p);
    lua_pushvalue(L, AT_MESSAGE);
    lua_callk(L, 2, 3, 0, after_on);
    return after_on(L, LUA_OK, 0);
}

/* ---- joins that clients ask for ---- */

static bool is_type(lua_State *L, const char *name)
{
    struct slice type = {0};

    if (lua_type(L, AT_TYPE) == LUA_TSTRING)
        type.data = lua_tolstring(L, AT_TYPE, &type.len);
    return type.data && slice_is(type, slice_of(name));
}

static struct slice room_at(lua_State *L)
{
    struct slice name;

    name.data = lua_tolstring(L, AT_ROOM, &name.len);
    return name;
}

static int answer_code(lua_State *L, struct peer *p, int rc)
{
    if (rc < 0)
        return refuse(L, slice_of(err_name(rc)), slice_of(err_text(rc)));
    lua_pushnil(L);
    const char *why = answer_reply(L, p, &task_of(L)->reply_id, lua_gettop(L));
    return why ? luaL_error(L, "the reply cannot be sent: %s", why) : 0;
}

/* The info that `allow` returned, as JSON; `true` is none. What cannot be written raises. */
static struct blob *make_info(lua_State *L, struct peer *p, int index)
{
    struct buf *out = &p->script->scratch;
    struct blob *info;
    const char *why;

    if (lua_isboolean(L, index))
        return NULL;
    buf_clear(out);
    if (json_encode_as(L, index, "info", out, &why) != 0)
        luaL_error(L, "allow: %s", why);
    info = blob_copy(out->data, out->len);
    if (!info)
        luaL_error(L, "not enough memory");
    return info;
}

static int after_allow(lua_State *L, int status, lua_KContext context)
{
    struct peer *p = lua_touserdata(L, AT_PEER);
    int results = lua_gettop(L) - 2; /* true or info, message, name */
    struct blob *info;
    int rc;

    if (!lua_toboolean(L, results)) {
        struct slice message = SLICE("not allowed"), name = SLICE("denied");

        if (!lua_isnil(L, results + 1))
            message.data = luaL_tolstring(L, results + 1, &message.len);
        if (lua_type(L, results + 2) == LUA_TSTRING)
            name.data = lua_tolstring(L, results + 2, &name.len);
        return refuse(L, name, message);
    }
    info = make_info(L, p, results);
    rc = room_join(p->conn, room_at(L), info);
    blob_unref(info);
    return answer_code(L, p, rc);
}

/* {type="join", room=, info=} and {type="leave", room=} where the app has no handlers of these names. */
static int built_in(lua_State *L, struct peer *p, bool join)
{
    const struct room_kind *kind;

    script_core_end(p->script);
    lua_settop(L, AT_TYPE);
    if (lua_getfield(L, AT_MESSAGE, "room") != LUA_TSTRING || lua_rawlen(L, AT_ROOM) == 0 ||
        lua_rawlen(L, AT_ROOM) > HUB_NAME_MAX)
        return refuse(L, SLICE("invalid"), SLICE("room: string 1..256 expected"));
    if (!join)
        return answer_code(L, p, room_leave(p->conn, room_at(L)) ? 0 : MT_ENOT_FOUND);
    kind = handlers_room(task_of(L)->version->handlers, room_at(L));
    if (!kind || kind->allow == LUA_NOREF)
        return refuse(L, SLICE("denied"), SLICE("not allowed"));
    lua_rawgeti(L, LUA_REGISTRYINDEX, kind->allow);
    dispatch_push_conn(L, p);
    lua_pushvalue(L, AT_ROOM);
    lua_getfield(L, AT_MESSAGE, "info");
    lua_callk(L, 3, 3, 0, after_allow);
    return after_allow(L, LUA_OK, 0);
}

/* ---- the way in ---- */

int text_run(lua_State *L)
{
    struct peer *p = lua_touserdata(L, AT_PEER);
    const struct level *l = peer_level(p);
    const char *why;

    script_core_begin(p->script);
    if (json_decode(L, p->event->len ? p->event->data : "", p->event->len, &why) != 0) {
        lua_pushstring(L, why);
        return not_for_on(L, p, SLICE("bad_json"));
    }
    if (!lua_istable(L, AT_MESSAGE)) {
        lua_pushliteral(L, "not a JSON object");
        return not_for_on(L, p, SLICE("bad_json"));
    }
    lua_getfield(L, AT_MESSAGE, "type");
    if (!keep_id(L)) {
        script_core_end(p->script);
        return refuse(L, SLICE("invalid"), SLICE("id: too long"));
    }
    if (push_handler(L, l))
        return call_on(L, p, l);
    if (l->joins && (is_type(L, "join") || is_type(L, "leave")))
        return built_in(L, p, is_type(L, "join"));
    if (lua_type(L, AT_TYPE) == LUA_TSTRING)
        lua_pushfstring(L, "no handler for %s", lua_tostring(L, AT_TYPE));
    else
        lua_pushliteral(L, "a type is missing");
    return not_for_on(L, p, SLICE("unknown_type"));
}
