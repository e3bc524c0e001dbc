/* fake_inbox.h - inboxes that are opened when a test says so, on no loop. Has the functions of loop/inbox.h that the hub calls,
 * so one file of a test includes it.
 */
#ifndef MT_TESTS_FAKE_INBOX_H
#define MT_TESTS_FAKE_INBOX_H
#include "loop/inbox.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct letter *first, **last; /* oldest first */
    size_t count, limit;          /* letters that wait, and how many may */
    size_t opened;                /* letters since the test last waited for one; only its thread looks */
};

static struct inbox *fake_inbox_create(void)
{
    struct inbox *b = calloc(1, sizeof(*b));

    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->came, NULL);
    b->last = &b->first;
    b->limit = SIZE_MAX;
    return b;
}

static bool fake_inbox_append(struct inbox *b, struct letter *l, size_t limit)
{
    pthread_mutex_lock(&b->lock);
    bool fits = b->count < limit;
    if (fits) {
        l->next = NULL;
        *b->last = l;
        b->last = &l->next;
        b->count++;
        pthread_cond_signal(&b->came);
    }
    pthread_mutex_unlock(&b->lock);
    return fits;
}

void inbox_post(struct inbox *b, struct letter *l)
{
    fake_inbox_append(b, l, SIZE_MAX);
}

bool inbox_offer(struct inbox *b, struct letter *l, size_t size)
{
    (void)size;
    return fake_inbox_append(b, l, b->limit);
}

/* Open what waits. True when there was something. */
static bool fake_inbox_open(struct inbox *b, bool delivered)
{
    struct letter *next;

    pthread_mutex_lock(&b->lock);
    struct letter *l = b->first;
    b->first = NULL;
    b->last = &b->first;
    b->count = 0;
    pthread_mutex_unlock(&b->lock);
    bool some = l != NULL;
    for (; l; l = next, b->opened++) {
        next = l->next;
        l->open(l, delivered);
    }
    return some;
}

/* Until a letter waits that another thread posted, or has been opened since the last call: whoever is fast may have answered
 * before the test came to wait. False when none comes in ten seconds. */
static __attribute__((unused)) bool fake_inbox_await(struct inbox *b)
{
    struct timespec until;
    int failed = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&b->lock);
    while (!b->first && b->opened == 0 && failed == 0)
        failed = pthread_cond_timedwait(&b->came, &b->lock, &until);
    pthread_mutex_unlock(&b->lock);
    b->opened = 0;
    return failed == 0;
}

/* Every letter must have been opened, or is freed. */
static void fake_inbox_destroy(struct inbox *b)
{
    fake_inbox_open(b, false);
    pthread_cond_destroy(&b->came);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
#endif
