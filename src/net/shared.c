/* shared.c - what the nets of one server share. */
#include "net/shared.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <assert.h>
#include <unistd.h>

struct net_shared *net_shared_create(const struct net_tls_file *tls, size_t count, char **error)
{
    struct net_shared *s = mem_zalloc(1, sizeof *s);

    *error = NULL;
    if (!s)
        return NULL;
    atomic_init(&s->sockets, 0);
    atomic_init(&s->waiting, 0);
    s->addresses = quota_create(NET_ADDRESSES_MAX);
    if (!s->addresses) {
        net_shared_destroy(s);
        return NULL;
    }
    if (count && tls_store_create(tls, count, clock_ms, &s->tls, error)) {
        net_shared_destroy(s);
        return NULL;
    }
    return s;
}

void net_shared_destroy(struct net_shared *s)
{
    if (!s)
        return;
    assert(net_shared_count(s) == 0 && shared_waiting(s) == 0); /* the nets are gone, with all that had a place */
    while (s->bound_count > 0)
        shared_drop_bound(s);
    mem_free(s->bounds);
    tls_store_destroy(s->tls);
    quota_destroy(s->addresses);
    mem_free(s);
}

int net_shared_ask_clients(struct net_shared *s, const struct net_tls_clients *c, char **error)
{
    *error = NULL;
    return s->tls ? tls_store_ask_clients(s->tls, c, error) : MT_EINVALID;
}

int net_shared_reload_tls(struct net_shared *s, char **error)
{
    *error = NULL;
    return s->tls ? tls_store_reload(s->tls, error) : 0;
}

/* ---- counts of sockets: numbers and nothing else, so their order to other memory does not matter ---- */

size_t net_shared_count(const struct net_shared *s)
{
    return atomic_load_explicit(&s->sockets, memory_order_relaxed);
}

bool shared_take_socket(struct net_shared *s, size_t limit)
{
    if (atomic_fetch_add_explicit(&s->sockets, 1, memory_order_relaxed) < limit)
        return true;
    shared_give_socket(s);
    return false;
}

void shared_give_socket(struct net_shared *s)
{
    atomic_fetch_sub_explicit(&s->sockets, 1, memory_order_relaxed);
}

void shared_enter_line(struct net_shared *s)
{
    atomic_fetch_add_explicit(&s->waiting, 1, memory_order_relaxed);
}

void shared_leave_line(struct net_shared *s)
{
    atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
}

size_t shared_waiting(const struct net_shared *s)
{
    return atomic_load_explicit(&s->waiting, memory_order_relaxed);
}

/* ---- addresses ---- */

struct bound *shared_add_bound(struct net_shared *s, unsigned count)
{
    struct bound *bounds = mem_resize(s->bounds, (s->bound_count + 1) * sizeof *bounds);

    if (!bounds)
        return NULL;
    s->bounds = bounds;
    struct bound *fresh = &bounds[s->bound_count];
    *fresh = (struct bound){.count = count, .fds = mem_alloc(count * sizeof *fresh->fds)};
    if (!fresh->fds)
        return NULL;
    for (unsigned i = 0; i < count; i++)
        fresh->fds[i] = -1;
    s->bound_count++;
    return fresh;
}

/* The file of a unix socket belongs to the listener of the first net, once there is one. */
void shared_drop_bound(struct net_shared *s)
{
    struct bound *b = &s->bounds[--s->bound_count];

    if (b->fds[0] >= 0 && b->address.at.any.sa_family == AF_UNIX)
        unlink(b->address.at.local.sun_path);
    for (unsigned i = 0; i < b->count; i++)
        if (b->fds[i] >= 0)
            close(b->fds[i]);
    mem_free(b->fds);
}

struct bound *shared_bound(struct net_shared *s, size_t i)
{
    return i < s->bound_count ? &s->bounds[i] : NULL;
}
