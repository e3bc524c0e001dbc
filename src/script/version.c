/* version.c - one version of the app, from its files to the end of its last task.
 *
 * Loading happens beside the live version and touches nothing of it: a fresh environment, its own modules and library tables.
 * While the chunks run, script->loading is set, calls that act raise, and tide.state can be read only.
 */
#include "script/version.h"

#include "base/text.h"
#include "crypt/crypt.h"
#include "script/api_timer.h"
#include "script/handlers.h"
#include "script/lint.h"
#include "script/modules.h"
#include "script/sandbox.h"
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

void version_free_files(char **files)
{
    for (size_t i = 0; files && files[i]; i++)
        mem_free(files[i]);
    mem_free(files);
}

static void free_version(struct version *v)
{
    struct script *s = v->script;
    int *const refs[] = {&v->env_ref, &v->loaded_ref, &v->tide_ref, &v->app_ref};

    list_remove(&v->node);
    handlers_free(s->L, v->handlers);
    lint_free(v->lint);
    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
        script_unref(s->L, refs[i]);
    version_free_files(v->files);
    if (v->hasher)
        crypt_hasher_destroy(v->hasher);
    mem_free(v);
}

void version_unref(struct version *v)
{
    if (--v->refs == 0)
        free_version(v);
}

static struct version *make_version(struct script *s)
{
    struct version *v = mem_zalloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->script = s;
    v->refs = 1;
    v->env_ref = v->loaded_ref = v->tide_ref = v->app_ref = LUA_NOREF;
    memcpy(v->hash, "00000000", sizeof(v->hash));
    list_init(&v->held);
    list_init(&v->timers);
    list_add_tail(&s->versions, &v->node);
    v->files = mem_zalloc(1, sizeof(*v->files));
    if (!v->files || crypt_hasher_create(SLICE("sha256"), &v->hasher) != 0) {
        version_unref(v);
        return NULL;
    }
    return v;
}

/* ---- sources ---- */

static bool has_file(const struct version *v, const char *path)
{
    for (size_t i = 0; i < v->file_count; i++)
        if (strcmp(v->files[i], path) == 0)
            return true;
    return false;
}

/* After each file, so that lines logged while loading carry a hash too. */
static int update_hash(struct version *v, struct slice source)
{
    unsigned char digest[CRYPT_DIGEST_MAX];
    struct buf hex = {0};
    size_t len;
    int rc = crypt_hasher_update(v->hasher, source.data, source.len);

    if (rc == 0)
        rc = crypt_hasher_digest(v->hasher, digest, &len);
    if (rc == 0)
        rc = text_hex(&hex, digest, 4);
    if (rc == 0)
        memcpy(v->hash, hex.data, 8);
    buf_fini(&hex);
    return rc;
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

int version_add_file(struct version *v, const char *path, struct slice source)
{
    int rc;

    if (has_file(v, path))
        return 0;
    rc = version_note_file(v, path);
    if (rc != 0 || v->script->loading != v) /* required by a running handler: the hash stays that of what went live */
        return rc;
    return update_hash(v, source);
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
    if (!modules_push_script(L, v))
        return lua_error(L);
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

static int show_state(lua_State *L)
{
    tide_state_show(L);
    return 0;
}

static void drop_held(struct version *v)
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
    if (strncmp(text, "app", 3) == 0 || strncmp(text, "the script", 10) == 0)
        buf_addf(&out, "%s: ", base);
    if (buf_add_text(&out, text) != 0 || buf_add_byte(&out, '\0') != 0) {
        buf_fini(&out);
        return NULL;
    }
    return (char *)out.data;
}

int version_load(struct script *s, struct version **out, char **error)
{
    struct version *v = make_version(s);
    int status;

    *error = NULL;
    *out = NULL;
    if (!v)
        return MT_ENOMEM;
    version_free_files(s->failed_files);
    s->failed_files = NULL;
    s->failed_hash[0] = '\0';
    s->loading = v;
    status = load_steps(s, v);
    if (status != LUA_OK) {
        *error = load_error(s);
        lua_pop(s->L, 1);
        drop_held(v);
    }
    s->loading = NULL;
    if (script_protect(s, show_state, NULL) != LUA_OK)
        lua_pop(s->L, 1);
    if (status != LUA_OK) {
        s->failed_files = v->files;
        memcpy(s->failed_hash, v->hash, sizeof(s->failed_hash));
        v->files = NULL;
        version_unref(v);
        return MT_ESCRIPT;
    }
    lint_note(v);
    *out = v;
    return 0;
}

/* ---- going live ---- */

void version_go_live(struct version *v)
{
    struct script *s = v->script;
    struct version *old = s->live;

    s->live = v;
    s->epoch++;
    v->live = true;
    if (old)
        jobs_stop(old);
    jobs_start(v);
    while (!list_empty(&v->held)) {
        struct list_node *node = v->held.next;

        list_remove(node);
        list_add_tail(&s->ready, node);
    }
    api_timer_switch(old, v);
    if (old) {
        old->live = false;
        version_unref(old);
    }
}
