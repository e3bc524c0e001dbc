/* inbox.c - a list under a mutex, taken as a whole by its reader. */
#include "loop/inbox.h"

#include "base/mem.h"
#include <assert.h>
#include <pthread.h>

struct inbox {
    pthread_mutex_t lock;
    struct letter *first, **last; /* under the lock, oldest first */
    size_t bytes;                 /* of letters that were offered and wait; under the lock */
    struct loop_wake *wake;
    bool draining; /* loop thread: a letter is being opened further up the stack */
};

/* ---- any thread ---- */

/* Under the lock. True when the reader has to be told. */
static bool append(struct inbox *b, struct letter *l, size_t size)
{
    bool was_empty = b->first == NULL;

    l->next = NULL;
    l->size = size;
    b->bytes += size;
    *b->last = l;
    b->last = &l->next;
    return was_empty;
}

void inbox_post(struct inbox *b, struct letter *l)
{
    pthread_mutex_lock(&b->lock);
    bool tell = append(b, l, 0);
    pthread_mutex_unlock(&b->lock);
    if (tell)
        loop_wake_send(b->wake);
}

bool inbox_offer(struct inbox *b, struct letter *l, size_t size)
{
    bool fits, tell = false;

    pthread_mutex_lock(&b->lock);
    fits = size <= INBOX_BYTES - b->bytes;
    if (fits)
        tell = append(b, l, size);
    pthread_mutex_unlock(&b->lock);
    if (tell)
        loop_wake_send(b->wake);
    return fits;
}

/* ---- the loop's thread ---- */

static struct letter *take_all(struct inbox *b)
{
    pthread_mutex_lock(&b->lock);
    struct letter *first = b->first;
    b->first = NULL;
    b->last = &b->first;
    b->bytes = 0;
    pthread_mutex_unlock(&b->lock);
    return first;
}

static void open_list(struct letter *l, bool delivered)
{
    struct letter *next;

    for (; l; l = next) {
        next = l->next; /* the letter frees itself */
        l->open(l, delivered);
    }
}

static void open_all(struct inbox *b, bool delivered)
{
    struct letter *l;

    while ((l = take_all(b)) != NULL)
        open_list(l, delivered);
}

void inbox_drain(struct inbox *b)
{
    assert(!b->draining);
    b->draining = true;
    open_all(b, true);
    b->draining = false;
}

/* What comes meanwhile wakes the loop again: letters that cause letters must not keep it from its sockets and timers. */
static void on_wake(void *arg)
{
    struct inbox *b = arg;

    assert(!b->draining);
    b->draining = true;
    open_list(take_all(b), true);
    b->draining = false;
}

/* ---- life ---- */

struct inbox *inbox_create(struct loop *l)
{
    struct inbox *b = mem_zalloc(1, sizeof(*b));

    if (!b)
        return NULL;
    pthread_mutex_init(&b->lock, NULL);
    b->last = &b->first;
    if (!(b->wake = loop_wake_open(l, on_wake, b))) {
        inbox_destroy(b);
        return NULL;
    }
    return b;
}

void inbox_destroy(struct inbox *b)
{
    if (!b)
        return;
    open_all(b, false);
    loop_wake_close(b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}
