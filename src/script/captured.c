/* captured.c - from the table that a script returned through functions and their upvalues. */
#include "script/captured.h"

#include "script/tide_state.h"

enum {
    STEPS_MAX = 20000, /* values looked at: a few milliseconds at most */
    DEPTH_MAX = 40,
    FIELDS_MAX = 4000, /* of one table: larger ones are not looked into, so that one does not use up what is for all */
    SLOTS = 8,         /* of the stack per level */
};

struct walk {
    struct version *version;
    lua_State *L;
    struct walk_set seen; /* owned: tables and functions */
    const struct walk_set *others;
    const struct captured_ops *ops;
    void *arg;
    unsigned steps; /* left */
    bool whole;
    int rc;
};

/* Where the walk is. */
struct spot {
    const struct captured_variable *variable;
    const struct walk_step *path;
    unsigned depth;
};

static void visit(struct walk *w, int index, const struct spot *spot);

/* ---- tables ---- */

static bool is_inner(lua_State *L, int index)
{
    return lua_istable(L, index) || (lua_isfunction(L, index) && !lua_iscfunction(L, index));
}

/* The sum does not depend on the order of the fields. */
static void print_fields(struct walk *w, int index, struct captured_table *out, bool *inner)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);

    for (lua_pushnil(L); lua_next(L, index); lua_settop(L, top + 1)) {
        out->large = out->fields == FIELDS_MAX;
        if (w->steps == 0 || out->large)
            break;
        w->steps--;
        out->fields++;
        out->print += walk_hash_field(L, top + 1, top + 2);
        *inner = *inner || is_inner(L, top + 2);
    }
    lua_settop(L, top);
}

static void visit_fields(struct walk *w, int index, const struct spot *spot)
{
    lua_State *L = w->L;
    int top = lua_gettop(L);

    for (lua_pushnil(L); lua_next(L, index); lua_settop(L, top + 1)) {
        struct walk_step here = {spot->path, top + 1};
        struct spot below = {spot->variable, &here, spot->depth + 1};

        if (is_inner(L, top + 2))
            visit(w, top + 2, &below);
    }
}

static void visit_table(struct walk *w, int index, const struct spot *spot)
{
    struct captured_table table = {lua_topointer(w->L, index), 0, 0, false, spot->variable, w->L, spot->path};
    struct spot below = *spot;
    bool inner = false;

    print_fields(w, index, &table, &inner);
    if (w->steps == 0) {
        w->whole = false;
        return;
    }
    if (table.large)
        table.print = UINT64_MAX; /* an empty one has 0 */
    w->ops->table(w->arg, &table);
    if (inner && !table.large)
        visit_fields(w, index, spot);
    if (lua_getmetatable(w->L, index)) {
        below.depth++;
        visit(w, lua_gettop(w->L), &below);
        lua_pop(w->L, 1);
    }
}

/* ---- functions ---- */

static void visit_upvalue(struct walk *w, const struct captured_variable *variable, unsigned depth)
{
    struct spot below = {variable, NULL, depth + 1};
    int top = lua_gettop(w->L);

    if (lua_istable(w->L, top) && w->ops->variable)
        w->ops->variable(w->arg, lua_topointer(w->L, top), variable);
    if (is_inner(w->L, top))
        visit(w, top, &below);
}

static void visit_function(struct walk *w, int index, const struct spot *spot)
{
    struct captured_variable variable;
    lua_State *L = w->L;
    lua_Debug ar;

    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &ar);
    variable.file = ar.source[0] == '@' ? ar.source + 1 : "load";
    variable.line = (unsigned)ar.linedefined;
    for (int i = 1; (variable.name = lua_getupvalue(L, index, i)) != NULL; i++) {
        visit_upvalue(w, &variable, spot->depth);
        lua_pop(L, 1);
    }
}

/* ---- all ---- */

static void visit(struct walk *w, int index, const struct spot *spot)
{
    const void *ptr = lua_topointer(w->L, index);
    int rc;

    if (w->rc != 0 || (w->others && walk_set_find(w->others, ptr)) || walk_set_find(&w->seen, ptr))
        return;
    if (spot->depth > DEPTH_MAX) /* what comes from there to a place above it is in a table that has changed */
        return;
    if (w->steps == 0 || !lua_checkstack(w->L, SLOTS)) {
        w->whole = false;
        return;
    }
    w->steps--;
    rc = walk_set_add(&w->seen, ptr, 0);
    if (rc < 0)
        w->rc = rc;
    else if (lua_istable(w->L, index))
        visit_table(w, index, spot);
    else
        visit_function(w, index, spot);
}

/* The table on top of the stack and the tables in it are the core's: they are not looked at. Pops it. */
static void leave_out(struct walk *w)
{
    lua_State *L = w->L;

    if (walk_set_add(&w->seen, lua_topointer(L, -1), 0) < 0)
        w->rc = MT_ENOMEM;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_istable(L, -1) && walk_set_add(&w->seen, lua_topointer(L, -1), 0) < 0)
            w->rc = MT_ENOMEM;
    lua_pop(L, 1);
}

static int run(lua_State *L)
{
    struct walk *w = lua_touserdata(L, 1);
    const struct spot start = {NULL, NULL, 0};

    lua_rawgeti(L, LUA_REGISTRYINDEX, w->version->env_ref);
    leave_out(w);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->version->tide_ref);
    leave_out(w);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->version->app_ref);
    visit(w, lua_gettop(L), &start);
    return 0;
}

int captured_walk(struct version *v, const struct walk_set *others, const struct captured_ops *ops, void *arg, bool *whole)
{
    struct script *s = v->script;
    struct walk w = {.version = v, .L = s->L, .others = others, .ops = ops, .arg = arg, .steps = STEPS_MAX, .whole = true};

    if (script_protect(s, run, &w) != LUA_OK) {
        lua_pop(s->L, 1);
        w.rc = MT_ENOMEM;
    }
    walk_set_fini(&w.seen);
    *whole = w.whole;
    return w.rc;
}
