/* work.c - work on libuv's thread pool, and plain threads. */
#include "loop/loop_uv.h"

#include "base/err.h"
#include "base/mem.h"
#include <pthread.h>
#include <signal.h>

/* ---- the pool ---- */

struct work {
    uv_work_t req;
    struct list_node node; /* in loop.work */
    loop_work_fn *fn;
    loop_work_done_fn *done;
    void *arg; /* for both; the pool thread has it until done */
};

static void on_work(uv_work_t *req)
{
    struct work *w = list_entry(req, struct work, req);
    w->fn(w->arg);
}

static void on_done(uv_work_t *req, int status)
{
    struct work *w = list_entry(req, struct work, req);
    loop_work_done_fn *done = w->done;
    void *arg = w->arg;

    list_remove(&w->node);
    mem_free(w);
    done(arg, status == UV_ECANCELED);
}

int loop_work(struct loop *l, loop_work_fn *fn, loop_work_done_fn *done, void *arg)
{
    struct work *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return MT_ENOMEM;
    w->fn = fn;
    w->done = done;
    w->arg = arg;
    list_add_tail(&l->work, &w->node);
    uv_queue_work(&l->uv, &w->req, on_work, on_done); /* fails only without a work function */
    return 0;
}

void work_cancel_all(struct loop *l)
{
    /* What has begun refuses; cancelling calls nobody back before the loop runs again. */
    list_each(n, &l->work) uv_cancel((uv_req_t *)&list_entry(n, struct work, node)->req);
}

/* ---- threads ---- */

struct loop_thread {
    uv_thread_t id;
    void (*fn)(void *arg); /* the thread's body */
    void *arg;
};

static void run_thread(void *arg)
{
    struct loop_thread *t = arg;
    t->fn(t->arg);
}

/* Signals are for the threads of the program that we are part of: those here take what they cause themselves, and the watchdog's
 * SIGURG. */
static void block_signals(sigset_t *before)
{
    static const int own[] = {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigset_t all;

    sigfillset(&all);
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

struct loop_thread *loop_thread_start(void (*fn)(void *arg), void *arg)
{
    struct loop_thread *t = mem_zalloc(1, sizeof(*t));
    sigset_t before;

    if (!t)
        return NULL;
    t->fn = fn;
    t->arg = arg;
    block_signals(&before); /* the new thread inherits it */
    int failed = uv_thread_create(&t->id, run_thread, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        mem_free(t);
        return NULL;
    }
    return t;
}

void loop_thread_join(struct loop_thread *t)
{
    if (!t)
        return;
    uv_thread_join(&t->id);
    mem_free(t);
}
