/* moontide.h - a Moontide server inside another C or C++ program.
 *
 *     struct moontide_setting settings[] = {{"listen", "127.0.0.1:8765"}, {"log.level", "warn"}};
 *     struct moontide_options options = {.script = "app.lua", .settings = settings, .setting_count = 2};
 *     struct moontide *server;
 *     char *error;
 *     if (moontide_create(&options, &server, &error))
 *         ...                                  // error is a sentence; moontide_free(error)
 *     puts(moontide_address(server, 0));       // "http://127.0.0.1:8765"
 *     moontide_run(server);                    // until moontide_stop, from another thread or a signal handler
 *     moontide_destroy(server);
 *
 * Threads: create, run and destroy may each be on another thread, one after the other. While a server exists, moontide_stop and
 * moontide_reload may come from any thread at any time. All other calls: not while another one is under way for the same
 * server. A process may have several servers, and make new ones after old ones were destroyed.
 *
 * The process: no signal handlers are installed and no limits are changed, but SIGPIPE is ignored from the first server on. Raise
 * RLIMIT_NOFILE before that where many connections are expected. Logs go to descriptor 2. There is no control socket (`moontide status`)
 * unless the setting "admin" is "true".
 *
 * Linking: `pkg-config --cflags --libs moontide`. The library has to be found by the dynamic linker before libwebsockets is, because it
 * takes the place of two of its functions (lws_plugins_init, lws_cancel_service_pt): link it, do not load it with dlopen, and name it
 * before -lwebsockets. A server refuses to start where that went wrong.
 */
#ifndef MOONTIDE_H
#define MOONTIDE_H
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;
struct moontide;

enum moontide_result {
    MOONTIDE_OK = 0,
    MOONTIDE_BAD_SETTINGS = -1, /* an unknown key, a wrong value, a setting that is missing */
    MOONTIDE_CANNOT_START = -2, /* the script, a certificate, a folder or an address is at fault */
    MOONTIDE_NO_MEMORY = -3
};

/* One setting, as with `moontide run --set key=value`: {"limits.message", "128k"}. `moontide help config` lists the keys. Lists take
 * several items with blanks between them; a list key that is given again adds items. {"tls[1]", ...} is one item, blanks and all. */
struct moontide_setting {
    const char *key, *value;
};

/* A native module: `require "name"` in scripts calls `open`, which is a lua_CFunction like luaopen_name: it returns what require is to
 * return. It is called once per Lua state: by moontide_create for each worker, where all versions of the app share what it returns, and at
 * each reload for the state in which the new version is tried first, on another thread. What it keeps outside of its lua_State must be
 * safe to use from several threads. */
struct moontide_module {
    const char *name;
    int (*open)(struct lua_State *L);
};

/* What a server is made of. Zero what you do not need. Everything is copied but modules, which must outlive the server. */
struct moontide_options {
    const char *script;                      /* path of the app; required */
    const struct moontide_setting *settings; /* win over environment and file */
    size_t setting_count;
    const struct moontide_module *modules;
    size_t module_count;
    const char *config;  /* path of a moontide.conf.lua, NULL for none */
    int use_environment; /* not 0: MOONTIDE_* variables are settings too */
};

/* Make a server: settings checked, script and certificates loaded, addresses bound. It accepts connections once it runs.
 * On success *out is the server, to be given to moontide_destroy. On failure *out is NULL and *error, where error is not NULL, is a
 * sentence (with file, line and traceback for scripts) to be given to moontide_free; it may be NULL when there is no memory. */
enum moontide_result moontide_create(const struct moontide_options *options, struct moontide **out, char **error);

/* Serve on this thread until moontide_stop. A server runs once. Returns the number of connections that had to be cut because they
 * did not end within shutdown.timeout. */
size_t moontide_run(struct moontide *server);

/* Stop accepting, run on_stop, close every connection with 1001, and make moontide_run return within shutdown.timeout. Returns at
 * once. Any thread, also a signal handler; also before moontide_run, which then returns soon. */
void moontide_stop(struct moontide *server);

/* Load the script, the certificates and the configuration file again, each of which stays as it was where the new one has an error (the
 * log says so). Returns at once. Any thread, also a signal handler. */
void moontide_reload(struct moontide *server);

/* Free a server that does not run. Connections that are left are reset. NULL is allowed. */
void moontide_destroy(struct moontide *server);

/* The i-th address that was bound, with the port that was chosen where 0 was asked for: "http://127.0.0.1:40123", "https://[::1]:443",
 * "unix:/run/app.sock". NULL past the last, and once the server stops. The text belongs to the server. */
const char *moontide_address(const struct moontide *server, size_t i);

/* The port of the i-th address, 0 for unix sockets and past the last. */
int moontide_port(const struct moontide *server, size_t i);

/* Free an error text; NULL is allowed. */
void moontide_free(char *error);

/* "0.1.0" */
const char *moontide_version(void);

#ifdef __cplusplus
}
#endif
#endif
