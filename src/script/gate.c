/* gate.c - the way into Lua and out of it: entries, protected calls, errors as text, references. */
#include "script/peer.h"
#include "script/req.h"
#include "script/said.h"
#include "script/state.h"
#include "script/task.h"
#include "script/traceback.h"
#include "script/watch.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* ---- entries ---- */

void script_enter(struct script *s, struct script_entry *saved, lua_State *L, struct task *t, struct version *v, double budget)
{
    saved->task = s->task;
    saved->version = s->version;
    saved->running = s->watch->running;
    saved->core = s->heap.core;
    s->task = t;
    s->version = v;
    s->heap.core = 0;
    watch_follow(s->watch, L);
    if (s->depth++ == 0)
        watch_begin(s->watch, (uint32_t)(budget * 1000));
}

void script_leave(struct script *s, const struct script_entry *saved)
{
    s->task = saved->task;
    s->version = saved->version;
    s->heap.core = saved->core;
    if (--s->depth == 0)
        watch_end(s->watch);
    else
        watch_follow(s->watch, saved->running);
}

/* ---- errors ---- */

bool script_is_ending(lua_State *L)
{
    struct script *s = script_of(L);

    return s->watch->killed || (s->task && s->task->ending != SCRIPT_GOES_ON);
}

int script_end(lua_State *L, enum script_end how)
{
    script_of(L)->task->ending = how;
    return script_pass_on(L);
}

int script_pass_on(lua_State *L)
{
    if (lua_isyieldable(L))
        return lua_yield(L, 0);
    lua_pushliteral(L, "the script was ended");
    return lua_error(L);
}

/* The frames of the core at the bottom of a traceback tell a script author nothing. */
static size_t without_core_frames(const char *text, size_t len)
{
    static const char frame[] = "\n\t[C]: in ";

    for (;;) {
        size_t start = len;

        while (start > 0 && text[start - 1] != '\n')
            start--;
        if (start == 0 || strncmp(text + start - 1, frame, sizeof(frame) - 1) != 0)
            return len;
        len = start - 1;
    }
}

/* The limit of an entry. */
struct limit {
    const char *setting, *what; /* for the message of a kill */
    double seconds;
};

static struct limit limit_of(const struct script *s)
{
    if (s->upgrade_budget > 0)
        return (struct limit){"reload.pause", "on_upgrade", s->upgrade_budget};
    if (s->loading)
        return (struct limit){"reload.timeout", "one chunk", s->config.load_budget};
    return (struct limit){"script.time", "one entry", s->config.time_budget};
}

/* Pushes the message of a kill, with the place that the hook noted. */
static void push_kill_text(lua_State *L)
{
    struct script *s = script_of(L);
    const char *trace = s->watch->trace;
    struct limit limit = limit_of(s);
    char line[96];

    snprintf(line, sizeof(line), "%s: more than %g s in %s", limit.setting, limit.seconds, limit.what);
    lua_pushstring(L, line);
    if (trace[0]) {
        lua_pushfstring(L, "%s%s", trace[0] == '\n' ? "" : "\n", trace);
        lua_concat(L, 2);
    }
}

/* Pushes the error value at `index` of L as text, with the traceback of `co`. May raise. */
static void push_error_text(lua_State *L, lua_State *co, int index)
{
    struct script *s = script_of(L);
    const char *text;
    size_t len;

    if (s->watch->killed) {
        script_core_begin(s);
        push_kill_text(L);
    } else {
        if (script_is_ending(L))
            lua_pushliteral(L, "tide.reject: there is no request or message to answer");
        else
            luaL_tolstring(L, index, NULL); /* runs __tostring, as script code */
        script_core_begin(s);
        traceback_push(L, co, lua_tostring(L, -1), 0);
    }
    text = lua_tolstring(L, -1, &len);
    lua_pushlstring(L, text, without_core_frames(text, len));
    script_core_end(s);
}

static int on_call_error(lua_State *L)
{
    push_error_text(L, L, 1);
    return 1;
}

struct error_job {
    lua_State *co;
    char *text; /* the result */
};

static int make_error_text(lua_State *L)
{
    struct error_job *job = lua_touserdata(L, 1);
    const char *text;
    size_t len;

    if (lua_gettop(job->co) > 0 && lua_checkstack(job->co, 1)) {
        lua_pushvalue(job->co, -1);
        lua_xmove(job->co, L, 1); /* job, error value */
    } else {
        lua_pushliteral(L, "the error was lost");
    }
    push_error_text(L, job->co, 2);
    text = lua_tolstring(L, -1, &len);
    job->text = mem_strdup(text, len);
    return 0;
}

char *script_error_text(struct script *s, lua_State *co)
{
    struct error_job job = {co, NULL};
    const char *plain =
        lua_gettop(co) > 0 && lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : "the error cannot be shown";
    lua_State *was = s->watch->running;
    unsigned core = s->heap.core;

    lua_pushcfunction(s->L, make_error_text);
    lua_pushlightuserdata(s->L, &job);
    watch_follow(s->watch, s->watch->killed ? NULL : s->L); /* the text of a kill runs no script code */
    if (lua_pcall(s->L, 1, 0, 0) != LUA_OK)
        lua_pop(s->L, 1);
    s->heap.core = core;
    lua_sethook(s->L, NULL, 0, 0);
    watch_follow(s->watch, was);
    return job.text ? job.text : mem_strdup(plain, strlen(plain));
}

/* ---- calls ---- */

int script_call(struct script *s, struct version *v, int nargs, int nresults)
{
    struct script_entry saved;
    lua_State *L = s->L;
    int base = lua_gettop(L) - nargs; /* the function */
    int status;

    lua_pushcfunction(L, on_call_error);
    lua_insert(L, base);
    script_enter(s, &saved, L, NULL, v, limit_of(s).seconds);
    status = lua_pcall(L, nargs, nresults, base);
    s->call_killed = s->watch->killed;
    script_leave(s, &saved);
    lua_remove(L, base);
    return status;
}

int script_protect(struct script *s, lua_CFunction fn, void *arg)
{
    unsigned core = s->heap.core;
    int status;

    s->heap.core = core + 1;
    lua_pushcfunction(s->L, fn);
    lua_pushlightuserdata(s->L, arg);
    status = lua_pcall(s->L, 1, 0, 0);
    s->heap.core = core;
    return status;
}

/* ---- small things that every api file needs ---- */

void script_check_acting(lua_State *L, const char *name)
{
    if (script_is_loading(L))
        luaL_error(L, "%s: not %s: use on_start", name, script_of(L)->upgrade_budget > 0 ? "in on_upgrade" : "while loading");
}

void script_check_ending(lua_State *L, const struct version *owner, const char *name)
{
    if (owner != script_of(L)->loading)
        script_check_acting(L, name);
}

int script_push_result(lua_State *L, int rc)
{
    if (rc < 0)
        return script_push_failure(L, err_text(rc), err_name(rc));
    lua_pushboolean(L, 1);
    return 1;
}

int script_push_failure(lua_State *L, const char *message, const char *name)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, name);
    return 3;
}

int script_ref(lua_State *L)
{
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void script_unref(lua_State *L, int *ref)
{
    luaL_unref(L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

void script_push_weak_table(lua_State *L, const char *mode)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

void script_fill_about(struct script *s, struct script_about *out)
{
    memset(out, 0, sizeof(*out));
    if (s->version)
        out->about.version = slice_of(s->version->hash);
    if (s->task && s->task->conn)
        peer_fill_about(s, s->task->conn, out);
    else if (s->task && s->task->req)
        req_fill_about(s->task->req, out);
}

void script_say(struct script *s, enum log_level level, struct slice message, const struct log_field *fields, size_t count)
{
    struct script_about about;

    if (s->probe) {
        said_add(s->probe, level, message, fields, count);
        return;
    }
    if (s->loading && s->config.worker != 1)
        return;
    script_fill_about(s, &about);
    log_write_fields(s->log, level, &about.about, message, fields, count);
}

static void count_error(struct script *s, struct version *v)
{
    v->errors++;
    if (v == s->live && s->config.on_error)
        s->config.on_error(s->config.on_error_arg, v->events, v->errors);
}

void script_report(struct script *s, struct version *v, const struct log_about *about, const char *what, const char *text)
{
    struct log_about known = about ? *about : (struct log_about){0};

    s->stats.errors++;
    if (v)
        known.version = slice_of(v->hash);
    log_error(s->log, &known, "%s: %s", what, text ? text : "out of memory");
    if (v)
        count_error(s, v);
}
