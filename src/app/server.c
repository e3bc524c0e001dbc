/* server.c - owns what workers share, and carries out the two wishes that come from outside: stop and reload. */
#include "app/server.h"

#include "app/admin.h"
#include "app/control.h"
#include "app/dev_report.h"
#include "app/library.h"
#include "app/report.h"
#include "app/watch.h"
#include "app/worker.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/static.h"
#include "store/memory.h"
#include "script/sources.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ASK_STOP = 1, ASK_RELOAD = 2 };
#define UPGRADE_SECONDS 0.25 /* of on_upgrade */

struct server {
    struct config *config;  /* as started: what only a restart can change is read here. Owned */
    struct config *current; /* as of the last reload, NULL before the first. Owned */
    struct log *log;
    struct watchdog *watchdog;
    struct static_root *files; /* NULL: none */
    char *script, *library;    /* owned */
    struct net_tls_file *tls;  /* owned, texts too */
    size_t tls_count;
    struct net_shared *net;      /* lent to every worker, as is the next */
    struct memory_store *memory;
    struct worker_config worker_config; /* lent to every worker */
    struct worker **workers;            /* owned */
    size_t worker_count;
    struct loop_wake *wake;           /* on worker 1's loop */
    atomic_uint asks;                 /* ASK_* that nobody has carried out yet */
    struct watch *scripts, *certs;    /* NULL where watching is off or impossible */
    struct admin *admin;              /* NULL when there is no control socket */
    struct history history;           /* of the script's versions */
    double started;                   /* unix seconds */
    uint64_t reloads, reloads_failed; /* of the script, over all workers */
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
    if (s->files && config_bool(s->config, CONFIG_DEV))
        static_set_tag(s->files, DEV_TAG);
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

static int create_shared(struct server *s, char **error)
{
    if (!(s->net = net_shared_create(s->tls, s->tls_count, error)))
        return *error ? MT_ETLS : MT_ENOMEM;
    s->memory = memory_store_create(SCRIPT_MEMORY_BYTES, clock_ms);
    return s->memory ? 0 : MT_ENOMEM;
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
        .net = s->net,
        .memory = s->memory,
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

/* Files that are not used any more stay watched; a reload too many changes nothing. */
static void watch_script(struct server *s)
{
    const char *const *more = sources_files(script_sources(main_script(s)), NULL);
    if (!s->scripts)
        return;
    for (const char *const *file = script_files(main_script(s)); *file; file++)
        if (watch_add(s->scripts, *file))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", *file);
    for (; *more; more++)
        watch_add(s->scripts, *more); /* among them are some that are not there, nor their folders */
}

/* Also the files of a version that failed: mending one of them, or writing the missing one, is a reason to try again. */
static void watch_failed(struct server *s, const struct script_failure *f)
{
    for (char **file = f->files; s->scripts && file && *file; file++)
        watch_add(s->scripts, *file);
}

static void watch_certs(struct server *s)
{
    for (size_t i = 0; s->certs && i < s->tls_count; i++)
        if (watch_add(s->certs, s->tls[i].chain) || watch_add(s->certs, s->tls[i].key))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", s->tls[i].chain);
}

/* ---- dev mode ---- */

static bool in_dev_mode(const struct server *s)
{
    return worker_dev(s->workers[0]) != NULL;
}

/* Takes what is in `json`, unless memory ran out for it (`rc`): then pages go on with what they know. */
static void tell_pages(struct server *s, int rc, struct buf *json)
{
    for (size_t i = 0; rc == 0 && i < s->worker_count; i++)
        rc = dev_tell(worker_dev(s->workers[i]), buf_slice(json));
    if (rc)
        log_warn(s->log, NULL, "the pages in dev mode were not told: %s", err_text(rc));
    buf_fini(json);
}

static void tell_live(struct server *s)
{
    struct buf json = {0};
    if (in_dev_mode(s))
        tell_pages(s, dev_report_live(server_version(s), &json), &json);
}

/* Tells the pages, and gives the text for the log with the lines of the source in it; `text` itself outside of dev mode and where
 * memory runs out. *keep holds it and is freed by the caller. */
static struct slice tell_failed(struct server *s, struct slice text, const char *const *files, struct buf *keep)
{
    const struct dev_failure f = {.text = text, .files = files, .script = s->script, .version = server_version(s)};
    struct buf json = {0};
    if (!in_dev_mode(s))
        return text;
    tell_pages(s, dev_report_failed(&f, &json), &json);
    return dev_report_text(&f, keep) == 0 ? buf_slice(keep) : text;
}

/* ---- reload ---- */

/* Logs what kept its old state, and adds it to *why unless that is NULL. */
static void report_kept(struct server *s, const struct log_about *about, struct buf *why, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void report_kept(struct server *s, const struct log_about *about, struct buf *why, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    int rc = buf_addv(&text, format, args);
    va_end(args);
    if (rc == 0) {
        log_error(s->log, about, "%.*s", (int)text.len, (char *)text.data);
        if (why)
            buf_addf(why, "%s%.*s", why->len ? "\n" : "", (int)text.len, (char *)text.data);
    }
    buf_fini(&text);
}

/* A version of which nothing could be read has no hash. */
static void note_failure(struct server *s, const struct script_failure *f, const char *why)
{
    s->reloads_failed++;
    history_add_failure(&s->history, strcmp(f->hash, "00000000") == 0 ? "" : f->hash, (const char *const *)f->files, why,
                        clock_wall());
}

static void note_live(struct server *s)
{
    history_add_live(&s->history, server_version(s), script_files(main_script(s)), clock_wall());
}

/* The reloads: what fails stays as it was, and is told in *why (NULL: in the log only). */

/* Every worker loads the version, or none switches. */
static int stage_all(struct server *s, struct sources *sources, char **error)
{
    int rc = 0;
    for (size_t i = 0; i < s->worker_count && rc == 0; i++)
        rc = script_prepare(worker_script(s->workers[i]), sources, error);
    for (size_t i = 0; i < s->worker_count && rc == 0; i++)
        rc = script_upgrade(worker_script(s->workers[i]), UPGRADE_SECONDS, error);
    for (size_t i = 0; i < s->worker_count && rc != 0; i++)
        script_abandon(worker_script(s->workers[i]));
    return rc;
}

static void switch_all(struct server *s)
{
    for (size_t i = 0; i < s->worker_count; i++) {
        struct script *script = worker_script(s->workers[i]);
        script_commit(script);
        script_settle(script);
        script_begin(script, "reload");
    }
}

static int try_reload(struct server *s, struct script_failure *f)
{
    struct script_config c;
    struct sources *sources;
    worker_script_config(s->workers[0], &c);
    int rc = script_probe(&c, &sources, f);
    if (rc)
        return rc;
    rc = stage_all(s, sources, &f->text);
    memcpy(f->hash, sources_hash(sources), sizeof(f->hash));
    sources_unref(sources);
    if (rc == 0)
        switch_all(s);
    return rc;
}

static int reload_script(struct server *s, struct buf *why)
{
    uint64_t start = clock_us();
    struct script_failure f;
    char before[16];
    snprintf(before, sizeof(before), "%s", server_version(s));
    int rc = try_reload(s, &f);
    struct log_about about = about_script(s);
    if (rc == 0) {
        s->reloads++;
        note_live(s);
        tell_live(s);
        log_info(s->log, &about, "reloaded %s in %.1f ms%s", s->script, (double)(clock_us() - start) / 1000,
                 strcmp(before, server_version(s)) == 0 ? ", nothing has changed" : "");
    } else {
        static const char *const none[] = {NULL};
        const char *plain = f.text ? f.text : err_text(rc);
        struct buf keep = {0};
        struct slice text = tell_failed(s, slice_of(plain), f.files ? (const char *const *)f.files : none, &keep);
        note_failure(s, &f, plain);
        report_kept(s, &about, why, "%s was not reloaded, version %s goes on: %.*s", s->script, server_version(s), (int)text.len,
                    text.data);
        buf_fini(&keep);
        watch_failed(s, &f);
    }
    script_failure_fini(&f);
    watch_script(s);
    return rc;
}

static int reload_certs(struct server *s, struct buf *why)
{
    char *error = NULL;
    if (s->tls_count == 0)
        return 0;
    int rc = net_shared_reload_tls(s->net, &error);
    if (rc == 0)
        log_info(s->log, NULL, "reloaded the certificates");
    else
        report_kept(s, NULL, why, "the certificates were not reloaded, the old ones go on: %s", error ? error : err_text(rc));
    mem_free(error);
    return rc;
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

static int reload_config(struct server *s, struct buf *why)
{
    struct config *fresh = NULL;
    char *error = NULL;
    if (!config_path(s->config))
        return 0; /* flags and environment cannot change */
    int rc = config_reload(s->config, &fresh, &error);
    if (rc == 0) {
        config_destroy(s->current);
        s->current = fresh;
        apply_config(s);
        log_info(s->log, NULL, "reloaded %s", config_path(fresh));
    } else {
        report_kept(s, NULL, why, "the settings were not reloaded, the old ones go on: %s", error ? error : err_text(rc));
    }
    mem_free(error);
    return rc;
}

/* All of it, each by itself. 0 or one of the failures. */
static int reload_all(struct server *s, struct buf *why)
{
    int config = reload_config(s, why), certs = reload_certs(s, why), script = reload_script(s, why);
    return config ? config : certs ? certs : script;
}

static void on_script_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        reload_script(s, NULL);
}

static void on_cert_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        reload_certs(s, NULL);
}

/* ---- wishes from other threads ---- */

static void stop_now(struct server *s)
{
    const struct config *c = s->current ? s->current : s->config;
    s->stopping = true;
    if (s->admin)
        admin_retire(s->admin);
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
        reload_all(s, NULL);
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

/* ---- the control socket ---- */

static int answer_status(struct server *s, struct buf *out)
{
    const char *addresses[64] = {NULL};
    char *path = realpath(s->script, NULL);
    struct report r = {.script = path ? path : s->script,
                       .addresses = addresses,
                       .now = clock_wall(),
                       .started = s->started,
                       .workers = s->worker_count,
                       .stopping = s->stopping,
                       .reloads = s->reloads,
                       .reloads_failed = s->reloads_failed,
                       .history = &s->history};
    for (size_t i = 0; i + 1 < sizeof(addresses) / sizeof(*addresses) && (addresses[i] = server_address(s, i)); i++)
        ;
    for (size_t i = 0; i < s->worker_count; i++)
        worker_add_stats(s->workers[i], &r.stats);
    int rc = report_status(&r, out);
    free(path);
    return rc;
}

static int answer_reload(struct server *s, struct buf *out)
{
    struct buf why = {0};
    char before[16];
    if (s->stopping)
        return report_failure(server_version(s), SLICE("the server is stopping"), out);
    snprintf(before, sizeof(before), "%s", server_version(s));
    int rc = reload_all(s, &why);
    if (rc)
        rc = report_failure(server_version(s), why.len ? buf_slice(&why) : slice_of(err_text(rc)), out);
    else
        rc = report_reloaded(server_version(s), strcmp(before, server_version(s)) != 0, out);
    buf_fini(&why);
    return rc;
}

static void on_admin(void *arg, uint64_t ticket, struct slice word)
{
    struct server *s = arg;
    struct buf out = {0};
    int rc;
    if (slice_is(word, SLICE("status")))
        rc = answer_status(s, &out);
    else if (slice_is(word, SLICE("versions")))
        rc = report_versions(&s->history, &out);
    else if (slice_is(word, SLICE("reload")))
        rc = answer_reload(s, &out);
    else
        rc = report_failure(NULL, SLICE("unknown request; there are status, versions and reload"), &out);
    admin_answer(s->admin, ticket, rc == 0 ? buf_slice(&out) : SLICE("{\"ok\":false,\"error\":\"out of memory\"}"));
    buf_fini(&out);
}

/* "moontide-8765.sock", by the first address that has a port. */
static int control_name(const struct server *s, struct buf *out)
{
    const char *port = NULL, *address;
    for (size_t i = 0; !port && (address = server_address(s, i)); i++)
        if (strncmp(address, "unix:", 5) != 0)
            port = strrchr(address, ':') + 1;
    int rc = port ? buf_addf(out, "moontide-%s.sock", port) : buf_addf(out, "moontide-%ld.sock", (long)getpid());
    return rc ? rc : buf_add_byte(out, '\0');
}

/* Where nobody chose the path and there is no good folder, a server without control is better than none. */
static int open_admin(struct server *s, char **error)
{
    const char *chosen = config_text(s->config, CONFIG_CONTROL_PATH);
    struct buf name = {0}, path = {0};
    char *why = NULL;
    int rc = 0;
    if (!config_bool(s->config, CONFIG_ADMIN))
        return 0;
    if (!chosen && (rc = control_name(s, &name)) == 0)
        rc = control_default_path((char *)name.data, &path, &why);
    if (rc == 0 && !chosen)
        rc = buf_add_byte(&path, '\0');
    if (rc == MT_EDENIED) {
        log_warn(s->log, NULL, "no control socket: %s; control.path sets another place, admin = false asks for none",
                 why ? why : "");
        rc = 0;
    } else if (rc == 0) {
        rc = admin_open(main_loop(s), chosen ? chosen : (char *)path.data, on_admin, s, &s->admin, error);
    }
    mem_free(why);
    buf_fini(&name);
    buf_fini(&path);
    return rc;
}

/* ---- life ---- */

static int open_watches(struct server *s)
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
        rc = create_shared(s, error);
    if (rc == 0)
        rc = create_workers(s, o, error);
    if (rc)
        return rc;
    note_live(s);
    tell_live(s);
    return open_watches(s);
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
    admin_close(s->admin);
    watch_close(s->scripts);
    watch_close(s->certs);
    if (s->wake)
        loop_wake_close(s->wake);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_destroy(s->workers[i]);
    mem_free(s->workers);
    net_shared_destroy(s->net);
    memory_store_destroy(s->memory);
    if (s->watchdog)
        script_watchdog_stop(s->watchdog);
    if (s->files)
        static_close(s->files);
    free_pairs(s);
    mem_free(s->library);
    mem_free(s->script);
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
    int rc = open_admin(s, error);
    struct log_about about = about_script(s);
    if (rc == 0)
        log_info(s->log, &about, "serving %s at %.*s", s->script, (int)list.len, (char *)list.data);
    buf_fini(&list);
    return rc;
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
