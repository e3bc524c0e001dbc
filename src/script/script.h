/* script.h - a worker's Lua: the VM, the live version of the app, and the way from events to handlers. Hides Lua.
 *
 * script_create loads and checks the first version; after that script_reload puts a new one in its place or keeps the old. The script layer
 * implements struct session_events and struct hub_events: script_events gives the first to net_create, the second is internal.
 */
#ifndef MT_SCRIPT_SCRIPT_H
#define MT_SCRIPT_SCRIPT_H
#include "base/log.h"
#include "hub/hub.h"
#include "loop/loop.h"
#include "net/session.h"

struct script;
struct lua_State;
struct watchdog; /* one per process or server: script_watchdog_* */

struct script_module {
    const char *name;                  /* what require finds */
    int (*open)(struct lua_State *L);  /* a lua_CFunction like luaopen_x */
};

struct script_config {
    struct loop *loop;
    struct log *log;
    struct watchdog *watchdog;     /* shared by all workers of a server */
    const char *path;              /* the script; modules are found beside it, then in library */
    const char *library;           /* folder of the shipped scripts, NULL for none */
    int worker;                    /* number of this worker, from 1 */
    unsigned workers;              /* of the server: 1 */
    struct hub_crew *crew;         /* what the hubs of all workers share; borrowed. NULL: this one is alone */
    double time_budget;            /* script.time: seconds per entry, 1.0 */
    double load_budget;            /* reload.timeout: seconds per loading chunk, 0.5 */
    size_t memory_limit;           /* script.memory: bytes per VM, 256 MiB */
    bool close_on_errors;          /* on_error: three failures in a row close the connection with 1011 */
    const char *const *sandbox_allow; /* NULL-terminated library names opened on request: "io", "os", "debug", "package" */
    const struct script_module *modules; /* native modules of the embedding program */
    size_t module_count;
    size_t queue_limit;            /* events that may wait for a busy connection's handler before its socket is paused: 64 */
};
void script_defaults(struct script_config *c);

/* Load the app. On failure *error is file, line and traceback for the operator (mem_free it). 0, MT_ESCRIPT, MT_ENOMEM. */
int script_create(const struct script_config *c, struct script **out, char **error);
/* All sessions must be gone. Cancels every waiting coroutine. */
void script_destroy(struct script *s);
const struct session_events *script_events(void); /* with the script as arg */
struct hub *script_hub_of(const struct script *s);

/* Run on_start("start"): after the listeners are open. */
void script_start(struct script *s);
/* A new version from the files. 0: it is live, *error NULL. MT_ESCRIPT: the old one serves on, *error says why. */
int script_reload(struct script *s, char **error);
/* Run on_stop("shutdown"); `done` comes on the loop when it and every handler still at work have ended, or never, so bound the wait. */
void script_stop(struct script *s, void (*done)(void *arg), void *arg);
/* Files of the live version (script and modules it required), NULL-terminated, owned by the script until the next reload. */
const char *const *script_files(const struct script *s);
/* Files that the last reload had read or looked for when it failed: mending one of them is a reason to try again. NULL-terminated, empty when
 * it went well; owned by the script until the next reload. */
const char *const *script_failed_files(const struct script *s);
/* Hash of the sources that the last reload had read when it failed, empty when it went well; owned by the script until the next reload. */
const char *script_failed_version(const struct script *s);
const char *script_version(const struct script *s); /* short hash of the sources, 8 hex digits */

struct script_stats {
    uint64_t events, errors, client_errors, budget_kills, reloads, reloads_failed;
    size_t memory, tasks, waiting, old_versions, old_tasks; /* old: versions that are not live but still there, and what runs in them */
};
void script_stats(const struct script *s, struct script_stats *out);

/* ---- the watchdog: a thread that looks every 10 ms for a worker past its budget ---- */
struct watchdog *script_watchdog_start(void); /* NULL when it cannot */
void script_watchdog_stop(struct watchdog *w);

/* ---- a Lua table read as configuration (moontide.conf.lua): run in an empty sandbox with a budget ---- */
/* Calls `set` with "a.b.c" and the value as text ("8765", "true", "x"), list items as "a.b[1]". 0, MT_ESCRIPT with *error, or what set returned. */
int script_read_config(const char *path, int (*set)(void *arg, const char *key, const char *value, char **error), void *arg, char **error);
#endif
