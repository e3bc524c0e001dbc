/* script.h - a worker's Lua: the VM, the live version of the app, and the way from events to handlers. Hides Lua.
 *
 * script_create loads and checks the first version. A reload is a transaction over all workers: script_probe once, then
 * script_prepare in each, and script_upgrade, script_commit or script_abandon in all of them behind a barrier. The script layer
 * implements struct session_events and struct hub_events: script_events gives the first to net_create, the second is internal.
 */
#ifndef MT_SCRIPT_SCRIPT_H
#define MT_SCRIPT_SCRIPT_H
#include "base/log.h"
#include "client/http.h"
#include "hub/hub.h"
#include "loop/loop.h"
#include "net/session.h"

struct script;
struct sources; /* script/sources.h */
struct lua_State;
struct memory_store;
struct store; /* store/store.h */
struct folder;
struct pool;
struct sql;
struct watchdog; /* one per process or server: script_watchdog_* */

struct script_module {
    const char *name;                  /* what require finds */
    int (*open)(struct lua_State *L);  /* a lua_CFunction like luaopen_x */
};

enum { SCRIPT_MEMORY_BYTES = 128 << 20 }; /* the limit of a memory_store for script_config.memory: keys, values and overhead */

/* What all workers of a server share for their scripts. Borrowed: they outlive the script, and the inbox outlives them. */
struct script_services {
    struct memory_store *memory; /* what stores in memory keep. NULL: the VM has one of its own */
    struct store *durable;       /* what tide.store keeps. NULL: that lives in `memory` */
    struct sql *sql;             /* the databases of tide.sql. NULL: the VM has its own */
    struct folder *folder;       /* of tide.files; NULL: none is configured */
    struct pool *disk;           /* threads for its files. Only a probe has none */
    struct pool *hashing;        /* threads for passwords. Only a probe has none */
};

struct script_config {
    struct loop *loop;
    struct script_services services; /* what scripts reach beside their own VM */
    struct inbox *inbox;           /* of the worker: where other threads answer. Only a probe has none */
    struct log *log;
    struct watchdog *watchdog;     /* shared by all workers of a server */
    const char *path;              /* the script; modules are found beside it, then in library */
    const char *library;           /* folder of the shipped scripts, NULL for none */
    int worker;                    /* number of this worker, from 1; what chunks print while loading is logged by worker 1 */
    unsigned workers;              /* of the server: 1 */
    struct hub_crew *crew;         /* what the hubs of all workers share; borrowed. NULL: this one is alone */
    double time_budget;            /* script.time: seconds per entry, 1.0 */
    double load_budget;            /* reload.timeout: seconds per loading chunk, 0.5 */
    size_t memory_limit;           /* script.memory: bytes per VM, 256 MiB */
    size_t files_open;             /* files.open: files that the scripts of this VM may have open, 1000 */
    bool close_on_errors;          /* on_error: three failures in a row close the connection with 1011 */
    const char *const *sandbox_allow; /* NULL-terminated: what is opened on request: "io", "os", "process", "debug", "package" */
    const struct script_module *modules; /* native modules of the embedding program */
    size_t module_count;
    size_t queue_limit;            /* events that may wait for a busy connection's handler before its socket is paused: 64 */
    struct http_settings http;     /* of tide.http */
    struct user_limits user_limits; /* at the start: script_set_user_limits changes them */
    uint64_t connect_ms;           /* connect.timeout: for on_connect to decide, 30000; 0: no limit */
    unsigned expired_code;         /* auth.expired: closes a connection when its conn.expires has come, 4401 */
    double old_age;                /* reload.age: seconds that tasks of a version may go on after it was replaced; 0: for ever */
    /* The live version has failed once more, by its own fault; with its counts since it went live. Called from inside of
     * handlers: note it, and act on it from the loop. NULL: nobody wants to know. */
    void (*on_error)(void *arg, uint64_t events, uint64_t errors);
    void *on_error_arg;
};
void script_defaults(struct script_config *c);

/* Load the app from `sources`, or read them when that is NULL; the other workers of a server then take script_sources of the
 * first. Nothing starts before script_begin. On failure *error is file, line and traceback for the operator (mem_free it). 0,
 * MT_ESCRIPT, MT_ENOMEM. */
int script_create(const struct script_config *c, struct sources *sources, struct script **out, char **error);
/* All sessions must be gone. Cancels every waiting coroutine. */
void script_destroy(struct script *s);
const struct session_events *script_events(void); /* with the script as arg */
/* What one user may take, from now on. */
void script_set_user_limits(struct script *s, const struct user_limits *l);
struct hub *script_hub_of(const struct script *s);

/* For the connections that expire from now on. */
void script_set_expired_code(struct script *s, unsigned code);

/* Run on_stop("shutdown"); `done` comes on the loop when it and every handler still at work have ended, or never, so bound the wait. */
void script_stop(struct script *s, void (*done)(void *arg), void *arg);
/* Files of the live version, NULL-terminated: the script and the modules that it required, also while it ran. Owned by the
 * version: valid until the next call of require, reload or rollback. */
const char *const *script_files(const struct script *s);
const char *script_version(const struct script *s); /* short hash of the sources, 8 hex digits */

struct script_stats {
    uint64_t events, errors, client_errors, budget_kills, reloads, reloads_failed;
    uint64_t user_connections;         /* handshakes and logins of users who have as many as they may */
    uint64_t user_delays, user_closes; /* messages past limits.rate.user_messages: the connection was paused, or closed */
    uint64_t jwks_failures; /* fetches of keys for tokens that failed */
    uint64_t late_answers; /* of clients, to questions that nobody waits for any more */
    size_t memory, tasks, waiting, old_versions, old_tasks; /* old: versions that are not live but still at work, and what runs in them */
    size_t files, http; /* files that are open, requests to other servers that are under way */
};
void script_stats(const struct script *s, struct script_stats *out);

/* ---- a reload, step by step ---- */

/* Why a version did not load. What there was no memory for is NULL. */
struct script_failure {
    char *text;   /* as the operator reads it: file, line, why, traceback */
    char hash[9]; /* of the sources that were read, "00000000" when none was */
    char **files; /* that were read or looked for: mending one of them is a reason to try again. NULL-terminated */
    char *file;   /* where it failed first, as far as that is known, else the script */
    int line;     /* 0: not known */
    bool outdated; /* a file was written, or a missing one came, since they were read: try again */
};
void script_failure_fini(struct script_failure *f);
/* Read the script and all that it requires, compile, run and check it in a VM of its own with an empty tide.state, which is
 * thrown away. ANY thread, at any time; of `c` the log, the watchdog, texts and limits are used. Native modules of the program
 * are opened there too. 0 and *sources with one reference for the caller; or MT_ESCRIPT, MT_ENOMEM and *f, which is to be
 * finished either way. */
int script_probe(const struct script_config *c, struct sources **sources, struct script_failure *f);

/* The rest is for the worker's thread, from the loop: never from inside of a handler or on_error. */

/* Load a version beside the live one and keep it staged, in place of one that was staged before. Events go on until the commit.
 * 0; or MT_ESCRIPT, MT_ENOMEM with *error (mem_free it), and nothing is staged. */
int script_prepare(struct script *s, struct sources *sources, char **error);
/* Behind the barrier, something being staged. Where its app.version is above the live one's, its on_upgrade runs for at most
 * `seconds` with a copy of tide.state, which takes at most as long; the result is kept for the commit. Nothing else changes. 0;
 * or MT_ESCRIPT with *error: then script_abandon. */
int script_upgrade(struct script *s, double seconds, char **error);
/* The live version is on probation and has failed here. Where that is so in one worker, it is nothing to go back to in any. */
bool script_spoiled(const struct script *s);
/* The staged version is live; nothing of it starts before script_begin. The one before it becomes the fallback: but one that is
 * `spoiled`, or that was on probation with the same sources, leaves that to the one before it. Connections whose route is gone
 * are closed with 1012. Cannot fail. */
void script_commit(struct script *s, bool spoiled);
void script_abandon(struct script *s); /* what is staged is dropped, if anything; cannot fail */
/* Behind the barrier: the fallback is live again, with its environment as it was, and tide.state as it was before on_upgrade
 * where one ran on the way. There must be one. script_begin follows. Cannot fail. */
void script_back(struct script *s);
const char *script_fallback(const struct script *s); /* its hash; NULL when there is none */
void script_settle(struct script *s);                /* probation is over: the fallback is let go, if any */
/* Between the two no Lua runs but script_upgrade's: what comes is queued, and starts in the version that is live then. */
void script_hold(struct script *s);
void script_release(struct script *s);
/* When all workers have switched: on_start(reason), what the live version held back while it loaded, suspended timers; queued
 * before what waits since script_hold. `reason` is static text: "start" (the listeners are open), "reload", "rollback". */
void script_begin(struct script *s, const char *reason);
struct sources *script_sources(const struct script *s); /* of the live version. Borrowed */

/* A version that is not live but still in memory. Borrowed. */
struct script_old {
    const char *hash;
    size_t tasks, timers; /* at work in it, and those of tide.after that will still fire in it */
    bool fallback;        /* it is kept for a rollback */
    struct slice held_by; /* what keeps it: "2 waiting handlers, tide.state.players[3].timer"; empty where nothing was found */
};
void script_old_versions(struct script *s, void (*fn)(void *arg, const struct script_old *old), void *arg);

/* ---- the watchdog: a thread that looks every 10 ms for a worker past its budget ---- */
struct watchdog *script_watchdog_start(void); /* NULL when it cannot */
void script_watchdog_stop(struct watchdog *w);

/* ---- a Lua table read as configuration (moontide.conf.lua): run in an empty sandbox with a budget ---- */
/* Calls `set` with "a.b.c" and the value as text ("8765", "true", "x"), list items as "a.b[1]". 0, MT_ESCRIPT with *error, or what set returned. */
int script_read_config(const char *path, int (*set)(void *arg, const char *key, const char *value, char **error), void *arg, char **error);
#endif
