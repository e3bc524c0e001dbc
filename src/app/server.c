/* server.c - owns what workers share: makes it, runs the workers, ends them, and hears the two wishes that come from outside. */
#include "app/config_value.h"
#include "app/dev.h"
#include "app/library.h"
#include "app/server_impl.h"
#include "app/services.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "hub/crew.h"
#include "net/access.h"
#include "net/static.h"
#include <unistd.h>

enum { ASK_STOP = 1, ASK_RELOAD = 2, ASK_LEAVE = 4 };

static struct loop *main_loop(const struct server *s)
{
    return worker_loop(s->workers[0]);
}

/* ---- what all workers share ---- */

static int create_log(struct server *s, char **error)
{
    enum log_level level = LOG_LEVEL_INFO;
    const char *file = config_text(s->config, CONFIG_LOG_FILE);
    bool json = strcmp(config_text(s->config, CONFIG_LOG_FORMAT), "json") == 0;
    log_level_parse(slice_of(config_text(s->config, CONFIG_LOG_LEVEL)), &level);
    s->log = log_create(STDERR_FILENO, level, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    if (!s->log)
        return MT_ENOMEM;
    return file ? log_reopen(s->log, file, error) : 0;
}

static int open_folders(struct server *s, char **error)
{
    const char *library = config_text(s->config, CONFIG_LIBRARY), *folder = config_text(s->config, CONFIG_STATIC);
    if (library && access(library, R_OK | X_OK) != 0)
        return config_fail_folder(error, MT_ENOT_FOUND, CONFIG_LIBRARY, library);
    s->library = library ? mem_strdup(library, strlen(library)) : library_find();
    if (library && !s->library)
        return MT_ENOMEM;
    int rc = folder ? static_open(folder, &s->files) : 0;
    if (rc == 0 && s->files && config_bool(s->config, CONFIG_DEV))
        static_set_tag(s->files, DEV_TAG);
    return rc ? config_fail_folder(error, rc, CONFIG_STATIC, folder) : 0;
}

static int copy_pairs(struct server *s)
{
    size_t count = config_list_count(s->config, CONFIG_TLS);
    s->tls = count ? mem_zalloc(count, sizeof(*s->tls)) : NULL;
    if (count && !s->tls)
        return MT_ENOMEM;
    for (; s->tls_count < count; s->tls_count++) {
        struct slice chain, key;
        struct net_tls_file *t = &s->tls[s->tls_count];
        config_split_pair(config_list(s->config, CONFIG_TLS)[s->tls_count], &chain, &key);
        t->chain = mem_strdup(chain.data, chain.len);
        t->key = mem_strdup(key.data, key.len);
        if (!t->chain || !t->key) {
            s->tls_count++; /* for the release of what there is */
            return MT_ENOMEM;
        }
    }
    return 0;
}

static void free_pairs(struct server *s)
{
    for (size_t i = 0; i < s->tls_count; i++) {
        mem_free((char *)s->tls[i].chain);
        mem_free((char *)s->tls[i].key);
    }
    mem_free(s->tls);
}

static int create_shared(struct server *s, const struct server_options *o, char **error)
{
    size_t workers = config_number(s->config, CONFIG_WORKERS);
    s->script = mem_strdup(o->script, strlen(o->script));
    s->watchdog = script_watchdog_start();
    s->crew = hub_crew_create((unsigned)workers);
    if (!s->script || !s->watchdog || !s->crew)
        return MT_ENOMEM;
    int rc = open_folders(s, error);
    if (rc == 0)
        rc = services_open(s->config, s->log, o->check, &s->services, error);
    if (rc == 0)
        rc = copy_pairs(s);
    if (rc == 0)
        rc = config_access(s->config, &s->access, error);
    if (rc == 0 && !(s->net = net_shared_create(s->tls, s->tls_count, error)))
        rc = *error ? MT_ETLS : MT_ENOMEM;
    return rc;
}

static void destroy_shared(struct server *s)
{
    if (s->crew)
        hub_crew_destroy(s->crew);
    services_destroy(s->services);
    if (s->net)
        net_shared_destroy(s->net);
    access_unref(s->access);
    if (s->watchdog)
        script_watchdog_stop(s->watchdog);
    if (s->files)
        static_close(s->files);
    free_pairs(s);
    mem_free(s->library);
    mem_free(s->script);
}

/* ---- workers ---- */

/* Any thread. */
static void ask(struct server *s, unsigned what)
{
    atomic_fetch_or(&s->asks, what);
    loop_wake_send(s->wake);
}

/* The reload comes after the workers, and so do errors. */
static void on_script_error(void *arg, int worker, uint64_t generation, uint64_t events, uint64_t errors)
{
    struct server *s = arg;
    if (s->reload)
        reload_note_errors(s->reload, worker, generation, events, errors);
}

/* On any worker's thread. */
static void on_drained(void *arg)
{
    struct server *s = arg;
    if (atomic_fetch_sub(&s->working, 1) == 1)
        ask(s, ASK_LEAVE);
}

/* All of them load what the first one read. */
static int create_workers(struct server *s, const struct server_options *o, char **error)
{
    size_t count = config_number(s->config, CONFIG_WORKERS);
    int rc = 0;
    s->worker_config = (struct worker_config){
        .count = count,
        .log = s->log,
        .watchdog = s->watchdog,
        .files = s->files,
        .config = s->config,
        .net = s->net,
        .access = s->access,
        .crew = s->crew,
        .services = s->services,
        .script = s->script,
        .library = s->library,
        .modules = o->modules,
        .module_count = o->module_count,
        .on_error = on_script_error,
        .drained = on_drained,
        .arg = s,
    };
    if (!(s->workers = mem_zalloc(count, sizeof(*s->workers))))
        return MT_ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct sources *sources = i ? script_sources(worker_script(s->workers[0])) : NULL;
        rc = worker_create(&s->worker_config, (int)i + 1, sources, &s->workers[i], error);
        s->worker_count = s->workers[i] ? i + 1 : i;
    }
    return rc;
}

/* Their scripts may still say something to each other while they end, and the services still answer, so inboxes and loops go
 * last. */
static void destroy_workers(struct server *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        worker_end(s->workers[i]);
    services_stop(s->services); /* what is under way comes back into the inboxes */
    for (size_t i = 0; i < s->worker_count; i++)
        worker_destroy(s->workers[i]);
    mem_free(s->workers);
    s->workers = NULL;
    s->worker_count = 0;
}

/* ---- life ---- */

static void on_wake(void *arg);

static int create_reload(struct server *s)
{
    const struct reload_config c = {
        .workers = s->workers, .worker_config = &s->worker_config, .ended = server_reload_ended, .arg = s};
    if (!(s->reload = reload_create(&c)))
        return MT_ENOMEM;
    server_set_reload_limits(s);
    history_add_live(&s->history, reload_version(s->reload), reload_live_files(s->reload), clock_wall());
    server_tell_pages(s, NULL, false);
    return 0;
}

static int fill(struct server *s, const struct server_options *o, char **error)
{
    int rc = create_log(s, error);
    if (rc == 0)
        rc = create_shared(s, o, error);
    if (rc == 0)
        rc = create_workers(s, o, error);
    if (rc == 0)
        rc = create_reload(s);
    if (rc == 0 && !(s->wake = loop_wake_open(main_loop(s), on_wake, s)))
        rc = MT_ENOMEM;
    return rc == 0 ? server_open_watches(s) : rc;
}

int server_create(struct config *config, const struct server_options *o, struct server **out, char **error)
{
    struct server *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        config_destroy(config);
        return MT_ENOMEM;
    }
    s->config = config;
    s->started = clock_wall();
    atomic_init(&s->asks, 0);
    atomic_init(&s->working, 1);
    list_init(&s->tickets);
    list_init(&s->censuses);
    int rc = fill(s, o, error);
    if (rc) {
        server_destroy(s);
        return rc;
    }
    *out = s;
    return 0;
}

void server_destroy(struct server *s)
{
    if (!s)
        return;
    if (s->reload)
        reload_stop(s->reload);
    server_close_admin(s);
    watch_close(s->scripts);
    watch_close(s->certs);
    if (s->wake)
        loop_wake_close(s->wake);
    destroy_workers(s);
    reload_destroy(s->reload); /* a probe may have come to its end with worker 1's loop */
    destroy_shared(s);
    history_fini(&s->history);
    config_destroy(s->current);
    config_destroy(s->config);
    if (s->log)
        log_destroy(s->log);
    mem_free(s);
}

int server_listen(struct server *s, char **error)
{
    struct buf list = {0};
    for (size_t i = 0; i < s->worker_count; i++) {
        int rc = worker_listen(s->workers[i], error);
        if (rc)
            return rc;
    }
    for (size_t i = 0; server_address(s, i); i++)
        buf_addf(&list, "%s%s", i ? " " : "", server_address(s, i));
    int rc = server_open_admin(s, error);
    struct log_about about = {.version = slice_of(server_version(s))};
    if (rc == 0)
        log_info(s->log, &about, "serving %s at %.*s with %zu worker%s", s->script, (int)list.len, (char *)list.data,
                 s->worker_count, s->worker_count == 1 ? "" : "s");
    buf_fini(&list);
    return rc;
}

/* ---- running and stopping ---- */

/* Without its thread, connections that the system gives to a worker's listener would wait for ever. */
static void start_worker(struct server *s, size_t i)
{
    atomic_fetch_add(&s->working, 1);
    if (worker_start(s->workers[i]) == 0)
        return;
    atomic_fetch_sub(&s->working, 1);
    log_error(s->log, NULL, "worker %zu cannot be started: no thread to be had", i + 1);
    server_stop(s);
}

size_t server_run(struct server *s)
{
    for (size_t i = 1; i < s->worker_count; i++)
        start_worker(s, i);
    worker_run(s->workers[0]);
    for (size_t i = 1; i < s->worker_count; i++)
        worker_join(s->workers[i]);
    size_t left = net_shared_count(s->net);
    if (left)
        log_warn(s->log, NULL, "stopped: %zu did not go within shutdown.timeout and are cut", left);
    else
        log_info(s->log, NULL, "stopped");
    return left;
}

static void drain_worker(struct worker *w, void *arg)
{
    uint64_t *ms = arg;
    if (w)
        worker_drain(w, *ms);
    mem_free(ms);
}

static void post_drain(struct worker *w, uint64_t ms)
{
    uint64_t *copy = mem_alloc(sizeof(*copy));
    if (copy)
        *copy = ms;
    if (!copy || worker_post(w, drain_worker, copy) != 0)
        mem_free(copy);
}

static void stop_now(struct server *s)
{
    uint64_t ms = config_ms(server_settings(s), CONFIG_SHUTDOWN_TIMEOUT);
    s->stopping = true;
    reload_stop(s->reload);
    server_refuse_tickets(s);
    if (s->admin)
        admin_retire(s->admin);
    log_info(s->log, NULL, "stopping: %zu open", net_shared_count(s->net));
    for (size_t i = 1; i < s->worker_count; i++)
        post_drain(s->workers[i], ms);
    worker_drain(s->workers[0], ms);
}

static void on_wake(void *arg)
{
    struct server *s = arg;
    unsigned asks = atomic_exchange(&s->asks, 0);
    for (size_t i = 0; (asks & ASK_LEAVE) && i < s->worker_count; i++)
        worker_leave(s->workers[i]);
    if (s->stopping)
        return;
    if (asks & ASK_STOP) {
        stop_now(s);
    } else if (asks & ASK_RELOAD) {
        server_renew(s, NULL);
        reload_files(s->reload);
    }
}

void server_stop(struct server *s)
{
    ask(s, ASK_STOP);
}

void server_reload(struct server *s)
{
    ask(s, ASK_RELOAD);
}

const char *server_address(const struct server *s, size_t i)
{
    return net_address(worker_net(s->workers[0]), i);
}

struct loop *server_loop(const struct server *s)
{
    return main_loop(s);
}

const char *server_version(const struct server *s)
{
    return reload_version(s->reload);
}
