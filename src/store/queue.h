/* queue.h - requests on their way to a thread of a store: in order, bounded, any number of senders and one that takes. */
#ifndef MT_STORE_QUEUE_H
#define MT_STORE_QUEUE_H
#include "store/store.h"
#include <pthread.h>

enum { STORE_QUEUE_COUNT = 100000, STORE_QUEUE_BYTES = 64 << 20 }; /* what may wait */

struct store_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;              /* by the monotonic clock */
    struct store_request *first, **last; /* oldest first */
    size_t count, bytes;
    bool closed;
};

void store_queue_init(struct store_queue *q);
void store_queue_fini(struct store_queue *q); /* it must be empty */
/* 0, MT_EBUSY (too much waits), MT_ECLOSED. */
int store_queue_put(struct store_queue *q, struct store_request *r);
/* Takes what waits, in its order, linked by `next`: so many at most, and fewer when they are large, but at least one. Waits for
 * one, at most `ms` milliseconds (negative: for ever). NULL when none came, or the queue is closed and empty. */
struct store_request *store_queue_take(struct store_queue *q, size_t count, size_t bytes, int64_t ms);
bool store_queue_is_over(struct store_queue *q); /* closed and empty */
void store_queue_close(struct store_queue *q);   /* nothing is put in any more */
#endif
