/* handlers.c - checks the table that a script returns. Everything here runs protected, while the version loads. */
#include "script/handlers.h"

#include "base/text.h"
#include "script/shape.h"

#include <lauxlib.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_MIN 0.001 /* a second */
#define RATE_MAX 1e12

/* What a key may hold. */
enum key_type { KEY_HANDLER, KEY_FUNCTION_OR_TABLE, KEY_TABLE, KEY_INTEGER, KEY_NUMBER, KEY_BOOLEAN, KEY_ANY };

struct key {
    const char *name;
    enum key_type type;
    size_t ref; /* KEY_HANDLER: where its reference goes, offset in the struct; NO_PLACE: only checked */
};

#define NO_PLACE ((size_t)-1)
#define LEVEL(field) offsetof(struct level, field)

static const struct key level_keys[] = {
    {"on_connect", KEY_HANDLER, LEVEL(on_connect)},
    {"on_open", KEY_HANDLER, LEVEL(on_open)},
    {"on_close", KEY_HANDLER, LEVEL(on_close)},
    {"on_message", KEY_HANDLER, LEVEL(on_message)},
    {"on_binary", KEY_HANDLER, LEVEL(on_binary)},
    {"on_http", KEY_HANDLER, LEVEL(on_http)},
    {"on", KEY_TABLE, NO_PLACE},
    {"accepts", KEY_TABLE, NO_PLACE},
    {"limits", KEY_TABLE, NO_PLACE},
    {"protocols", KEY_TABLE, NO_PLACE},
    {NULL, KEY_ANY, NO_PLACE},
};
static const struct key app_keys[] = {
    {"on_start", KEY_HANDLER, offsetof(struct handlers, on_start)},
    {"on_stop", KEY_HANDLER, offsetof(struct handlers, on_stop)},
    {"on_signal", KEY_HANDLER, offsetof(struct handlers, on_signal)},
    {"on_upgrade", KEY_HANDLER, offsetof(struct handlers, on_upgrade)},
    {"routes", KEY_TABLE, NO_PLACE},
    {"rooms", KEY_TABLE, NO_PLACE},
    {"actors", KEY_TABLE, NO_PLACE},
    {"jobs", KEY_TABLE, NO_PLACE},
    {"version", KEY_INTEGER, NO_PLACE},
    {NULL, KEY_ANY, NO_PLACE},
};
static const struct key limit_keys[] = {
    {"message_bytes", KEY_INTEGER, NO_PLACE},
    {"messages_per_second", KEY_NUMBER, NO_PLACE},
    {"messages_burst", KEY_NUMBER, NO_PLACE},
    {"bytes_per_second", KEY_NUMBER, NO_PLACE},
    {"bytes_burst", KEY_NUMBER, NO_PLACE},
    {NULL, KEY_ANY, NO_PLACE},
};
static const struct key room_keys[] = {
    {"on_join", KEY_HANDLER, offsetof(struct room_kind, on_join)},
    {"on_leave", KEY_HANDLER, offsetof(struct room_kind, on_leave)},
    {"allow", KEY_HANDLER, offsetof(struct room_kind, allow)},
    {"grace", KEY_NUMBER, NO_PLACE},
    {"presence", KEY_ANY, NO_PLACE},
    {"history", KEY_INTEGER, NO_PLACE},
    {"ttl", KEY_NUMBER, NO_PLACE},
    {"current", KEY_BOOLEAN, NO_PLACE},
    {NULL, KEY_ANY, NO_PLACE},
};
static const struct key job_keys[] = {
    {"every", KEY_NUMBER, NO_PLACE}, {"run", KEY_HANDLER, offsetof(struct job, run)}, {NULL, KEY_ANY, NO_PLACE}};

/* ---- keys and types ---- */

static bool has_type(lua_State *L, int index, enum key_type type)
{
    switch (type) {
    case KEY_HANDLER:
        return lua_isfunction(L, index);
    case KEY_FUNCTION_OR_TABLE:
        return lua_isfunction(L, index) || lua_istable(L, index);
    case KEY_TABLE:
        return lua_istable(L, index);
    case KEY_INTEGER:
        return lua_isinteger(L, index);
    case KEY_NUMBER:
        return lua_type(L, index) == LUA_TNUMBER;
    case KEY_BOOLEAN:
        return lua_isboolean(L, index);
    default:
        return true;
    }
}

static const char *type_text(enum key_type type)
{
    static const char *const texts[] = {"function", "function or table", "table", "integer", "number", "boolean", "value"};

    return texts[type];
}

static void expect_type(lua_State *L, int index, enum key_type type, const char *where, const char *name)
{
    if (!has_type(L, index, type))
        luaL_error(L, "%s.%s: %s expected, got %s", where, name, type_text(type), luaL_typename(L, index));
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (; keys && keys->name; keys++)
        if (strcmp(keys->name, name) == 0)
            return keys;
    return NULL;
}

static const char *nearest(const char *name, const struct key *a, const struct key *b)
{
    const char *names[32];
    size_t n = 0;

    for (; a && a->name; a++)
        names[n++] = a->name;
    for (; b && b->name; b++)
        names[n++] = b->name;
    names[n] = NULL;
    return text_nearest(slice_of(name), names);
}

/* "chat.lua:12: " for a function of the script, an empty text for anything else. Stack: +1. */
static const char *push_place(lua_State *L, int index)
{
    lua_Debug about;

    if (!lua_isfunction(L, index) || lua_iscfunction(L, index))
        return lua_pushliteral(L, "");
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &about);
    return lua_pushfstring(L, "%s:%d: ", about.short_src, about.linedefined);
}

/* An unknown key. Functions may have any name (tide.after calls them by it), as long as it does not look like a handler's. */
static void refuse_unknown(lua_State *L, const char *where, const char *name, int value, const struct key *a, const struct key *b)
{
    const char *near = nearest(name, a, b), *place;
    bool handler_like = strncmp(name, "on_", 3) == 0 || (strncmp(name, "on", 2) == 0 && near && strncmp(near, "on_", 3) == 0);

    if (lua_isfunction(L, value) && !handler_like)
        return;
    place = push_place(L, value);
    if (near)
        luaL_error(L, "%s%s.%s: no such %s; did you mean %s?", place, where, name, handler_like ? "handler" : "key", near);
    luaL_error(L, "%s%s.%s: no such %s", place, where, name,
               handler_like ? "handler" : "key; data of your own belongs in a local or in tide.state");
}

/* Metamethods would run here without a budget, and could change what is being walked. */
static void check_plain(lua_State *L, int index, const char *where)
{
    if (lua_getmetatable(L, index))
        luaL_error(L, "%s: a table without a metatable expected", where);
}

/* Every key of the table at `index` is one of `a` or `b` (may be NULL) and has its type. */
static void check_keys(lua_State *L, int index, const char *where, const struct key *a, const struct key *b)
{
    check_plain(L, index, where);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const struct key *key;
        const char *name;

        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: keys are names, got a %s", where, luaL_typename(L, -2));
        name = lua_tostring(L, -2);
        key = find_key(a, name);
        if (!key)
            key = find_key(b, name);
        if (key)
            expect_type(L, -1, key->type, where, name);
        else
            refuse_unknown(L, where, name, -1, a, b);
    }
}

/* Take references to the handlers of the table at `index` into the struct. */
static void take_handlers(lua_State *L, int index, const struct key *keys, void *into)
{
    for (; keys->name; keys++) {
        if (keys->ref == NO_PLACE)
            continue;
        if (lua_getfield(L, index, keys->name) == LUA_TNIL)
            lua_pop(L, 1);
        else
            *(int *)((char *)into + keys->ref) = script_ref(L);
    }
}

static void *check_alloc(lua_State *L, void *p)
{
    if (!p)
        luaL_error(L, "not enough memory");
    return p;
}

/* ---- the parts of a level ---- */

static void load_on(lua_State *L, int index, const char *where, struct level *out)
{
    char path[128];

    if (lua_getfield(L, index, "on") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    snprintf(path, sizeof(path), "%s.on", where);
    check_plain(L, -1, path);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: keys are message types, got a %s", path, luaL_typename(L, -2));
        expect_type(L, -1, KEY_HANDLER, path, lua_tostring(L, -2));
    }
    out->on = script_ref(L);
}

/* A shape for a type that no handler takes is a slip of the pen. */
static void check_accepted(lua_State *L, const struct level *l, const char *where, const char *type)
{
    if (l->on == LUA_NOREF)
        luaL_error(L, "%s.accepts.%s: there is no %s.on", where, type, where);
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->on);
    if (lua_getfield(L, -1, type) == LUA_TNIL)
        luaL_error(L, "%s.accepts.%s: there is no handler %s.on.%s", where, type, where, type);
    lua_pop(L, 2);
}

static void load_accepts(lua_State *L, int index, const char *where, struct level *out)
{
    if (lua_getfield(L, index, "accepts") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L); /* accepts, compiled */
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1)) {
        char what[192];

        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s.accepts: keys are message types, got a %s", where, luaL_typename(L, -2));
        check_accepted(L, out, where, lua_tostring(L, -2));
        snprintf(what, sizeof(what), "%s.accepts.%s", where, lua_tostring(L, -2));
        lua_pushvalue(L, -2);
        shape_compile(L, -2, what); /* accepts, compiled, type, shape, type, compiled shape */
        lua_rawset(L, -5);
    }
    out->accepts = script_ref(L);
    lua_pop(L, 1);
}

/* WHAT_per_second and WHAT_burst of the table on top; as in the configuration a burst is two seconds' worth unless it is given. */
static struct rate load_rate(lua_State *L, const char *path, const char *what)
{
    struct rate r = {0};
    char name[32];

    snprintf(name, sizeof(name), "%s_per_second", what);
    bool given = lua_getfield(L, -1, name) != LUA_TNIL;
    r.per_second = lua_tonumber(L, -1);
    if (given && !(r.per_second >= RATE_MIN && r.per_second <= RATE_MAX))
        luaL_error(L, "%s.%s: 0.001 to 1e12 expected", path, name);
    snprintf(name, sizeof(name), "%s_burst", what);
    bool has_burst = lua_getfield(L, -2, name) != LUA_TNIL;
    r.burst = has_burst ? lua_tonumber(L, -1) : r.per_second > 0.5 ? 2 * r.per_second : 1;
    if (has_burst && !given)
        luaL_error(L, "%s.%s: there is no %s_per_second", path, name, what);
    if (has_burst && !(r.burst >= 1 && r.burst <= RATE_MAX))
        luaL_error(L, "%s.%s: 1 to 1e12 expected", path, name);
    lua_pop(L, 2);
    return r;
}

static void load_limits(lua_State *L, int index, const char *where, struct level *out)
{
    lua_Integer bytes;
    char path[128];

    if (lua_getfield(L, index, "limits") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    snprintf(path, sizeof(path), "%s.limits", where);
    check_keys(L, lua_gettop(L), path, limit_keys, NULL);
    lua_getfield(L, -1, "message_bytes");
    bytes = lua_tointeger(L, -1);
    if (!lua_isnil(L, -1) && (bytes < 1 || bytes > (1 << 30)))
        luaL_error(L, "%s.message_bytes: 1 to 1073741824 expected", path);
    out->message_limit = (size_t)bytes;
    lua_pop(L, 1);
    out->messages = load_rate(L, path, "messages");
    out->bytes = load_rate(L, path, "bytes");
    lua_pop(L, 1);
}

static bool is_token(struct slice s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!alnum && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return s.len > 0;
}

/* Whether the table on top of the stack has `count` list items and nothing else. */
static bool is_list(lua_State *L, lua_Unsigned count)
{
    lua_Unsigned keys = 0;

    lua_pushnil(L);
    for (; lua_next(L, -2); keys++)
        lua_pop(L, 1);
    return keys == count;
}

static void load_protocols(lua_State *L, int index, const char *where, struct level *out)
{
    lua_Unsigned count;

    if (lua_getfield(L, index, "protocols") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    count = lua_rawlen(L, -1);
    if (!is_list(L, count))
        luaL_error(L, "%s.protocols: a list of names expected", where);
    out->protocols = check_alloc(L, mem_zalloc(count + 1, sizeof(char *)));
    for (lua_Unsigned i = 0; i < count; i++) {
        struct slice token = {0};

        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING)
            token.data = lua_tolstring(L, -1, &token.len);
        if (!is_token(token))
            luaL_error(L, "%s.protocols[%d]: the name of a subprotocol expected", where, (int)i + 1);
        out->protocols[i] = check_alloc(L, mem_strdup(token.data, token.len));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void init_level(struct level *l)
{
    *l = (struct level)LEVEL_NOTHING;
}

static void load_level(lua_State *L, int index, const char *where, struct level *out)
{
    take_handlers(L, index, level_keys, out);
    load_on(L, index, where, out);
    load_accepts(L, index, where, out);
    load_limits(L, index, where, out);
    load_protocols(L, index, where, out);
}

/* ---- routes ---- */

static int compare_routes(const void *a, const void *b)
{
    return route_compare(((const struct route *)a)->pattern, ((const struct route *)b)->pattern);
}

static size_t count_keys(lua_State *L, int index)
{
    size_t n = 0;

    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        n++;
    return n;
}

static struct slice copy_key(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    return (struct slice){check_alloc(L, mem_strdup(text, len)), len};
}

/* The route whose pattern and table are on top of the stack. `app` is the index of the whole table. */
static void load_route(lua_State *L, struct handlers *h, int app)
{
    struct route *r = &h->routes[h->route_count];
    struct level *level;
    const char *wrong;
    char where[128];

    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "app.routes: keys are paths, got a %s", luaL_typename(L, -2));
    snprintf(where, sizeof(where), "app.routes['%s']", lua_tostring(L, -2));
    r->pattern = copy_key(L, -2);
    h->route_count++;
    wrong = route_check(r->pattern);
    if (wrong)
        luaL_error(L, "%s: %s", where, wrong);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: table of handlers expected, got %s", where, luaL_typename(L, -1));
    r->level = &h->app;
    if (lua_rawequal(L, -1, app))
        return;
    check_keys(L, lua_gettop(L), where, level_keys, NULL);
    level = check_alloc(L, mem_alloc(sizeof(*level)));
    init_level(level);
    r->level = level;
    r->own = true;
    load_level(L, lua_gettop(L), where, level);
}

static void load_routes(lua_State *L, int app, struct handlers *h)
{
    size_t count;

    if (lua_getfield(L, app, "routes") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    h->has_routes = true;
    count = count_keys(L, lua_gettop(L));
    h->routes = check_alloc(L, mem_zalloc(count + 1, sizeof(*h->routes)));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        load_route(L, h, app);
    lua_pop(L, 1);
    qsort(h->routes, h->route_count, sizeof(*h->routes), compare_routes);
    for (size_t i = 1; i < h->route_count; i++)
        if (compare_routes(&h->routes[i - 1], &h->routes[i]) == 0)
            luaL_error(L, "app.routes: '%s' and '%s' match the same paths", h->routes[i - 1].pattern.data,
                       h->routes[i].pattern.data);
}

/* ---- rooms ---- */

static int compare_rooms(const void *a, const void *b)
{
    struct slice pa = ((const struct room_kind *)a)->pattern, pb = ((const struct room_kind *)b)->pattern;
    size_t wa = route_name_weight(pa), wb = route_name_weight(pb);

    if (wa != wb)
        return wa > wb ? -1 : 1;
    return pa.len != pb.len ? (pa.len < pb.len ? -1 : 1) : memcmp(pa.data, pb.data, pa.len); /* fewer stars first */
}

static void load_room(lua_State *L, struct handlers *h)
{
    struct room_kind *kind = &h->rooms[h->room_count];
    char where[128];
    lua_Number grace;

    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "app.rooms: keys are patterns of names, got a %s", luaL_typename(L, -2));
    *kind = (struct room_kind){copy_key(L, -2), GRACE_DEFAULT_MS, false, LUA_NOREF, LUA_NOREF, LUA_NOREF};
    h->room_count++;
    snprintf(where, sizeof(where), "app.rooms['%s']", kind->pattern.data);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: table expected, got %s", where, luaL_typename(L, -1));
    check_keys(L, lua_gettop(L), where, room_keys, NULL);
    take_handlers(L, lua_gettop(L), room_keys, kind);
    if (lua_getfield(L, -1, "grace") != LUA_TNIL) {
        grace = lua_tonumber(L, -1);
        if (!(grace >= 0 && grace <= 1e9))
            luaL_error(L, "%s.grace: seconds expected, 0 or more", where);
        kind->grace_ms = (uint64_t)(grace * 1000);
    }
    lua_getfield(L, -2, "current");
    kind->current = lua_toboolean(L, -1);
    lua_pop(L, 2);
}

static void load_rooms(lua_State *L, int app, struct handlers *h)
{
    if (lua_getfield(L, app, "rooms") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    h->rooms = check_alloc(L, mem_zalloc(count_keys(L, lua_gettop(L)) + 1, sizeof(*h->rooms)));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        load_room(L, h);
    lua_pop(L, 1);
    qsort(h->rooms, h->room_count, sizeof(*h->rooms), compare_rooms);
}

/* ---- jobs ---- */

/* `{ every =, run = }`, on top of the stack. */
static void load_periodic(lua_State *L, struct job *job)
{
    lua_Number seconds;

    check_keys(L, lua_gettop(L), job->what, job_keys, NULL);
    take_handlers(L, lua_gettop(L), job_keys, job);
    if (job->run == LUA_NOREF)
        luaL_error(L, "%s.run: function expected, got nil", job->what);
    lua_getfield(L, -1, "every");
    seconds = lua_tonumber(L, -1);
    if (!(seconds > 0 && seconds <= 1e9))
        luaL_error(L, "%s.every: seconds above 0 expected", job->what);
    job->period = (uint64_t)ceil(seconds * 1000);
    lua_pop(L, 1);
}

/* The job whose name and function or table are on top of the stack. */
static void load_job(lua_State *L, struct version *v)
{
    struct job *job = &v->handlers->jobs[v->handlers->job_count];

    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "app.jobs: keys are names, got a %s", luaL_typename(L, -2));
    expect_type(L, -1, KEY_FUNCTION_OR_TABLE, "app.jobs", lua_tostring(L, -2));
    jobs_init(job, v);
    v->handlers->job_count++;
    lua_pushfstring(L, "app.jobs.%s", lua_tostring(L, -2));
    job->what = check_alloc(L, mem_strdup(lua_tostring(L, -1), lua_rawlen(L, -1)));
    lua_pop(L, 1);
    if (lua_istable(L, -1)) {
        load_periodic(L, job);
        return;
    }
    lua_pushvalue(L, -1);
    job->run = script_ref(L);
}

static void load_jobs(lua_State *L, int app, struct version *v)
{
    if (lua_getfield(L, app, "jobs") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    check_plain(L, -1, "app.jobs");
    v->handlers->jobs = check_alloc(L, mem_zalloc(count_keys(L, lua_gettop(L)) + 1, sizeof(*v->handlers->jobs)));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        load_job(L, v);
    lua_pop(L, 1);
}

/* ---- what later versions use; its type is checked already ---- */

static void check_actors(lua_State *L, int app)
{
    if (lua_getfield(L, app, "actors") != LUA_TNIL) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING)
                luaL_error(L, "app.actors: keys are names, got a %s", luaL_typename(L, -2));
            expect_type(L, -1, KEY_TABLE, "app.actors", lua_tostring(L, -2));
        }
    }
    lua_pop(L, 1);
}

/* ---- all of it ---- */

static bool has_join(lua_State *L, const struct level *l)
{
    bool found;

    if (l->on == LUA_NOREF)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->on);
    found = lua_getfield(L, -1, "join") != LUA_TNIL;
    lua_pop(L, 2);
    return found;
}

/* Levels answer clients' joins by themselves when some room says who may, and no handler of theirs is called join. */
static void set_joins(lua_State *L, struct handlers *h)
{
    bool allows = false;

    for (size_t i = 0; i < h->room_count; i++)
        allows = allows || h->rooms[i].allow != LUA_NOREF;
    h->app.joins = allows && !has_join(L, &h->app);
    for (size_t i = 0; i < h->route_count; i++)
        if (h->routes[i].own)
            ((struct level *)h->routes[i].level)->joins = allows && !has_join(L, h->routes[i].level);
}

void handlers_load(lua_State *L, struct version *v)
{
    struct handlers *h = check_alloc(L, mem_zalloc(1, sizeof(*h)));
    int app = lua_gettop(L);

    init_level(&h->app);
    h->on_start = h->on_stop = h->on_signal = h->on_upgrade = LUA_NOREF;
    v->handlers = h;
    luaL_checkstack(L, 16, "handlers");
    if (!lua_istable(L, app))
        luaL_error(L, "the script returned %s: a table of handlers expected (`return app` is the last line)",
                   lua_isnil(L, app) ? "nothing" : luaL_typename(L, app));
    check_keys(L, app, "app", level_keys, app_keys);
    take_handlers(L, app, app_keys, h);
    load_level(L, app, "app", &h->app);
    load_routes(L, app, h);
    load_rooms(L, app, h);
    load_jobs(L, app, v);
    check_actors(L, app);
    set_joins(L, h);
    lua_getfield(L, app, "version");
    v->number = lua_tointeger(L, -1);
    lua_settop(L, app);
}

static void free_level(lua_State *L, struct level *l)
{
    int *const refs[] = {&l->on_connect, &l->on_open, &l->on_close, &l->on_message,
                         &l->on_binary,  &l->on_http, &l->on,       &l->accepts};

    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
        script_unref(L, refs[i]);
    for (char **p = l->protocols; p && *p; p++)
        mem_free(*p);
    mem_free(l->protocols);
}

void handlers_free(lua_State *L, struct handlers *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->route_count; i++) {
        if (h->routes[i].own) {
            free_level(L, (struct level *)h->routes[i].level);
            mem_free((void *)h->routes[i].level);
        }
        mem_free((void *)h->routes[i].pattern.data);
    }
    for (size_t i = 0; i < h->room_count; i++) {
        script_unref(L, &h->rooms[i].on_join);
        script_unref(L, &h->rooms[i].on_leave);
        script_unref(L, &h->rooms[i].allow);
        mem_free((void *)h->rooms[i].pattern.data);
    }
    for (size_t i = 0; i < h->job_count; i++)
        jobs_fini(L, &h->jobs[i]);
    script_unref(L, &h->on_start);
    script_unref(L, &h->on_stop);
    script_unref(L, &h->on_upgrade);
    script_unref(L, &h->on_signal);
    free_level(L, &h->app);
    mem_free(h->routes);
    mem_free(h->rooms);
    mem_free(h->jobs);
    mem_free(h);
}

const struct level *handlers_route(const struct handlers *h, struct slice path, struct route_params *params)
{
    params->count = 0;
    if (!h->has_routes)
        return &h->app;
    for (size_t i = 0; i < h->route_count; i++)
        if (route_match(h->routes[i].pattern, path, params))
            return h->routes[i].level;
    return NULL;
}

const struct room_kind *handlers_room(const struct handlers *h, struct slice name)
{
    for (size_t i = 0; i < h->room_count; i++)
        if (route_match_name(h->rooms[i].pattern, name))
            return &h->rooms[i];
    return NULL;
}
