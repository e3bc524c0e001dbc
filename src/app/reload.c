/* reload.c - the steps of a run, each begun by the answer to the one before. */
#include "app/reload.h"

#include "app/past.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "script/sources.h"
#include <pthread.h>
#include <stdio.h>

enum {
    PROBE_TRIES = 20,   /* while files go on changing */
    PROBE_AGAIN_MS = 25,
    SWITCH_TRIES = 4,   /* while a worker is busy */
    BACK_TRIES = 100,   /* the version that serves is a bad one: do not give up soon */
    SWITCH_AGAIN_MS = 100,
    ERRORS_SHARE = 20   /* one event in so many has to fail */
};

enum step { IDLE, PROBING, PREPARING, SWITCHING, PAUSED, STOPPED };

/* Failures in the live version as the workers told them; under the lock. */
struct errors {
    uint64_t generation;
    uint64_t events, count;
};

struct reload {
    struct reload_config config;
    struct reload_limits limits;
    size_t workers;
    struct sources *live;          /* one reference */
    struct past past;              /* the versions before it */
    uint64_t generation;           /* grows with every switch */
    struct loop_timer probation;   /* runs while the version before is kept */

    enum step step;
    enum reload_kind kind;         /* of the run under way, as the next four */
    bool automatic;
    uint64_t run;                  /* its number, for answers that come too late */
    uint64_t wish;                 /* the newest wish when it began */
    uint64_t began_us;
    uint64_t wishes;               /* so many were made */
    bool want_files, want_back;    /* asked for and not begun */
    struct sources *next;          /* what is being brought in; NULL: the version that the workers kept */
    unsigned tries;                /* of the step */
    size_t answers;                /* workers that have prepared it, or failed to */
    struct script_failure failure; /* the first that was told */
    int rc;                        /* its code */
    struct loop_timer timer;       /* end of patience, or the next try */
    char before[16];               /* hash that was live when it began */

    pthread_mutex_t lock;          /* over errors and told */
    struct errors *errors;         /* one per worker; owned */
    bool told;                     /* a letter about errors is on its way */
};

static struct worker *main_worker(const struct reload *r)
{
    return r->config.workers[0];
}

static struct loop *main_loop(const struct reload *r)
{
    return worker_loop(main_worker(r));
}

static void begin_next(struct reload *r);
static void probe(struct reload *r);
static void prepare(struct reload *r);

/* ---- the end of a run ---- */

/* The text of a probe's failure is there already. */
static void set_failure(struct reload *r, int rc, const char *text)
{
    r->rc = rc;
    if (!text)
        return;
    mem_free(r->failure.text);
    r->failure.text = mem_strdup(text, strlen(text));
}

/* Somebody typed `moontide rollback` while it came by itself: once is what he meant. */
static void serve_rollback_wishes(struct reload *r)
{
    r->wish = r->wishes;
    r->want_back = false;
}

static const char *tried_version(const struct reload *r)
{
    if (r->rc == 0)
        return sources_hash(r->live);
    return r->next ? sources_hash(r->next) : r->failure.hash;
}

static void end_run(struct reload *r, double pause)
{
    char version[16];
    snprintf(version, sizeof(version), "%s", tried_version(r));
    if (r->automatic && r->rc == 0)
        serve_rollback_wishes(r);
    const struct reload_end e = {.kind = r->kind,
                                 .wish = r->wish,
                                 .rc = r->rc,
                                 .automatic = r->automatic,
                                 .changed = strcmp(version, r->before) != 0,
                                 .before = r->before,
                                 .version = version,
                                 .why = r->failure.text ? r->failure.text : r->rc ? err_text(r->rc) : NULL,
                                 .seconds = (double)(clock_us() - r->began_us) / 1e6,
                                 .pause = pause};
    loop_timer_stop(main_loop(r), &r->timer);
    if (r->next && r->rc != 0)
        r->failure.files = sources_copy_files(r->next); /* a probe that fails gives no sources: there are none yet */
    sources_unref(r->next);
    r->next = NULL;
    r->step = IDLE;
    r->config.ended(r->config.arg, &e);
    if (r->step == IDLE)
        begin_next(r);
}

static void fail_run(struct reload *r, int rc, const char *text)
{
    set_failure(r, rc, text);
    end_run(r, 0);
}

static void abandon_staged(struct worker *w, void *arg)
{
    if (w)
        script_abandon(worker_script(w));
}

/* Some worker has staged the version, or will. */
static void fail_prepared(struct reload *r, int rc, const char *text)
{
    for (size_t i = 0; i < r->workers; i++)
        worker_post(r->config.workers[i], abandon_staged, NULL);
    fail_run(r, rc, text);
}

/* ---- trying the files on a thread of the pool ---- */

struct probe {
    struct reload *reload;
    struct script_config config;
    struct sources *sources; /* the result, one reference */
    struct script_failure failure;
    bool changed; /* a file is not any more what was read */
    int rc;
};

static void run_probe(void *arg)
{
    struct probe *p = arg;
    p->rc = script_probe(&p->config, &p->sources, &p->failure);
    p->changed = p->rc == 0 ? sources_changed(p->sources) : p->failure.outdated;
}

static void free_probe(struct probe *p)
{
    sources_unref(p->sources);
    script_failure_fini(&p->failure);
    mem_free(p);
}

static void on_probed(void *arg, bool cancelled)
{
    struct probe *p = arg;
    struct reload *r = p->reload;
    if (cancelled || r->step != PROBING) {
        free_probe(p);
        return;
    }
    if (p->changed && ++r->tries < PROBE_TRIES) {
        loop_timer_start(main_loop(r), &r->timer, PROBE_AGAIN_MS);
        free_probe(p);
        return;
    }
    r->next = p->sources;
    p->sources = NULL;
    script_failure_fini(&r->failure);
    r->failure = p->failure;
    p->failure = (struct script_failure){0};
    int rc = p->rc;
    free_probe(p);
    r->tries = 0;
    if (rc)
        fail_run(r, rc, NULL);
    else
        prepare(r);
}

static void probe(struct reload *r)
{
    struct probe *p = mem_zalloc(1, sizeof(*p));
    r->step = PROBING;
    if (!p) {
        fail_run(r, MT_ENOMEM, NULL);
        return;
    }
    p->reload = r;
    worker_script_config(r->config.worker_config, 1, &p->config);
    if (loop_work(main_loop(r), run_probe, on_probed, p) != 0) {
        mem_free(p);
        fail_run(r, MT_ENOMEM, NULL);
    }
}

/* ---- switching ---- */

/* The sources that are live now. Those before them get into the past where the workers have kept that version. */
static void take_over(struct reload *r)
{
    const struct script *script = worker_script(main_worker(r));
    const char *hash = script_version(script), *kept = script_fallback(script), *before = sources_hash(r->live);
    if (r->kind == RELOAD_ROLLBACK)
        sources_unref(past_take(&r->past, hash));
    if (r->kind == RELOAD_FILES && strcmp(before, hash) != 0 && kept && strcmp(before, kept) == 0)
        past_add(&r->past, r->live);
    else
        sources_unref(r->live);
    r->live = sources_ref(script_sources(script));
}

static void settle_worker(struct worker *w, void *arg)
{
    uint64_t *generation = arg;
    if (w)
        worker_settle(w, *generation);
    mem_free(generation);
}

/* The live version has proved itself, or nobody wants to know. */
static void settle(struct reload *r)
{
    for (size_t i = 0; i < r->workers; i++) {
        uint64_t *generation = mem_alloc(sizeof(*generation));
        if (!generation)
            return; /* what was kept goes with the next switch */
        *generation = r->generation;
        if (worker_post(r->config.workers[i], settle_worker, generation) != 0)
            mem_free(generation);
    }
}

/* What is being gone back to at this moment is not let go. */
static void on_probation_over(struct loop_timer *t)
{
    struct reload *r = list_entry(t, struct reload, probation);
    if (r->step != IDLE && r->kind == RELOAD_ROLLBACK && !r->next)
        loop_timer_start(main_loop(r), &r->probation, SWITCH_AGAIN_MS);
    else
        settle(r);
}

/* A new version is watched, and the one before it kept. One that was gone back to is trusted. */
static void begin_probation(struct reload *r)
{
    loop_timer_stop(main_loop(r), &r->probation);
    if (r->kind == RELOAD_FILES)
        loop_timer_start(main_loop(r), &r->probation, (uint64_t)(r->limits.probation * 1000));
    else
        settle(r);
}

static void on_switched(void *arg, const struct switchover_result *result)
{
    struct reload *r = arg;
    unsigned most = r->kind == RELOAD_ROLLBACK ? BACK_TRIES : SWITCH_TRIES;
    if (r->step != SWITCHING)
        return;
    if (result->switched) {
        r->generation++;
        take_over(r);
        begin_probation(r);
        end_run(r, result->pause);
    } else if (result->late && ++r->tries < most) {
        r->step = PAUSED;
        loop_timer_start(main_loop(r), &r->timer, SWITCH_AGAIN_MS);
    } else {
        fail_run(r, result->late ? MT_ETIMEOUT : result->why ? MT_ESCRIPT : MT_ENOMEM, result->why);
    }
}

static void switch_worker(struct worker *w, void *arg)
{
    if (w)
        worker_switch(w, arg, NULL, NULL);
    else
        switchover_leave(arg);
}

/* Worker 1 needs no letter: whatever becomes of the others, it meets at the end of this turn and hears how it went. */
static void switch_all(struct reload *r)
{
    enum switchover_kind kind = r->next ? SWITCHOVER_ON : SWITCHOVER_BACK;
    struct switchover *o = switchover_create(kind, r->kind == RELOAD_FILES ? "reload" : "rollback", r->workers, r->limits.pause,
                                             r->generation + 1);
    r->step = SWITCHING;
    if (!o) {
        fail_prepared(r, MT_ENOMEM, NULL);
        return;
    }
    worker_switch(main_worker(r), o, on_switched, r);
    for (size_t i = 1; i < r->workers; i++)
        if (worker_post(r->config.workers[i], switch_worker, o) != 0)
            switchover_leave(o); /* the others will see that one is missing */
}

/* ---- preparing ---- */

struct prepare {
    struct reload *reload;
    struct sources *sources; /* one reference */
    uint64_t run;
    unsigned tries;
    int rc;
    char *error;
};

static void free_prepare(struct prepare *p)
{
    sources_unref(p->sources);
    mem_free(p->error);
    mem_free(p);
}

/* On worker 1's thread. */
static void on_prepared(struct worker *w, void *arg)
{
    struct prepare *p = arg;
    struct reload *r = p->reload;
    if (w && r->step == PREPARING && r->run == p->run && r->tries == p->tries) {
        r->answers++;
        if (p->rc)
            fail_prepared(r, p->rc, p->error);
        else if (r->answers == r->workers)
            switch_all(r);
    }
    free_prepare(p);
}

/* On the worker's thread. */
static void prepare_worker(struct worker *w, void *arg)
{
    struct prepare *p = arg;
    if (!w) {
        free_prepare(p);
        return;
    }
    p->rc = worker_prepare(w, p->sources, &p->error);
    if (worker_post(main_worker(p->reload), on_prepared, p) != 0)
        free_prepare(p); /* the run ends by its time */
}

static void on_impatient(struct reload *r)
{
    char text[96];
    snprintf(text, sizeof(text), "%zu of %zu workers did not prepare the version within %g s", r->workers - r->answers, r->workers,
             r->limits.prepare);
    fail_prepared(r, MT_ETIMEOUT, text);
}

static bool post_prepare(struct reload *r, struct worker *w)
{
    struct prepare *p = mem_zalloc(1, sizeof(*p));
    if (!p)
        return false;
    *p = (struct prepare){.reload = r, .sources = sources_ref(r->next), .run = r->run, .tries = r->tries};
    if (worker_post(w, prepare_worker, p) == 0)
        return true;
    free_prepare(p);
    return false;
}

static void prepare(struct reload *r)
{
    r->step = PREPARING;
    r->answers = 0;
    for (size_t i = 0; i < r->workers; i++)
        if (!post_prepare(r, r->config.workers[i])) {
            fail_prepared(r, MT_ENOMEM, NULL);
            return;
        }
    loop_timer_start(main_loop(r), &r->timer, (uint64_t)(r->limits.prepare * 1000));
}

static void on_timer(struct loop_timer *t)
{
    struct reload *r = list_entry(t, struct reload, timer);
    if (r->step == PROBING)
        probe(r);
    else if (r->step == PREPARING)
        on_impatient(r);
    else if (r->step == PAUSED && r->next)
        prepare(r);
    else if (r->step == PAUSED)
        switch_all(r);
}

/* ---- beginning ---- */

static void begin(struct reload *r, enum reload_kind kind, bool automatic)
{
    r->run++;
    r->wish = r->wishes;
    r->kind = kind;
    r->automatic = automatic;
    r->began_us = clock_us();
    r->tries = 0;
    r->rc = 0;
    script_failure_fini(&r->failure);
    snprintf(r->before, sizeof(r->before), "%s", sources_hash(r->live));
}

static void begin_files(struct reload *r)
{
    begin(r, RELOAD_FILES, false);
    probe(r);
}

/* Whether the workers still have the version before the live one. */
static bool is_kept(const struct reload *r)
{
    const char *kept = script_fallback(worker_script(main_worker(r)));
    return loop_timer_active(&r->probation) && kept && strcmp(kept, sources_hash(r->live)) != 0;
}

/* `why` is told where it was nobody's wish. */
static void begin_rollback(struct reload *r, const char *why)
{
    begin(r, RELOAD_ROLLBACK, why != NULL);
    if (why)
        r->failure.text = mem_strdup(why, strlen(why));
    if (is_kept(r)) {
        switch_all(r);
    } else if ((r->next = past_newest(&r->past, r->before)) != NULL) {
        sources_ref(r->next);
        prepare(r);
    } else {
        fail_run(r, MT_ENOT_FOUND, "there is no version to go back to");
    }
}

/* ---- errors in the live version ---- */

static struct errors sum_errors(struct reload *r)
{
    struct errors sum = {.generation = r->generation};
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->workers; i++)
        if (r->errors[i].generation == r->generation) {
            sum.events += r->errors[i].events;
            sum.count += r->errors[i].count;
        }
    pthread_mutex_unlock(&r->lock);
    return sum;
}

/* Whether the live version has failed its probation; then a rollback has begun. */
static bool judge(struct reload *r)
{
    char why[128];
    struct errors e = sum_errors(r);
    if (r->step != IDLE || r->limits.errors == 0 || e.count < r->limits.errors || e.count * ERRORS_SHARE < e.events ||
        !is_kept(r))
        return false;
    snprintf(why, sizeof(why), "%llu of %llu events failed in version %s", (unsigned long long)e.count,
             (unsigned long long)(e.events > e.count ? e.events : e.count), sources_hash(r->live));
    begin_rollback(r, why);
    return true;
}

static void on_errors(struct worker *w, void *arg)
{
    struct reload *r = arg;
    if (!w)
        return;
    pthread_mutex_lock(&r->lock);
    r->told = false;
    pthread_mutex_unlock(&r->lock);
    judge(r);
}

void reload_note_errors(struct reload *r, int worker, uint64_t generation, uint64_t events, uint64_t errors)
{
    pthread_mutex_lock(&r->lock);
    r->errors[worker - 1] = (struct errors){generation, events, errors};
    bool tell = !r->told;
    r->told = true;
    pthread_mutex_unlock(&r->lock);
    if (tell && worker_post(main_worker(r), on_errors, r) != 0) {
        pthread_mutex_lock(&r->lock);
        r->told = false; /* the next error tries again */
        pthread_mutex_unlock(&r->lock);
    }
}

/* A bad version goes first: what was saved meanwhile is loaded over a good one. Where it could not be taken back, the next error
 * is the time to try that again. */
static void begin_next(struct reload *r)
{
    bool in_vain = r->automatic && r->rc != 0;
    if (!in_vain && judge(r))
        return;
    if (r->want_back) {
        r->want_back = false;
        begin_rollback(r, NULL);
    } else if (r->want_files) {
        r->want_files = false;
        begin_files(r);
    }
}

/* ---- for the server ---- */

void reload_files(struct reload *r)
{
    r->wishes++;
    r->want_files = true;
    if (r->step == IDLE)
        begin_next(r);
}

void reload_rollback(struct reload *r)
{
    r->wishes++;
    r->want_back = true;
    if (r->step == IDLE)
        begin_next(r);
}

uint64_t reload_next_wish(const struct reload *r)
{
    return r->wishes + 1;
}

void reload_stop(struct reload *r)
{
    loop_timer_stop(main_loop(r), &r->timer);
    loop_timer_stop(main_loop(r), &r->probation);
    r->step = STOPPED;
}

void reload_set_limits(struct reload *r, const struct reload_limits *limits)
{
    r->limits = *limits;
}

const char *reload_version(const struct reload *r)
{
    return sources_hash(r->live);
}

const char *const *reload_live_files(const struct reload *r)
{
    return sources_files(r->live, NULL);
}

bool reload_is_outdated(const struct reload *r)
{
    return sources_changed(r->live);
}

const char *const *reload_failed_files(const struct reload *r)
{
    static const char *const none[] = {NULL};
    return r->failure.files ? (const char *const *)r->failure.files : none;
}

struct reload *reload_create(const struct reload_config *c)
{
    struct reload *r = mem_zalloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->config = *c;
    r->workers = c->worker_config->count;
    pthread_mutex_init(&r->lock, NULL);
    loop_timer_init(&r->timer, on_timer);
    loop_timer_init(&r->probation, on_probation_over);
    r->live = sources_ref(script_sources(worker_script(main_worker(r))));
    if (!(r->errors = mem_zalloc(r->workers, sizeof(*r->errors)))) {
        reload_destroy(r);
        return NULL;
    }
    return r;
}

void reload_destroy(struct reload *r)
{
    if (!r)
        return;
    if (r->next)
        sources_unref(r->next);
    sources_unref(r->live);
    past_fini(&r->past);
    script_failure_fini(&r->failure);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->errors);
    mem_free(r);
}
