/* state.h - what every file of this layer shares: a worker's VM, the version that runs, the gate into Lua.
 *
 * One struct script per worker, used on that worker's thread only. C functions find it with script_of, from any coroutine.
 * All Lua code runs between script_enter and script_leave: an "entry". The watchdog measures entries, the memory cap holds in
 * them, and errors that end one are logged with their traceback. Entries are made by the gate (script_call) and by tasks
 * (task.h); no other file calls lua_pcall or lua_resume, except the replacements of pcall, xpcall and coroutine.* that scripts
 * see (protect.c).
 *
 * How an API table is added: api_x.c has
 *     void api_x_open(lua_State *L);  once per VM: metatables, caches. Leaves the stack as it was. May raise.
 *     void api_x_fill(lua_State *L);  once per version: sets its functions as fields of the table on top of the stack, which is
 * the new version's `tide`. May raise. Library tables are never shared between versions. (either may be missing) and one line in
 * api_all.c. Metatables set `__metatable` to false, so that scripts cannot reach them.
 */
#ifndef MT_SCRIPT_STATE_H
#define MT_SCRIPT_STATE_H
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/seldom.h"
#include "script/heap.h"
#include "script/script.h"
#include <lua.h>

struct files;
struct handlers;
struct jwks;
struct lint;
struct said;
struct sources;
struct sql_plan;
struct task;
struct watch_slot;

/* One loaded state of the app: script, modules, environment. Counted: the pointers live, staged and fallback, each of its tasks
 * and each of its timers have a reference. At zero everything in Lua that belongs to it is released. */
struct version {
    struct script *script;
    struct list_node node; /* in script->versions */
    unsigned refs;
    char hash[9];            /* of the sources, 8 hex digits; of those so far while it reads them */
    lua_Integer number;      /* app.version, 0 when it gives none */
    int env_ref;             /* the environment that its chunks share (_G) */
    int loaded_ref;          /* its package.loaded */
    int tide_ref;            /* its `tide` */
    int app_ref;             /* the table that the script returned */
    struct sources *sources; /* counted reference: what it is loaded from */
    bool reads;              /* it is the first to load them: what its chunks ask for is read from the disk and kept there */
    char **files;            /* owned: what it was made of, script first, also modules that handlers required; NULL-terminated */
    size_t file_count;
    struct handlers *handlers; /* owned: the checked table */
    struct lint *lint;         /* owned: what lint.h remembers of it */
    struct list_node held;     /* tasks spawned while it was loading: they start when it begins */
    struct list_node queues;   /* those of tide.queue that its work is in */
    struct list_node timers;   /* its timers that are armed, suspended, or wait for it to begin */
    struct sql_plan *sql_plans; /* owned: the databases that it has opened */
    size_t tasks;              /* tasks at work in it */
    bool live;                 /* it is the one that events go to */
    uint64_t events, errors;   /* since it went live: what happened, and what failed by its fault */
    uint64_t replaced;         /* loop time when it ceased to be live */
    struct loop_timer age;     /* looks for its tasks that are too old then (reload.age) */
    int fresh_ref;             /* staged, and its on_upgrade ran: the guard of what it gave for tide.state */
    int before_ref;            /* in that case: the guard of what tide.state holds until it goes live */
    size_t copied;             /* in that case: bytes that the copy of tide.state took */
};

/* The first thing that the extra space of every lua_State points to. */
struct script_context {
    struct script *script;
    struct task *task; /* NULL for the main thread and for coroutines that scripts made */
};

struct script {
    struct script_context context; /* of the main thread */
    lua_State *L;                  /* main thread of the VM; runs no script code but what script_call is given */
    struct script_config config;   /* strings inside are copies owned by the script */
    char *folder;                  /* of the script: modules are looked for here first. Owned */
    struct loop *loop;
    struct inbox *inbox; /* where other threads answer, see errand.h */
    struct log *log;
    struct hub *hub;           /* owned */
    struct memory_store *memory; /* what stores in memory keep */
    struct http_client *http;  /* owned; NULL until a script asks another server for something */
    struct jwks *jwks;         /* owned: sets of keys from elsewhere; NULL until a script verifies a token by one */
    bool owns_memory;          /* it is not borrowed from the configuration */
    struct files *files;       /* owned: what tide.files has under way */
    struct sql *sql;           /* the databases */
    bool owns_sql;             /* they are not borrowed from the configuration */
    struct heap heap;          /* the VM's memory */
    struct watch_slot *watch;  /* what the watchdog sees of this worker */
    uint64_t epoch;            /* grows with every version that goes live */
    struct version *live;      /* NULL until the first version is live */
    struct version *staged;    /* prepared, to be the next; NULL for none */
    struct version *fallback;  /* was live before and is kept while the live one is on probation; NULL for none */
    struct version *loading;   /* the version whose chunk or on_upgrade is running, else NULL */
    double upgrade_budget;     /* seconds; above 0 while an on_upgrade runs */
    bool call_killed;          /* the last script_call was ended by the watchdog */
    struct version *version;   /* the version of the code that runs now; NULL outside of entries */
    struct task *task;         /* the task that runs now; NULL outside of tasks (loading, script_call) */
    unsigned depth;            /* entries under way: 0 = the loop, 1 = a handler, 2 = unwinding inside one */
    unsigned busy;             /* tasks being started or ended, script_hold: what is ready waits for its turn */
    bool held;                 /* between script_hold and script_release */
    unsigned unwinding;        /* above 0: <close> variables of a cancelled task are running */
    unsigned closing;          /* coroutine.close inside of coroutine.close */
    bool flushing;             /* the hook at the end of a turn is installed */
    bool stopping;             /* script_stop was called: nothing new is spawned for timers */
    struct list_node versions; /* all that exist */
    struct list_node tasks;    /* all that are alive */
    struct list_node ready;    /* tasks that go on as soon as the running entry has ended */
    struct list_node pool;     /* finished tasks with their coroutine, to be used again */
    size_t pooled;
    size_t task_count, waiting; /* alive, and waiting among them */
    size_t at_work;             /* handlers, hooks and items of queues among them: what script_stop waits for */
    struct buf scratch;         /* for one message being built; valid until the next user */
    int state_ref;              /* tide.state */
    int behind_ref;             /* the guard of its fields while they are hidden, see tide_state.h */
    int saved_ref;              /* guard of what it held before the on_upgrade that a rollback takes back; LUA_NOREF for none */
    size_t saved_bytes;         /* memory of the copy that was made for it */
    struct said *probe;         /* what a script says while it is probed; NULL in a worker */
    bool missed_state;          /* a chunk asked tide.state for what is not there, in a probe */
    bool paced;                 /* limits.rate.user_messages is set */
    struct {
        struct seldom handshakes, logins, delays, closes;
    } told;                     /* lines about those who take too much, see pace.h */
    void (*stopped)(void *arg); /* waits for the last task after script_stop */
    void *stopped_arg;
    uint64_t missed_quiet_until; /* loop time until which the next slow reader that ends is only counted */
    size_t missed_untold;        /* those */
    struct script_stats stats;
};

static inline struct script_context *script_context(lua_State *L)
{
    return *(struct script_context **)lua_getextraspace(L);
}
static inline struct script *script_of(lua_State *L)
{
    return script_context(L)->script;
}
/* The version whose code is running or loading; never NULL in a function that a script called. */
static inline struct version *version_of(lua_State *L)
{
    return script_of(L)->version;
}
static inline struct hub *script_hub(lua_State *L)
{
    return script_of(L)->hub;
}
/* Whether a chunk is being loaded, so that nothing may be acted on yet. */
static inline bool script_is_loading(lua_State *L)
{
    return script_of(L)->loading != NULL;
}
/* Raises "NAME: not while loading: use on_start" while a chunk loads. For every call that acts on the world. */
void script_check_acting(lua_State *L, const char *name);
/* The same for calls that end what `owner` began: a chunk may end what it made itself, but it may be refused yet, and then all
 * else has to be as it was. */
void script_check_ending(lua_State *L, const struct version *owner, const char *name);

/* Pushes the result of an operation: true for rc >= 0, else nil, text, name. Returns the count. May raise (memory). */
int script_push_result(lua_State *L, int rc);
/* Pushes nil, message, name and returns 3. */
int script_push_failure(lua_State *L, const char *message, const char *name);
/* Takes the value on top of the stack into the registry. Raises when memory runs out. */
int script_ref(lua_State *L);
/* Releases *ref and sets it to LUA_NOREF; LUA_NOREF and LUA_REFNIL are fine. */
void script_unref(lua_State *L, int *ref);
/* Pushes a new table with weak keys ("k"), values ("v") or both. */
void script_push_weak_table(lua_State *L, const char *mode);
/* The pending work of the core itself, such as pushing a message or building JSON: the memory cap does not hold between these.
 * Nests. A raise in between is fine: the gate sets things right. */
static inline void script_core_begin(struct script *s)
{
    s->heap.core++;
}
static inline void script_core_end(struct script *s)
{
    s->heap.core--;
}

/* What a log line of the running code is about; the slices point into *memory and into long-lived strings. */
struct script_about {
    struct log_about about;
    char conn[CONN_NAME_SIZE];
};
void script_fill_about(struct script *s, struct script_about *out);

/* Something happened that a handler of the live version may answer. */
static inline void script_count_event(struct script *s)
{
    s->stats.events++;
    s->live->events++;
}

/* ---- life (script.c) ---- */
/* A worker's Lua without a version. *error may be NULL after a failure. 0, MT_ESCRIPT, MT_ENOMEM. */
int script_open(const struct script_config *c, struct script **out, char **error);
/* The client of this worker, made at the first call; NULL when memory runs out. */
struct http_client *script_http(struct script *s);
/* Queue a hook of the live version: `run` as in dispatch_task. */
void script_queue_start(struct script *s, const char *reason);

/* ---- the gate ---- */
struct script_entry {
    struct task *task;
    struct version *version;
    lua_State *running;
    unsigned core;
};
/* Begin to run code of `v` on L. `saved` takes what ran before; budget in seconds, used by the outermost entry. */
void script_enter(struct script *s, struct script_entry *saved, lua_State *L, struct task *t, struct version *v, double budget);
void script_leave(struct script *s, const struct script_entry *saved);
/* lua_pcall in an entry of its own, for short work on the main thread: the function and nargs arguments are on top of s->L.
 * LUA_OK and nresults values, or a status and one string: the message with its traceback. Never raises. */
int script_call(struct script *s, struct version *v, int nargs, int nresults);
/* Run a C function protected: fn(L) with `arg` as light userdata at index 1. As script_call, without results. */
int script_protect(struct script *s, lua_CFunction fn, void *arg);
/* Turn the error of a coroutine (its value on top of co) into text with traceback. mem_alloc'ed, NULL when memory runs out. */
char *script_error_text(struct script *s, lua_State *co);
/* A line that a script writes. While a chunk loads only worker 1 speaks; a probe keeps what is said until it is clear how it
 * ends. */
void script_say(struct script *s, enum log_level level, struct slice message, const struct log_field *fields, size_t count);
/* Log a failure of a script, with connection and version, and count it. */
void script_report(struct script *s, struct version *v, const struct log_about *about, const char *what, const char *text);

/* Ends that no pcall of a script may keep for itself: a kill by the watchdog, tide.reject, a cancel. Where Lua allows it they are
 * yields, which go straight to the gate however many protected calls are under way; elsewhere they are raised, and our pcall,
 * xpcall and coroutine functions pass them on. */
enum script_end { SCRIPT_GOES_ON, SCRIPT_REJECTED, SCRIPT_CANCELLED };
/* Whether such an end is under way in the entry that runs. */
bool script_is_ending(lua_State *L);
/* End the running task. Never returns; use as `return script_end(...)`. Only in a task. */
int script_end(lua_State *L, enum script_end how);
/* Go on with the end that is under way. Never returns. */
int script_pass_on(lua_State *L);

/* ---- assembled in api_all.c ----
 * The core itself calls these, each declared in the header of its file:
 *     api_conn.h  api_conn_push(L, id): the one userdata of a connection (strong in peer->ref while it is open)
 *                 api_conn_set_data(L, peer, index): the table at index becomes conn.data (what on_connect returned)
 *     api_room.h  api_room_push(L, name slice): a room object; api_room_push_member(L, person): { user=, id=, info= }
 *     json.h      decoding a message, encoding replies into a buf
 *     shape.h     compiling the shapes of `accepts`, checking a message */
void api_all_open(lua_State *L); /* every api_x_open, in order */
void api_all_fill(lua_State *L); /* every api_x_fill, onto the table on top of the stack */
#endif
