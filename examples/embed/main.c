/* main.c - a program of its own with a Moontide server inside, and with a module in C that the script uses.
 *
 *     ./embed app.lua [address]        Ctrl-C ends it
 *
 * Build it against an installed Moontide: cc main.c $(pkg-config --cflags --libs moontide) -o embed
 */
#include <lauxlib.h>
#include <lua.h>
#include <moontide.h>
#include <signal.h>
#include <stdio.h>

/* ---- the native module: `require "host"` ---- */

/* host.greet(name) -> text */
static int l_host_greet(lua_State *L)
{
    lua_pushfstring(L, "hello %s, this is C", luaL_checkstring(L, 1));
    return 1;
}

/* host.count() -> how often it was called, over all versions of the script: C state outlives a reload */
static int l_host_count(lua_State *L)
{
    static lua_Integer calls; /* one server, one worker: one thread */
    lua_pushinteger(L, ++calls);
    return 1;
}

static int open_host(lua_State *L)
{
    static const luaL_Reg functions[] = {{"greet", l_host_greet}, {"count", l_host_count}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* ---- the program ---- */

static struct moontide *server;

static void on_signal(int signum)
{
    moontide_stop(server);
}

int main(int argc, char **argv)
{
    const struct moontide_module modules[] = {{"host", open_host}};
    const struct moontide_setting settings[] = {{"listen", argc > 2 ? argv[2] : "127.0.0.1:8765"}, {"log.level", "warn"}};
    const struct moontide_options options = {
        .script = argc > 1 ? argv[1] : "app.lua",
        .settings = settings,
        .setting_count = sizeof(settings) / sizeof(*settings),
        .modules = modules,
        .module_count = sizeof(modules) / sizeof(*modules),
    };
    char *error;

    if (moontide_create(&options, &server, &error) != MOONTIDE_OK) {
        fprintf(stderr, "%s\n", error ? error : "out of memory");
        moontide_free(error);
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("Moontide %s serves %s at %s\n", moontide_version(), options.script, moontide_address(server, 0));
    fflush(stdout);
    moontide_run(server);
    moontide_destroy(server);
    return 0;
}
