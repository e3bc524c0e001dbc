/* reload.c - a reload inside one worker: prepare, upgrade, commit or abandon, and the way back.
 *
 * Three versions have a pointer of their own. `live` gets the events. `staged` is loaded and checked and waits for the others'
 * vote. `fallback` was live before and is kept, complete, until script_settle: the live one is on probation as long as there is
 * one. All that needs memory happens before the vote, in prepare and upgrade; commit and back only move pointers.
 */
#include "script/api_timer.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/lint.h"
#include "script/sources.h"
#include "script/task.h"
#include "script/tide_state.h"
#include "script/upgrade.h"
#include "script/version.h"

#include <assert.h>
#include <lauxlib.h>
#include <string.h>

/* ---- before the vote ---- */

static int fail(struct script *s, int rc, char **error)
{
    s->stats.reloads_failed++;
    if (!*error)
        *error = mem_strdup(err_text(rc), strlen(err_text(rc)));
    return rc;
}

int script_prepare(struct script *s, struct sources *sources, char **error)
{
    struct version *v;
    int rc;

    assert(s->depth == 0); /* not asked for by a script that is running */
    *error = NULL;
    script_abandon(s);
    v = version_create(s, sources);
    rc = v ? version_load(v, error) : MT_ENOMEM;
    if (rc != 0) {
        if (v)
            version_unref(v);
        return fail(s, rc, error);
    }
    s->staged = v;
    lint_switch(s, s->live);
    return 0;
}

int script_upgrade(struct script *s, double seconds, char **error)
{
    struct version *v = s->staged;
    int rc = 0;

    assert(s->depth == 0 && v);
    *error = NULL;
    upgrade_undo(v); /* of a vote that was not followed by anything */
    if (v->number > s->live->number && v->handlers->on_upgrade != LUA_NOREF)
        rc = upgrade_run(v, seconds, error);
    else if (v->number < s->live->number && s->config.worker == 1)
        log_warn(s->log, &(struct log_about){.version = slice_of(v->hash)},
                 "app.version falls from %lld to %lld: on_upgrade does not run, tide.state stays as it is",
                 (long long)s->live->number, (long long)v->number);
    return rc ? fail(s, rc, error) : 0;
}

void script_abandon(struct script *s)
{
    struct version *v = s->staged;

    if (!v)
        return;
    upgrade_undo(v);
    version_drop_held(v);
    s->staged = NULL;
    version_unref(v);
}

/* ---- after it ---- */

/* Connections for whose path there is no route any more: they are told to come again. */
static void close_lost(struct script *s)
{
    struct conn *c;
    uint32_t at = 0;

    if (!s->live->handlers->has_routes)
        return;
    while ((c = conn_next(s->hub, &at)) != NULL) {
        struct peer *p = c->owner;
        struct route_params params;

        if (!p || !p->session || handlers_route(s->live->handlers, p->raw_path, &params))
            continue;
        if (session_close(p->session, 1012, SLICE("this route is gone")) == MT_ENOMEM)
            session_abort(p->session);
    }
}

static void drop_fallback(struct script *s)
{
    struct version *v = s->fallback;

    s->fallback = NULL;
    version_settle(v);
    version_unref(v);
}

void script_settle(struct script *s)
{
    upgrade_forget(s);
    if (s->fallback)
        drop_fallback(s);
}

bool script_spoiled(const struct script *s)
{
    return s->fallback && s->live->errors > 0;
}

void script_commit(struct script *s, bool spoiled)
{
    struct version *v = s->staged, *old = s->live;
    /* the same sources once more, on probation: going back to those would help nobody */
    bool passed_over = spoiled || (s->fallback && strcmp(v->hash, old->hash) == 0);

    assert(s->depth == 0 && v);
    if (!passed_over)
        script_settle(s);
    upgrade_commit(v, true);
    s->staged = NULL;
    version_go_live(v);
    version_retire(old, v, !passed_over);
    if (passed_over)
        version_unref(old);
    else
        s->fallback = old;
    s->stats.reloads++;
    close_lost(s);
}

void script_back(struct script *s)
{
    struct version *v = s->fallback, *bad = s->live;

    assert(s->depth == 0 && v);
    script_abandon(s);
    s->fallback = NULL;
    version_go_live(v);
    version_retire(bad, v, false);
    if (upgrade_take_back(s) && s->config.worker == 1)
        log_warn(s->log, &(struct log_about){.version = slice_of(v->hash)},
                 "tide.state is the one from before on_upgrade: what was written to it since is gone");
    version_unref(bad);
    close_lost(s);
}

const char *script_fallback(const struct script *s)
{
    return s->fallback ? s->fallback->hash : NULL;
}

/* ---- the pause, and its end ---- */

void script_hold(struct script *s)
{
    assert(s->depth == 0 && !s->held);
    s->held = true;
    s->busy++;
}

void script_release(struct script *s)
{
    assert(s->held);
    s->held = false;
    s->busy--;
    task_run_ready(s);
}

/* on_start comes first, then what was spawned while loading, then what was queued during the pause. */
void script_begin(struct script *s, const char *reason)
{
    struct list_node queued;

    list_init(&queued);
    list_take(&queued, &s->ready);
    s->busy++;
    script_queue_start(s, reason);
    version_begin(s->live);
    while (!list_empty(&queued)) {
        struct list_node *node = queued.next;

        list_remove(node);
        list_add_tail(&s->ready, node);
    }
    s->busy--;
    task_run_ready(s);
}

/* ---- looking at it ---- */

struct sources *script_sources(const struct script *s)
{
    return s->live->sources;
}

struct old_list {
    void (*fn)(void *arg, const struct script_old *old);
    void *arg;
};

static void tell_leftover(void *arg, const char *hash, struct slice holders)
{
    const struct old_list *l = arg;

    l->fn(l->arg, &(struct script_old){.hash = hash, .held_by = holders});
}

void script_old_versions(struct script *s, void (*fn)(void *arg, const struct script_old *old), void *arg)
{
    struct buf holders = {0};

    list_each(node, &s->versions)
    {
        struct version *v = list_entry(node, struct version, node);

        if (v == s->live || v == s->staged)
            continue;
        buf_clear(&holders);
        lint_holders(s, v, &holders);
        fn(arg, &(struct script_old){v->hash, v->tasks, api_timer_count(v), v == s->fallback, buf_slice(&holders)});
    }
    buf_fini(&holders);
    lint_leftovers(s, tell_leftover, &(struct old_list){fn, arg});
}
