/* server_admin.c - answers on the control socket: what can be told at once, and what has to wait for other workers or for the end
 * of a reload.
 */
#include "app/control.h"
#include "app/report.h"
#include "app/server_impl.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Milliseconds for workers that are asked for their numbers. While the server stops some of them have left already. */
enum { PATIENCE_MS = 2000, STOPPING_MS = 100 };

/* Who waits for the end of a reload or rollback. */
struct ticket {
    struct list_node node; /* in server->tickets */
    uint64_t number;       /* for admin_answer */
    enum reload_kind kind;
    uint64_t wish;  /* as reload.c counts them */
    struct buf why; /* what failed besides the script */
};

static void answer(struct server *s, uint64_t ticket, int rc, struct buf *out)
{
    admin_answer(s->admin, ticket, rc == 0 ? buf_slice(out) : SLICE("{\"ok\":false,\"error\":\"out of memory\"}"));
    buf_fini(out);
}

static void refuse(struct server *s, uint64_t ticket, struct slice why)
{
    struct buf out = {0};
    answer(s, ticket, report_failure(server_version(s), why, &out), &out);
}

/* ---- status: every worker adds its part on its own thread, worker 1 puts them together ---- */

struct census {
    struct list_node node; /* in server->censuses */
    struct server *server;
    uint64_t ticket;
    size_t missing; /* workers that have not answered */
    bool told;      /* the answer went out */
    struct worker_stats stats;
    struct buf old; /* of the versions that are not live but still there */
    struct loop_timer patience;
};

/* One worker's part, on its way there and back. */
struct count {
    struct census *census;
    struct worker_stats stats;
    struct buf old;
};

static void free_census(struct census *c)
{
    loop_timer_stop(server_loop(c->server), &c->patience);
    list_remove(&c->node);
    buf_fini(&c->old);
    mem_free(c);
}

static void tell_status(struct census *c)
{
    struct server *s = c->server;
    const char *addresses[64] = {NULL};
    char *path = realpath(s->script, NULL);
    struct buf out = {0};
    struct report r = {.script = path ? path : s->script,
                       .addresses = addresses,
                       .now = clock_wall(),
                       .started = s->started,
                       .workers = s->worker_count,
                       .silent = c->missing,
                       .stopping = s->stopping,
                       .reloads = s->reloads,
                       .reloads_failed = s->reloads_failed,
                       .rollbacks = s->rollbacks,
                       .last_pause = s->last_pause,
                       .fallback = script_fallback(worker_script(s->workers[0])),
                       .old = buf_slice(&c->old),
                       .stats = c->stats,
                       .history = &s->history};
    services_count(s->services, &r.services);
    for (size_t i = 0; i + 1 < sizeof(addresses) / sizeof(*addresses) && (addresses[i] = server_address(s, i)); i++)
        ;
    c->told = true;
    answer(s, c->ticket, report_status(&r, &out), &out);
    free(path);
}

static void on_impatient(struct loop_timer *t)
{
    tell_status(list_entry(t, struct census, patience));
}

static void add_count(struct census *c, const struct count *one)
{
    worker_stats_add(&c->stats, &one->stats);
    if (one->old.len && (c->old.len == 0 || buf_add_byte(&c->old, ',') == 0))
        buf_add(&c->old, one->old.data, one->old.len);
}

/* On worker 1's thread. */
static void on_counted(struct worker *w, void *arg)
{
    struct count *one = arg;
    struct census *c = one->census;
    if (w) {
        if (!c->told)
            add_count(c, one);
        if (--c->missing == 0) {
            if (!c->told)
                tell_status(c);
            free_census(c);
        }
    }
    buf_fini(&one->old);
    mem_free(one);
}

/* On the worker's thread. */
static void count_worker(struct worker *w, void *arg)
{
    struct count *one = arg;
    if (w) {
        worker_add_stats(w, &one->stats);
        report_old_versions(worker_script(w), worker_number(w), &one->old);
    }
    if (!w || worker_post(one->census->server->workers[0], on_counted, one) != 0) {
        buf_fini(&one->old);
        mem_free(one);
    }
}

static void ask_status(struct server *s, uint64_t ticket)
{
    struct census *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        refuse(s, ticket, SLICE("out of memory"));
        return;
    }
    c->server = s;
    c->ticket = ticket;
    loop_timer_init(&c->patience, on_impatient);
    list_add_tail(&s->censuses, &c->node);
    for (size_t i = 0; i < s->worker_count; i++) {
        struct count *one = mem_zalloc(1, sizeof(*one));
        if (one)
            one->census = c;
        if (one && worker_post(s->workers[i], count_worker, one) == 0)
            c->missing++;
        else
            mem_free(one);
    }
    loop_timer_start(server_loop(s), &c->patience, s->stopping ? STOPPING_MS : PATIENCE_MS);
}

/* ---- reload, rollback ---- */

static struct ticket *add_ticket(struct server *s, uint64_t number, enum reload_kind kind)
{
    struct ticket *t = mem_zalloc(1, sizeof(*t));
    if (!t) {
        refuse(s, number, SLICE("out of memory"));
        return NULL;
    }
    t->number = number;
    t->kind = kind;
    t->wish = UINT64_MAX; /* until it is known: the run may end while it is being asked for */
    list_add_tail(&s->tickets, &t->node);
    return t;
}

static void drop_ticket(struct ticket *t)
{
    list_remove(&t->node);
    buf_fini(&t->why);
    mem_free(t);
}

static void answer_ticket(struct server *s, struct ticket *t, const struct reload_end *e)
{
    struct buf out = {0};
    int rc;
    if (e->rc)
        buf_addf(&t->why, "%s%s, version %s goes on: %s", t->why.len ? "\n" : "",
                 e->kind == RELOAD_FILES ? "the script was not reloaded" : "there was no rollback", e->before, e->why);
    if (t->why.len)
        rc = report_failure(server_version(s), buf_slice(&t->why), &out);
    else
        rc = report_reloaded(e->version, e->changed, &out);
    answer(s, t->number, rc, &out);
}

void server_answer_reload(struct server *s, const struct reload_end *e)
{
    list_each_safe(node, next, &s->tickets)
    {
        struct ticket *t = list_entry(node, struct ticket, node);
        if (t->kind == e->kind && t->wish <= e->wish) {
            answer_ticket(s, t, e);
            drop_ticket(t);
        }
    }
}

static void ask_reload(struct server *s, uint64_t number)
{
    struct ticket *t = add_ticket(s, number, RELOAD_FILES);
    if (!t)
        return;
    server_renew(s, &t->why);
    t->wish = reload_next_wish(s->reload);
    reload_files(s->reload);
}

static void ask_rollback(struct server *s, uint64_t number)
{
    struct ticket *t = add_ticket(s, number, RELOAD_ROLLBACK);
    if (!t)
        return;
    t->wish = reload_next_wish(s->reload);
    reload_rollback(s->reload);
}

void server_refuse_tickets(struct server *s)
{
    while (!list_empty(&s->tickets)) {
        struct ticket *t = list_entry(s->tickets.next, struct ticket, node);
        refuse(s, t->number, SLICE("the server is stopping"));
        drop_ticket(t);
    }
}

/* ---- the socket ---- */

static void on_admin(void *arg, uint64_t ticket, struct slice word)
{
    struct server *s = arg;
    struct buf out = {0};
    bool changes = slice_is(word, SLICE("reload")) || slice_is(word, SLICE("rollback"));
    if (slice_is(word, SLICE("status")))
        ask_status(s, ticket);
    else if (slice_is(word, SLICE("versions")))
        answer(s, ticket, report_versions(&s->history, &out), &out);
    else if (changes && s->stopping)
        refuse(s, ticket, SLICE("the server is stopping"));
    else if (changes && slice_is(word, SLICE("reload")))
        ask_reload(s, ticket);
    else if (changes)
        ask_rollback(s, ticket);
    else
        answer(s, ticket, report_failure(NULL, SLICE("unknown request; there are status, versions, reload and rollback"), &out),
               &out);
}

/* "moontide-8765.sock", by the first address that has a port. */
static int control_name(const struct server *s, struct buf *out)
{
    const char *port = NULL, *address;
    for (size_t i = 0; !port && (address = server_address(s, i)); i++)
        if (!strstr(address, "unix:"))
            port = strrchr(address, ':') + 1;
    int rc = port ? buf_addf(out, "moontide-%s.sock", port) : buf_addf(out, "moontide-%ld.sock", (long)getpid());
    return rc ? rc : buf_add_byte(out, '\0');
}

/* Where nobody chose the path and there is no good folder, a server without control is better than none. */
int server_open_admin(struct server *s, char **error)
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
        rc = admin_open(server_loop(s), chosen ? chosen : (char *)path.data, on_admin, s, &s->admin, error);
    }
    mem_free(why);
    buf_fini(&name);
    buf_fini(&path);
    return rc;
}

void server_close_admin(struct server *s)
{
    while (!list_empty(&s->tickets))
        drop_ticket(list_entry(s->tickets.next, struct ticket, node));
    while (!list_empty(&s->censuses))
        free_census(list_entry(s->censuses.next, struct census, node));
    admin_close(s->admin);
}
