/* peer.c - the script's part of a connection: life, queue, expiry, waiting for the outbox. */
#include "script/peer.h"

#include "base/clock.h"
#include "hub/ask.h"
#include "script/handlers.h"
#include "script/pace.h"
#include "script/task.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum {
    QUEUE_BYTES_MAX = 256 << 10, /* of a peer's waiting events, past which its socket is paused */
    QUEUE_ASKED = 16,            /* so many times that, and as many events, while it owes an answer */
};

/* Rounded up, so that what follows is aligned. */
static size_t aligned(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static struct slice keep(char **at, struct slice text)
{
    struct slice kept = {*at, text.len};

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return kept;
}

static size_t text_size(const struct peer_facts *f, struct slice ip)
{
    size_t n = ip.len + f->raw_path.len + f->path.len + f->query.len + f->protocol.len;

    for (size_t i = 0; i < f->param_count; i++)
        n += f->params[i].name.len + f->params[i].value.len;
    return n;
}

struct peer *peer_create(struct script *s, struct conn *c, struct session *session, const struct peer_facts *facts)
{
    size_t params = aligned(sizeof(struct peer)), text = params + facts->param_count * sizeof(struct peer_param);
    struct slice ip = session_peer(session);
    struct peer *p = mem_alloc(text + text_size(facts, ip));
    char *at;

    if (!p)
        return NULL;
    at = (char *)p + text;
    memset(p, 0, sizeof(*p));
    p->owner_kind = OWNER_PEER;
    p->script = s;
    p->conn = c;
    p->session = session;
    p->ref = LUA_NOREF;
    p->ip = keep(&at, ip);
    p->raw_path = keep(&at, facts->raw_path);
    p->path = keep(&at, facts->path);
    p->query = keep(&at, facts->query);
    p->protocol = keep(&at, facts->protocol);
    p->params = (struct peer_param *)((char *)p + params);
    p->param_count = facts->param_count;
    for (size_t i = 0; i < p->param_count; i++) {
        p->params[i].name = keep(&at, facts->params[i].name);
        p->params[i].value = keep(&at, facts->params[i].value);
    }
    list_init(&p->tasks);
    list_init(&p->drainers);
    loop_timer_init(&p->slow_timer, pace_on_timer);
    conn_set_owner(c, p);
    session_set_owner(session, p);
    return p;
}

void peer_destroy(struct peer *p)
{
    struct script *s = p->script;
    struct peer_event *e;

    if (p->session) {
        session_set_owner(p->session, NULL);
        conn_detach(p->conn);
    }
    while ((e = peer_dequeue(p)) != NULL)
        peer_free_event(p, e);
    loop_timer_stop(s->loop, &p->slow_timer);
    if (p->expiry)
        loop_timer_stop(s->loop, p->expiry);
    mem_free(p->expiry);
    peer_free_event(p, p->current);
    script_unref(s->L, &p->ref);
    conn_set_owner(p->conn, NULL);
    conn_close(p->conn);
    mem_free(p);
}

const struct level *peer_level(struct peer *p)
{
    static const struct level nothing = LEVEL_NOTHING;

    if (p->level_epoch != p->script->epoch) {
        struct route_params params;

        p->level = handlers_route(p->script->live->handlers, p->raw_path, &params);
        p->level_epoch = p->script->epoch;
    }
    return p->level ? p->level : &nothing;
}

/* ---- the queue ---- */

static struct peer_event *copy_event(struct peer *p, const struct peer_event *e)
{
    struct peer_event *copy = mem_alloc(sizeof(*copy) + e->len);

    if (!copy && e->kind == PEER_CLOSE) {
        p->close_event = (struct peer_event){NULL, PEER_CLOSE, e->code, 0, NULL};
        return &p->close_event;
    }
    if (!copy)
        return NULL;
    *copy = *e;
    copy->next = NULL;
    copy->data = (const char *)(copy + 1);
    if (e->len)
        memcpy(copy + 1, e->data, e->len);
    return copy;
}

void peer_free_event(struct peer *p, struct peer_event *e)
{
    if (e != &p->close_event)
        mem_free(e);
}

/* How much more may wait. The answer that a handler waits for stands behind what the client sent before it: where that handler is
 * this connection's own, the queue gets no shorter until it is read. */
static size_t factor(const struct peer *p)
{
    return conn_owes_answer(p->conn) ? QUEUE_ASKED : 1;
}

static bool is_full(const struct peer *p)
{
    return p->queued >= p->script->config.queue_limit * factor(p) || p->queued_bytes >= QUEUE_BYTES_MAX * factor(p);
}

static bool is_half(const struct peer *p)
{
    return p->queued <= p->script->config.queue_limit * factor(p) / 2 && p->queued_bytes <= QUEUE_BYTES_MAX * factor(p) / 2;
}

static void pause_reading(struct peer *p)
{
    if (p->paused || !p->session)
        return;
    p->paused = true;
    session_pause(p->session);
}

static void go_on_reading(struct peer *p)
{
    if (!p->paused)
        return;
    p->paused = false;
    if (p->session)
        session_resume(p->session);
}

void peer_asked(struct peer *p)
{
    if (!is_full(p))
        go_on_reading(p);
}

bool peer_enqueue(struct peer *p, const struct peer_event *e)
{
    struct peer_event *copy = copy_event(p, e);

    if (!copy)
        return false;
    if (p->last)
        p->last->next = copy;
    else
        p->first = copy;
    p->last = copy;
    p->queued_bytes += copy->len;
    p->queued++;
    if (is_full(p))
        pause_reading(p);
    return true;
}

struct peer_event *peer_dequeue(struct peer *p)
{
    struct peer_event *e = p->first;

    if (!e)
        return NULL;
    p->first = e->next;
    if (!p->first)
        p->last = NULL;
    p->queued_bytes -= e->len;
    p->queued--;
    if (is_half(p))
        go_on_reading(p);
    return e;
}

/* ---- the end ---- */

static void wake_drainers(struct peer *p, int code)
{
    while (!list_empty(&p->drainers)) {
        struct task *t = list_entry(p->drainers.next, struct task, queue);

        list_remove(&t->queue);
        task_wake(t, code);
    }
}

void peer_closed(struct peer *p)
{
    p->closed = true;
    ask_conn_gone(p->conn); /* its socket may stay until close_timeout, but nothing that it sends is read any more */
    wake_drainers(p, MT_ECLOSED);
    while (!list_empty(&p->tasks)) {
        struct task *t = list_entry(p->tasks.next, struct task, owned);

        list_remove(&t->owned);
        task_cancel(t);
    }
}

/* ---- conn:drain ---- */

void peer_drained(struct peer *p)
{
    wake_drainers(p, 0);
}

static void leave_drainers(void *arg)
{
    list_remove(&((struct task *)arg)->queue);
}

int peer_drain(lua_State *L, struct peer *p, int64_t ms)
{
    static const struct task_wait_ops ops = {leave_drainers, NULL};
    struct task *t;

    if (p->closed || !p->session)
        return script_push_result(L, MT_ECLOSED);
    if (session_buffered(p->session) == 0)
        return script_push_result(L, 0);
    t = task_check_wait(L);
    list_add_tail(&p->drainers, &t->queue);
    session_want_drain(p->session);
    return task_wait(L, &ops, t, ms);
}

/* ---- expiry ---- */

struct peer_expiry {
    struct loop_timer timer; /* must be first: freed as p->expiry */
    struct peer *peer;
};

static uint64_t ms_until(double at)
{
    double left = (at - clock_wall()) * 1000;

    return left <= 0 ? 0 : left > 1e9 ? 1000000000 : (uint64_t)ceil(left); /* looks again every eleven days */
}

static void on_expiry(struct loop_timer *timer)
{
    struct peer *p = ((struct peer_expiry *)timer)->peer;
    uint64_t left = ms_until(p->conn->expires);

    if (left > 0)
        loop_timer_start(p->script->loop, timer, left);
    else if (p->session)
        session_close(p->session, (uint16_t)p->script->config.expired_code, SLICE("expired"));
}

int peer_set_expires(struct peer *p, double at)
{
    if (at > 0 && !p->expiry) {
        struct peer_expiry *e = mem_alloc(sizeof(*e));

        if (!e)
            return MT_ENOMEM;
        loop_timer_init(&e->timer, on_expiry);
        e->peer = p;
        p->expiry = &e->timer;
    }
    conn_set_expires(p->conn, at > 0 ? at : 0);
    if (p->expiry && at > 0)
        loop_timer_start(p->script->loop, p->expiry, ms_until(at));
    else if (p->expiry)
        loop_timer_stop(p->script->loop, p->expiry);
    return 0;
}

/* ---- logs ---- */

void peer_fill_about(struct script *s, conn_id id, struct script_about *out)
{
    struct peer *p = peer_find(s, id);

    conn_name(id, out->conn);
    out->about.conn = slice_of(out->conn);
    if (!p)
        return;
    out->about.path = p->path;
    out->about.peer = p->ip;
}
