/* dispatch.c - events of sessions, in order per connection, to handlers.
 *
 * The way of a message: on_message of session_events, the peer's handler is not busy, a task from the pool, one lua_resume of a C
 * function that pushes the handler, the conn and the text, all of it protected. While a handler waits, the connection's next
 * events queue behind it.
 */
#include "script/dispatch.h"

#include "script/answer.h"
#include "script/api_conn.h"
#include "script/handlers.h"
#include "script/pace.h"
#include "script/reject.h"
#include "script/request.h"
#include "script/task.h"

#include <lauxlib.h>
#include <stdio.h>

enum { DISPATCH_QUIET_MS = 1000 };

/* ---- in the task's coroutine: index 1 is the peer ---- */

static int end_of_handler(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

void dispatch_push_conn(lua_State *L, struct peer *p)
{
    if (p->ref != LUA_NOREF)
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref);
    else
        api_conn_push(L, p->conn->id);
}

static int run_open(lua_State *L)
{
    struct peer *p = lua_touserdata(L, 1);

    script_core_begin(p->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, peer_level(p)->on_open);
    dispatch_push_conn(L, p);
    script_core_end(p->script);
    lua_callk(L, 1, 0, 0, end_of_handler);
    return 0;
}

static int run_close(lua_State *L)
{
    struct peer *p = lua_touserdata(L, 1);
    const struct peer_event *e = p->event;

    script_core_begin(p->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, peer_level(p)->on_close);
    dispatch_push_conn(L, p);
    lua_pushinteger(L, (lua_Integer)e->code);
    lua_pushlstring(L, e->len ? e->data : "", e->len);
    script_core_end(p->script);
    lua_callk(L, 3, 0, 0, end_of_handler);
    return 0;
}

static int after_message(lua_State *L, int status, lua_KContext context)
{
    if (!lua_isnil(L, 3)) /* peer, result, message, name */
        answer_failure(L, lua_touserdata(L, 1), &task_of(L)->reply_id, 2);
    return 0;
}

int dispatch_run_message(lua_State *L)
{
    struct peer *p = lua_touserdata(L, 1);
    const struct peer_event *e = p->event;
    const struct level *l = peer_level(p);

    script_core_begin(p->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->kind == PEER_BINARY ? l->on_binary : l->on_message);
    dispatch_push_conn(L, p);
    lua_pushlstring(L, e->len ? e->data : "", e->len);
    script_core_end(p->script);
    lua_callk(L, 2, 3, 0, after_message);
    return after_message(L, LUA_OK, 0);
}

/* ---- requests ---- */

void dispatch_route(lua_State *L, struct req *r)
{
    struct route_params params;
    const struct level *level;

    if (!task_use_live(task_of(L)))
        return;
    level = handlers_route(r->script->live->handlers, r->http->path, &params);
    if (!level)
        reject_raise(L, 404, SLICE("not found"));
    if (req_set_route(r, level, &params) != 0)
        luaL_error(L, "not enough memory");
}

/* ---- events ---- */

/* The function that runs the handler of an event, NULL when the level has none. */
static lua_CFunction pick(struct peer *p, enum peer_event_kind kind)
{
    const struct level *l = peer_level(p);

    switch (kind) {
    case PEER_OPEN:
        return l->on_open != LUA_NOREF ? run_open : NULL;
    case PEER_TEXT:
        if (l->on != LUA_NOREF || l->joins)
            return text_run;
        return l->on_message != LUA_NOREF ? dispatch_run_message : NULL;
    case PEER_BINARY:
        return l->on_binary != LUA_NOREF ? dispatch_run_message : NULL;
    default:
        return l->on_close != LUA_NOREF ? run_close : NULL;
    }
}

static const char *what_of(enum peer_event_kind kind)
{
    static const char *const names[] = {"on_open", "on_message", "on_binary", "on_close"};

    return names[kind];
}

static void refuse_binary(struct peer *p)
{
    if (p->session)
        session_close(p->session, 1003, SLICE("no binary here"));
}

/* In the task's coroutine. The event may have been queued while another version was live: then its handler is looked for once
 * more. */
static int run_event(lua_State *L)
{
    struct peer *p = lua_touserdata(L, 1);
    lua_CFunction run;

    task_use_live(task_of(L));
    run = pick(p, p->event->kind);
    if (run)
        return run(L);
    if (p->event->kind == PEER_BINARY)
        refuse_binary(p);
    return 0;
}

struct task *dispatch_task(struct script *s, enum task_kind kind, lua_CFunction run, void *arg, const char *what)
{
    struct task *t = task_create(s, s->live, kind);

    if (!t) {
        s->stats.errors++;
        log_error(s->log, NULL, "%s was not run: out of memory", what);
        return NULL;
    }
    t->what = what;
    t->arg = arg;
    lua_pushcfunction(t->co, run);
    lua_pushlightuserdata(t->co, arg);
    return t;
}

static void start_next(struct peer *p);

/* A failure of the script: the client hears that something went wrong here, and three in a row close it. Those of a version on
 * probation may cost that version its place, but not a connection. */
static void count_failure(struct peer *p, const struct task *t)
{
    if (p->working_on == PEER_TEXT || p->working_on == PEER_BINARY)
        answer_error(p, &t->reply_id, SLICE("internal"), false, SLICE("internal error"));
    if (p->script->fallback) /* a version on probation: it is the one that goes, see script_fallback */
        return;
    if (++p->failures >= 3 && p->script->config.close_on_errors && p->session)
        session_close(p->session, 1011, SLICE("internal error"));
}

static void answer_rejected(struct peer *p, const struct task *t)
{
    char code[16];
    int len = snprintf(code, sizeof(code), "%d", t->reject.status);

    p->script->stats.client_errors++;
    answer_error(p, &t->reply_id, (struct slice){code, (size_t)len}, true, buf_slice(&t->reject.message));
}

/* What must be done where there is no handler, or after the last one. */
static void finish_event(struct peer *p, enum peer_event_kind kind, bool handled)
{
    if (kind == PEER_BINARY && !handled)
        refuse_binary(p);
    if (kind == PEER_CLOSE)
        peer_destroy(p);
}

static void event_done(struct task *t, enum task_end end)
{
    struct peer *p = t->arg;
    enum peer_event_kind kind = p->working_on;

    if (end == TASK_RAISED || end == TASK_KILLED) {
        count_failure(p, t);
    } else {
        p->failures = 0;
        if (end == TASK_REJECTED)
            answer_rejected(p, t);
    }
    peer_free_event(p, p->current);
    p->current = NULL;
    p->busy = false;
    if (kind == PEER_CLOSE)
        peer_destroy(p);
    else if (p->first)
        start_next(p);
}

/* Make the task for an event; NULL when nothing is to be run. */
static struct task *begin(struct peer *p, const struct peer_event *e)
{
    lua_CFunction run = pick(p, e->kind);
    struct task *t = run ? dispatch_task(p->script, TASK_EVENT, run_event, p, run == text_run ? "on" : what_of(e->kind)) : NULL;

    if (!t)
        return NULL;
    t->conn = p->conn->id;
    t->done = event_done;
    p->busy = true;
    p->event = e;
    p->working_on = e->kind;
    return t;
}

/* The oldest event that waits, as soon as the entry that runs now has ended. */
static void start_next(struct peer *p)
{
    struct peer_event *e;

    while ((e = peer_dequeue(p)) != NULL) {
        enum peer_event_kind kind = e->kind;
        struct task *t = begin(p, e);

        if (t) {
            p->current = e;
            task_start_later(t, 1);
            return;
        }
        peer_free_event(p, e);
        finish_event(p, kind, pick(p, kind) != NULL);
        if (kind == PEER_CLOSE)
            return;
    }
}

/* Behind others: in order, and never inside of a running script. */
static void queue_event(struct peer *p, const struct peer_event *e)
{
    if (!peer_enqueue(p, e)) {
        log_error(p->script->log, NULL, "%s was not run: out of memory", what_of(e->kind));
        if (p->session)
            session_abort(p->session);
        return;
    }
    if (!p->busy)
        start_next(p);
}

void dispatch_event(struct peer *p, const struct peer_event *e)
{
    struct script *s = p->script;
    struct task *t;

    script_count_event(s);
    if (p->busy || s->depth || s->busy || !list_empty(&s->ready)) {
        queue_event(p, e);
        return;
    }
    t = begin(p, e);
    if (t)
        task_start(t, 1);
    else
        finish_event(p, e->kind, pick(p, e->kind) != NULL);
}

/* ---- struct session_events; `arg` is the script ---- */

static void on_request(void *arg, struct session *session, const struct session_request *r)
{
    if (r->upgrade)
        connect_request(arg, session, r);
    else
        serve_request(arg, session, r);
}

static void on_message(void *arg, struct session *session, enum frame_op op, const char *data, size_t len)
{
    struct peer *p = session_owner(session);

    if (!p || (p->script->paced && !pace_message(p)))
        return;
    if (p->conn->asked && op == FRAME_TEXT && request_take(p, data, len))
        return;
    dispatch_event(p, &(struct peer_event){NULL, op == FRAME_BINARY ? PEER_BINARY : PEER_TEXT, 0, len, data});
}

static void on_drain(void *arg, struct session *session)
{
    enum session_owner_kind *owner = session_owner(session);

    if (owner && *owner == OWNER_PEER)
        peer_drained((struct peer *)owner);
    else if (owner)
        serve_drained((struct req *)owner);
    task_run_ready(arg); /* this comes after the script's own end of the turn */
}

/* Messages for it were dropped because it read too slowly. One line a second: those who are slow together are counted in it. */
static void log_missed(struct script *s, const struct peer *p, uint32_t missed)
{
    struct script_about about = {0};
    uint64_t now = loop_now(s->loop);

    if (now < s->missed_quiet_until) {
        s->missed_untold++;
        return;
    }
    peer_fill_about(s, p->conn->id, &about);
    about.about.version = slice_of(s->live->hash);
    if (s->missed_untold)
        log_info(s->log, &about.about, "read too slowly: %u messages for it were dropped. So it was with %zu others before it", missed,
                 s->missed_untold);
    else
        log_info(s->log, &about.about, "read too slowly: %u messages for it were dropped", missed);
    s->missed_untold = 0;
    s->missed_quiet_until = now + DISPATCH_QUIET_MS;
}

static void on_closed(void *arg, struct session *session, unsigned code, struct slice reason)
{
    struct peer *p = session_owner(session);

    if (!p || p->closed)
        return;
    if (session_missed(session))
        log_missed(arg, p, session_missed(session));
    peer_closed(p);
    dispatch_event(p, &(struct peer_event){NULL, PEER_CLOSE, code, reason.len, reason.data});
    task_run_ready(arg);
}

static void on_silent(void *arg, struct session *session)
{
    struct script *s = arg;
    struct peer *p = session_owner(session);
    struct script_about about = {0};

    if (!p)
        return;
    peer_fill_about(s, p->conn->id, &about);
    about.about.version = slice_of(s->live->hash);
    log_debug(s->log, &about.about, "no answer to a ping");
}

static void on_gone(void *arg, struct session *session)
{
    enum session_owner_kind *owner = session_owner(session);

    if (!owner)
        return;
    session_set_owner(session, NULL);
    if (*owner == OWNER_PEER) {
        struct peer *p = (struct peer *)owner;

        p->session = NULL;
        conn_detach(p->conn);
    } else {
        struct req *r = (struct req *)owner;

        r->session = NULL;
        serve_drained(r); /* who streams stops waiting for a reader */
    }
    task_run_ready(arg);
}

const struct session_events *script_events(void)
{
    static const struct session_events events = {on_request, on_message, on_drain, on_silent, on_closed, on_gone};

    return &events;
}
