/* answer.c - replies and error replies, written as JSON without making Lua tables. */
#include "script/answer.h"

#include "base/text.h"
#include "script/json.h"

#include <lauxlib.h>

static int put(struct buf *out, const char *text)
{
    return buf_add_text(out, text);
}

static int put_id(struct buf *out, const struct buf *id)
{
    if (id->len == 0)
        return 0;
    return put(out, ",\"id\":") == 0 ? buf_add(out, id->data, id->len) : MT_ENOMEM;
}

static void send_scratch(struct peer *p)
{
    struct buf *out = &p->script->scratch;

    conn_send(p->conn, FRAME_TEXT, out->data, out->len, NULL); /* when the client has gone nobody needs it */
}

const char *answer_reply(lua_State *L, struct peer *p, const struct buf *id, int index)
{
    struct buf *out = &p->script->scratch;
    const char *why = "out of memory";
    int rc = MT_ENOMEM;

    if (id->len == 0)
        return NULL;
    buf_clear(out);
    if (put(out, "{\"type\":\"reply\"") == 0 && put_id(out, id) == 0)
        rc = 0;
    if (rc == 0 && !lua_isnil(L, index))
        rc = put(out, ",\"data\":") == 0 ? json_encode_as(L, index, "reply", out, &why) : MT_ENOMEM;
    if (rc == 0)
        rc = put(out, "}");
    if (rc != 0)
        return why;
    send_scratch(p);
    return NULL;
}

void answer_error(struct peer *p, const struct buf *id, struct slice code, bool raw, struct slice message)
{
    struct buf *out = &p->script->scratch;

    buf_clear(out);
    if (put(out, "{\"type\":\"error\"") == 0 && put_id(out, id) == 0 && put(out, ",\"code\":") == 0 &&
        (raw ? buf_add(out, code.data, code.len) : text_json_string(out, code)) == 0 && put(out, ",\"message\":") == 0 &&
        text_json_string(out, message) == 0 && put(out, "}") == 0)
        send_scratch(p);
}

bool answer_failure(lua_State *L, struct peer *p, const struct buf *id, int index)
{
    struct slice message, name = SLICE("failed");
    bool number;

    if (!lua_isnil(L, index) || lua_isnil(L, index + 1))
        return false;
    number = lua_type(L, index + 2) == LUA_TNUMBER;
    message.data = luaL_tolstring(L, index + 1, &message.len);
    if (!lua_isnil(L, index + 2))
        name.data = luaL_tolstring(L, index + 2, &name.len);
    p->script->stats.client_errors++;
    answer_error(p, id, name, number, message);
    return true;
}
