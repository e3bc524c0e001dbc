/* net.c - a worker's network: puts the parts together, limits, counters, the end. */
#include "net/net.h"

#include "base/err.h"
#include "base/mem.h"
#include "net/access.h"
#include "net/net_impl.h"
#include "net/proxied.h"

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

void net_tell(struct net *n, struct seldom *kind, struct slice peer, const char *format, ...)
{
    const struct log_about about = {.peer = peer};
    struct buf text = {0};
    uint64_t count = seldom_count(kind, loop_now(n->loop));
    va_list args;

    if (count == 0)
        return;
    va_start(args, format);
    int rc = buf_addv(&text, format, args);
    va_end(args);
    if (!rc && count > 1)
        rc = buf_addf(&text, "; %llu since the last such line", (unsigned long long)count);
    if (!rc)
        log_warn(n->log, &about, "%.*s", (int)text.len, (char *)text.data);
    buf_fini(&text);
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
    if (!rc)
        rc = loop_add_flush(n->loop, net_flush, n);
    return rc ? rc : loop_add_flush(n->loop, tls_line_turn_end, n); /* behind it: what open connections are owed leaves first */
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
    n->worker = c->worker;
    n->dirty_tail = &n->dirty;
    list_init(&n->listeners);
    list_init(&n->proxied);
    list_init(&n->sessions);
    list_init(&n->woken);
    list_init(&n->ended);
    list_init(&n->drained);
    line_init(n);
    quota_set_rate(n->shared->addresses, &n->options.handshakes);
    tls_line_init(&n->tls_line);
    slow_init(n);
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
    proxied_close_all(n);
    line_clear(n);
    n->stopped = true;
    list_each(node, &n->sessions)
    {
        session_kill(list_entry(node, struct session, in_net));
    }
    while (!list_empty(&n->sessions))
        session_turn_end(n);
    slow_fini(n);
    loop_remove_flush(n->loop, net_flush, n);
    loop_remove_flush(n->loop, tls_line_turn_end, n);
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
    proxied_close_all(n);
    line_clear(n); /* they were told nothing, and asked nothing that was read: as those that the system refuses now */
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
    quota_set_rate(n->shared->addresses, &o->handshakes);
    list_each(node, &n->sessions)
    {
        struct session *s = list_entry(node, struct session, in_net);
        if (s->state == SESSION_OPEN)
            session_rate_update(s);
    }
    slow_options_changed(n);
    listen_resume_all(n);
}

size_t net_count(const struct net *n)
{
    return n->count;
}

size_t net_waiting(const struct net *n)
{
    return n->line.count;
}

void net_stats(const struct net *n, struct net_stats *out)
{
    *out = n->stats;
    out->tls_waiting = tls_line_count(&n->tls_line);
    out->slow = slow_count(n);
}
