/* upgrade.c - running on_upgrade, and which content of tide.state belongs to which version.
 *
 * Everything that needs memory happens in upgrade_run, where it may fail. Two guards are ready then: the one of what on_upgrade
 * gave, and the one that hides what tide.state holds now. Putting either behind tide.state needs none (tide_state.h).
 */
#include "script/upgrade.h"

#include "script/copy.h"
#include "script/handlers.h"
#include "script/tide_state.h"

#include <lauxlib.h>

/* What the core keeps besides tide.state is not the script's: its limit is raised by that. */
static void set_extra(struct script *s)
{
    s->heap.extra = s->saved_bytes + (s->staged ? s->staged->copied : 0);
}

/* ---- on_upgrade ---- */

/* Hides tide.state; the copy of its fields is in fresh_ref then, and shown instead. */
static int make_copy(lua_State *L)
{
    struct version *v = lua_touserdata(L, 1);

    tide_state_hide(L);
    tide_state_push(L);
    tide_state_push_fields(L); /* v, state, fields */
    copy_push_deep(L, 3, 2, v->script->upgrade_budget);
    tide_state_cover(L, 4);
    v->fresh_ref = script_ref(L);
    return 0;
}

/* What on_upgrade returned is in fresh_ref; afterwards that and before_ref are the guards. */
static int keep_result(lua_State *L)
{
    struct version *v = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, v->fresh_ref);
    tide_state_push(L);
    if (lua_rawequal(L, 2, 3))
        return luaL_error(L,
                          "app.on_upgrade: it returned tide.state, which is still the old version's: return what it was given, "
                          "or a new table");
    if (!lua_istable(L, 2))
        return luaL_error(L,
                          "app.on_upgrade: it returned %s: the new state is expected, a table (`return state` is its last line)",
                          lua_isnil(L, 2) ? "nothing" : luaL_typename(L, 2));
    tide_state_push_guard(L, 2);
    tide_state_push_behind(L); /* v, result, state, fresh guard, guard of what is there */
    v->before_ref = script_ref(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, v->fresh_ref);
    return 0;
}

static int call_handler(struct version *v)
{
    struct script *s = v->script;
    int status;

    lua_rawgeti(s->L, LUA_REGISTRYINDEX, v->handlers->on_upgrade);
    lua_rawgeti(s->L, LUA_REGISTRYINDEX, v->fresh_ref);
    lua_pushinteger(s->L, s->live->number);
    status = script_call(s, v, 2, 1);
    if (status == LUA_OK)
        lua_rawseti(s->L, LUA_REGISTRYINDEX, v->fresh_ref); /* over the copy: needs no memory */
    return status;
}

/* The collector rests meanwhile, so that it does not walk twice what is being copied; the difference is what the copy takes. */
static int copy_state(struct version *v)
{
    struct script *s = v->script;
    size_t before = s->heap.used;
    int status;

    lua_gc(s->L, LUA_GCSTOP);
    status = script_protect(s, make_copy, v);
    if (status == LUA_OK)
        v->copied = s->heap.used > before ? s->heap.used - before : 0;
    lua_gc(s->L, LUA_GCRESTART);
    set_extra(s);
    return status;
}

static char *failure_text(struct version *v)
{
    struct script *s = v->script;
    const char *text = lua_tostring(s->L, -1);
    struct buf out = {0};

    if (buf_addf(&out, "on_upgrade from version %lld to %lld failed, the reload was given up: %s", (long long)s->live->number,
                 (long long)v->number, text ? text : "not enough memory") != 0 ||
        buf_add_byte(&out, '\0') != 0) {
        buf_fini(&out);
        return NULL;
    }
    return (char *)out.data;
}

int upgrade_run(struct version *v, double seconds, char **error)
{
    struct script *s = v->script;
    int status;

    s->loading = v; /* nothing may be acted on, and what is spawned waits */
    s->upgrade_budget = seconds > 0.001 ? seconds : 0.001;
    status = copy_state(v);
    if (status == LUA_OK)
        status = call_handler(v);
    if (status == LUA_OK)
        status = script_protect(s, keep_result, v);
    if (s->behind_ref != LUA_NOREF)
        tide_state_uncover(s);
    s->loading = NULL;
    s->upgrade_budget = 0;
    if (status == LUA_OK)
        return 0;
    *error = failure_text(v);
    lua_pop(s->L, 1);
    upgrade_undo(v);
    return MT_ESCRIPT;
}

/* ---- what becomes of it ---- */

/* The staged version owns no content of tide.state any more. */
static void let_go(struct version *v)
{
    script_unref(v->script->L, &v->fresh_ref);
    script_unref(v->script->L, &v->before_ref);
    v->copied = 0;
    set_extra(v->script);
}

void upgrade_undo(struct version *v)
{
    let_go(v);
    tide_state_show(v->script);
}

void upgrade_commit(struct version *v, bool keep)
{
    struct script *s = v->script;

    if (v->fresh_ref == LUA_NOREF)
        return;
    if (keep && s->saved_ref == LUA_NOREF) {
        s->saved_ref = v->before_ref;
        s->saved_bytes = v->copied;
        v->before_ref = LUA_NOREF;
    }
    tide_state_replace(s, &v->fresh_ref);
    let_go(v);
    tide_state_show(s);
}

bool upgrade_take_back(struct script *s)
{
    if (s->saved_ref == LUA_NOREF)
        return false;
    tide_state_replace(s, &s->saved_ref);
    upgrade_forget(s);
    tide_state_show(s);
    return true;
}

void upgrade_forget(struct script *s)
{
    script_unref(s->L, &s->saved_ref);
    s->saved_bytes = 0;
    set_extra(s);
}
