/* api_signal.c - tide.signal(name, value) and app.on_signal.
 *
 * The value crosses workers as JSON, and is decoded once in each of them, also in the one that sent it: nobody gets somebody
 * else's table.
 */
#include "script/api_signal.h"

#include "script/api_help.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/json.h"

#include <lauxlib.h>
#include <string.h>

/* ---- app.on_signal ---- */

struct signal {
    struct script *script;
    struct blob *value; /* counted */
    size_t name_len;
    char name[]; /* not terminated */
};

static int end_of_signal(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

static void push_value(lua_State *L, const struct blob *value)
{
    const char *why;

    if (value->len == 0 || json_decode(L, (const char *)value->data, value->len, &why) != 0)
        lua_pushnil(L);
}

static int run_signal(lua_State *L)
{
    const struct signal *signal = lua_touserdata(L, 1);

    task_use_live(task_of(L)); /* it may have been queued while another version was live */
    int ref = task_of(L)->version->handlers->on_signal;
    if (ref == LUA_NOREF)
        return 0;
    script_core_begin(signal->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_pushlstring(L, signal->name, signal->name_len);
    push_value(L, signal->value);
    script_core_end(signal->script);
    lua_callk(L, 2, 0, 0, end_of_signal);
    return 0;
}

static void free_signal(struct signal *signal)
{
    if (signal)
        blob_unref(signal->value);
    mem_free(signal);
}

static void signal_done(struct task *t, enum task_end end)
{
    free_signal(t->arg);
}

static struct signal *make_signal(struct script *s, struct slice name, struct blob *value)
{
    struct signal *signal = mem_alloc(sizeof(*signal) + name.len);

    if (!signal)
        return NULL;
    signal->script = s;
    signal->value = blob_ref(value);
    signal->name_len = name.len;
    memcpy(signal->name, name.data, name.len);
    return signal;
}

void api_signal_deliver(struct script *s, struct slice name, struct blob *value)
{
    if (!s->live || s->live->handlers->on_signal == LUA_NOREF)
        return;
    struct signal *signal = make_signal(s, name, value);
    struct task *t = signal ? dispatch_task(s, TASK_HOOK, run_signal, signal, "on_signal") : NULL;
    if (!t) {
        free_signal(signal);
        return;
    }
    t->done = signal_done;
    task_start_later(t, 1);
}

/* ---- tide.signal ---- */

/* tide.signal(name, value) -> ok: to app.on_signal of every worker, this one too */
static int l_signal(lua_State *L)
{
    struct slice name = api_check_name(L, 1, "signal name", HUB_NAME_MAX);
    struct buf *scratch = &script_of(L)->scratch;
    const char *why;

    script_check_acting(L, "tide.signal");
    scratch->len = 0;
    if (!lua_isnoneornil(L, 2) && json_encode_as(L, 2, "value", scratch, &why) != 0)
        return luaL_error(L, "tide.signal: %s", why);
    struct blob *value = blob_copy(scratch->data, scratch->len);
    api_free_scratch(L);
    int err = value != NULL ? hub_signal(script_hub(L), name, value) : MT_ENOMEM;
    blob_unref(value);
    return script_push_result(L, err);
}

void api_signal_fill(lua_State *L)
{
    lua_pushcfunction(L, l_signal);
    lua_setfield(L, -2, "signal");
}
