/* clang-format off */
/* run.c - runs one test file of the script API: `lua_run FILE.lua`.
 *
 * The file is plain Lua, run in a state of its own outside of the server; it loads apps into a real VM on a real hub, with fake
 * sessions and a clock that moves when told to (fake_script.h), plays their clients and looks at what they are sent. support.lua
 * beside the file has the helpers; this is what it stands on:
 *     app(text) -> nil | message               load an app; the one before is unloaded
 *     reload(text) -> nil | message
 *     connect(target, headers) -> client, status
 *     http(method, target, headers, body) -> status, body, head
 *     advance(seconds)                         time goes by
 *     await()                                  until another thread of the server has answered, and turns
 *     failing(n, client, text) -> whether      a text during which the n-th allocation fails, if there are so many
 *     logged() -> text                         what was logged since the last call
 *     forget()                                 the log since then, unread
 *     registered() -> list of names            every function and field that the VM offers scripts: "tide.now", "conn:send"
 *     decode(text), encode(value)              JSON
 *     client:text(s) :binary(s) :receive() -> line | nil :close(code) :closed() -> code | nil :block(bool) :drain() :paused() -> bool
 * What an app logs as an error and nobody asks for fails the test.
 */
/* clang-format on */
#include "../unit/fake_script.h"
#include "script/json.h"
#include "script/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CLIENT_TYPE "client"

static struct fake *world;    /* of the one test in this process */
static const char *test_file; /* argv[1] */
static unsigned generation;   /* grows with each app: the clients of the one before are gone */

struct client {
    struct session *session;
    unsigned generation;
};

/* ---- the world ---- */

/* nil when rc is 0, else the error of the last load. */
static int push_load(lua_State *L, int rc)
{
    if (rc == 0)
        lua_pushnil(L);
    else
        lua_pushstring(L, world->error != NULL ? world->error : "no message");
    return 1;
}

static int l_app(lua_State *L)
{
    generation++;
    fake_unload(world);
    mem_free(world->error);
    world->error = NULL;
    char *text = NULL;
    assert_true(asprintf(&text, "local tide = require \"moontide\" %s", luaL_checkstring(L, 1)) > 0);
    fake_write(world, "app.lua", text);
    free(text);
    int rc = script_create(&world->config, NULL, &world->script, &world->error);
    if (rc == 0) {
        script_begin(world->script, "start");
        fake_turn(world);
    }
    return push_load(L, rc);
}

static int l_file(lua_State *L)
{
    fake_write(world, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    return 0;
}

/* Whether the n-th allocation of what the text causes was made, which fails. */
static int l_failing(lua_State *L)
{
    struct client *c = luaL_checkudata(L, 2, CLIENT_TYPE);
    unsigned long n = (unsigned long)luaL_checkinteger(L, 1);
    const char *text = luaL_checkstring(L, 3);

    mem_fail_at(n);
    fake_text(world, c->session, text);
    lua_pushboolean(L, mem_fail_left() == 0);
    mem_fail_at(0);
    return 1;
}

static int l_reload(lua_State *L)
{
    return push_load(L, fake_reload(world, luaL_checkstring(L, 1)));
}

static int l_connect(lua_State *L)
{
    struct session *s = fake_connect(world, luaL_optstring(L, 1, "/"), luaL_optstring(L, 2, NULL));
    struct client *c = lua_newuserdatauv(L, sizeof(*c), 0);

    c->session = s;
    c->generation = generation;
    luaL_setmetatable(L, CLIENT_TYPE);
    lua_pushinteger(L, s->status);
    return 2;
}

static int l_http(lua_State *L)
{
    struct session *s =
        fake_http(world, luaL_checkstring(L, 1), luaL_checkstring(L, 2), luaL_optstring(L, 3, NULL), luaL_optstring(L, 4, NULL));

    lua_pushinteger(L, s->status);
    lua_pushlstring(L, s->body, s->body_len);
    lua_pushstring(L, s->head);
    return 3;
}

static int l_await(lua_State *L)
{
    fake_await(world);
    return 0;
}

static int l_advance(lua_State *L)
{
    fake_advance(world, (uint64_t)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

static int l_logged(lua_State *L)
{
    lua_pushstring(L, fake_logged(world));
    return 1;
}

static int l_forget(lua_State *L)
{
    fake_forget_log(world);
    return 0;
}

static int l_decode(lua_State *L)
{
    size_t len;
    const char *why, *text = luaL_checklstring(L, 1, &len);

    return json_decode(L, text, len, &why) == 0 ? 1 : luaL_error(L, "%s", why);
}

static int l_encode(lua_State *L)
{
    struct buf out = {0};
    const char *why;

    if (json_encode(L, 1, &out, &why) != 0)
        return luaL_error(L, "%s", why);
    lua_pushlstring(L, (const char *)out.data, out.len);
    buf_fini(&out);
    return 1;
}

/* ---- clients ---- */

static struct client *check_client(lua_State *L)
{
    struct client *c = luaL_checkudata(L, 1, CLIENT_TYPE);

    luaL_argcheck(L, c->generation == generation, 1, "this client was of the app before");
    return c;
}

static int l_client_text(lua_State *L)
{
    fake_text(world, check_client(L)->session, luaL_checkstring(L, 2));
    return 0;
}

static int l_client_binary(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);

    fake_binary(world, check_client(L)->session, bytes, len);
    return 0;
}

/* The oldest message that was sent to the client; sessions keep them as lines. */
static int l_client_receive(lua_State *L)
{
    struct session *s = check_client(L)->session;
    char *end = memchr(s->sent, '\n', s->len);

    if (end == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushlstring(L, s->sent, (size_t)(end - s->sent));
    s->len -= (size_t)(end + 1 - s->sent);
    memmove(s->sent, end + 1, s->len + 1);
    return 1;
}

static int l_client_close(lua_State *L)
{
    fake_close(world, check_client(L)->session, (unsigned)luaL_optinteger(L, 2, 1000));
    return 0;
}

static int l_client_closed(lua_State *L)
{
    const struct session *s = check_client(L)->session;

    if (s->closed)
        lua_pushinteger(L, s->close_code);
    else
        lua_pushnil(L);
    return 1;
}

static int l_client_block(lua_State *L)
{
    check_client(L)->session->blocked = lua_toboolean(L, 2);
    return 0;
}

static int l_client_paused(lua_State *L)
{
    lua_pushboolean(L, check_client(L)->session->pauses > 0);
    return 1;
}

static int l_client_drain(lua_State *L)
{
    fake_drain(world, check_client(L)->session);
    return 0;
}

/* ---- what the VM has registered ---- */

struct found {
    lua_State *from, *to; /* the VM; the test's state, with the list on top */
};

static void add_name(struct found *f, const char *left, const char *middle, const char *right)
{
    lua_pushfstring(f->to, "%s%s%s", left, middle, right);
    lua_rawseti(f->to, -2, (lua_Integer)lua_rawlen(f->to, -2) + 1);
}

/* Functions, fields and tables of functions of the table on top of the VM's stack. */
static void add_table(struct found *f, const char *name)
{
    lua_State *L = f->from;

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key = lua_tostring(L, -2);
        add_name(f, name, strcmp(name, "tide.store") == 0 ? ":" : ".", key); /* the one table whose functions are methods */
        if (lua_istable(L, -1) && strcmp(key, "state") != 0) {
            char path[64];
            snprintf(path, sizeof(path), "%s.%s", name, key);
            add_table(f, path);
        }
    }
}

/* What objects of a type have: the table behind __index, functions as methods, all else as fields. */
static void add_type(struct found *f, const char *type, const char *name)
{
    lua_State *L = f->from;
    int top = lua_gettop(L);

    if (luaL_getmetatable(L, type) != LUA_TTABLE)
        fail_msg("no type %s", type);
    lua_getfield(L, -1, "__index");
    if (lua_isfunction(L, -1))
        assert_non_null(lua_getupvalue(L, -1, 1));
    assert_true(lua_istable(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        add_name(f, name, lua_isfunction(L, -1) ? ":" : ".", lua_tostring(L, -2));
    lua_settop(L, top);
}

/* The name under which scripts know objects of a type; NULL: they never hold one, or it has nothing but what tables have. */
static const char *const types[][2] = {
    {"moontide.conn", "conn"},   {"moontide.room", "room"},     {"moontide.user", "user"},   {"moontide.conn.remote", "remote"},
    {"moontide.store", "store"}, {"moontide.hasher", "hasher"}, {"moontide.task", "task"},   {"moontide.timer", "timer"},
    {"moontide.req", "req"},     {"moontide.response", "res"},  {"moontide.headers", NULL},  {"moontide.shape", NULL},
    {"moontide.file", "file"},   {"moontide.errand", NULL},     {"moontide.queue", "queue"}, {"moontide.db", "db"},
    {"moontide.tx", "tx"},       {"moontide.blob", NULL},       {"moontide.limit", "limit"},
};

static bool is_listed(const char *type)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(types[i][0], type) == 0)
            return true;
    return false;
}

/* A type that is new: it belongs into the list above, and into the manual. */
static void add_unlisted(struct found *f)
{
    lua_State *L = f->from;

    lua_pushvalue(L, LUA_REGISTRYINDEX);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strncmp(key, "moontide.", 9) == 0 && lua_istable(L, -1) && !is_listed(key))
            add_name(f, "the type ", key, "");
    }
    lua_pop(L, 1);
}

static int l_registered(lua_State *L)
{
    struct found f = {world->script->L, L};

    lua_newtable(L);
    lua_rawgeti(f.from, LUA_REGISTRYINDEX, world->script->live->tide_ref);
    add_table(&f, "tide");
    lua_pop(f.from, 1);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (types[i][1] != NULL)
            add_type(&f, types[i][0], types[i][1]);
    add_unlisted(&f);
    return 1;
}

/* ---- running ---- */

static const luaL_Reg functions[] = {{"app", l_app},
                                     {"file", l_file},
                                     {"reload", l_reload},
                                     {"connect", l_connect},
                                     {"http", l_http},
                                     {"advance", l_advance},
                                     {"await", l_await},
                                     {"logged", l_logged},
                                     {"failing", l_failing},
                                     {"forget", l_forget},
                                     {"decode", l_decode},
                                     {"encode", l_encode},
                                     {"registered", l_registered},
                                     {NULL, NULL}};
static const luaL_Reg client_methods[] = {{"text", l_client_text},   {"binary", l_client_binary}, {"receive", l_client_receive},
                                          {"close", l_client_close}, {"closed", l_client_closed}, {"block", l_client_block},
                                          {"drain", l_client_drain}, {"paused", l_client_paused}, {NULL, NULL}};

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static void open_state(lua_State *L)
{
    luaL_openlibs(L);
    luaL_newmetatable(L, CLIENT_TYPE);
    luaL_newlib(L, client_methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushglobaltable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
    json_push_null(L);
    lua_setglobal(L, "null");
}

static void run_file(lua_State *L, const char *path)
{
    lua_pushcfunction(L, traceback);
    if (luaL_loadfile(L, path) != LUA_OK || lua_pcall(L, 0, 0, -2) != LUA_OK) {
        /* The log often says why. */
        fail_msg("%s\nlog:\n%s", lua_tostring(L, -1), fake_logged(world));
    }
    lua_settop(L, 0);
}

static void test_one(void **state)
{
    lua_State *L = luaL_newstate();
    char support[512];
    const char *slash = strrchr(test_file, '/');

    world = *state;
    world->config.time_budget = 30; /* sanitizers and busy machines are slow; budgets have tests of their own */
    open_state(L);
    snprintf(support, sizeof(support), "%.*ssupport.lua", slash != NULL ? (int)(slash + 1 - test_file) : 0, test_file);
    run_file(L, support);
    run_file(L, test_file);
    const char *left = fake_logged(world);
    if (strstr(left, " ERROR ") != NULL)
        fail_msg("errors that nobody asked for:\n%s", left);
    lua_close(L);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_one, fake_setup, fake_teardown)};

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE.lua\n", argv[0]);
        return 2;
    }
    test_file = argv[1];
    return cmocka_run_group_tests_name(test_file, tests, NULL, NULL);
}
