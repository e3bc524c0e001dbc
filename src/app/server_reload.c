/* server_reload.c - what changes while the server runs: settings, certificates and the log file here, the script by reload.c. Each
 * is checked first, and stays as it was where the new one has an error.
 */
#include "app/dev.h"
#include "app/dev_report.h"
#include "app/server_impl.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/access.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Logs what kept its old state, and adds it to *why unless that is NULL. */
static void report_kept(struct server *s, struct buf *why, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void report_kept(struct server *s, struct buf *why, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    int rc = buf_addv(&text, format, args);
    va_end(args);
    if (rc == 0) {
        log_error(s->log, NULL, "%.*s", (int)text.len, (char *)text.data);
        if (why)
            buf_addf(why, "%s%.*s", why->len ? "\n" : "", (int)text.len, (char *)text.data);
    }
    buf_fini(&text);
}

/* What root could read at the start, the user that it has become perhaps cannot. */
static const char *hint(const struct server *s, const char *error)
{
    bool denied = s->user.drop && error && strstr(error, strerror(EACCES));
    return denied ? " (this is not root any more: its user must be able to open it)" : "";
}

/* ---- settings ---- */

void server_set_reload_limits(struct server *s)
{
    const struct config *c = server_settings(s);
    reload_set_limits(s->reload, &(struct reload_limits){
                                     .pause = config_seconds(c, CONFIG_RELOAD_PAUSE),
                                     .probation = config_seconds(c, CONFIG_RELOAD_PROBATION),
                                     /* a handler that runs may take its time before, and chunks have a bound each */
                                     .prepare = config_seconds(s->config, CONFIG_SCRIPT_TIME) * 2 +
                                                config_seconds(s->config, CONFIG_RELOAD_TIMEOUT) * 4 + 1,
                                     .errors = config_number(c, CONFIG_RELOAD_ERRORS),
                                 });
}

static void set_limits(struct worker *w, void *arg)
{
    if (w)
        worker_set_limits(w, arg);
    mem_free(arg);
}

static void post_limits(struct worker *w, const struct worker_limits *limits)
{
    struct worker_limits *copy = mem_alloc(sizeof(*copy));
    if (copy)
        *copy = *limits;
    if (!copy || worker_post(w, set_limits, copy) != 0)
        mem_free(copy);
}

static void set_access(struct worker *w, void *arg)
{
    if (w)
        net_set_access(worker_net(w), arg);
    access_unref(arg);
}

/* Somebody who was banned would go on there, so it is told. */
static void post_access(struct server *s, size_t i, struct access *a)
{
    if (worker_post(s->workers[i], set_access, access_ref(a)) == 0)
        return;
    access_unref(a);
    log_error(s->log, NULL, "worker %zu goes on with the old allow, deny, proxies and origins: out of memory", i + 1);
}

static void apply_config(struct server *s, struct access *access)
{
    enum log_level level;
    struct worker_limits limits;
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (!config_keys[id].live && !config_equal(s->current, s->config, (enum config_id)id))
            log_warn(s->log, NULL, "%s has changed, which needs a restart: the server goes on with the old value",
                     config_keys[id].name);
    if (log_level_parse(slice_of(config_text(s->current, CONFIG_LOG_LEVEL)), &level))
        log_set_level(s->log, level);
    server_set_reload_limits(s);
    worker_read_limits(s->current, &limits.net);
    worker_read_user_limits(s->current, &limits.users);
    limits.expired_code = (unsigned)config_number(s->current, CONFIG_AUTH_EXPIRED);
    for (size_t i = 0; i < s->worker_count; i++) {
        post_limits(s->workers[i], &limits);
        post_access(s, i, access);
    }
}

static int renew_config(struct server *s, struct buf *why)
{
    struct config *fresh = NULL;
    struct access *access = NULL;
    char *error = NULL;
    if (!config_path(s->config))
        return 0; /* flags and environment cannot change */
    int rc = config_reload(s->config, &fresh, &error);
    if (rc == 0 && (rc = config_access(fresh, &access, &error)) != 0)
        config_destroy(fresh);
    if (rc == 0) {
        config_destroy(s->current);
        s->current = fresh;
        apply_config(s, access);
        log_info(s->log, NULL, "reloaded %s", config_path(fresh));
    } else {
        report_kept(s, why, "the settings were not reloaded, the old ones go on: %s%s", error ? error : err_text(rc),
                    hint(s, error));
    }
    access_unref(access);
    mem_free(error);
    return rc;
}

/* ---- certificates, log file ---- */

static int renew_certs(struct server *s, struct buf *why)
{
    char *error = NULL;
    if (s->tls_count == 0)
        return 0;
    int rc = net_shared_reload_tls(s->net, &error);
    if (rc == 0)
        log_info(s->log, NULL, "reloaded the certificates");
    else
        report_kept(s, why, "the certificates were not reloaded, the old ones go on: %s%s", error ? error : err_text(rc),
                    hint(s, error));
    mem_free(error);
    return rc;
}

static int renew_log(struct server *s, struct buf *why)
{
    const char *file = config_text(s->config, CONFIG_LOG_FILE);
    char *error = NULL;
    if (!file)
        return 0;
    int rc = log_reopen(s->log, file, &error);
    if (rc)
        report_kept(s, why, "the log file was not opened again, the old one goes on: %s%s", error ? error : err_text(rc),
                    hint(s, error));
    mem_free(error);
    return rc;
}

int server_renew(struct server *s, struct buf *why)
{
    int log = renew_log(s, why), config = renew_config(s, why), certs = renew_certs(s, why);
    return log ? log : config ? config : certs;
}

/* ---- files ---- */

static void on_script_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        reload_files(s->reload);
}

static void on_cert_saved(void *arg)
{
    struct server *s = arg;
    if (!s->stopping)
        renew_certs(s, NULL);
}

/* Also the files of a version that failed: mending one of them, or writing the missing one, is a reason to try again. Files that
 * are not used any more stay watched; a reload too many changes nothing. */
static void watch_script(struct server *s)
{
    if (!s->scripts)
        return;
    for (const char *const *file = reload_live_files(s->reload); *file; file++)
        if (watch_add(s->scripts, *file))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", *file);
    for (const char *const *file = reload_failed_files(s->reload); *file; file++)
        watch_add(s->scripts, *file); /* its folder may be missing too */
}

/* A save between the reading and the watching has told nobody. */
static void catch_up(struct server *s)
{
    if (s->scripts && reload_is_outdated(s->reload))
        reload_files(s->reload);
}

static void watch_certs(struct server *s)
{
    for (size_t i = 0; s->certs && i < s->tls_count; i++)
        if (watch_add(s->certs, s->tls[i].chain) || watch_add(s->certs, s->tls[i].key))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", s->tls[i].chain);
    static const enum config_id others[] = {CONFIG_TLS_CA, CONFIG_TLS_CRL};
    for (size_t i = 0; s->certs && i < sizeof(others) / sizeof(*others); i++) {
        const char *file = config_text(s->config, others[i]);
        if (file && watch_add(s->certs, file))
            log_warn(s->log, NULL, "cannot watch %s: saving it will not reload", file);
    }
}

int server_open_watches(struct server *s)
{
    if (!config_bool(s->config, CONFIG_WATCH))
        return 0;
    s->scripts = watch_open(server_loop(s), on_script_saved, s);
    s->certs = s->tls_count ? watch_open(server_loop(s), on_cert_saved, s) : NULL;
    if (!s->scripts || (s->tls_count && !s->certs))
        log_warn(s->log, NULL, "cannot watch files: saving them will not reload");
    watch_script(s);
    watch_certs(s);
    catch_up(s);
    return 0;
}

/* ---- dev mode ---- */

static bool in_dev_mode(const struct server *s)
{
    return worker_dev(s->workers[0]) != NULL;
}

static struct dev_failure describe(struct server *s, const char *text, bool rolled_back)
{
    return (struct dev_failure){.text = slice_of(text),
                                .files = rolled_back ? reload_live_files(s->reload) : reload_failed_files(s->reload),
                                .script = s->script,
                                .version = server_version(s),
                                .rolled_back = rolled_back};
}

void server_tell_pages(struct server *s, const char *text, bool rolled_back)
{
    struct buf json = {0};
    if (!in_dev_mode(s))
        return;
    struct dev_failure f = text ? describe(s, text, rolled_back) : (struct dev_failure){0};
    int rc = text ? dev_report_failed(&f, &json) : dev_report_live(server_version(s), &json);
    for (size_t i = 0; rc == 0 && i < s->worker_count; i++)
        rc = dev_tell(worker_dev(s->workers[i]), buf_slice(&json));
    if (rc)
        log_warn(s->log, NULL, "the pages in dev mode were not told: %s", err_text(rc));
    buf_fini(&json);
}

/* The text of a failure for the log: in dev mode with the lines of the source, in `keep`. */
static struct slice failure_text(struct server *s, const char *text, struct buf *keep)
{
    struct dev_failure f = describe(s, text, false);
    return in_dev_mode(s) && dev_report_text(&f, keep) == 0 ? buf_slice(keep) : f.text;
}

/* ---- versions ---- */

/* A version of which nothing could be read has no hash. */
static void note_failure(struct server *s, const struct reload_end *e)
{
    bool unread = e->version[0] == '\0' || strcmp(e->version, "00000000") == 0;
    s->reloads_failed++;
    history_add_failure(&s->history, unread ? "" : e->version, reload_failed_files(s->reload), e->why, clock_wall());
    if (e->kind == RELOAD_FILES) {
        struct buf keep = {0};
        struct slice text = failure_text(s, e->why, &keep);
        log_error(s->log, &(struct log_about){.version = slice_of(e->before)}, "%s was not reloaded, version %s goes on: %.*s",
                  s->script, e->before, (int)text.len, text.data);
        buf_fini(&keep);
        server_tell_pages(s, e->why, false);
    } else {
        log_error(s->log, &(struct log_about){.version = slice_of(e->before)}, "there was no rollback, version %s goes on: %s", e->before,
                  e->why);
    }
}

static void note_reload(struct server *s, const struct reload_end *e)
{
    s->reloads++;
    history_add_live(&s->history, e->version, reload_live_files(s->reload), clock_wall());
    log_info(s->log, &(struct log_about){.version = slice_of(e->version)}, "reloaded %s in %.1f ms, pause %.2f ms%s", s->script,
             e->seconds * 1e3, e->pause * 1e3, e->changed ? "" : ", nothing has changed");
    server_tell_pages(s, NULL, false);
}

static void note_rollback(struct server *s, const struct reload_end *e)
{
    s->rollbacks++;
    history_add_rollback(&s->history, e->version, reload_live_files(s->reload), e->why ? e->why : "by hand", clock_wall());
    log_warn(s->log, &(struct log_about){.version = slice_of(e->version)},
             "rolled back from version %s to %s in %.1f ms, pause %.2f ms: %s", e->before, e->version, e->seconds * 1e3,
             e->pause * 1e3, e->why ? e->why : "by hand");
    server_tell_pages(s, e->why ? e->why : "rolled back by hand", true);
}

void server_reload_ended(void *arg, const struct reload_end *e)
{
    struct server *s = arg;
    if (e->rc)
        note_failure(s, e);
    else if (e->kind == RELOAD_FILES)
        note_reload(s, e);
    else
        note_rollback(s, e);
    if (e->rc == 0)
        s->last_pause = e->pause;
    watch_script(s);
    if (e->rc == 0 && e->kind == RELOAD_FILES && e->changed) /* once is enough: the files are watched from now on */
        catch_up(s);
    server_answer_reload(s, e);
}
