/* quota.c - sockets and handshakes by address. */
#include "net/quota.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>

enum {
    QUOTA_SITE_BITS = 64,      /* of an IPv6 address */
    QUOTA_RETRY_US = 1000000,  /* where memory for an address ran out */
    QUOTA_FORGET_PER_CALL = 2, /* idle addresses looked at for each that is added */
};

struct quota_entry {
    struct ip network;     /* the key of the map */
    struct list_node idle; /* in quota->idle while it has no socket */
    struct bucket handshakes;
    size_t sockets;
};

struct quota {
    pthread_mutex_t lock;
    struct rate rate;      /* of the handshakes of each */
    struct map entries;    /* owned struct quota_entry */
    struct list_node idle; /* those without a socket, the longest quiet first */
    size_t idle_count, idle_max;
};

struct quota *quota_create(size_t idle_max)
{
    struct quota *q = mem_zalloc(1, sizeof *q);

    if (!q)
        return NULL;
    pthread_mutex_init(&q->lock, NULL);
    list_init(&q->idle);
    q->idle_max = idle_max;
    return q;
}

static struct slice key_of(const struct ip *network)
{
    return (struct slice){(const char *)network->bytes, sizeof network->bytes};
}

void quota_destroy(struct quota *q)
{
    struct quota_entry *e;
    size_t at = 0;

    if (!q)
        return;
    while ((e = map_next(&q->entries, &at, NULL)))
        mem_free(e);
    map_fini(&q->entries);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

/* ---- entries: all under the lock ---- */

static struct ip network_of(const struct ip *ip)
{
    return ip_is_v4(ip) ? *ip : ip_network(ip, QUOTA_SITE_BITS);
}

static struct quota_entry *find(struct quota *q, const struct ip *ip)
{
    struct ip network = network_of(ip);

    return map_find(&q->entries, key_of(&network));
}

/* Without sockets, and in no list: the caller goes on with it. NULL when memory runs out. */
static struct quota_entry *add(struct quota *q, const struct ip *ip)
{
    struct quota_entry *e = mem_zalloc(1, sizeof *e);

    if (!e)
        return NULL;
    e->network = network_of(ip);
    list_init(&e->idle);
    if (map_put(&q->entries, key_of(&e->network), e)) {
        mem_free(e);
        return NULL;
    }
    return e;
}

static void wake(struct quota *q, struct quota_entry *e)
{
    if (list_empty(&e->idle))
        return;
    list_remove(&e->idle);
    q->idle_count--;
}

static void forget(struct quota *q, struct quota_entry *e)
{
    wake(q, e);
    map_take(&q->entries, key_of(&e->network));
    mem_free(e);
}

/* The longest quiet of those without a socket, where it is worth nothing any more or one too many. */
static bool forget_one(struct quota *q, uint64_t now_us)
{
    struct quota_entry *e = list_entry(q->idle.next, struct quota_entry, idle);

    if (list_empty(&q->idle) || (q->idle_count <= q->idle_max && !bucket_is_full(&e->handshakes, now_us)))
        return false;
    forget(q, e);
    return true;
}

/* It has no socket: remembered only for its handshakes. */
static void rest(struct quota *q, struct quota_entry *e, uint64_t now_us)
{
    wake(q, e);
    if (bucket_is_full(&e->handshakes, now_us)) {
        forget(q, e);
        return;
    }
    list_add_tail(&q->idle, &e->idle);
    q->idle_count++;
    for (int i = 0; i < QUOTA_FORGET_PER_CALL && forget_one(q, now_us); i++) {
    }
}

/* ---- quota.h ---- */

bool quota_enter(struct quota *q, const struct ip *ip, size_t limit)
{
    pthread_mutex_lock(&q->lock);
    struct quota_entry *e = find(q, ip);
    bool room = (!e || e->sockets < limit) && (e || (e = add(q, ip)));
    if (room) {
        wake(q, e);
        e->sockets++;
    }
    pthread_mutex_unlock(&q->lock);
    return room;
}

void quota_leave(struct quota *q, const struct ip *ip, uint64_t now_us)
{
    pthread_mutex_lock(&q->lock);
    struct quota_entry *e = find(q, ip);
    assert(e && e->sockets);
    if (--e->sockets == 0)
        rest(q, e, now_us);
    pthread_mutex_unlock(&q->lock);
}

/* What is missing in a bucket is kept as a time, which would mean something else under the new rate. */
void quota_set_rate(struct quota *q, const struct rate *handshakes)
{
    struct quota_entry *e;
    size_t at = 0;

    pthread_mutex_lock(&q->lock);
    if (q->rate.per_second != handshakes->per_second || q->rate.burst != handshakes->burst) {
        q->rate = *handshakes;
        while (!list_empty(&q->idle))
            forget(q, list_entry(q->idle.next, struct quota_entry, idle));
        while ((e = map_next(&q->entries, &at, NULL)))
            e->handshakes = (struct bucket){0};
    }
    pthread_mutex_unlock(&q->lock);
}

uint64_t quota_handshake(struct quota *q, const struct ip *ip, uint64_t now_us)
{
    uint64_t wait = QUOTA_RETRY_US;

    pthread_mutex_lock(&q->lock);
    struct quota_entry *e = find(q, ip);
    if (e || (e = add(q, ip))) {
        wait = bucket_take(&e->handshakes, &q->rate, now_us, 1);
        if (e->sockets == 0)
            rest(q, e, now_us);
    }
    pthread_mutex_unlock(&q->lock);
    return wait;
}

size_t quota_count(struct quota *q)
{
    pthread_mutex_lock(&q->lock);
    size_t count = q->entries.count;
    pthread_mutex_unlock(&q->lock);
    return count;
}
