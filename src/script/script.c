/* script.c - the public face of the layer: create, stop, destroy. Reloads are in reload.c. */
#include "script/script.h"

#include "base/clock.h"
#include "script/api_timer.h"
#include "script/dispatch.h"
#include "script/files.h"
#include "script/handlers.h"
#include "script/jwks.h"
#include "script/lint.h"
#include "script/sources.h"
#include "script/task.h"
#include "script/tide_state.h"
#include "script/upgrade.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/watch.h"
#include "store/memory.h"
#include "store/sql.h"

#include <lauxlib.h>
#include <string.h>

void script_defaults(struct script_config *c)
{
    memset(c, 0, sizeof(*c));
    c->worker = 1;
    c->workers = 1;
    c->time_budget = 1.0;
    c->load_budget = 0.5;
    c->memory_limit = (size_t)256 << 20;
    c->close_on_errors = true;
    c->queue_limit = 64;
    c->files_open = 1000;
    c->connect_ms = 30000;
    c->expired_code = 4401;
    c->old_age = 600;
    http_settings_default(&c->http);
}

/* ---- configuration ---- */

static char *copy_text(const char *text)
{
    return text ? mem_strdup(text, strlen(text)) : NULL;
}

static int copy_allowed(struct script *s)
{
    const char *const *from = s->config.sandbox_allow;
    size_t n = 0;
    char **copy;

    s->config.sandbox_allow = NULL;
    while (from && from[n])
        n++;
    copy = mem_zalloc(n + 1, sizeof(*copy));
    if (!copy)
        return MT_ENOMEM;
    s->config.sandbox_allow = (const char *const *)copy;
    for (size_t i = 0; i < n; i++)
        if (!(copy[i] = copy_text(from[i])))
            return MT_ENOMEM;
    return 0;
}

static int copy_config(struct script *s, const struct script_config *c)
{
    const char *slash = strrchr(c->path, '/');

    s->config = *c;
    s->config.path = copy_text(c->path);
    s->config.library = copy_text(c->library);
    s->config.http.ca = copy_text(c->http.ca);
    s->folder = !slash ? copy_text(".") : slash == c->path ? copy_text("/") : mem_strdup(c->path, (size_t)(slash - c->path));
    if (copy_allowed(s) != 0 || !s->config.path || !s->folder || (c->library && !s->config.library) ||
        (c->http.ca && !s->config.http.ca))
        return MT_ENOMEM;
    return 0;
}

static void free_config(struct script *s)
{
    for (const char *const *p = s->config.sandbox_allow; p && *p; p++)
        mem_free((void *)*p);
    mem_free((void *)s->config.sandbox_allow);
    mem_free((void *)s->config.path);
    mem_free((void *)s->config.library);
    mem_free((void *)s->config.http.ca);
    mem_free(s->folder);
}

/* ---- life ---- */

/* End of a turn: tasks that timers and other callbacks have woken. */
static void on_flush(void *arg)
{
    struct script *s = arg;

    if (!s->staged)
        tide_state_show(s); /* what there was no memory for when versions were switched */
    task_run_ready(s);
}

static struct script *make_script(const struct script_config *c)
{
    struct script *s = mem_zalloc(1, sizeof(*s));

    if (!s)
        return NULL;
    list_init(&s->versions);
    list_init(&s->tasks);
    list_init(&s->ready);
    list_init(&s->pool);
    s->loop = c->loop;
    s->inbox = c->inbox;
    s->log = c->log;
    s->heap.limit = c->memory_limit;
    s->state_ref = s->behind_ref = s->saved_ref = LUA_NOREF;
    return s;
}

static int open_memory(struct script *s, struct memory_store *shared)
{
    s->owns_memory = shared == NULL;
    s->memory = shared ? shared : memory_store_create(SCRIPT_MEMORY_BYTES, clock_ms);
    return s->memory ? 0 : MT_ENOMEM;
}

static int open_sql(struct script *s, struct sql *shared)
{
    struct sql_config c;

    sql_defaults(&c);
    c.log = s->log;
    s->owns_sql = shared == NULL;
    s->sql = shared ? shared : sql_create(&c);
    return s->sql ? 0 : MT_ENOMEM;
}

void script_set_user_limits(struct script *s, const struct user_limits *l)
{
    s->config.user_limits = *l;
    s->paced = l->messages.per_second > 0;
    hub_set_user_limits(s->hub, l);
}

static int open_parts(struct script *s, const struct script_config *c, char **error)
{
    int rc = copy_config(s, c);

    if (rc == 0)
        rc = open_memory(s, c->services.memory);
    if (rc == 0 && !(s->files = files_create(c->services.folder, c->services.disk, c->files_open)))
        rc = MT_ENOMEM;
    if (rc == 0)
        rc = open_sql(s, c->services.sql);
    if (rc == 0 && !(s->watch = watch_join(c->watchdog)))
        rc = MT_ENOMEM;
    if (rc == 0 && !(s->hub = hub_create(s->loop, &room_hooks, s, c->crew, (unsigned)c->worker)))
        rc = MT_ENOMEM;
    if (rc == 0)
        script_set_user_limits(s, &c->user_limits);
    if (rc == 0)
        rc = vm_open(s, error);
    if (rc == 0)
        rc = loop_add_flush(s->loop, on_flush, s);
    if (rc == 0)
        s->flushing = true;
    return rc;
}

int script_open(const struct script_config *c, struct script **out, char **error)
{
    struct script *s = make_script(c);
    int rc = s ? open_parts(s, c, error) : MT_ENOMEM;

    if (rc != 0 && s)
        script_destroy(s);
    *out = rc == 0 ? s : NULL;
    return rc;
}

static int load_first(struct script *s, struct sources *sources, char **error)
{
    struct version *v = version_create(s, sources);
    int rc = v ? version_load(v, error) : MT_ENOMEM;

    if (rc == 0)
        version_go_live(v);
    else if (v)
        version_unref(v);
    return rc;
}

int script_create(const struct script_config *c, struct sources *sources, struct script **out, char **error)
{
    struct script *s = NULL;
    int rc;

    *out = NULL;
    *error = NULL;
    rc = script_open(c, &s, error);
    if (rc == 0)
        rc = load_first(s, sources, error);
    if (rc != 0) {
        if (s)
            script_destroy(s);
        if (!*error)
            *error = copy_text(err_text(rc));
        return rc;
    }
    *out = s;
    return 0;
}

static void destroy_peers(struct script *s)
{
    struct conn *c;
    uint32_t at = 0;

    while ((c = conn_next(s->hub, &at)) != NULL)
        if (c->owner)
            peer_destroy(c->owner);
}

static void free_versions(struct script *s)
{
    struct version *live = s->live;

    list_each_safe(node, next, &s->versions) api_timer_drop(list_entry(node, struct version, node));
    script_abandon(s);
    script_settle(s);
    s->live = NULL;
    if (live)
        version_unref(live);
}

void script_destroy(struct script *s)
{
    if (s->flushing)
        loop_remove_flush(s->loop, on_flush, s);
    s->stopping = true;
    s->stopped = NULL;
    if (s->L) {
        task_fini_all(s);
        destroy_peers(s);
        task_fini_all(s);
        free_versions(s);
    }
    vm_close(s);
    jwks_destroy(s->jwks);
    http_client_destroy(s->http); /* answers that scripts held have aborted their calls */
    files_end(s->files);
    if (s->hub)
        hub_destroy(s->hub);
    watch_part(s->config.watchdog, s->watch);
    if (s->owns_memory)
        memory_store_destroy(s->memory);
    if (s->owns_sql)
        sql_destroy(s->sql);
    buf_fini(&s->scratch);
    free_config(s);
    mem_free(s);
}

struct http_client *script_http(struct script *s)
{
    if (!s->http)
        s->http = http_client_create(s->loop, &s->config.http);
    return s->http;
}

struct hub *script_hub_of(const struct script *s)
{
    return s->hub;
}

void script_set_expired_code(struct script *s, unsigned code)
{
    s->config.expired_code = code;
}

/* ---- start, stop ---- */

static int end_of_hook(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

/* In a task's coroutine: light userdata of the reason. */
static int run_start(lua_State *L)
{
    const struct version *v = task_of(L)->version;

    if (!v->live) /* replaced while this waited for its turn: the next one has its own */
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->handlers->on_start);
    lua_pushstring(L, lua_touserdata(L, 1));
    lua_callk(L, 1, 0, 0, end_of_hook);
    return 0;
}

static int run_stop(lua_State *L)
{
    task_use_live(task_of(L));
    lua_rawgeti(L, LUA_REGISTRYINDEX, task_of(L)->version->handlers->on_stop);
    lua_pushliteral(L, "shutdown");
    lua_callk(L, 1, 0, 0, end_of_hook);
    return 0;
}

void script_queue_start(struct script *s, const char *reason)
{
    struct task *t;

    if (s->live->handlers->on_start == LUA_NOREF)
        return;
    t = dispatch_task(s, TASK_HOOK, run_start, (void *)reason, "on_start");
    if (t)
        task_start_later(t, 1);
}

void script_stop(struct script *s, void (*done)(void *arg), void *arg)
{
    struct task *t = NULL;

    s->stopping = true;
    s->stopped = done;
    s->stopped_arg = arg;
    if (s->live->handlers->on_stop != LUA_NOREF)
        t = dispatch_task(s, TASK_HOOK, run_stop, NULL, "on_stop");
    if (t)
        task_start_later(t, 1);
    else
        task_tell_stopped(s);
}

/* ---- looking at it ---- */

const char *const *script_files(const struct script *s)
{
    return (const char *const *)s->live->files;
}

const char *script_version(const struct script *s)
{
    return s->live->hash;
}

void script_stats(const struct script *s, struct script_stats *out)
{
    *out = s->stats;
    out->memory = s->heap.used;
    out->files = s->files->open;
    out->http = s->http ? http_client_count(s->http) : 0;
    out->tasks = s->task_count;
    out->waiting = s->waiting;
    out->old_versions = out->old_tasks = 0;
    list_each(node, &s->versions)
    {
        const struct version *v = list_entry(node, struct version, node);

        out->old_versions += version_lingers(v);
        out->old_tasks += version_lingers(v) ? v->tasks : 0;
    }
}
