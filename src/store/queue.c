/* queue.c - a list under a mutex. */
#include "store/queue.h"

#include "base/err.h"
#include <assert.h>
#include <time.h>

void store_queue_init(struct store_queue *q)
{
    pthread_condattr_t by_monotonic;

    *q = (struct store_queue){.last = &q->first};
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&by_monotonic);
    pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &by_monotonic);
    pthread_condattr_destroy(&by_monotonic);
}

void store_queue_fini(struct store_queue *q)
{
    assert(!q->first);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
}

static size_t size_of(const struct store_request *r)
{
    return r->key.len + r->after.len + r->value.data.len + r->expected.data.len;
}

int store_queue_put(struct store_queue *q, struct store_request *r)
{
    size_t bytes = size_of(r);
    int err = 0;

    pthread_mutex_lock(&q->lock);
    if (q->closed) {
        err = MT_ECLOSED;
    } else if (q->count == STORE_QUEUE_COUNT || bytes > STORE_QUEUE_BYTES - q->bytes) {
        err = MT_EBUSY;
    } else {
        r->next = NULL;
        *q->last = r;
        q->last = &r->next;
        q->bytes += bytes;
        if (q->count++ == 0)
            pthread_cond_signal(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* Under the lock. */
static struct store_request *cut(struct store_queue *q, size_t count, size_t bytes)
{
    struct store_request *first = q->first, **end = &q->first;

    for (size_t sum = 0; *end && count > 0; count--) {
        sum += size_of(*end);
        if (sum > bytes && *end != first)
            break;
        q->bytes -= size_of(*end);
        q->count--;
        end = &(*end)->next;
    }
    q->first = *end;
    *end = NULL;
    if (!q->first)
        q->last = &q->first;
    return first;
}

struct store_request *store_queue_take(struct store_queue *q, size_t count, size_t bytes, int64_t ms)
{
    struct timespec until;
    int failed = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000 + (until.tv_nsec + ms % 1000 * 1000000) / 1000000000;
    until.tv_nsec = (until.tv_nsec + ms % 1000 * 1000000) % 1000000000;
    pthread_mutex_lock(&q->lock);
    while (!q->first && !q->closed && failed == 0)
        failed = ms < 0 ? pthread_cond_wait(&q->changed, &q->lock) : pthread_cond_timedwait(&q->changed, &q->lock, &until);
    struct store_request *list = q->first ? cut(q, count, bytes) : NULL;
    pthread_mutex_unlock(&q->lock);
    return list;
}

bool store_queue_is_over(struct store_queue *q)
{
    pthread_mutex_lock(&q->lock);
    bool over = q->closed && !q->first;
    pthread_mutex_unlock(&q->lock);
    return over;
}

void store_queue_close(struct store_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
}
