/* keeps.c - walks through tide.state and conn.data and tells of functions, coroutines, metatables. */
#include "script/keeps.h"

#include "script/api_conn.h"
#include "script/peer.h"
#include "script/tide_state.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum {
    STEPS_MAX = 20000, /* values looked at: a few milliseconds at most */
    DEPTH_MAX = 40,
    CODE_DEPTH = 4, /* functions that functions refer to, until one names its environment */
    SLOTS = 12,     /* of the stack per level */
};

static const char envs_key = 0; /* its address keys the weak table environment -> hash in the registry */

struct keeps {
    struct script *script;
    lua_State *L;
    struct walk_set *seen;
    struct walk_set envs; /* owned: environment -> hash of its version */
    unsigned steps;       /* left */
    const char *root;     /* where the path begins */
    keeps_fn *fn;
    void *arg;
    bool enough; /* fn said so, or memory ran out */
    int rc;
    bool whole;      /* nothing of tide.state was left out */
    struct buf path; /* owned; of what is being told */
};

/* What is known about the code of a function. */
struct code {
    const void *env;
    const char *version;
    char place[LUA_IDSIZE + 16];
};

static void visit(struct keeps *k, int index, const struct walk_step *step, unsigned depth);

/* ---- versions by their environment ---- */

void keeps_note_version(lua_State *L, const struct version *v)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &envs_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        script_push_weak_table(L, "k");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &envs_key);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->env_ref);
    lua_pushstring(L, v->hash);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

const void *keeps_env(struct version *v)
{
    const void *env;

    lua_rawgeti(v->script->L, LUA_REGISTRYINDEX, v->env_ref);
    env = lua_topointer(v->script->L, -1);
    lua_pop(v->script->L, 1);
    return env;
}

/* The weak table as a set: it is asked about every table that is met. The hashes are anchored by it while nothing is collected,
 * and nothing is during a walk. */
static void collect_envs(struct keeps *k)
{
    lua_State *L = k->L;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &envs_key) == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            if (walk_set_add(&k->envs, lua_topointer(L, -2), (uintptr_t)lua_tostring(L, -1)) < 0)
                k->rc = MT_ENOMEM;
    lua_pop(L, 1);
}

/* Whether the table at `index` is the environment of a version. */
static bool find_version(struct keeps *k, int index, struct code *out)
{
    const void *ptr = lua_topointer(k->L, index);
    const uint64_t *hash = walk_set_find(&k->envs, ptr);

    if (!hash)
        return false;
    out->env = ptr;
    out->version = (const char *)(uintptr_t)*hash;
    return true;
}

/* By its upvalue _ENV, or that of a function that it refers to. */
static void find_env(struct keeps *k, int function, unsigned depth, struct code *out)
{
    lua_State *L = k->L;
    const char *name;

    if (depth >= CODE_DEPTH || !lua_checkstack(L, SLOTS))
        return;
    for (int i = 1; !out->env && k->steps > 0 && (name = lua_getupvalue(L, function, i)) != NULL; i++) {
        k->steps--;
        if (lua_istable(L, -1))
            find_version(k, -1, out);
        else if (lua_isfunction(L, -1))
            find_env(k, lua_gettop(L), depth + 1, out);
        lua_pop(L, 1);
    }
}

static void describe(struct keeps *k, int function, struct code *out)
{
    lua_Debug ar;

    lua_pushvalue(k->L, function);
    lua_getinfo(k->L, ">S", &ar);
    if (ar.linedefined > 0)
        snprintf(out->place, sizeof(out->place), "%s:%d", ar.short_src, ar.linedefined);
    find_env(k, function, 0, out);
}

/* ---- telling ---- */

static void tell(struct keeps *k, enum keeps_kind kind, const struct walk_step *step, const struct code *code)
{
    struct keeps_found found = {kind, NULL, code->place, code->version, code->env};

    buf_clear(&k->path);
    if (buf_add_text(&k->path, k->root) != 0 || walk_add_path(&k->path, k->L, step) != 0 || buf_add_byte(&k->path, '\0') != 0) {
        k->rc = MT_ENOMEM;
        k->enough = true;
        return;
    }
    found.path = (const char *)k->path.data;
    k->enough = !k->fn(k->arg, &found);
}

/* ---- the kinds of values ---- */

/* Pushes the function at the bottom of a coroutine's calls. False with nothing pushed when it has ended. */
static bool push_body(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    int level = 0;

    if (!lua_checkstack(co, 1))
        return false;
    while (level < DEPTH_MAX && lua_getstack(co, level, &ar))
        level++;
    if (level == DEPTH_MAX)
        return false;
    if (level > 0 && lua_getstack(co, level - 1, &ar))
        lua_getinfo(co, "f", &ar);
    else if (lua_status(co) == LUA_OK && lua_isfunction(co, 1)) /* not begun */
        lua_pushvalue(co, 1);
    else
        return false;
    lua_xmove(co, L, 1);
    return true;
}

static void visit_coroutine(struct keeps *k, int index, const struct walk_step *step)
{
    struct code code = {NULL, NULL, ""};
    lua_State *co = lua_tothread(k->L, index);

    if (co == k->L || !push_body(k->L, co))
        return; /* one that has ended keeps nothing */
    describe(k, lua_gettop(k->L), &code);
    lua_pop(k->L, 1);
    tell(k, KEEPS_COROUTINE, step, &code);
}

/* What coroutine.wrap makes, for one, is a function of C that holds a coroutine. */
static void visit_function(struct keeps *k, int index, const struct walk_step *step, unsigned depth)
{
    struct code code = {NULL, NULL, ""};

    if (!lua_iscfunction(k->L, index)) {
        describe(k, index, &code);
        tell(k, KEEPS_FUNCTION, step, &code);
        return;
    }
    for (int i = 1; !k->enough && lua_getupvalue(k->L, index, i); i++) {
        int type = lua_type(k->L, -1);

        if (type == LUA_TFUNCTION || type == LUA_TTHREAD || (type == LUA_TTABLE && find_version(k, -1, &code)))
            visit(k, lua_gettop(k->L), step, depth + 1);
        lua_pop(k->L, 1);
    }
}

/* The first function of a script among the values of a table, and of the tables in it as deep as that. */
static bool find_code(struct keeps *k, int index, unsigned depth, struct code *out)
{
    lua_State *L = k->L;
    bool found = false;

    if (!lua_checkstack(L, SLOTS))
        return false;
    for (lua_pushnil(L); !found && k->steps > 0 && lua_next(L, index);) {
        k->steps--;
        if (lua_isfunction(L, -1) && !lua_iscfunction(L, -1)) {
            describe(k, lua_gettop(L), out);
            found = true;
        } else if (lua_istable(L, -1) && depth > 0) {
            found = find_code(k, lua_gettop(L), depth - 1, out);
        }
        lua_pop(L, 1);
    }
    return found;
}

/* Metatables of the core hold functions of C only, and those that only say __mode hold no code either. */
static void visit_metatable(struct keeps *k, int index, const struct walk_step *step)
{
    struct code code = {NULL, NULL, ""};
    int top = lua_gettop(k->L);

    if (lua_getmetatable(k->L, index) && walk_set_add(k->seen, lua_topointer(k->L, -1), 0) == 1 &&
        find_code(k, top + 1, 1, &code)) {
        lua_settop(k->L, top);
        tell(k, KEEPS_METATABLE, step, &code);
    }
    lua_settop(k->L, top);
}

static bool is_object(lua_State *L, int index)
{
    int type = lua_type(L, index);

    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
}

static void visit_fields(struct keeps *k, int index, const struct walk_step *step, unsigned depth)
{
    lua_State *L = k->L;
    int top = lua_gettop(L);

    for (lua_pushnil(L); !k->enough && k->steps > 0 && lua_next(L, index); lua_settop(L, top + 1)) {
        struct walk_step here = {step, top + 1};

        k->steps--;
        if (is_object(L, top + 2))
            visit(k, top + 2, &here, depth + 1);
        if (is_object(L, top + 1))
            visit(k, top + 1, &here, depth + 1);
    }
    lua_settop(L, top);
}

static void visit_table(struct keeps *k, int index, const struct walk_step *step, unsigned depth)
{
    struct code code = {NULL, NULL, ""};

    if (find_version(k, index, &code)) {
        tell(k, KEEPS_ENVIRONMENT, step, &code);
        return;
    }
    visit_metatable(k, index, step);
    visit_fields(k, index, step, depth);
}

/* A conn has its data, a timer its function, a task its results. */
static void visit_userdata(struct keeps *k, int index, const struct walk_step *step, unsigned depth)
{
    lua_State *L = k->L;
    struct walk_step data = {step, lua_gettop(L) + 1};
    conn_id id;
    bool conn = api_conn_test(L, index, &id);

    lua_pushliteral(L, "data");
    for (int i = 1; !k->enough && lua_getiuservalue(L, index, i) != LUA_TNONE; i++) {
        if (is_object(L, -1))
            visit(k, lua_gettop(L), conn ? &data : step, depth + 1);
        lua_pop(L, 1);
    }
    lua_settop(L, data.key - 1);
}

static void visit(struct keeps *k, int index, const struct walk_step *step, unsigned depth)
{
    int rc;

    if (k->enough || k->steps == 0 || depth > DEPTH_MAX || !lua_checkstack(k->L, SLOTS))
        return;
    rc = walk_set_add(k->seen, lua_topointer(k->L, index), 0);
    if (rc < 0) {
        k->rc = rc;
        k->enough = true;
    }
    if (rc != 1)
        return;
    switch (lua_type(k->L, index)) {
    case LUA_TTABLE:
        visit_table(k, index, step, depth);
        break;
    case LUA_TFUNCTION:
        visit_function(k, index, step, depth);
        break;
    case LUA_TTHREAD:
        visit_coroutine(k, index, step);
        break;
    default:
        visit_userdata(k, index, step, depth);
    }
}

/* ---- the roots ---- */

static void visit_conns(struct keeps *k)
{
    struct conn *c;
    uint32_t at = 0;

    k->root = "conn.data";
    while (!k->enough && k->steps > 0 && (c = conn_next(k->script->hub, &at)) != NULL) {
        const struct peer *p = c->owner;

        k->steps--;
        if (!p || p->ref == LUA_NOREF)
            continue;
        lua_rawgeti(k->L, LUA_REGISTRYINDEX, p->ref);
        if (lua_getiuservalue(k->L, -1, 1) == LUA_TTABLE)
            visit(k, lua_gettop(k->L), NULL, 0);
        lua_pop(k->L, 2);
    }
}

static int run(lua_State *L)
{
    struct keeps *k = lua_touserdata(L, 1);

    lua_gc(L, LUA_GCSTOP);
    collect_envs(k);
    tide_state_push(L);
    k->root = "tide.state";
    visit(k, lua_gettop(L), NULL, 0);
    k->whole = !k->enough && k->steps > 0;
    visit_conns(k);
    return 0;
}

int keeps_walk(struct script *s, struct walk_set *seen, keeps_fn *fn, void *arg, bool *whole)
{
    struct keeps k = {.script = s, .L = s->L, .seen = seen, .steps = STEPS_MAX, .fn = fn, .arg = arg};

    if (script_protect(s, run, &k) != LUA_OK) {
        lua_pop(s->L, 1);
        k.rc = MT_ENOMEM;
    }
    lua_gc(s->L, LUA_GCRESTART);
    walk_set_fini(&k.envs);
    buf_fini(&k.path);
    *whole = k.whole;
    return k.rc;
}
