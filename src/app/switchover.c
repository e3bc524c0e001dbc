/* switchover.c - rounds of waiting under one mutex: all have stopped, all inboxes are empty, all have voted. */
#include "app/switchover.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/inbox.h"
#include "script/script.h"
#include <pthread.h>
#include <time.h>

/* Milliseconds of reload.pause that are left for saying why on_upgrade took too long: the watchdog ends it a little late. */
enum { MARGIN_MS = 30 };

struct switchover {
    pthread_mutex_t lock;   /* over what is below seconds */
    pthread_cond_t changed; /* a round is over, or it was given up */
    enum switchover_kind kind;
    const char *reason;
    size_t workers;
    double seconds;      /* that a worker may stand still */
    uint64_t generation; /* of what goes live */

    size_t refs;       /* workers that have not left yet */
    size_t arrived;    /* in this round */
    unsigned round;    /* rounds that are over */
    bool given_up;     /* nobody switches, whatever is still to come */
    bool late;         /* because of the time */
    bool spoiled;      /* the live version failed on probation, in some worker */
    char *why;         /* owned: the first reason */
    uint64_t first_us; /* when the first worker stopped; 0 before */
};

struct switchover *switchover_create(enum switchover_kind kind, const char *reason, size_t workers, double seconds,
                                     uint64_t generation)
{
    struct switchover *o = mem_zalloc(1, sizeof(*o));
    pthread_condattr_t attributes;

    if (!o)
        return NULL;
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&o->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    o->kind = kind;
    o->reason = reason;
    o->workers = o->refs = workers;
    o->seconds = seconds;
    o->generation = generation;
    return o;
}

static void unref(struct switchover *o)
{
    pthread_mutex_lock(&o->lock);
    bool last = --o->refs == 0;
    pthread_mutex_unlock(&o->lock);
    if (!last)
        return;
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    mem_free(o->why);
    mem_free(o);
}

/* Under the lock. Takes `why`; the first reason counts. */
static void give_up(struct switchover *o, char *why)
{
    if (!o->given_up) {
        o->given_up = true;
        o->why = why;
        why = NULL;
        pthread_cond_broadcast(&o->changed);
    }
    mem_free(why);
}

void switchover_leave(struct switchover *o)
{
    pthread_mutex_lock(&o->lock);
    give_up(o, NULL);
    pthread_mutex_unlock(&o->lock);
    unref(o);
}

/* ---- meeting ---- */

static struct timespec deadline(const struct switchover *o)
{
    uint64_t us = o->first_us + (uint64_t)(o->seconds * 1e6);
    return (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
}

static char *late_text(const struct switchover *o)
{
    struct buf text = {0};
    char *copy = NULL;

    if (buf_addf(&text, "%zu of %zu workers %s within reload.pause (%g s)", o->workers - o->arrived, o->workers,
                 o->round == 0 ? "did not come to a stop" : "were not done with on_upgrade and what was under way",
                 o->seconds) == 0)
        copy = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    return copy;
}

/* Under the lock: until the round that is under way is over. */
static void wait_for_round(struct switchover *o, unsigned round)
{
    struct timespec until = deadline(o);

    while (o->round == round && !o->given_up)
        if (pthread_cond_timedwait(&o->changed, &o->lock, &until) != 0 && o->round == round && !o->given_up) {
            o->late = true;
            give_up(o, late_text(o));
        }
}

/* This worker is ready, or (ok false) cannot go on because of *why, which is taken. Waits for the others. Whether all go on. */
static bool meet(struct switchover *o, bool ok, char *why)
{
    pthread_mutex_lock(&o->lock);
    unsigned round = o->round;
    if (!o->first_us)
        o->first_us = clock_us();
    if (!ok) {
        give_up(o, why);
    } else if (!o->given_up && ++o->arrived == o->workers) {
        o->arrived = 0;
        o->round++;
        pthread_cond_broadcast(&o->changed);
    } else if (!o->given_up) {
        wait_for_round(o, round);
    }
    /* Once a round is over it is over for all, also for who wakes up after somebody has given up the next one. */
    bool on = o->round != round;
    pthread_mutex_unlock(&o->lock);
    return on;
}

/* ---- the steps ---- */

/* For on_upgrade: the others must not have given up when this worker tells them that it took too long. */
static double seconds_left(struct switchover *o)
{
    const double margin = MARGIN_MS / 1e3;
    pthread_mutex_lock(&o->lock);
    double left = o->seconds - (double)(clock_us() - o->first_us) / 1e6;
    pthread_mutex_unlock(&o->lock);
    if (o->workers == 1)
        return left > 0 ? left : 0;
    return left > 2 * margin ? left - margin : left > 0 ? left / 2 : 0;
}

/* "worker 2: chat.lua:3: ..." where there are several. */
static char *name_worker(const struct switchover *o, int worker, char *why)
{
    struct buf text = {0};
    char *named = NULL;

    if (o->workers > 1 && why && buf_addf(&text, "worker %d: %s", worker, why) == 0)
        named = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    if (!named)
        return why;
    mem_free(why);
    return named;
}

static bool upgrade(struct switchover *o, struct script *script, int worker)
{
    char *error = NULL;
    int rc = script_upgrade(script, seconds_left(o), &error);

    if (rc != 0 && !error)
        error = mem_strdup(err_text(rc), strlen(err_text(rc)));
    return meet(o, rc == 0, name_worker(o, worker, error));
}

/* All workers have to keep the same version. */
static void note_spoiled(struct switchover *o, const struct script *script)
{
    pthread_mutex_lock(&o->lock);
    o->spoiled = o->spoiled || script_spoiled(script);
    pthread_mutex_unlock(&o->lock);
}

/* Everything that can fail. True: all have voted for it. */
static bool agree(struct switchover *o, const struct switchover_place *p)
{
    if (!meet(o, true, NULL))
        return false;
    inbox_drain(p->inbox); /* nobody sends any more: what was under way has arrived */
    note_spoiled(o, p->script);
    if (o->kind == SWITCHOVER_ON)
        return upgrade(o, p->script, p->worker);
    return meet(o, script_fallback(p->script) != NULL, NULL);
}

/* What begins here may fail at once, in its own generation. */
static void go_live(struct switchover *o, const struct switchover_place *p)
{
    if (o->kind == SWITCHOVER_ON)
        script_commit(p->script, o->spoiled); /* nobody writes it after the vote */
    else
        script_back(p->script);
    *p->generation = o->generation;
    script_begin(p->script, o->reason); /* on_start comes before what was held */
}

static void fill_result(struct switchover *o, bool switched, struct switchover_result *r)
{
    pthread_mutex_lock(&o->lock);
    *r = (struct switchover_result){.switched = switched,
                                    .late = o->late,
                                    .why = o->why ? mem_strdup(o->why, strlen(o->why)) : NULL,
                                    .pause = (double)(clock_us() - o->first_us) / 1e6};
    pthread_mutex_unlock(&o->lock);
}

void switchover_run(struct switchover *o, const struct switchover_place *p, struct switchover_result *result)
{
    script_hold(p->script);
    bool switched = agree(o, p);
    if (switched)
        go_live(o, p);
    else if (o->kind == SWITCHOVER_ON)
        script_abandon(p->script);
    script_release(p->script);
    fill_result(o, switched, result);
    unref(o);
}
