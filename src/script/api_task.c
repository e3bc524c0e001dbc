/* api_task.c - tide.sleep, tide.spawn, tide.timeout and the task object.
 *
 * A task object outlives its task: when the task ends its results move into the object's user value, so that join gives them at
 * any time.
 */
#include "script/api_task.h"

#include "script/req.h"

#include <lauxlib.h>
#include <string.h>

/* JOINS_MAX: tasks that wait for each other in a row. TASK_SHARE: bytes of script.memory for each task that may be spawned, two
 * or three times what one takes at least; without such a bound those that were spawned would fail one by one for want of memory,
 * each after a whole collection. */
enum { JOINS_MAX = 1000, TASK_SHARE = 4096 };

struct task_handle {
    struct task *task; /* NULL once it has ended; then the results are in the user value, a packed table */
};

static const char handle_type[] = "moontide.task";

struct results_job {
    struct task *task;
    enum task_end end;
    const char *text; /* the error, for RAISED and KILLED */
};

/* Pushes the three values that stand for an end without results. */
static int push_end(lua_State *L, const struct results_job *job)
{
    const char *line;

    if (job->end == TASK_CANCELLED)
        return script_push_result(L, MT_ECANCELLED);
    if (job->end == TASK_REJECTED) {
        lua_pushnil(L);
        lua_pushliteral(L, "rejected");
        lua_pushliteral(L, "denied");
        return 3;
    }
    line = job->text ? strstr(job->text, "\nstack traceback:") : NULL;
    lua_pushnil(L);
    lua_pushlstring(L, job->text ? job->text : "", line ? (size_t)(line - job->text) : job->text ? strlen(job->text) : 0);
    lua_pushliteral(L, "error");
    return 3;
}

/* The results go from the coroutine's stack into a table kept by the handle. */
static int store_results(lua_State *L)
{
    struct results_job *job = lua_touserdata(L, 1);
    struct task *t = job->task;
    struct task_handle *handle;
    int n;

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->handle_ref);
    handle = lua_touserdata(L, 2);
    handle->task = NULL;
    n = job->end == TASK_RETURNED ? lua_gettop(t->co) : 3;
    lua_createtable(L, n, 1); /* job, handle, results */
    lua_pushinteger(L, n);
    lua_setfield(L, 3, "n");
    if (job->end != TASK_RETURNED) {
        push_end(L, job);
    } else {
        luaL_checkstack(L, n, "too many results");
        lua_xmove(t->co, L, n);
    }
    for (int i = n; i > 0; i--)
        lua_rawseti(L, 3, i);
    lua_setiuservalue(L, 2, 1);
    return 0;
}

void api_task_ended(struct task *t, enum task_end end, const char *text)
{
    struct script *s = t->context.script;
    struct results_job job = {t, end, text};

    /* From inside a tide.timeout: it goes on in the task that waits for it. */
    if (end == TASK_REJECTED && !list_empty(&t->joiners)) {
        struct task *waiter = list_entry(t->joiners.next, struct task, queue);
        struct task_reject moved = t->reject;

        t->reject = waiter->reject;
        waiter->reject = moved;
    }
    if (script_protect(s, store_results, &job) != LUA_OK)
        lua_pop(s->L, 1);
    script_unref(s->L, &t->handle_ref);
}

/* ---- what scripts spawn ---- */

static struct task *spawn_task(lua_State *L, int index)
{
    struct script *s = script_of(L);
    int values = lua_gettop(L) - index; /* function and arguments; the handle is on top */
    struct task *t = task_create(s, version_of(L), TASK_SPAWNED);

    if (!t)
        return NULL;
    if (!lua_checkstack(t->co, values) || !lua_checkstack(L, values)) {
        task_drop(t);
        return NULL;
    }
    for (int i = 0; i < values; i++)
        lua_pushvalue(L, index + i);
    lua_xmove(L, t->co, values);
    return t;
}

int task_push_spawned(lua_State *L, int index, conn_id conn, struct list_node *owner)
{
    struct script *s = script_of(L);
    struct task_handle *handle;
    struct task *t;
    int ref;

    luaL_checktype(L, index, LUA_TFUNCTION);
    if (s->task_count >= s->config.memory_limit / TASK_SHARE)
        return luaL_error(L, "%d tasks are alive, and script.memory has no room for more", (int)s->task_count);
    handle = lua_newuserdatauv(L, sizeof(*handle), 1);
    handle->task = NULL;
    luaL_setmetatable(L, handle_type);
    lua_pushvalue(L, -1);
    ref = script_ref(L);
    t = spawn_task(L, index);
    if (!t) {
        script_unref(L, &ref);
        return luaL_error(L, "not enough memory");
    }
    handle->task = t;
    t->handle_ref = ref;
    t->conn = conn;
    if (owner)
        list_add_tail(owner, &t->owned);
    list_add_tail(s->loading ? &s->loading->held : &s->ready, &t->queue);
    return 1;
}

/* ---- task:join, task:cancel ---- */

static struct task_handle *check_handle(lua_State *L)
{
    return luaL_checkudata(L, 1, handle_type);
}

/* Pushes the results that the object at index 1 keeps. */
static int push_results(lua_State *L)
{
    int n;

    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) /* there was no memory to keep them */
        return script_push_result(L, MT_ENOMEM);
    lua_getfield(L, -1, "n");
    n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n, "too many results");
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, -i, i);
    return n;
}

static void leave_joiners(void *arg)
{
    list_remove(&((struct task *)arg)->queue);
}

/* Whether `t`, by waiting for the end of `other`, would wait for its own: tasks that wait for each other never end. A longer
 * chain than this is not looked through, so that each join stays cheap. */
static bool waits_for(const struct task *other, const struct task *t)
{
    for (int i = 0; other && i < JOINS_MAX; i++) {
        if (other == t)
            return true;
        other = other->state == TASK_WAITING ? other->joins : NULL;
    }
    return false;
}

static int finish_join(lua_State *L, void *arg, int code)
{
    ((struct task *)arg)->joins = NULL;
    return code == MT_ETIMEOUT ? script_push_result(L, code) : push_results(L);
}

static int l_task_join(lua_State *L)
{
    static const struct task_wait_ops ops = {leave_joiners, finish_join};
    struct task_handle *handle = check_handle(L);
    int64_t ms = task_check_ms(L, 2, -1);
    struct task *t;

    if (!handle->task)
        return push_results(L);
    t = task_check_wait(L);
    if (t == handle->task)
        return luaL_error(L, "a task cannot wait for itself");
    if (ms < 0 && waits_for(handle->task, t))
        return luaL_error(L, "these tasks would wait for each other for ever");
    t->joins = ms < 0 ? handle->task : NULL;
    list_add_tail(&handle->task->joiners, &t->queue);
    return task_wait(L, &ops, t, ms);
}

static bool cancel(lua_State *L)
{
    struct task *t = check_handle(L)->task;

    if (t)
        script_check_ending(L, t->version, "task:cancel");
    return t && task_cancel(t);
}

static int l_task_cancel(lua_State *L)
{
    lua_pushboolean(L, cancel(L));
    return 1;
}

/* `local t <close> = tide.spawn(...)`: the task ends with the block. */
static int l_task_close(lua_State *L)
{
    cancel(L);
    return 0;
}

static int l_task_tostring(lua_State *L)
{
    lua_pushfstring(L, "task: %p (%s)", lua_topointer(L, 1), check_handle(L)->task ? "at work" : "ended");
    return 1;
}

/* ---- tide.sleep, tide.spawn, tide.timeout ---- */

static int finish_sleep(lua_State *L, void *arg, int code)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int l_sleep(lua_State *L)
{
    static const struct task_wait_ops ops = {NULL, finish_sleep};
    int64_t ms = task_check_ms(L, 1, -1);

    luaL_argcheck(L, ms >= 0, 1, "seconds expected");
    task_check_wait(L);
    return task_wait(L, &ops, NULL, ms);
}

static int l_spawn(lua_State *L)
{
    return task_push_spawned(L, 1, 0, NULL);
}

/* The task of a tide.timeout, as arg of its wait. It is cancelled with the task that waits for it. */
static void cancel_timed(void *arg)
{
    struct task_handle *handle = arg;
    struct task *t = handle->task;

    if (!t)
        return;
    list_remove(t->joiners.next); /* the one that waits must not be woken by the end that follows */
    task_cancel(t);
}

static int finish_timeout(lua_State *L, void *arg, int code)
{
    struct task *t = task_of(L);

    if (code == MT_ETIMEOUT)
        return script_push_result(L, code);
    if (t->reject.status) /* the function called tide.reject: it holds here */
        return script_end(L, SCRIPT_REJECTED);
    return push_results(L);
}

/* tide.timeout(seconds, fn, ...) -> results | nil, "timeout", "timeout" */
static int l_timeout(lua_State *L)
{
    static const struct task_wait_ops ops = {cancel_timed, finish_timeout};
    int64_t ms = task_check_ms(L, 1, -1);
    struct task_handle *handle;
    struct task *t;

    luaL_argcheck(L, ms >= 0, 1, "seconds expected");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    t = task_check_wait(L);
    task_push_spawned(L, 2, t->conn, NULL);
    lua_replace(L, 1); /* where push_results looks */
    handle = lua_touserdata(L, 1);
    handle->task->timed = true;
    handle->task->req = t->req ? req_ref(t->req) : NULL;
    list_add_tail(&handle->task->joiners, &t->queue);
    return task_wait(L, &ops, handle, ms);
}

static const luaL_Reg task_methods[] = {{"join", l_task_join}, {"cancel", l_task_cancel}, {NULL, NULL}};
static const luaL_Reg task_meta[] = {{"__close", l_task_close}, {"__tostring", l_task_tostring}, {NULL, NULL}};
static const luaL_Reg tide_functions[] = {{"sleep", l_sleep}, {"spawn", l_spawn}, {"timeout", l_timeout}, {NULL, NULL}};

void api_task_open(lua_State *L)
{
    luaL_newmetatable(L, handle_type);
    luaL_setfuncs(L, task_meta, 0);
    luaL_newlib(L, task_methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void api_task_fill(lua_State *L)
{
    luaL_setfuncs(L, tide_functions, 0);
}
