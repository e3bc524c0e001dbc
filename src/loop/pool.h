/* pool.h - a few threads of their own for work of one kind that blocks or takes long: files on a disk that may hang, passwords
 * that take a tenth of a second each. libuv's threads (loop_work) are few and for everybody; what keeps one of these keeps only
 * work of the same kind.
 */
#ifndef MT_LOOP_POOL_H
#define MT_LOOP_POOL_H
#include <stddef.h>

struct pool;
struct pool_job {
    struct pool_job *next; /* the pool's own */
    /* On a thread of the pool, once. The job may be freed from here on: the pool does not look at it again. */
    void (*run)(struct pool_job *job);
};

/* Threads are started when there is work for them, `threads` at most; `limit` jobs may wait. NULL when memory runs out. */
struct pool *pool_create(unsigned threads, size_t limit);
/* Any thread. Jobs begin in the order in which they were sent. 0; or MT_EBUSY (`limit` jobs wait) or MT_ENOMEM (there is no
 * thread to be had): then the job is the caller's still. */
int pool_send(struct pool *p, struct pool_job *job);
size_t pool_pending(struct pool *p); /* jobs that wait or run */
/* Runs what waits, waits for its end, frees the pool. Nobody may send any more. NULL is allowed. */
void pool_destroy(struct pool *p);
#endif
