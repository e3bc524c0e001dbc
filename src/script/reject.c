/* reject.c - tide.reject. The answer is kept by the task, which then ends: no pcall can change that. */
#include "script/reject.h"

#include "base/err.h"
#include "net/http.h"
#include "script/task.h"

#include <lauxlib.h>

static struct task *check_task(lua_State *L)
{
    struct task *t = script_of(L)->task;

    if (!t)
        luaL_error(L, "tide.reject: not while loading: there is no request to answer");
    return t;
}

static int raise(lua_State *L, struct task *t, int status, struct slice message)
{
    buf_clear(&t->reject.message);
    if (buf_add(&t->reject.message, message.data, message.len) != 0)
        return luaL_error(L, "not enough memory");
    t->reject.status = status;
    return script_end(L, SCRIPT_REJECTED);
}

int reject_raise(lua_State *L, int status, struct slice message)
{
    struct task *t = check_task(L);

    buf_clear(&t->reject.headers);
    return raise(L, t, status, message);
}

static void add_headers(lua_State *L, int index, struct buf *out)
{
    buf_clear(out);
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        struct slice name, value;
        int rc;

        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_isstring(L, -1), index, "headers are texts by name");
        name.data = lua_tolstring(L, -2, &name.len);
        if (http_is_own_header(name))
            luaL_error(L, "tide.reject: header %s: the server writes it", name.data);
        lua_pushvalue(L, -1); /* a number would be changed in the table */
        value.data = lua_tolstring(L, -1, &value.len);
        rc = http_put_header(out, name, value);
        lua_pop(L, 1);
        if (rc != 0)
            luaL_error(L, "tide.reject: header %s: %s", name.data, err_text(rc));
    }
}

/* tide.reject(status, message, headers) never returns */
static int l_reject(lua_State *L)
{
    lua_Integer status = luaL_checkinteger(L, 1);
    struct task *t = check_task(L);
    struct slice message;

    luaL_argcheck(L, status >= 400 && status <= 599, 1, "a status from 400 to 599 expected");
    message.data = luaL_optlstring(L, 2, http_status_text((int)status), &message.len);
    add_headers(L, 3, &t->reject.headers);
    return raise(L, t, (int)status, message);
}

void api_reject_fill(lua_State *L)
{
    lua_pushcfunction(L, l_reject);
    lua_setfield(L, -2, "reject");
}
