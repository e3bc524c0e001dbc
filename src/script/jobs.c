/* jobs.c - starts the jobs of a version, again when they end, and stops them. */
#include "script/jobs.h"

#include "script/handlers.h"
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>

enum {
    PAUSE_MIN_MS = 1000,  /* before a job that ended starts again; doubled each time */
    PAUSE_MAX_MS = 60000, /* and a run that lasts so long begins anew with the shortest pause */
};

#define PREFIX "app.jobs."

static void on_due(struct loop_timer *timer);

void jobs_init(struct job *job, struct version *v)
{
    memset(job, 0, sizeof(*job));
    job->version = v;
    job->run = LUA_NOREF;
    loop_timer_init(&job->timer, on_due);
}

void jobs_fini(lua_State *L, struct job *job)
{
    loop_timer_stop(job->version->script->loop, &job->timer);
    script_unref(L, &job->run);
    mem_free(job->what);
}

const char *jobs_name(const struct job *job)
{
    return job->what + sizeof(PREFIX) - 1;
}

/* FNV-1a: the same in every worker and at every start. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

bool jobs_is_of(const char *name, unsigned worker, unsigned workers)
{
    return workers < 2 || hash_of(name) % workers == worker - 1;
}

/* ---- running ---- */

static int end_of_run(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

/* In the task's coroutine: light userdata of the job. A periodic one gets the seconds since it last started, as tide.every. */
static int run_job(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    uint64_t now = loop_now(job->version->script->loop);
    uint64_t last = job->last;

    job->last = now;
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->run);
    if (job->period)
        lua_pushnumber(L, (lua_Number)(last ? now - last : job->period) / 1000);
    lua_callk(L, job->period ? 1 : 0, 0, 0, end_of_run);
    return 0;
}

/* The first whole period that is still ahead, so that a late run shifts nothing. */
static void start_next_period(struct job *job)
{
    struct loop *loop = job->version->script->loop;
    uint64_t now = loop_now(loop);

    job->due += job->period;
    if (job->due <= now)
        job->due += (now - job->due) / job->period * job->period + job->period;
    loop_timer_start(loop, &job->timer, job->due - now);
}

static void start_again(struct job *job)
{
    struct script *s = job->version->script;

    if (loop_now(s->loop) - job->last >= PAUSE_MAX_MS)
        job->pause = PAUSE_MIN_MS;
    loop_timer_start(s->loop, &job->timer, job->pause);
    job->pause = job->pause * 2 < PAUSE_MAX_MS ? job->pause * 2 : PAUSE_MAX_MS;
}

static void on_ended(struct task *t, enum task_end end)
{
    struct job *job = t->arg;

    job->task = NULL;
    if (!job->started || t->context.script->stopping)
        return;
    if (job->period)
        start_next_period(job);
    else
        start_again(job);
}

static void on_due(struct loop_timer *timer)
{
    struct job *job = list_entry(timer, struct job, timer);
    struct script *s = job->version->script;

    if (s->stopping || job->task) /* what runs still is the rest of an earlier time as live version: its end goes on from here */
        return;
    job->task = task_create(s, job->version, TASK_SPAWNED);
    if (!job->task) {
        log_error(s->log, NULL, "%s: not started: out of memory", job->what);
        job->last = loop_now(s->loop);
        start_again(job);
        return;
    }
    job->task->what = job->what;
    job->task->done = on_ended;
    job->task->arg = job;
    lua_pushcfunction(job->task->co, run_job);
    lua_pushlightuserdata(job->task->co, job);
    task_start_later(job->task, 1);
}

/* ---- versions ---- */

/* When the job of that name last started in any version, so that reloads do not put it off for ever. 0: never. */
static uint64_t last_start(const struct job *job)
{
    uint64_t last = 0;

    list_each(node, &job->version->script->versions)
    {
        const struct handlers *h = list_entry(node, struct version, node)->handlers;

        for (size_t i = 0; h && i < h->job_count; i++)
            if (h->jobs[i].what && h->jobs[i].last > last && strcmp(h->jobs[i].what, job->what) == 0)
                last = h->jobs[i].last;
    }
    return last;
}

static void start_job(struct job *job)
{
    struct loop *loop = job->version->script->loop;
    uint64_t now = loop_now(loop);

    job->started = true;
    job->pause = PAUSE_MIN_MS;
    job->due = now;
    if (job->period) {
        job->last = last_start(job);
        job->due = (job->last ? job->last : now) + job->period;
    }
    loop_timer_start(loop, &job->timer, job->due > now ? job->due - now : 0);
}

void jobs_start(struct version *v)
{
    const struct script_config *c = &v->script->config;

    for (size_t i = 0; i < v->handlers->job_count; i++) {
        struct job *job = &v->handlers->jobs[i];

        if (!job->started && jobs_is_of(jobs_name(job), (unsigned)c->worker, c->workers))
            start_job(job);
    }
}

void jobs_stop(struct version *v)
{
    for (size_t i = 0; i < v->handlers->job_count; i++) {
        struct job *job = &v->handlers->jobs[i];

        if (!job->started)
            continue;
        job->started = false;
        loop_timer_stop(v->script->loop, &job->timer);
        if (job->task)
            task_cancel_later(job->task);
    }
}
