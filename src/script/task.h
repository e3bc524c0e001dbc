/* task.h - a task is one run of Lua code in a pooled coroutine: an event's handler, a spawned function, a timer's function, a
 * hook, an item of a queue.
 *
 * A task that never waits costs no allocation: its struct and coroutine come from a pool and go back. Work that is made while Lua
 * runs (tide.spawn, hooks of rooms, a wake-up) does not run inside it: it is queued in script->ready and runs as soon as that
 * entry has ended, in order. Nothing here is nested, but the unwinding of a task that was cancelled.
 *
 * A call that waits, in any api file:
 *     struct task *t = task_check_wait(L);     raises "cannot wait here" before anything is started; after all argument checks
 *     ... start the operation, give it `t` ...
 *     return task_wait(L, &ops, arg, ms);      the last statement
 * Exactly one of these happens afterwards: the operation calls task_wake(t, code) and ops->finish pushes the results; or the time
 * is over and ops->cancel(arg), then ops->finish(L, arg, MT_ETIMEOUT) run; or the task is cancelled and only ops->cancel(arg)
 * runs.
 */
#ifndef MT_SCRIPT_TASK_H
#define MT_SCRIPT_TASK_H
#include "script/state.h"

enum task_kind { TASK_EVENT, TASK_SPAWNED, TASK_TIMER, TASK_HOOK, TASK_QUEUE };
enum task_state { TASK_NEW, TASK_RUNNING, TASK_WAITING, TASK_READY, TASK_DONE };

struct task_wait_ops {
    /* Forget the task: nothing may wake it any more. No Lua. At the end of the time, when `finish` follows, and when the task is
     * cancelled, even between wake and finish. NULL: there is nothing to undo. */
    void (*cancel)(void *arg);
    /* In the task's coroutine, as it goes on: push the results of the waiting call, return their count. `code` is what task_wake
     * got, or MT_ETIMEOUT. May raise. NULL: script_push_result(L, code). */
    int (*finish)(lua_State *L, void *arg, int code);
};

/* How a task ended, for its done callback. */
enum task_end { TASK_RETURNED, TASK_RAISED, TASK_REJECTED, TASK_CANCELLED, TASK_KILLED };

/* What tide.reject said. */
struct task_reject {
    int status;         /* 0: nothing was rejected */
    struct buf message; /* text for the body */
    struct buf headers; /* ready header lines */
};

struct task {
    struct script_context context; /* must be first: the coroutine's extra space points here */
    struct list_node node;         /* in script->tasks, or in script->pool */
    struct list_node queue;        /* in script->ready, version->held, or the waiters of what it waits for */
    struct list_node owned;        /* in peer->tasks when it belongs to a connection (conn:spawn) */
    struct list_node joiners;      /* tasks that wait for this one's end */
    struct task *joins;            /* the one whose end it waits for without a limit, NULL: none; valid while it waits */
    struct version *version;       /* counted reference */
    uint64_t began;                /* loop time when it was made, of an item since when its queue has work: for reload.age */
    lua_State *co;                 /* its coroutine */
    int co_ref;                    /* anchors co */
    int handle_ref;                /* the userdata that scripts hold (spawned tasks), which keeps the results */
    enum task_kind kind;
    enum task_state state;
    conn_id conn;           /* the connection it works for, 0 for none: for logs */
    struct req *req;        /* counted: the request it works for, before there is a connection; NULL for none: for logs */
    enum script_end ending; /* what ends it against its will, see script_end */
    bool cancelled;         /* cancel was asked for while it could not be unwound */
    bool timed;             /* made by tide.timeout: what it rejects is rejected by the task that waits for it */
    bool unwinding;         /* its <close> variables are running: it may not wait */
    /* Called once on the loop's side when it has ended, before it goes back to the pool; on RETURNED the results are the values
     * on co's stack. Must not raise: script_protect is there for more. NULL: nobody cares. */
    void (*done)(struct task *t, enum task_end end);
    void *arg; /* of whoever made it */
    const struct task_wait_ops *wait_ops;
    void *wait_arg;
    int wake_code;
    bool woken;              /* woken before it began to wait */
    const char *what;        /* for the log, text that lives as long as the version: "on_message"; NULL: by kind */
    struct loop_timer timer; /* end of the wait */
    struct task_reject reject;
    struct buf reply_id; /* JSON text of the id of the message that is being handled, empty for none */
};

/* The task of this coroutine, NULL in coroutines that scripts made and on the main thread. */
static inline struct task *task_of(lua_State *L)
{
    return script_context(L)->task;
}

/* ---- making tasks (loop side; nothing here raises) ---- */
/* A task from the pool with an empty coroutine. Push the function and its arguments onto t->co (at most 16 values, only such as
 * need no memory: light userdata, C functions without upvalues, registry values), then start it. NULL when memory runs out. */
struct task *task_create(struct script *s, struct version *v, enum task_kind kind);
/* Run it now, until it ends or waits; the function and nargs arguments are on its stack. Only outside of entries (s->depth == 0).
 */
void task_start(struct task *t, int nargs);
/* The same when the entry that runs now has ended; at once when none does. Keeps the order of calls. */
void task_start_later(struct task *t, int nargs);
/* Run what is ready. Called by the gate's outermost leave and at the end of each turn. */
void task_run_ready(struct script *s);

/* A running task that has not called its handler yet goes on in the live version: it may have been queued while another one was.
 * True when that changes its version. */
bool task_use_live(struct task *t);

/* ---- waiting ---- */
/* The task that may wait in L. Raises "cannot wait here" with the reason (nowait.h) in a coroutine that a script made, below a C
 * function that cannot be left (callbacks of table.sort and string.gsub, shapes), while loading and while unwinding. */
struct task *task_check_wait(lua_State *L);
/* Wait until woken; ms < 0: without limit. After task_check_wait. Use as `return task_wait(...)`. */
int task_wait(lua_State *L, const struct task_wait_ops *ops, void *arg, int64_t ms);
/* Let a waiting task go on, from anywhere on the loop's thread. Ignored when it is not waiting any more. */
void task_wake(struct task *t, int code);
/* Seconds at `index` as milliseconds for task_wait. nil or none: `otherwise`. Raises on what is no number, negative or NaN. */
int64_t task_check_ms(lua_State *L, int index, int64_t otherwise);
int64_t task_ms(lua_Number seconds); /* of seconds that were checked; rounded up */

/* ---- ending ---- */
/* Unwind a waiting task at once (its <close> variables run, the waiting call never returns); one that is running or unwinding is
 * marked and unwound when it next waits. False when it had ended. */
bool task_cancel(struct task *t);
/* The same, but it unwinds as the next of what is ready: for callers in whose midst no Lua may run. */
bool task_cancel_later(struct task *t);

/* Cancel the tasks of a version that have been at work for `age` milliseconds since it was replaced. Returns how many; *oldest is
 * the age of the oldest that is left, 0 when none is. */
size_t task_cancel_old(struct version *v, uint64_t age, uint64_t *oldest);

/* ---- for api files (api_task.c) ---- */
/* The function at `index` and everything above it become a task; pushes its object and returns 1 (tide.spawn, conn:spawn). `conn`
 * and `owner` (the list peer->tasks) are given for work that ends with a connection, else 0 and NULL. Raises when there is no
 * function or no memory. */
int task_push_spawned(lua_State *L, int index, conn_id conn, struct list_node *owner);
/* Give back a task that was not started and has nothing on its stack that matters. */
void task_drop(struct task *t);
/* Tell script->stopped when no handler is at work any more. */
void task_tell_stopped(struct script *s);
/* Cancel all tasks and free the pool, before the VM closes. */
void task_fini_all(struct script *s);
#endif
