/* lint_holders.c - the second half of lint.h: what keeps a version in memory that is not live. */
#include "script/api_queue.h"
#include "script/handlers.h"
#include "script/keeps.h"
#include "script/lint.h"
#include "script/task.h"

#include <string.h>

enum {
    PLACES_MAX = 3,    /* named per version */
    LEFTOVERS_MAX = 8, /* versions that are told of */
};

/* Begins the next part of a list. */
static int add_comma(struct buf *out)
{
    return out->len ? buf_add_text(out, ", ") : 0;
}

static void add_count(struct buf *out, size_t n, const char *what)
{
    if (n && add_comma(out) == 0)
        buf_addf(out, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

/* ---- what the core counts ---- */

static size_t count_tasks(struct script *s, const struct version *v, unsigned kinds)
{
    size_t n = 0;

    list_each(node, &s->tasks)
    {
        const struct task *t = list_entry(node, struct task, node);

        n += t->version == v && (kinds & 1u << t->kind);
    }
    return n;
}

static size_t count_nodes(const struct list_node *head)
{
    size_t n = 0;

    list_each(node, head) n++;
    return n;
}

static void add_counted(struct script *s, const struct version *v, struct buf *out)
{
    size_t timers = count_nodes(&v->timers);

    add_count(out, count_tasks(s, v, 1u << TASK_EVENT | 1u << TASK_HOOK), "waiting handler");
    add_count(out, count_tasks(s, v, 1u << TASK_SPAWNED), "spawned task");
    add_count(out, count_tasks(s, v, 1u << TASK_TIMER), "waiting timer function");
    add_count(out, count_tasks(s, v, 1u << TASK_QUEUE) + api_queue_count(v), "queued item");
    add_count(out, timers, "timer");
    if (v == s->fallback && add_comma(out) == 0)
        buf_add_text(out, "kept for a rollback");
}

/* ---- what the script holds ---- */

/* A version and the places that hold it. */
struct held {
    const void *env;
    char hash[9];
    struct buf text; /* owned */
    unsigned places;
};

struct search {
    struct script *script;
    struct held held[LEFTOVERS_MAX];
    size_t count;
    bool ended; /* look for versions that have ended; else for the first of `held` alone */
};

static bool still_counted(const struct search *f, const void *env)
{
    list_each(node, &f->script->versions) if (keeps_env(list_entry(node, struct version, node)) == env) return true;
    return false;
}

static struct held *held_by(struct search *f, const struct keeps_found *found)
{
    struct held *h = &f->held[f->count];

    for (size_t i = 0; i < f->count; i++)
        if (f->held[i].env == found->env)
            return &f->held[i];
    if (!f->ended || f->count == LEFTOVERS_MAX || still_counted(f, found->env))
        return NULL;
    f->count++;
    h->env = found->env;
    memcpy(h->hash, found->version, sizeof(h->hash));
    return h;
}

static bool note_place(void *arg, const struct keeps_found *found)
{
    struct held *h = found->env ? held_by(arg, found) : NULL;

    if (h && ++h->places <= PLACES_MAX && add_comma(&h->text) == 0)
        buf_add_text(&h->text, found->path);
    return true;
}

static void look_around(struct search *f)
{
    struct walk_set seen = {NULL, 0, 0};
    bool whole;

    keeps_walk(f->script, &seen, note_place, f, &whole);
    walk_set_fini(&seen);
    for (size_t i = 0; i < f->count; i++)
        if (f->held[i].places > PLACES_MAX)
            buf_addf(&f->held[i].text, " and %u more places", f->held[i].places - PLACES_MAX);
}

void lint_holders(struct script *s, struct version *v, struct buf *out)
{
    struct search f = {.script = s, .count = 1};

    add_counted(s, v, out);
    f.held[0].env = keeps_env(v);
    look_around(&f);
    if (f.held[0].text.len && add_comma(out) == 0)
        buf_add(out, f.held[0].text.data, f.held[0].text.len);
    buf_fini(&f.held[0].text);
}

void lint_leftovers(struct script *s, void (*fn)(void *arg, const char *hash, struct slice holders), void *arg)
{
    struct search f = {.script = s, .ended = true};

    look_around(&f);
    for (size_t i = 0; i < f.count; i++) {
        fn(arg, f.held[i].hash, buf_slice(&f.held[i].text));
        buf_fini(&f.held[i].text);
    }
}
