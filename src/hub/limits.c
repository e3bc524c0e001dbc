/* limits.c - limits by name. Few and seldom opened: a list under a mutex. */
#include "hub/limits.h"

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "hub/buckets.h"

#include <assert.h>
#include <pthread.h>

struct limit {
    struct limits *all;
    struct list_node node; /* in all->limits */
    struct buckets *buckets;
    unsigned refs; /* under the mutex */
    size_t name_len;
    char name[]; /* not NUL-terminated */
};

struct limits {
    bool threads;
    pthread_mutex_t lock;
    struct list_node limits; /* those that were opened last come last */
    unsigned count;
    uint64_t forgotten; /* of those that are gone */
};

/* ---- life ---- */

struct limits *limits_create(bool threads)
{
    struct limits *all = mem_zalloc(1, sizeof(*all));

    if (!all)
        return NULL;
    all->threads = threads;
    pthread_mutex_init(&all->lock, NULL);
    list_init(&all->limits);
    return all;
}

/* Under the lock, like all that follows up to limit_open. */
static void destroy_limit(struct limit *l)
{
    l->all->forgotten += buckets_forgotten(l->buckets);
    l->all->count--;
    list_remove(&l->node);
    buckets_destroy(l->buckets);
    mem_free(l);
}

void limits_destroy(struct limits *all)
{
    if (!all)
        return;
    while (!list_empty(&all->limits)) {
        struct limit *l = list_entry(all->limits.next, struct limit, node);
        assert(l->refs == 0);
        destroy_limit(l);
    }
    pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

/* ---- by name ---- */

static struct limit *create_limit(struct limits *all, struct slice name)
{
    struct limit *l = mem_zalloc(1, sizeof(*l) + name.len);

    if (!l)
        return NULL;
    l->buckets = buckets_create(all->threads);
    if (!l->buckets) {
        mem_free(l);
        return NULL;
    }
    l->all = all;
    l->name_len = name.len;
    memcpy(l->name, name.data, name.len);
    list_add_tail(&all->limits, &l->node);
    all->count++;
    return l;
}

static struct limit *find_limit(struct limits *all, struct slice name)
{
    list_each(node, &all->limits)
    {
        struct limit *l = list_entry(node, struct limit, node);
        if (slice_is(limit_name(l), name))
            return l;
    }
    return NULL;
}

/* The one that nobody has had open for longest makes room. */
static bool make_room(struct limits *all)
{
    if (all->count < LIMITS_MAX)
        return true;
    list_each(node, &all->limits)
    {
        struct limit *l = list_entry(node, struct limit, node);
        if (l->refs == 0) {
            destroy_limit(l);
            return true;
        }
    }
    return false;
}

static int open_locked(struct limits *all, struct slice name, struct limit **out)
{
    struct limit *l = find_limit(all, name);

    if (!l && !make_room(all))
        return MT_EFULL;
    if (!l && !(l = create_limit(all, name)))
        return MT_ENOMEM;
    l->refs++;
    *out = l;
    return 0;
}

int limit_open(struct limits *all, struct slice name, struct limit **out)
{
    pthread_mutex_lock(&all->lock);
    int rc = open_locked(all, name, out);
    pthread_mutex_unlock(&all->lock);
    return rc;
}

void limit_close(struct limit *l)
{
    struct limits *all = l->all;

    pthread_mutex_lock(&all->lock);
    l->refs--;
    list_remove(&l->node);
    list_add_tail(&all->limits, &l->node);
    pthread_mutex_unlock(&all->lock);
}

/* ---- taking ---- */

uint64_t limit_take(struct limit *l, const struct rate *r, struct slice key, uint64_t now_us, double n)
{
    return n <= r->burst ? buckets_take(l->buckets, r, key, now_us, n) : LIMIT_NEVER;
}

struct slice limit_name(const struct limit *l)
{
    return (struct slice){l->name, l->name_len};
}

uint64_t limit_forgotten(const struct limit *l)
{
    return buckets_forgotten(l->buckets);
}

uint64_t limits_forgotten(struct limits *all)
{
    pthread_mutex_lock(&all->lock);
    uint64_t sum = all->forgotten;
    list_each(node, &all->limits) sum += limit_forgotten(list_entry(node, struct limit, node));
    pthread_mutex_unlock(&all->lock);
    return sum;
}
