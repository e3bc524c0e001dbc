/* jobs.h - app.jobs: work that runs once over all workers of a server, kept running or at intervals.
 *
 * Every worker has the whole list; the name of a job says which one runs it, so that no worker has to ask another. A job runs in
 * the version that is live: jobs_start when it goes live, jobs_stop when it is replaced. Both run no Lua and need no memory, so
 * they may be called while all workers stand still.
 */
#ifndef MT_SCRIPT_JOBS_H
#define MT_SCRIPT_JOBS_H
#include "loop/loop.h"
#include "script/state.h"

/* Part of the handlers of its version; handlers.c fills in the first four, the rest is the state of jobs.c. */
struct job {
    struct version *version; /* whose handlers it is part of */
    char *what;              /* owned: "app.jobs.NAME", for the log */
    int run;                 /* the function */
    uint64_t period;         /* milliseconds between two starts, 0: kept running */
    struct loop_timer timer; /* the next start */
    struct task *task;       /* at work, else NULL */
    bool started;            /* the version is live and the job is this worker's */
    uint64_t due, last;      /* loop time: when a periodic one is to start, and when it last started; 0: never */
    uint64_t pause;          /* milliseconds before one that is kept running starts again */
};

/* An empty job that jobs_fini may be called for. */
void jobs_init(struct job *job, struct version *v);
void jobs_fini(lua_State *L, struct job *job);
/* The name that the script gave. */
const char *jobs_name(const struct job *job);
/* Whether the job of that name runs in this worker (from 1) of that many. */
bool jobs_is_of(const char *name, unsigned worker, unsigned workers);
/* The version is live: its jobs start on the next turn, periodic ones where the same job of another version would have gone on.
 */
void jobs_start(struct version *v);
/* The version is not live any more: what runs is cancelled and unwinds as soon as Lua may run. Nothing starts again. */
void jobs_stop(struct version *v);
#endif
