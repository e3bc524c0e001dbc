/* worker.c - puts the layers together for one thread, in the order in which they need each other. */
#include "app/worker.h"

#include "app/dev.h"
#include "app/drain.h"
#include "app/services.h"
#include "base/err.h"
#include "base/mem.h"
#include "hub/crew.h"
#include "loop/inbox.h"

struct worker {
    const struct worker_config *config; /* borrowed from the server */
    int number;                         /* from 1 */
    struct loop *loop;
    struct inbox *inbox;
    struct loop_wake *leave; /* needs no memory, unlike a letter */
    struct script *script;
    struct dev *dev; /* between net and script; NULL without dev mode */
    struct net *net; /* lives between script and loop: its sessions call the script until the end */
    struct drain drain;
    struct loop_thread *thread; /* NULL: nobody started one */
    bool draining, hooked;
    struct switchover *due;              /* to be run at the end of this turn; one reference */
    bool switching;                      /* it is being run */
    struct call *put_off, **put_off_end; /* list of those that came meanwhile */
    uint64_t generation;                 /* of the live version */
    worker_switched_fn *switched;
    void *switched_arg;
};

/* ---- settings ---- */

void worker_read_limits(const struct config *c, struct net_options *o)
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
    o->body_timeout = config_ms(c, CONFIG_BODY_TIMEOUT);
    o->outbox_grace = config_ms(c, CONFIG_LIMITS_OUTBOX_GRACE);
    o->waiting = config_number(c, CONFIG_LIMITS_WAITING);
    o->wait = config_ms(c, CONFIG_LIMITS_WAIT);
    o->address_connections = config_number(c, CONFIG_LIMITS_ADDRESS_CONNECTIONS);
    o->messages = config_rate(c, CONFIG_LIMITS_RATE_MESSAGES);
    o->bytes = config_rate(c, CONFIG_LIMITS_RATE_BYTES);
    o->handshakes = config_rate(c, CONFIG_LIMITS_RATE_HANDSHAKES);
    o->exceeded_closes = strcmp(config_text(c, CONFIG_LIMITS_RATE_EXCEEDED), "close") == 0;
}

static void read_http(const struct config *c, struct http_settings *out)
{
    out->ca = config_text(c, CONFIG_HTTP_CA);
    out->allow_private = config_bool(c, CONFIG_HTTP_PRIVATE);
    out->body = config_number(c, CONFIG_HTTP_BODY);
    out->connections = config_number(c, CONFIG_HTTP_CONNECTIONS);
    out->per_host = config_number(c, CONFIG_HTTP_PER_HOST);
    out->idle_ms = config_ms(c, CONFIG_HTTP_IDLE);
}

void worker_script_config(const struct worker_config *wc, int number, struct script_config *out)
{
    const struct config *c = wc->config;
    script_defaults(out);
    out->log = wc->log;
    out->watchdog = wc->watchdog;
    out->crew = wc->crew;
    services_lend(wc->services, &out->services);
    out->files_open = config_number(c, CONFIG_FILES_OPEN);
    out->path = wc->script;
    out->library = wc->library;
    out->worker = number;
    out->workers = (unsigned)wc->count;
    out->time_budget = config_seconds(c, CONFIG_SCRIPT_TIME);
    out->load_budget = config_seconds(c, CONFIG_RELOAD_TIMEOUT);
    out->old_age = config_seconds(c, CONFIG_RELOAD_AGE);
    out->memory_limit = config_number(c, CONFIG_SCRIPT_MEMORY);
    out->close_on_errors = strcmp(config_text(c, CONFIG_ON_ERROR), "close") == 0;
    out->sandbox_allow = config_list(c, CONFIG_SANDBOX_ALLOW);
    read_http(c, &out->http);
    out->modules = wc->modules;
    out->module_count = wc->module_count;
}

/* ---- life ---- */

static void on_script_error(void *arg, uint64_t events, uint64_t errors)
{
    struct worker *w = arg;
    if (w->config->on_error)
        w->config->on_error(w->config->arg, w->number, w->generation, events, errors);
}

static int create_script(struct worker *w, struct sources *sources, char **error)
{
    struct script_config sc;
    worker_script_config(w->config, w->number, &sc);
    sc.loop = w->loop;
    sc.inbox = w->inbox;
    sc.on_error = on_script_error;
    sc.on_error_arg = w;
    return script_create(&sc, sources, &w->script, error);
}

static int create_net(struct worker *w, char **error)
{
    const struct worker_config *wc = w->config;
    struct net_config nc = {
        .loop = w->loop,
        .log = wc->log,
        .events = script_events(),
        .events_arg = w->script,
        .files = wc->files,
        .shared = wc->net,
        .access = wc->access,
        .workers = (unsigned)wc->count,
        .worker = (unsigned)w->number,
    };
    if (config_bool(wc->config, CONFIG_DEV)) {
        if (!(w->dev = dev_create(w->loop, nc.events, nc.events_arg)))
            return MT_ENOMEM;
        nc.events = dev_events();
        nc.events_arg = w->dev;
    }
    worker_read_limits(wc->config, &nc.options);
    return net_create(&nc, &w->net, error);
}

static void on_turn_end(void *arg);
static void on_leave(void *arg);

static int create_parts(struct worker *w, struct sources *sources, char **error)
{
    if (!(w->loop = loop_create()) || !(w->inbox = inbox_create(w->loop)) || !(w->leave = loop_wake_open(w->loop, on_leave, w)))
        return MT_ENOMEM;
    hub_crew_set_inbox(w->config->crew, (unsigned)w->number, w->inbox);
    int rc = create_script(w, sources, error);
    if (rc == 0)
        rc = create_net(w, error);
    if (rc)
        return rc;
    drain_init(&w->drain, w->loop, w->net, w->script);
    rc = loop_add_flush(w->loop, on_turn_end, w); /* behind those of script and net: all that was said has left */
    w->hooked = rc == 0;
    return rc;
}

int worker_create(const struct worker_config *c, int number, struct sources *sources, struct worker **out, char **error)
{
    struct worker *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return MT_ENOMEM;
    w->config = c;
    w->number = number;
    w->put_off_end = &w->put_off;
    *out = w; /* half made, it is the caller's to destroy too */
    return create_parts(w, sources, error);
}

void worker_end(struct worker *w)
{
    if (w->due)
        switchover_leave(w->due);
    w->due = NULL;
    if (w->net) {
        drain_fini(&w->drain);
        net_destroy(w->net);
    }
    w->net = NULL;
    dev_destroy(w->dev);
    w->dev = NULL;
    if (w->script)
        script_destroy(w->script);
    w->script = NULL;
}

void worker_destroy(struct worker *w)
{
    inbox_destroy(w->inbox);
    loop_wake_close(w->leave);
    if (w->hooked)
        loop_remove_flush(w->loop, on_turn_end, w);
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

/* ---- running ---- */

void worker_run(struct worker *w)
{
    script_begin(w->script, "start");
    loop_run(w->loop);
}

static void run_thread(void *arg)
{
    worker_run(arg);
}

int worker_start(struct worker *w)
{
    w->thread = loop_thread_start(run_thread, w);
    return w->thread ? 0 : MT_ENOMEM;
}

void worker_join(struct worker *w)
{
    if (w->thread)
        loop_thread_join(w->thread);
    w->thread = NULL;
}

/* ---- letters ---- */

struct call {
    struct letter letter; /* first */
    struct call *next;    /* in put_off of the worker */
    struct worker *worker;
    worker_fn *fn;
    void *arg;
};

static void run_call(struct call *c, bool delivered)
{
    c->fn(delivered ? c->worker : NULL, c->arg);
    mem_free(c);
}

/* A switchover empties the inbox. Where the others have given it up already, the next version may be there to be prepared, which
 * the end of this switchover would throw away: all calls wait for that end. */
static void open_call(struct letter *l, bool delivered)
{
    struct call *c = (struct call *)l;
    struct worker *w = c->worker;

    if (!delivered || !w->switching) {
        run_call(c, delivered);
        return;
    }
    c->next = NULL;
    *w->put_off_end = c;
    w->put_off_end = &c->next;
}

static void run_put_off(struct worker *w)
{
    struct call *next, *c = w->put_off;

    w->put_off = NULL;
    w->put_off_end = &w->put_off;
    for (; c; c = next) {
        next = c->next;
        run_call(c, true);
    }
}

int worker_post(struct worker *w, worker_fn *fn, void *arg)
{
    struct call *c = mem_zalloc(1, sizeof(*c));
    if (!c)
        return MT_ENOMEM;
    *c = (struct call){.letter = {.open = open_call}, .worker = w, .fn = fn, .arg = arg};
    inbox_post(w->inbox, &c->letter);
    return 0;
}

/* ---- versions ---- */

static void leave_due(struct worker *w)
{
    if (w->due)
        switchover_leave(w->due);
    w->due = NULL;
}

int worker_prepare(struct worker *w, struct sources *sources, char **error)
{
    leave_due(w); /* one that was given up must not take the new version with it */
    return script_prepare(w->script, sources, error);
}

void worker_switch(struct worker *w, struct switchover *o, worker_switched_fn *fn, void *arg)
{
    leave_due(w);
    w->due = o;
    w->switched = fn;
    w->switched_arg = arg;
}

/* Nothing of the script runs now, and all that it has said so far was written. */
static void on_turn_end(void *arg)
{
    struct worker *w = arg;
    struct switchover *o = w->due;
    struct switchover_result result = {0};
    if (!o)
        return;
    w->due = NULL;
    const struct switchover_place place = {w->script, w->inbox, w->number, &w->generation};
    w->switching = true;
    switchover_run(o, &place, &result);
    w->switching = false;
    loop_again(w->loop); /* what came from the inbox leaves, and what was held begins */
    if (w->switched)
        w->switched(w->switched_arg, &result);
    mem_free(result.why);
    run_put_off(w);
}

void worker_settle(struct worker *w, uint64_t generation)
{
    if (w->generation == generation)
        script_settle(w->script);
}

/* ---- the end ---- */

/* It goes on until all have drained: letters of the others may still be for it, as those about rooms that it looks after. */
static void on_drained(void *arg)
{
    struct worker *w = arg;
    w->config->drained(w->config->arg);
}

static void on_leave(void *arg)
{
    struct worker *w = arg;
    loop_stop(w->loop);
}

void worker_leave(struct worker *w)
{
    loop_wake_send(w->leave);
}

void worker_drain(struct worker *w, uint64_t timeout_ms)
{
    if (w->draining)
        return;
    w->draining = true;
    leave_due(w);
    if (w->dev)
        dev_retire(w->dev);
    drain_start(&w->drain, timeout_ms, on_drained, w);
}

/* ---- other wishes ---- */

void worker_set_limits(struct worker *w, const struct net_options *limits)
{
    struct net_options o = *limits;
    /* the tables of libwebsockets have the size of the start, so this one stays */
    o.connections = config_number(w->config->config, CONFIG_LIMITS_CONNECTIONS);
    net_set_options(w->net, &o);
}

void worker_set_access(struct worker *w, struct access *a)
{
    net_set_access(w->net, a);
}

struct dev *worker_dev(const struct worker *w)
{
    return w->dev;
}

/* ---- looking at it ---- */

static void add_net_stats(struct net_stats *sum, const struct net_stats *n)
{
    sum->accepted += n->accepted;
    sum->refused += n->refused;
    sum->upgraded += n->upgraded;
    sum->closed += n->closed;
    sum->messages_in += n->messages_in;
    sum->messages_out += n->messages_out;
    sum->bytes_in += n->bytes_in;
    sum->bytes_out += n->bytes_out;
    sum->dropped += n->dropped;
    sum->overflowed += n->overflowed;
    sum->malformed += n->malformed;
    sum->accept_pauses += n->accept_pauses;
    sum->denied += n->denied;
    sum->foreign += n->foreign;
}

static void add_script_stats(struct script_stats *sum, const struct script_stats *s)
{
    sum->events += s->events;
    sum->errors += s->errors;
    sum->client_errors += s->client_errors;
    sum->late_answers += s->late_answers;
    sum->budget_kills += s->budget_kills;
    sum->memory += s->memory;
    sum->tasks += s->tasks;
    sum->files += s->files;
    sum->http += s->http;
    sum->waiting += s->waiting;
    sum->old_versions += s->old_versions;
    sum->old_tasks += s->old_tasks;
}

void worker_stats_add(struct worker_stats *sum, const struct worker_stats *one)
{
    add_net_stats(&sum->net, &one->net);
    add_script_stats(&sum->script, &one->script);
    sum->sessions += one->sessions;
    sum->connections += one->connections;
    sum->people += one->people;
    sum->rooms += one->rooms;
}

void worker_add_stats(const struct worker *w, struct worker_stats *sum)
{
    const struct hub *hub = script_hub_of(w->script);
    struct worker_stats own = {.sessions = net_count(w->net), .connections = hub_count(hub)};
    net_stats(w->net, &own.net);
    own.net.dropped += hub_dropped(hub); /* on the way to another worker */
    script_stats(w->script, &own.script);
    if (w->number == 1) {
        own.people = hub_people(hub);
        own.rooms = hub_rooms(hub);
    }
    worker_stats_add(sum, &own);
}

int worker_number(const struct worker *w)
{
    return w->number;
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
