/* watch.h - the watchdog: one thread for a server that looks every 10 ms whether a worker is past its budget in one entry.
 *
 * While all is well it costs a worker two stores per entry and no hook is armed. Past the budget it signals the worker's thread,
 * and the signal handler arms a hook on the coroutine that runs. The hook yields to the gate where it may, and raises at every
 * instruction where it may not (below a C function). The pcall, xpcall and coroutine functions that scripts see pass the end on,
 * and arm the hook on the coroutine they return to (watch_follow).
 */
#ifndef MT_SCRIPT_WATCH_H
#define MT_SCRIPT_WATCH_H
#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watchdog;

enum { WATCH_TRACE_MAX = 2048 };

/* What one worker shows to the watchdog. Made by watch_join, freed when the watchdog stops. */
struct watch_slot {
    atomic_uint_least64_t entry;     /* number of entries begun and ended: odd while one is under way */
    atomic_uint_least64_t condemned; /* the value of `entry` that the watchdog judged too long */
    atomic_uint_least32_t budget_ms; /* of the entry under way */
    atomic_ulong thread;             /* pthread_t that makes the entry */
    lua_State *volatile running;     /* the coroutine that runs; read by the signal handler on the same thread */
    volatile bool killed;            /* this entry is being killed */
    bool used;                       /* under the watchdog's lock: a worker has it */
    uint64_t seen, since_ms; /* the watchdog's own: last value of entry, and the thread's running time when it was first seen */
    struct watch_slot *next; /* list of all slots, under the lock */
    char trace[WATCH_TRACE_MAX]; /* where the kill struck, once it has; else empty */
};

/* A slot for a worker. `w` NULL: a slot that nobody watches. NULL when memory runs out. */
struct watch_slot *watch_join(struct watchdog *w);
void watch_part(struct watchdog *w, struct watch_slot *slot);
/* This thread takes the watchdog's signal from now on, whoever made it: before it makes entries. */
void watch_admit_thread(void);
/* The outermost entry begins and ends on this thread. `running` is set before. */
void watch_begin(struct watch_slot *slot, uint32_t budget_ms);
void watch_end(struct watch_slot *slot);
/* A kill is about to end what runs in L: keeps the place for the log, where none is kept yet. May raise. */
void watch_note(lua_State *L);
/* Another coroutine runs now: a kill that is under way goes on in it. */
void watch_follow(struct watch_slot *slot, lua_State *L);
#endif
