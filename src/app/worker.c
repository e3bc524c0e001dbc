/* worker.c - puts the layers together for one thread, in the order in which they need each other. */
#include "app/worker.h"

#include "app/drain.h"
#include "base/err.h"
#include "base/mem.h"

struct worker {
    const struct worker_config *config; /* borrowed from the server */
    struct loop *loop;
    struct script *script;
    struct dev *dev; /* NULL outside of dev mode; between script and net, as events pass it */
    struct net *net; /* lives between script and loop: its sessions call the script until the end */
    struct drain drain;
    bool draining;
};

static void read_limits(const struct config *c, struct net_options *o)
{
    net_defaults(o);
    o->message_limit = config_number(c, CONFIG_LIMITS_MESSAGE);
    o->outbox_limit = config_number(c, CONFIG_LIMITS_OUTBOX);
    o->body_limit = config_number(c, CONFIG_LIMITS_BODY);
    o->deflate_threshold = config_number(c, CONFIG_DEFLATE_THRESHOLD);
    o->connections = config_number(c, CONFIG_LIMITS_CONNECTIONS);
    o->handshake_timeout = config_ms(c, CONFIG_HANDSHAKE_TIMEOUT);
    o->idle_timeout = config_ms(c, CONFIG_IDLE_TIMEOUT);
    o->close_timeout = config_ms(c, CONFIG_CLOSE_TIMEOUT);
    o->ping_interval = config_ms(c, CONFIG_PING_INTERVAL);
    o->ping_timeout = config_ms(c, CONFIG_PING_TIMEOUT);
}

void worker_script_config(const struct worker *w, struct script_config *sc)
{
    const struct worker_config *wc = w->config;
    const struct config *c = wc->config;
    script_defaults(sc);
    sc->loop = w->loop;
    sc->log = wc->log;
    sc->watchdog = wc->watchdog;
    sc->path = wc->script;
    sc->library = wc->library;
    sc->memory = wc->memory;
    sc->worker = wc->number;
    sc->time_budget = config_seconds(c, CONFIG_SCRIPT_TIME);
    sc->load_budget = config_seconds(c, CONFIG_RELOAD_TIMEOUT);
    sc->memory_limit = config_number(c, CONFIG_SCRIPT_MEMORY);
    sc->close_on_errors = strcmp(config_text(c, CONFIG_ON_ERROR), "close") == 0;
    sc->sandbox_allow = config_list(c, CONFIG_SANDBOX_ALLOW);
    sc->modules = wc->modules;
    sc->module_count = wc->module_count;
}

static int create_script(struct worker *w, char **error)
{
    struct script_config sc;
    worker_script_config(w, &sc);
    return script_create(&sc, NULL, &w->script, error);
}

static int create_net(struct worker *w, char **error)
{
    const struct worker_config *wc = w->config;
    struct net_config nc = {
        .loop = w->loop,
        .log = wc->log,
        .events = w->dev ? dev_events() : script_events(),
        .events_arg = w->dev ? (void *)w->dev : w->script,
        .files = wc->files,
        .shared = wc->net,
        .worker = (unsigned)wc->number,
        .workers = (unsigned)config_number(wc->config, CONFIG_WORKERS),
    };
    read_limits(wc->config, &nc.options);
    return net_create(&nc, &w->net, error);
}

int worker_create(const struct worker_config *c, struct worker **out, char **error)
{
    struct worker *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return MT_ENOMEM;
    w->config = c;
    w->loop = loop_create();
    int rc = w->loop ? 0 : MT_ENOMEM;
    if (rc == 0)
        rc = create_script(w, error);
    if (rc == 0 && config_bool(c->config, CONFIG_DEV))
        rc = (w->dev = dev_create(w->loop, script_events(), w->script)) ? 0 : MT_ENOMEM;
    if (rc == 0)
        rc = create_net(w, error);
    if (rc) {
        worker_destroy(w);
        return rc;
    }
    drain_init(&w->drain, w->loop, w->net, w->script);
    *out = w;
    return 0;
}

void worker_destroy(struct worker *w)
{
    if (!w)
        return;
    if (w->net) {
        drain_fini(&w->drain);
        net_destroy(w->net);
    }
    dev_destroy(w->dev);
    if (w->script)
        script_destroy(w->script);
    if (w->loop)
        loop_destroy(w->loop);
    mem_free(w);
}

int worker_listen(struct worker *w, char **error)
{
    const struct config *c = w->config->config;
    int rc = 0;
    for (const char *const *item = config_list(c, CONFIG_LISTEN); rc == 0 && *item; item++) {
        struct slice address;
        config_split_address(*item, &address);
        rc = net_listen(w->net, address, config_wants_tls(c, *item), error);
    }
    return rc;
}

void worker_run(struct worker *w)
{
    script_begin(w->script, "start");
    loop_run(w->loop);
}

static void on_drained(void *arg)
{
    struct worker *w = arg;
    loop_stop(w->loop);
}

void worker_drain(struct worker *w, uint64_t timeout_ms)
{
    if (w->draining)
        return;
    w->draining = true;
    if (w->dev)
        dev_retire(w->dev);
    drain_start(&w->drain, timeout_ms, on_drained, w);
}

void worker_set_limits(struct worker *w, const struct config *config)
{
    struct net_options o;
    read_limits(config, &o);
    /* the tables of libwebsockets have the size of the start, so this one stays */
    o.connections = config_number(w->config->config, CONFIG_LIMITS_CONNECTIONS);
    net_set_options(w->net, &o);
}

static void add_net_stats(const struct net *net, struct net_stats *sum)
{
    struct net_stats n;
    net_stats(net, &n);
    sum->accepted += n.accepted;
    sum->refused += n.refused;
    sum->upgraded += n.upgraded;
    sum->closed += n.closed;
    sum->messages_in += n.messages_in;
    sum->messages_out += n.messages_out;
    sum->bytes_in += n.bytes_in;
    sum->bytes_out += n.bytes_out;
    sum->dropped += n.dropped;
    sum->overflowed += n.overflowed;
    sum->malformed += n.malformed;
    sum->accept_pauses += n.accept_pauses;
}

static void add_script_stats(const struct script *script, struct script_stats *sum)
{
    struct script_stats s;
    script_stats(script, &s);
    sum->events += s.events;
    sum->errors += s.errors;
    sum->client_errors += s.client_errors;
    sum->budget_kills += s.budget_kills;
    sum->reloads += s.reloads;
    sum->reloads_failed += s.reloads_failed;
    sum->memory += s.memory;
    sum->tasks += s.tasks;
    sum->waiting += s.waiting;
    sum->old_versions += s.old_versions;
    sum->old_tasks += s.old_tasks;
}

void worker_add_stats(const struct worker *w, struct worker_stats *sum)
{
    const struct hub *hub = script_hub_of(w->script);
    add_net_stats(w->net, &sum->net);
    add_script_stats(w->script, &sum->script);
    sum->sessions += net_count(w->net);
    sum->connections += hub_count(hub);
    sum->people += hub_people(hub);
    sum->rooms += hub_rooms(hub);
}

struct loop *worker_loop(const struct worker *w)
{
    return w->loop;
}

struct net *worker_net(const struct worker *w)
{
    return w->net;
}

struct script *worker_script(const struct worker *w)
{
    return w->script;
}

struct dev *worker_dev(const struct worker *w)
{
    return w->dev;
}
