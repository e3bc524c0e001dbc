/* report.c - the answers of the control socket. Names are read by programs: add, but never rename. */
#include "app/report.h"

#include "base/text.h"
#include <inttypes.h>
#include <unistd.h>

enum {
    FILES_MAX = 200,        /* names of one version; its count is always whole */
    FAILURE_MAX = 16 * 1024 /* bytes of a failure's text */
};

static int put_text(struct buf *out, const char *key, struct slice text)
{
    int rc = buf_addf(out, "\"%s\":", key);
    if (rc)
        return rc;
    if (!text.data)
        return buf_add_text(out, "null");
    if (text.len > FAILURE_MAX)
        text.len = FAILURE_MAX;
    return text_json_string(out, text);
}

static int put_list(struct buf *out, const char *key, const char *const *items, size_t most)
{
    int rc = buf_addf(out, "\"%s\":[", key);
    for (size_t i = 0; rc == 0 && items && items[i] && i < most; i++) {
        rc = i ? buf_add_byte(out, ',') : 0;
        if (rc == 0)
            rc = text_json_string(out, slice_of(items[i]));
    }
    return rc ? rc : buf_add_byte(out, ']');
}

/* ---- status ---- */

struct count {
    const char *key;
    uint64_t value;
};

static int put_counts(struct buf *out, const char *group, const struct count *counts, size_t n)
{
    int rc = buf_addf(out, ",\"%s\":{", group);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = buf_addf(out, "%s\"%s\":%" PRIu64, i ? "," : "", counts[i].key, counts[i].value);
    return rc ? rc : buf_add_byte(out, '}');
}
#define PUT_COUNTS(out, group, counts) put_counts(out, group, counts, sizeof(counts) / sizeof(*(counts)))

static int put_server(const struct report *r, struct buf *out)
{
    const struct history_entry *live = history_live(r->history);
    int rc = buf_addf(out, "{\"ok\":true,\"program\":\"%s\",\"pid\":%ld,\"started\":%.3f,\"uptime\":%.3f,\"stopping\":%s,",
                      MT_VERSION, (long)getpid(), r->started, r->now - r->started, r->stopping ? "true" : "false");
    if (rc == 0)
        rc = put_text(out, "script", slice_of(r->script));
    if (rc == 0 && live)
        rc = buf_addf(out, ",\"version\":\"%s\",\"live_since\":%.3f", live->hash, live->time);
    if (rc == 0)
        rc = buf_addf(out, ",\"workers\":%zu,\"silent_workers\":%zu,", r->workers, r->silent);
    return rc ? rc : put_list(out, "addresses", r->addresses, SIZE_MAX);
}

static int put_net(const struct worker_stats *s, struct buf *out)
{
    const struct count now[] = {
        {"connections", s->connections}, {"sessions", s->sessions}, {"people", s->people}, {"rooms", s->rooms}};
    const struct net_stats *n = &s->net;
    const struct count sum[] = {
        {"accepted", n->accepted},     {"refused", n->refused},         {"upgraded", n->upgraded},
        {"closed", n->closed},         {"messages_in", n->messages_in}, {"messages_out", n->messages_out},
        {"bytes_in", n->bytes_in},     {"bytes_out", n->bytes_out},     {"dropped", n->dropped},
        {"overflowed", n->overflowed}, {"malformed", n->malformed},     {"accept_pauses", n->accept_pauses},
        {"denied", n->denied},         {"foreign", n->foreign}};
    int rc = PUT_COUNTS(out, "now", now);
    return rc ? rc : PUT_COUNTS(out, "net", sum);
}

static int put_script(const struct script_stats *s, struct buf *out)
{
    const struct count counts[] = {{"events", s->events},
                                   {"errors", s->errors},
                                   {"client_errors", s->client_errors},
                                   {"late_answers", s->late_answers},
                                   {"budget_kills", s->budget_kills},
                                   {"memory", s->memory},
                                   {"tasks", s->tasks},
                                   {"waiting", s->waiting},
                                   {"old_versions", s->old_versions},
                                   {"old_tasks", s->old_tasks}};
    return PUT_COUNTS(out, "handlers", counts);
}

/* What is open or under way at this moment. */
static int put_open(const struct report *r, struct buf *out)
{
    const struct services_counts *s = &r->services;
    const struct count counts[] = {{"store", s->store},
                                   {"sql", s->sql},
                                   {"databases", s->databases},
                                   {"statements", s->statements},
                                   {"http", r->stats.script.http},
                                   {"files", r->stats.script.files},
                                   {"passwords", s->hashing}};
    return PUT_COUNTS(out, "open", counts);
}

static int put_reloads(const struct report *r, struct buf *out)
{
    const struct history *h = r->history;
    int rc =
        buf_addf(out, ",\"reloads\":{\"ok\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"rolled_back\":%" PRIu64 ",\"pause_ms\":%.3f,",
                 r->reloads, r->reloads_failed, r->rollbacks, r->last_pause * 1e3);
    if (rc == 0)
        rc = put_text(out, "fallback", slice_of(r->fallback));
    if (rc == 0)
        rc = buf_addf(out, ",\"old\":[%.*s],\"last_failure\":", (int)r->old.len, r->old.len ? r->old.data : "");
    if (rc == 0 && !h->last_failure)
        return buf_add_text(out, "null}}");
    if (rc == 0)
        rc = buf_addf(out, "{\"time\":%.3f,", h->last_failed);
    if (rc == 0)
        rc = put_text(out, "error", slice_of(h->last_failure));
    return rc ? rc : buf_add_text(out, "}}}");
}

int report_status(const struct report *r, struct buf *out)
{
    int rc = put_server(r, out);
    if (rc == 0)
        rc = put_net(&r->stats, out);
    if (rc == 0)
        rc = put_script(&r->stats.script, out);
    if (rc == 0)
        rc = put_open(r, out);
    return rc ? rc : put_reloads(r, out);
}

/* ---- old versions ---- */

struct old_list {
    struct buf *out;
    int worker, rc;
};

static void put_old(void *arg, const struct script_old *old)
{
    struct old_list *l = arg;
    if (l->rc == 0 && l->out->len)
        l->rc = buf_add_byte(l->out, ',');
    if (l->rc == 0)
        l->rc = buf_addf(l->out, "{\"version\":\"%s\",\"worker\":%d,\"tasks\":%zu,\"timers\":%zu,", old->hash, l->worker,
                         old->tasks, old->timers);
    if (l->rc == 0)
        l->rc = put_text(l->out, "held_by", old->held_by);
    if (l->rc == 0)
        l->rc = buf_add_byte(l->out, '}');
}

int report_old_versions(struct script *script, int worker, struct buf *out)
{
    struct old_list l = {out, worker, 0};
    script_old_versions(script, put_old, &l);
    return l.rc;
}

/* ---- versions ---- */

static int put_entry(const struct history_entry *e, struct buf *out)
{
    static const char *const results[] = {"live", "replaced", "failed", "rolled back"};
    int rc = buf_add_byte(out, '{');
    if (rc == 0)
        rc = put_text(out, "version", slice_of(e->hash[0] ? e->hash : NULL));
    if (rc == 0)
        rc = buf_addf(out, ",\"time\":%.3f,\"result\":\"%s\",\"file_count\":%zu,", e->time, results[e->result], e->file_count);
    if (rc == 0)
        rc = put_list(out, "files", (const char *const *)e->files, FILES_MAX);
    if (rc == 0 && e->ended > 0)
        rc = buf_addf(out, ",\"replaced\":%.3f", e->ended);
    if (rc == 0 && e->reason && (rc = buf_add_byte(out, ',')) == 0)
        rc = put_text(out, "reason", slice_of(e->reason));
    return rc ? rc : buf_add_byte(out, '}');
}

int report_versions(const struct history *h, struct buf *out)
{
    int rc = buf_add_text(out, "{\"ok\":true,\"versions\":[");
    for (size_t i = h->count; rc == 0 && i > 0; i--) {
        rc = put_entry(&h->entries[i - 1], out);
        if (rc == 0 && i > 1)
            rc = buf_add_byte(out, ',');
    }
    return rc ? rc : buf_add_text(out, "]}");
}

/* ---- reload ---- */

int report_failure(const char *version, struct slice why, struct buf *out)
{
    int rc = buf_add_text(out, "{\"ok\":false,");
    if (rc == 0 && version)
        rc = buf_addf(out, "\"version\":\"%s\",", version);
    if (rc == 0)
        rc = put_text(out, "error", why);
    return rc ? rc : buf_add_byte(out, '}');
}

int report_reloaded(const char *version, bool changed, struct buf *out)
{
    return buf_addf(out, "{\"ok\":true,\"version\":\"%s\",\"changed\":%s}", version, changed ? "true" : "false");
}
