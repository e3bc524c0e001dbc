/* api_timer.c - tide.after, tide.every and the timer object.
 *
 * A timer belongs to the version that made it and keeps that version alive. The object that scripts hold points to it until it
 * has ended.
 */
#include "script/api_timer.h"

#include "script/task.h"
#include "script/version.h"

#include <lauxlib.h>
#include <string.h>

struct script_timer {
    struct loop_timer timer;
    struct list_node node;        /* in version->timers */
    struct version *version;      /* counted reference */
    int handle_ref;               /* anchors the object, whose user values are the function or name, and the packed arguments */
    struct script_timer **handle; /* the object; cleared at the end */
    bool named;                   /* a name was given: called in the live version */
    bool held;                    /* made while loading: starts when the version begins */
    bool suspended;               /* tide.every of a version that is not live, but may be again */
    bool running;                 /* its task is at work */
    bool ended;                   /* cancelled while running: freed by the task's end */
    uint64_t first;               /* milliseconds to the first call */
    uint64_t period;              /* milliseconds between calls of tide.every, 0 for tide.after */
    uint64_t due, last;           /* loop time of the next call, and of the last one or the start */
};

static const char timer_type[] = "moontide.timer";

/* ---- life ---- */

static void free_timer(struct script_timer *t)
{
    struct script *s = t->version->script;

    *t->handle = NULL;
    script_unref(s->L, &t->handle_ref);
    loop_timer_stop(s->loop, &t->timer);
    list_remove(&t->node);
    version_unref(t->version);
    mem_free(t);
}

static void end_timer(struct script_timer *t)
{
    if (t->running)
        t->ended = true;
    else
        free_timer(t);
}

static void start_timer(struct script_timer *t)
{
    struct script *s = t->version->script;

    t->held = false;
    t->last = loop_now(s->loop);
    t->due = t->last + t->first;
    loop_timer_start(s->loop, &t->timer, t->first);
}

/* At the next whole period that is still ahead. */
static void start_next(struct script_timer *t)
{
    uint64_t now = loop_now(t->version->script->loop);

    if (t->due <= now)
        t->due += (now - t->due) / t->period * t->period + t->period;
    loop_timer_start(t->version->script->loop, &t->timer, t->due - now);
}

/* ---- firing ---- */

static int finish_timer(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

/* Pushes the arguments kept by the object at index 2; returns their count. */
static int push_arguments(lua_State *L)
{
    int table = lua_gettop(L) + 1;
    int n;

    lua_getiuservalue(L, 2, 2);
    lua_getfield(L, table, "n");
    n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n, "too many arguments");
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, table, i);
    lua_remove(L, table);
    return n;
}

/* In the task's coroutine: light userdata of the timer. */
static int run_timer(lua_State *L)
{
    struct script_timer *t = lua_touserdata(L, 1);
    uint64_t now = loop_now(t->version->script->loop);
    int n = 1;

    if (t->period && (t->ended || t->suspended)) /* while this task waited for its turn */
        return 0;
    if (t->named)
        task_use_live(task_of(L));
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->handle_ref);
    lua_getiuservalue(L, 2, 1); /* timer, object, function or name */
    if (t->named) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, version_of(L)->app_ref);
        lua_pushvalue(L, 3);
        lua_gettable(L, -2);
        if (!lua_isfunction(L, -1))
            return luaL_error(L, "tide.after: the live version has no function app.%s", lua_tostring(L, 3));
    }
    if (t->period)
        lua_pushnumber(L, (lua_Number)(now - t->last) / 1000);
    else
        n = push_arguments(L);
    t->last = now;
    lua_callk(L, n, 0, 0, finish_timer);
    return 0;
}

/* The call is over: again, or the end. */
static void on_task_done(struct task *task, enum task_end end)
{
    struct script_timer *t = task->arg;

    t->running = false;
    if (t->ended || !t->period) {
        free_timer(t);
        return;
    }
    t->due += t->period;
    if (!t->suspended)
        start_next(t);
}

static void on_due(struct loop_timer *timer)
{
    struct script_timer *t = list_entry(timer, struct script_timer, timer);
    struct script *s = t->version->script;
    struct task *task = s->stopping ? NULL : task_create(s, t->named ? s->live : t->version, TASK_TIMER);

    if (!task) {
        if (!s->stopping)
            log_error(s->log, NULL, "a timer was lost: out of memory");
        free_timer(t);
        return;
    }
    task->what = t->period ? "tide.every" : "tide.after";
    task->done = on_task_done;
    task->arg = t;
    t->running = true;
    lua_pushcfunction(task->co, run_timer);
    lua_pushlightuserdata(task->co, t);
    task_start_later(task, 1);
}

/* ---- versions ---- */

static struct script_timer *timer_of(struct list_node *node)
{
    return list_entry(node, struct script_timer, node);
}

static void suspend(struct script_timer *t)
{
    t->suspended = true;
    loop_timer_stop(t->version->script->loop, &t->timer);
}

static void move_to(struct script_timer *t, struct version *v)
{
    struct version *old = t->version;

    list_remove(&t->node);
    list_add_tail(&v->timers, &t->node);
    t->version = version_ref(v);
    version_unref(old);
}

void api_timer_switch(struct version *old, struct version *v)
{
    list_each_safe(node, next, &old->timers)
    {
        struct script_timer *t = timer_of(node);

        if (t->period)
            suspend(t);
        else if (t->named && !t->running)
            move_to(t, v);
    }
}

void api_timer_begin(struct version *v)
{
    list_each(node, &v->timers)
    {
        struct script_timer *t = timer_of(node);

        if (t->held)
            start_timer(t);
        else if (t->suspended && !t->running)
            start_next(t);
        t->suspended = false;
    }
}

void api_timer_settle(struct version *v)
{
    version_ref(v); /* so that the list stays until its end */
    list_each_safe(node, next, &v->timers)
    {
        if (timer_of(node)->period || timer_of(node)->held)
            end_timer(timer_of(node));
    }
    version_unref(v);
}

size_t api_timer_count(const struct version *v)
{
    size_t n = 0;

    list_each(node, &v->timers) n += !timer_of(node)->suspended;
    return n;
}

void api_timer_drop(struct version *v)
{
    version_ref(v);
    list_each_safe(node, next, &v->timers) end_timer(timer_of(node));
    version_unref(v);
}

/* ---- for scripts ---- */

/* The object for a timer, with what it calls: pushes it over the values at 2 (function or name) and above (arguments). */
static struct script_timer **push_object(lua_State *L)
{
    int n = lua_gettop(L) - 2;
    struct script_timer **handle = lua_newuserdatauv(L, sizeof(struct script_timer *), 2);

    *handle = NULL;
    luaL_setmetatable(L, timer_type);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    lua_createtable(L, n, 1);
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, 2 + i);
        lua_rawseti(L, -2, i);
    }
    lua_setiuservalue(L, -2, 2);
    return handle;
}

static int push_timer(lua_State *L, uint64_t first, uint64_t period)
{
    struct script *s = script_of(L);
    struct script_timer **handle = push_object(L);
    struct script_timer *t;
    int ref;

    if (period && !s->loading && s->version != s->live && s->version != s->fallback)
        return 1; /* a handler that outlives its version: such timers have ended already */
    lua_pushvalue(L, -1);
    ref = script_ref(L);
    t = mem_zalloc(1, sizeof(*t));
    if (!t) {
        script_unref(L, &ref);
        return luaL_error(L, "not enough memory");
    }
    *handle = t;
    t->handle = handle;
    t->handle_ref = ref;
    t->version = version_ref(s->version);
    t->named = lua_type(L, 2) == LUA_TSTRING;
    t->held = s->loading != NULL;
    t->suspended = period && !t->held && s->version != s->live;
    t->first = first;
    t->period = period;
    loop_timer_init(&t->timer, on_due);
    list_add_tail(&t->version->timers, &t->node);
    if (!t->held)
        start_timer(t);
    if (t->suspended)
        suspend(t);
    return 1;
}

/* tide.after(seconds, fn or name, ...) -> timer */
static int l_after(lua_State *L)
{
    int64_t ms = task_check_ms(L, 1, -1);

    luaL_argcheck(L, ms >= 0, 1, "seconds expected");
    luaL_argexpected(L, lua_isfunction(L, 2) || lua_type(L, 2) == LUA_TSTRING, 2, "function or name of a handler");
    return push_timer(L, (uint64_t)ms, 0);
}

/* tide.every(seconds, fn) -> timer; fn gets the seconds since its last call */
static int l_every(lua_State *L)
{
    int64_t ms = task_check_ms(L, 1, -1);

    luaL_argcheck(L, ms > 0, 1, "seconds above 0 expected");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    return push_timer(L, (uint64_t)ms, (uint64_t)ms);
}

/* timer:cancel() -> whether it was still to come */
static int l_timer_cancel(lua_State *L)
{
    struct script_timer *t = *(struct script_timer **)luaL_checkudata(L, 1, timer_type);
    bool ahead = t && !t->ended && (t->period ? !t->suspended : !t->running);

    if (t) {
        script_check_ending(L, t->version, "timer:cancel");
        end_timer(t);
    }
    lua_pushboolean(L, ahead);
    return 1;
}

static const luaL_Reg timer_methods[] = {{"cancel", l_timer_cancel}, {NULL, NULL}};
static const luaL_Reg timer_meta[] = {{"__close", l_timer_cancel}, {NULL, NULL}};
static const luaL_Reg tide_functions[] = {{"after", l_after}, {"every", l_every}, {NULL, NULL}};

void api_timer_open(lua_State *L)
{
    luaL_newmetatable(L, timer_type);
    luaL_setfuncs(L, timer_meta, 0);
    luaL_newlib(L, timer_methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void api_timer_fill(lua_State *L)
{
    luaL_setfuncs(L, tide_functions, 0);
}
