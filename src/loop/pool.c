/* pool.c */
#include "loop/pool.h"

#include "base/err.h"
#include "base/mem.h"
#include "loop/loop.h"
#include <pthread.h>
#include <stdbool.h>

struct pool {
    pthread_mutex_t lock;           /* of everything below */
    pthread_cond_t work;            /* something waits, or it ends */
    struct pool_job *first, **last; /* what waits, oldest first */
    size_t waiting, limit;          /* jobs that wait, and how many may */
    unsigned started, most;         /* threads, and how many there may be */
    unsigned idle;                  /* threads that wait for work */
    size_t running;                 /* jobs that threads are at */
    bool ending;
    struct loop_thread *threads[];
};

size_t pool_pending(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t pending = p->waiting + p->running;
    pthread_mutex_unlock(&p->lock);
    return pending;
}

struct pool *pool_create(unsigned threads, size_t limit)
{
    struct pool *p = mem_zalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));

    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->last = &p->first;
    p->limit = limit;
    p->most = threads;
    return p;
}

/* The oldest job, when there is one. Locked. */
static struct pool_job *take(struct pool *p)
{
    struct pool_job *job = p->first;

    if (!job)
        return NULL;
    p->first = job->next;
    if (!p->first)
        p->last = &p->first;
    p->waiting--;
    return job;
}

static void run_thread(void *arg)
{
    struct pool *p = arg;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct pool_job *job = take(p);
        if (job) {
            p->running++;
            pthread_mutex_unlock(&p->lock);
            job->run(job);
            pthread_mutex_lock(&p->lock);
            p->running--;
        } else if (p->ending) {
            break;
        } else {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* Whether there is somebody who takes one more job in time. Locked. */
static bool has_thread(struct pool *p)
{
    if (p->idle > p->waiting || p->started == p->most)
        return true;
    p->threads[p->started] = loop_thread_start(run_thread, p);
    if (p->threads[p->started])
        p->started++;
    return p->started > 0;
}

int pool_send(struct pool *p, struct pool_job *job)
{
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    if (p->waiting >= p->limit)
        rc = MT_EBUSY;
    else if (!has_thread(p))
        rc = MT_ENOMEM;
    if (rc == 0) {
        job->next = NULL;
        *p->last = job;
        p->last = &job->next;
        p->waiting++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void pool_destroy(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        loop_thread_join(p->threads[i]);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
