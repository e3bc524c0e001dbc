/* net.c - a worker's network: puts the parts together, limits, counters, the end. */
#include "net/net.h"

#include "base/err.h"
#include "base/mem.h"
#include "net/access.h"
#include "net/net_impl.h"

void net_defaults(struct net_options *o)
{
    *o = (struct net_options){
        .message_limit = 64 * 1024,
        .outbox_limit = 1024 * 1024,
        .body_limit = 1024 * 1024,
        .deflate_threshold = 1024,
        .connections = 100000,
        .handshake_timeout = 10000,
        .body_timeout = 30000,
        .idle_timeout = 60000,
        .close_timeout = 5000,
        .ping_interval = 25000,
        .ping_timeout = 10000,
        .outbox_grace = 1000,
        .waiting = 1000,
        .wait = 5000,
    };
}

enum { QUIET_MS = 10000 };

bool net_tells(struct net *n, struct seldom *kind, uint64_t *unsaid)
{
    uint64_t now = loop_now(n->loop);

    if (now < kind->quiet_until) {
        kind->unsaid++;
        return false;
    }
    *unsaid = kind->unsaid;
    *kind = (struct seldom){.quiet_until = now + QUIET_MS};
    return true;
}

static void net_flush(void *arg)
{
    session_turn_end(arg);
}

static int take_access(struct net *n, struct access *a, char **error)
{
    static const struct access_lists none;

    if (!a)
        return access_create(&none, &n->access, error);
    n->access = access_ref(a);
    return 0;
}

static int net_init(struct net *n, const struct net_config *c, char **error)
{
    n->deflate = deflate_create(1); /* level 1: several times faster than 6 for a few percent of size */
    n->pool = outbox_pool_create();
    n->read_buffer = mem_alloc(NET_READ_SIZE);
    if (!n->deflate || !n->pool || !n->read_buffer)
        return MT_ENOMEM;
    int rc = take_access(n, c->access, error);
    if (!rc)
        rc = host_create(n, error);
    return rc ? rc : loop_add_flush(n->loop, net_flush, n);
}

int net_create(const struct net_config *c, struct net **out, char **error)
{
    struct net *n = mem_zalloc(1, sizeof *n);

    *error = NULL;
    if (!n)
        return MT_ENOMEM;
    n->loop = c->loop;
    n->log = c->log;
    n->events = c->events;
    n->events_arg = c->events_arg;
    n->options = c->options;
    n->files = c->files;
    n->shared = c->shared;
    n->workers = c->workers ? c->workers : 1;
    n->several = n->workers > 1;
    n->follows = c->worker > 1;
    n->dirty_tail = &n->dirty;
    list_init(&n->listeners);
    list_init(&n->sessions);
    list_init(&n->woken);
    list_init(&n->ended);
    list_init(&n->drained);
    int rc = net_init(n, c, error);
    if (rc) {
        net_destroy(n);
        return rc;
    }
    *out = n;
    return 0;
}

void net_destroy(struct net *n)
{
    if (!n)
        return;
    listen_close_all(n);
    n->stopped = true;
    list_each(node, &n->sessions)
    {
        session_kill(list_entry(node, struct session, in_net));
    }
    while (!list_empty(&n->sessions))
        session_turn_end(n);
    loop_remove_flush(n->loop, net_flush, n);
    host_destroy(n->host);
    deflate_destroy(n->deflate);
    outbox_pool_destroy(n->pool);
    access_unref(n->access);
    buf_fini(&n->inflated);
    buf_fini(&n->deflated);
    mem_free(n->read_buffer);
    mem_free(n);
}

void net_stop_listening(struct net *n)
{
    listen_close_all(n);
    n->stopped = true;
    list_each(node, &n->sessions)
    {
        struct session *s = list_entry(node, struct session, in_net);
        if (s->state == SESSION_TLS || s->state == SESSION_HEAD)
            session_retire(s); /* nothing was asked on it yet (half a head is no question), or everything is answered */
    }
}

void net_set_options(struct net *n, const struct net_options *o)
{
    n->options = *o;
    listen_resume_all(n);
}

size_t net_count(const struct net *n)
{
    return n->count;
}

struct loop *net_loop(struct net *n)
{
    return n->loop;
}

void net_stats(const struct net *n, struct net_stats *out)
{
    *out = n->stats;
}
