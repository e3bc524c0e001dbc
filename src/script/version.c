/* version.c - one version of the app, from its sources to the end of its last task.
 *
 * Loading happens beside the live version and touches nothing of it: a fresh environment, its own modules and library tables.
 * While the chunks run, script->loading is set, calls that act raise, and tide.state can be read only.
 */
#include "script/version.h"

#include "script/api_queue.h"
#include "script/api_timer.h"
#include "script/handlers.h"
#include "script/lint.h"
#include "script/modules.h"
#include "script/sandbox.h"
#include "script/sources.h"
#include "script/sql_plans.h"
#include "script/task.h"
#include "script/tide_state.h"

#include <lauxlib.h>
#include <string.h>

/* ---- counting ---- */

struct version *version_ref(struct version *v)
{
    v->refs++;
    return v;
}

static void free_version(struct version *v)
{
    struct script *s = v->script;
    int *const refs[] = {&v->env_ref, &v->loaded_ref, &v->tide_ref, &v->app_ref, &v->fresh_ref, &v->before_ref};

    list_remove(&v->node);
    loop_timer_stop(s->loop, &v->age);
    api_queue_leave(v);
    handlers_free(s->L, v->handlers);
    lint_free(v->lint);
    sql_plans_free(v);
    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
        script_unref(s->L, refs[i]);
    for (size_t i = 0; i < v->file_count; i++)
        mem_free(v->files[i]);
    mem_free(v->files);
    sources_unref(v->sources);
    mem_free(v);
}

void version_unref(struct version *v)
{
    if (--v->refs == 0)
        free_version(v);
}

static void on_age(struct loop_timer *timer);

struct version *version_create(struct script *s, struct sources *sources)
{
    struct version *v = mem_zalloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->script = s;
    v->refs = 1;
    v->env_ref = v->loaded_ref = v->tide_ref = v->app_ref = v->fresh_ref = v->before_ref = LUA_NOREF;
    list_init(&v->held);
    list_init(&v->queues);
    list_init(&v->timers);
    loop_timer_init(&v->age, on_age);
    list_add_tail(&s->versions, &v->node);
    v->reads = !sources;
    v->sources = sources ? sources_ref(sources) : sources_create();
    v->files = mem_zalloc(1, sizeof(*v->files));
    if (!v->files || !v->sources) {
        version_unref(v);
        return NULL;
    }
    memcpy(v->hash, sources_hash(v->sources), sizeof(v->hash));
    return v;
}

/* ---- files ---- */

static bool has_file(const struct version *v, const char *path)
{
    for (size_t i = 0; i < v->file_count; i++)
        if (strcmp(v->files[i], path) == 0)
            return true;
    return false;
}

int version_note_file(struct version *v, const char *path)
{
    char **files;
    char *copy;

    if (has_file(v, path))
        return 0;
    files = mem_resize(v->files, (v->file_count + 2) * sizeof(*files));
    if (!files)
        return MT_ENOMEM;
    v->files = files;
    copy = mem_strdup(path, strlen(path));
    if (!copy)
        return MT_ENOMEM;
    v->files[v->file_count++] = copy;
    v->files[v->file_count] = NULL;
    return 0;
}

/* ---- loading ---- */

static void make_tide(lua_State *L, struct version *v)
{
    lua_newtable(L);
    api_all_fill(L);
    tide_state_push(L);
    lua_setfield(L, -2, "state");
    lua_pushinteger(L, v->script->config.worker);
    lua_setfield(L, -2, "worker");
    lua_pushvalue(L, -1);
    v->tide_ref = script_ref(L);
}

/* Environment, `tide` and the compiled script, whose function is left in app_ref for the moment. */
static int prepare(lua_State *L)
{
    struct version *v = lua_touserdata(L, 1);

    sandbox_push_env(L); /* v, loaded, env */
    v->env_ref = script_ref(L);
    make_tide(L, v); /* v, loaded, tide */
    lua_setfield(L, 2, "moontide");
    lua_pushvalue(L, 2);
    v->loaded_ref = script_ref(L);
    tide_state_hide(L);
    modules_push_script(L, v);
    v->app_ref = script_ref(L);
    return 0;
}

/* The table that the chunk returned is in app_ref now. */
static int check(lua_State *L)
{
    struct version *v = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, v->tide_ref);
    lua_pushstring(L, v->hash);
    lua_setfield(L, -2, "version");
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->app_ref);
    handlers_load(L, v);
    return 0;
}

static int load_steps(struct script *s, struct version *v)
{
    lua_State *L = s->L;
    int status = script_protect(s, prepare, v);

    if (status != LUA_OK)
        return status;
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->app_ref);
    status = script_call(s, v, 0, 1);
    if (status != LUA_OK)
        return status;
    lua_rawseti(L, LUA_REGISTRYINDEX, v->app_ref); /* over the function: needs no memory */
    return script_protect(s, check, v);
}

void version_drop_held(struct version *v)
{
    while (!list_empty(&v->held))
        task_cancel(list_entry(v->held.next, struct task, queue));
    api_timer_drop(v);
}

/* "chat.lua: app.on_mesage: ..." for what was found in the table; other messages name their file themselves. */
static char *load_error(struct script *s)
{
    const char *text = lua_tostring(s->L, -1), *base = strrchr(s->config.path, '/');
    struct buf out = {0};

    if (!text)
        text = "not enough memory";
    base = base ? base + 1 : s->config.path;
    if (strncmp(text, base, strlen(base)) != 0 && (strncmp(text, "app", 3) == 0 || strncmp(text, "the script", 10) == 0))
        buf_addf(&out, "%s: ", base);
    if (buf_add_text(&out, text) != 0 || buf_add_byte(&out, '\0') != 0) {
        buf_fini(&out);
        return NULL;
    }
    return (char *)out.data;
}

int version_load(struct version *v, char **error)
{
    struct script *s = v->script;
    int status, rc = 0;

    *error = NULL;
    s->loading = v;
    status = load_steps(s, v);
    if (status != LUA_OK) {
        *error = load_error(s);
        lua_pop(s->L, 1);
        version_drop_held(v);
        rc = MT_ESCRIPT;
    }
    s->loading = NULL;
    tide_state_show(s);
    if (v->reads && sources_seal(v->sources) != 0 && rc == 0) {
        version_drop_held(v);
        rc = MT_ENOMEM;
    }
    v->reads = false;
    if (rc == 0)
        lint_note(v);
    return rc;
}

/* ---- live, and not any more ---- */

void version_go_live(struct version *v)
{
    struct script *s = v->script;

    s->live = v;
    s->epoch++;
    v->live = true;
    v->events = v->errors = 0;
    loop_timer_stop(s->loop, &v->age);
}

static uint64_t age_ms(const struct script *s)
{
    return s->config.old_age > 0.001 ? (uint64_t)(s->config.old_age * 1000) : 1;
}

void version_retire(struct version *old, struct version *v, bool may_come_back)
{
    struct script *s = old->script;

    old->live = false;
    old->replaced = loop_now(s->loop);
    if (s->config.old_age > 0)
        loop_timer_start(s->loop, &old->age, age_ms(s));
    api_timer_switch(old, v);
    jobs_stop(old);
    if (!may_come_back)
        version_settle(old);
}

void version_settle(struct version *old)
{
    version_ref(old);
    while (!list_empty(&old->held)) /* it was replaced before it began */
        task_cancel(list_entry(old->held.next, struct task, queue));
    api_timer_settle(old);
    version_unref(old);
}

void version_begin(struct version *v)
{
    sql_plans_begin(v);
    while (!list_empty(&v->held)) {
        struct list_node *node = v->held.next;

        list_remove(node);
        list_add_tail(&v->script->ready, node);
    }
    api_timer_begin(v);
    jobs_start(v);
}

bool version_lingers(const struct version *v)
{
    const struct script *s = v->script;

    if (v == s->live || v == s->staged)
        return false;
    return v != s->fallback || v->tasks > 0 || api_timer_count(v) > 0;
}

/* ---- reload.age ---- */

static void on_age(struct loop_timer *timer)
{
    struct version *v = list_entry(timer, struct version, age);
    struct script *s = v->script;
    uint64_t age = age_ms(s), oldest;
    size_t count;

    version_ref(v); /* its last task may end here */
    count = task_cancel_old(v, age, &oldest);
    if (count)
        log_warn(s->log, &(struct log_about){.version = slice_of(v->hash)},
                 "%zu tasks of this old version were cancelled: at work for more than reload.age, %g s, after it was replaced",
                 count, s->config.old_age);
    if (v->refs > 1)
        loop_timer_start(s->loop, timer, age - oldest);
    version_unref(v);
}
