/* server.c - owns what workers share, and carries out the two wishes that come from outside: stop and reload. */
#include "app/server.h"

#include "app/library.h"
#include "app/watch.h"
#include "app/worker.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/static.h"
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { ASK_STOP = 1, ASK_RELOAD = 2 };

struct server {
    struct config *config;  /* as started: what only a restart can change is read here. Owned */
    struct config *current; /* as of the last reload, NULL before the first. Owned */
    struct log *log;
    struct watchdog *watchdog;
    struct static_root *files; /* NULL: none */
    char *script, *library;    /* owned */
    struct net_tls_file *tls;  /* owned, texts too */
    size_t tls_count;
    struct worker_config worker_config; /* lent to every worker */
    struct worker **workers;            /* owned */
    size_t worker_count;
    struct loop_wake *wake;        /* on worker 1's loop */
    atomic_uint asks;              /* ASK_* that nobody has carried out yet */
    struct watch *scripts, *certs; /* NULL where watching is off or impossible */
    bool stopping;
};

static struct loop *main_loop(const struct server *s)
{
    return worker_loop(s->workers[0]);
}

static struct script *main_script(const struct server *s)
{
    return worker_script(s->workers[0]);
}

static struct log_about about_script(const struct server *s)
{
    return (struct log_about){.version = slice_of(server_version(s))};
}

/* A sentence for a folder that a setting names. */
static int fail_folder(enum config_id id, const char *value, int rc, char **error)
{
    struct buf text = {0};
    if (buf_addf(&text, "%s = \"%s\": %s", config_keys[id].name, value, rc == MT_ENOT_FOUND ? "no such folder" : err_text(rc)) ==
        0)
        *error = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    return rc;
}

static int create_log(struct server *s)
{
    enum log_level level = LOG_LEVEL_INFO;
    bool json = strcmp(config_text(s->config, CONFIG_LOG_FORMAT), "json") == 0;
    log_level_parse(slice_of(config_text(s->config, CONFIG_LOG_LEVEL)), &level);
    s->log = log_create(STDERR_FILENO, level, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    return s->log ? 0 : MT_ENOMEM;
}

static int open_folders(struct server *s, char **error)
{
    const char *library = config_text(s->config, CONFIG_LIBRARY), *folder = config_text(s->config, CONFIG_STATIC);
    if (library && access(library, R_OK | X_OK) != 0)
        return fail_folder(CONFIG_LIBRARY, library, MT_ENOT_FOUND, error);
    s->library = library ? mem_strdup(library, strlen(library)) : library_find();
    if (library && !s->library)
        return MT_ENOMEM;
    int rc = folder ? static_open(folder, &s->files) : 0;
    return rc ? fail_folder(CONFIG_STATIC, folder, rc, error) : 0;
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

static int create_workers(struct server *s, const struct server_options *o, char **error)
{
    size_t count = config_number(s->config, CONFIG_WORKERS);
    s->worker_config = (struct worker_config){
        .number = 1,
        .log = s->log,
        .watchdog = s->watchdog,
        .files = s->files,
        .config = s->config,
        .tls = s->tls,
        .tls_count = s->tls_count,
        .script = s->script,
        .library = s->library,
        .modules = o->modules,
        .module_count = o->module_count,
    };
    if (!(s->workers = mem_zalloc(count, sizeof(*s->workers))))
        return MT_ENOMEM;
    for (; s->worker_count < count; s->worker_count++) {
        int rc = worker_create(&s->worker_config, &s->workers[s->worker_count], error);
        if (rc)
            return rc;
    }
    return 0;
}

/* Also the files of a version that failed: mending one of them, or writing the missing one, is a reason to try again. Files that
 * are not used any more stay watched; a reload too many changes nothing. */
static void watch_script(struct server *s)
{
    if (!s->scripts)
        return;
    for (const char *const *file = script_files(main_script(s)); *file; file++)
        if (watch_add(s->scripts, *file))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", *file);
    for (const char *const *file = script_failed_files(main_script(s)); *file; file++)
        watch_add(s->scripts, *file); /* its folder may be missing too */
}

static void watch_certs(struct server *s)
{
    for (size_t i = 0; s->certs && i < s->tls_count; i++)
        if (watch_add(s->certs, s->tls[i].chain) || watch_add(s->certs, s->tls[i].key))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", s->tls[i].chain);
}

/* ---- reload ---- */

static void reload_script(struct server *s)
{
    uint64_t start = clock_us();
    char *error = NULL, before[16];
    int rc = 0;
    snprintf(before, sizeof(before), "%s", server_version(s));
    for (size_t i = 0; i < s->worker_count && rc == 0; i++)
        rc = script_reload(worker_script(s->workers[i]), &error);
    struct log_about about = about_script(s);
    if (rc == 0)
        log_info(s->log, &about, "reloaded %s in %.1f ms%s", s->script, (double)(clock_us() - start) / 1000,
                 strcmp(before, server_version(s)) == 0 ? ", nothing has changed" : "");
    else
        log_error(s->log, &about, "%s was not reloaded, version %s goes on: %s", s->script, server_version(s),
                  error ? error : err_text(rc));
    mem_free(error);
    watch_script(s);
}

static void reload_certs(struct server *s)
{
    char *error = NULL;
    int rc = 0;
    if (s->tls_count == 0)
        return;
    for (size_t i = 0; i < s->worker_count && rc == 0; i++)
        rc = net_reload_tls(worker_net(s->workers[i]), &error);
    if (rc == 0)
        log_info(s->log, NULL, "reloaded the certificates");
    else
        log_error(s->log, NULL, "the certificates were not reloaded, the old ones go on: %s", error ? error : err_text(rc));
    mem_free(error);
}

static void apply_config(struct server *s)
{
    enum log_level level;
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (!config_keys[id].live && !config_equal(s->current, s->config, (enum config_id)id))
            log_warn(s->log, NULL, "%s has changed, which needs a restart: the server goes on with the old value",
                     config_keys[id].name);
    if (log_level_parse(slice_of(config_text(s->current, CONFIG_LOG_LEVEL)), &level))
        log_set_level(s->log, level);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_set_limits(s->workers[i], s->current);
}

static void reload_config(struct server *s)
{
    struct config *fresh = NULL;
    char *error = NULL;
    if (!config_path(s->config))
        return; /* flags and environment cannot change */
    int rc = config_reload(s->config, &fresh, &error);
    if (rc == 0) {
        config_destroy(s->current);
        s->current = fresh;
        apply_config(s);
        log_info(s->log, NULL, "reloaded %s", config_path(fresh));
    } else {
        log_error(s->log, NULL, "the settings were not reloaded, the old ones go on: %s", error ? error : err_text(rc));
    }
    mem_free(error);
}

static void on_script_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        reload_script(s);
}

static void on_cert_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        reload_certs(s);
}

/* ---- wishes from other threads ---- */

static void stop_now(struct server *s)
{
    const struct config *c = s->current ? s->current : s->config;
    s->stopping = true;
    log_info(s->log, NULL, "stopping: %zu open", net_count(worker_net(s->workers[0])));
    for (size_t i = 0; i < s->worker_count; i++)
        worker_drain(s->workers[i], config_ms(c, CONFIG_SHUTDOWN_TIMEOUT));
}

static void on_wake(void *arg)
{
    struct server *s = arg;
    unsigned asks = atomic_exchange(&s->asks, 0);
    if (s->stopping)
        return;
    if (asks & ASK_STOP) {
        stop_now(s);
    } else if (asks & ASK_RELOAD) {
        reload_config(s);
        reload_certs(s);
        reload_script(s);
    }
}

static void ask(struct server *s, unsigned what)
{
    atomic_fetch_or(&s->asks, what);
    loop_wake_send(s->wake);
}

void server_stop(struct server *s)
{
    ask(s, ASK_STOP);
}

void server_reload(struct server *s)
{
    ask(s, ASK_RELOAD);
}

/* ---- life ---- */

static int open_control(struct server *s)
{
    if (!(s->wake = loop_wake_open(main_loop(s), on_wake, s)))
        return MT_ENOMEM;
    if (!config_bool(s->config, CONFIG_WATCH))
        return 0;
    s->scripts = watch_open(main_loop(s), on_script_saved, s);
    s->certs = s->tls_count ? watch_open(main_loop(s), on_cert_saved, s) : NULL;
    if (!s->scripts || (s->tls_count && !s->certs))
        log_warn(s->log, NULL, "cannot watch files: saving them will not reload");
    watch_script(s);
    watch_certs(s);
    return 0;
}

static int fill(struct server *s, const struct server_options *o, char **error)
{
    int rc = create_log(s);
    if (rc == 0 && (!(s->script = mem_strdup(o->script, strlen(o->script))) || !(s->watchdog = script_watchdog_start())))
        rc = MT_ENOMEM;
    if (rc == 0)
        rc = open_folders(s, error);
    if (rc == 0)
        rc = copy_pairs(s);
    if (rc == 0)
        rc = create_workers(s, o, error);
    return rc == 0 ? open_control(s) : rc;
}

int server_create(struct config *config, const struct server_options *o, struct server **out, char **error)
{
    struct server *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        config_destroy(config);
        return MT_ENOMEM;
    }
    s->config = config;
    atomic_init(&s->asks, 0);
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
    watch_close(s->scripts);
    watch_close(s->certs);
    if (s->wake)
        loop_wake_close(s->wake);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_destroy(s->workers[i]);
    mem_free(s->workers);
    if (s->watchdog)
        script_watchdog_stop(s->watchdog);
    if (s->files)
        static_close(s->files);
    free_pairs(s);
    mem_free(s->library);
    mem_free(s->script);
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
    struct log_about about = about_script(s);
    log_info(s->log, &about, "serving %s at %.*s", s->script, (int)list.len, (char *)list.data);
    buf_fini(&list);
    return 0;
}

size_t server_run(struct server *s)
{
    worker_run(s->workers[0]);
    size_t left = net_count(worker_net(s->workers[0]));
    if (left)
        log_warn(s->log, NULL, "stopped: %zu did not go within shutdown.timeout and are cut", left);
    else
        log_info(s->log, NULL, "stopped");
    return left;
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
    return script_version(main_script(s));
}
