/* task.c - runs of Lua code in pooled coroutines: start, wait, wake, cancel, end. */
#include "script/task.h"

#include "script/api_task.h"
#include "script/mend.h"
#include "script/nowait.h"
#include "script/req.h"
#include "script/version.h"
#include "script/watch.h"

#include <assert.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum {
    POOL_MAX = 256,    /* coroutines kept for later */
    READY_BATCH = 256, /* ready tasks run before sockets are looked at again */
};

/* ---- the pool ---- */

static int make_coroutine(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);

    *(struct script_context **)lua_getextraspace(co) = &t->context;
    t->co_ref = script_ref(L);
    t->co = co;
    return 0;
}

static void on_wait_over(struct loop_timer *timer);

static struct task *make_task(struct script *s)
{
    struct task *t = mem_zalloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->context.script = s;
    t->context.task = t;
    if (script_protect(s, make_coroutine, t) != LUA_OK) {
        lua_pop(s->L, 1);
        mem_free(t);
        return NULL;
    }
    t->handle_ref = LUA_NOREF;
    list_init(&t->queue);
    list_init(&t->owned);
    list_init(&t->joiners);
    loop_timer_init(&t->timer, on_wait_over);
    return t;
}

/* What the server waits for when it stops. */
static bool is_work(enum task_kind kind)
{
    return kind == TASK_EVENT || kind == TASK_HOOK || kind == TASK_QUEUE;
}

struct task *task_create(struct script *s, struct version *v, enum task_kind kind)
{
    struct task *t;

    if (!list_empty(&s->pool)) {
        t = list_entry(s->pool.next, struct task, node);
        list_remove(&t->node);
        s->pooled--;
    } else if (!(t = make_task(s))) {
        return NULL;
    }
    list_add_tail(&s->tasks, &t->node);
    s->task_count++;
    t->kind = kind;
    t->state = TASK_NEW;
    t->began = loop_now(s->loop);
    t->version = version_ref(v);
    v->tasks++;
    if (is_work(kind))
        s->at_work++;
    return t;
}

static void free_task(struct script *s, struct task *t)
{
    script_unref(s->L, &t->co_ref);
    buf_fini(&t->reject.message);
    buf_fini(&t->reject.headers);
    buf_fini(&t->reply_id);
    mem_free(t);
}

static void empty_pool(struct script *s)
{
    while (!list_empty(&s->pool)) {
        struct task *t = list_entry(s->pool.next, struct task, node);

        list_remove(&t->node);
        free_task(s, t);
    }
    s->pooled = 0;
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

/* Memory ran short. What Lua collects then leaves the stack of each coroutine, and the records of its calls, as large as they have
 * ever been: a few that once recursed deeply could hold all there is for good. Those of the pool go; a collection in peace
 * shrinks the others. */
static void recover_memory(struct script *s)
{
    s->heap.refused = false;
    empty_pool(s);
    if (script_protect(s, collect, NULL) != LUA_OK)
        lua_pop(s->L, 1);
}

void task_tell_stopped(struct script *s)
{
    void (*stopped)(void *arg) = s->stopped;

    if (stopped && s->at_work == 0) {
        s->stopped = NULL;
        stopped(s->stopped_arg);
    }
}

/* The task is over and everybody knows: back to the pool. */
static void release(struct task *t)
{
    struct script *s = t->context.script;
    bool work = is_work(t->kind);

    list_remove(&t->node);
    s->task_count--;
    t->version->tasks--;
    version_unref(t->version);
    t->version = NULL;
    t->conn = 0;
    if (t->req)
        req_unref(t->req);
    t->req = NULL;
    t->ending = SCRIPT_GOES_ON;
    t->cancelled = false;
    t->timed = false;
    t->what = NULL;
    t->done = NULL;
    t->arg = NULL;
    t->wait_ops = NULL;
    t->joins = NULL;
    buf_clear(&t->reply_id);
    if (t->reject.status) {
        t->reject.status = 0;
        buf_clear(&t->reject.message);
        buf_clear(&t->reject.headers);
    }
    lua_settop(t->co, 0);
    if (s->pooled < POOL_MAX) {
        list_add_tail(&s->pool, &t->node);
        s->pooled++;
    } else {
        free_task(s, t);
    }
    if (s->heap.refused && s->depth == 0)
        recover_memory(s);
    if (work && --s->at_work == 0 && s->stopped)
        task_tell_stopped(s);
}

/* ---- the end ---- */

static void wake_joiner(struct task *t)
{
    list_remove(&t->queue);
    task_wake(t, 0);
}

static void finish(struct task *t, enum task_end end, const char *text)
{
    t->state = TASK_DONE;
    list_remove(&t->owned);
    if (t->handle_ref != LUA_NOREF)
        api_task_ended(t, end, text);
    if (t->done)
        t->done(t, end);
    while (!list_empty(&t->joiners))
        wake_joiner(list_entry(t->joiners.next, struct task, queue));
    release(t);
}

/* Runs the <close> variables that are pending in the coroutine, which is then empty and usable again. */
static bool unwind(struct task *t)
{
    struct script *s = t->context.script;
    struct script_entry saved;
    struct script_about about;
    char *text = NULL;
    bool fine;

    script_enter(s, &saved, t->co, t, t->version, s->config.time_budget);
    s->unwinding++;
    t->unwinding = true;
    mend_coroutine(t->co);
    fine = lua_resetthread(t->co) == LUA_OK;
    if (s->watch->killed)
        s->stats.budget_kills++;
    if (!fine && (t->cancelled || s->watch->killed))
        text = script_error_text(s, t->co);
    t->unwinding = false;
    s->unwinding--;
    script_fill_about(s, &about);
    script_leave(s, &saved);
    lua_sethook(t->co, NULL, 0, 0);
    if (text)
        script_report(s, t->version, &about.about, "<close> of a task that ended", text);
    mem_free(text);
    return fine;
}

static const char *task_what(const struct task *t)
{
    static const char *const names[] = {"handler", "spawned task", "timer", "hook", "queue"};

    return t->what ? t->what : names[t->kind];
}

static enum task_end end_of(const struct task *t)
{
    if (t->context.script->watch->killed)
        return TASK_KILLED;
    if (t->ending == SCRIPT_CANCELLED)
        return TASK_CANCELLED;
    if (t->ending == SCRIPT_REJECTED && (t->kind == TASK_EVENT || t->timed))
        return TASK_REJECTED;
    return TASK_RAISED;
}

/* The coroutine did not come to its own end: say so, unwind, end. Still inside of its entry, which ends here. */
static void finish_broken(struct task *t, const struct script_entry *saved)
{
    struct script *s = t->context.script;
    enum task_end end = end_of(t);
    struct script_about about;
    char *text = NULL;

    if (end == TASK_RAISED || end == TASK_KILLED)
        text = script_error_text(s, t->co);
    if (end == TASK_KILLED)
        s->stats.budget_kills++;
    script_fill_about(s, &about);
    script_leave(s, saved);
    t->ending = SCRIPT_GOES_ON; /* what cleans up may use pcall as always */
    unwind(t);
    if (text)
        script_report(s, t->version, &about.about, task_what(t), text);
    finish(t, end, text);
    mem_free(text);
}

/* ---- running ---- */

static void resume(struct task *t, int nargs)
{
    struct script *s = t->context.script;
    struct script_entry saved;
    int status, n;

    t->state = TASK_RUNNING;
    script_enter(s, &saved, t->co, t, t->version, s->config.time_budget);
    status = lua_resume(t->co, NULL, nargs, &n);
    if (status == LUA_YIELD && t->state == TASK_WAITING) {
        script_leave(s, &saved);
        return;
    }
    if (status == LUA_OK && t->ending == SCRIPT_GOES_ON) {
        script_leave(s, &saved);
        finish(t, TASK_RETURNED, NULL);
        return;
    }
    assert(status != LUA_YIELD || script_is_ending(t->co)); /* scripts cannot yield a task: protect.c */
    finish_broken(t, &saved);
}

void task_start(struct task *t, int nargs)
{
    struct script *s = t->context.script;

    assert(s->depth == 0);
    s->busy++;
    resume(t, nargs);
    s->busy--;
    if (s->busy == 0 && !list_empty(&s->ready))
        task_run_ready(s);
}

void task_start_later(struct task *t, int nargs)
{
    struct script *s = t->context.script;

    assert(t->state == TASK_NEW && lua_gettop(t->co) == nargs + 1);
    list_add_tail(&s->ready, &t->queue);
    if (s->depth == 0 && s->busy == 0)
        task_run_ready(s);
}

static void cancel_now(struct task *t);

static void run_one(struct task *t)
{
    list_remove(&t->queue);
    if (t->cancelled)
        cancel_now(t);
    else
        resume(t, t->state == TASK_NEW ? lua_gettop(t->co) - 1 : 0);
}

void task_run_ready(struct script *s)
{
    if (s->busy || s->depth)
        return;
    s->busy++;
    for (int i = 0; i < READY_BATCH && !list_empty(&s->ready); i++)
        run_one(list_entry(s->ready.next, struct task, queue));
    s->busy--;
    if (!list_empty(&s->ready))
        loop_again(s->loop);
}

bool task_use_live(struct task *t)
{
    struct script *s = t->context.script;
    struct version *old = t->version;

    if (old == s->live)
        return false;
    t->version = version_ref(s->live);
    s->version = t->version;
    t->version->tasks++;
    old->tasks--;
    version_unref(old);
    return true;
}

/* ---- waiting ---- */

struct task *task_check_wait(lua_State *L)
{
    struct script *s = script_of(L);
    struct task *t = task_of(L);

    if (!t || t->unwinding || s->loading || s->task != t || !lua_isyieldable(L))
        nowait_raise(L);
    if (t->cancelled)
        script_end(L, SCRIPT_CANCELLED);
    t->woken = false;
    return t;
}

static int go_on(lua_State *L, struct task *t)
{
    const struct task_wait_ops *ops = t->wait_ops;

    t->wait_ops = NULL;
    if (ops && ops->finish)
        return ops->finish(L, t->wait_arg, t->wake_code);
    return script_push_result(L, t->wake_code);
}

static int on_resumed(lua_State *L, int status, lua_KContext context)
{
    return go_on(L, task_of(L));
}

int task_wait(lua_State *L, const struct task_wait_ops *ops, void *arg, int64_t ms)
{
    struct task *t = task_of(L);
    struct script *s = t->context.script;

    t->wait_ops = ops;
    t->wait_arg = arg;
    if (t->woken) /* it was over before it began */
        return go_on(L, t);
    t->state = TASK_WAITING;
    s->waiting++;
    if (ms >= 0)
        loop_timer_start(s->loop, &t->timer, (uint64_t)ms);
    return lua_yieldk(L, 0, 0, on_resumed);
}

void task_wake(struct task *t, int code)
{
    struct script *s = t->context.script;

    if (t->state == TASK_RUNNING && !t->woken) {
        t->woken = true;
        t->wake_code = code;
    }
    if (t->state != TASK_WAITING)
        return;
    s->waiting--;
    loop_timer_stop(s->loop, &t->timer);
    list_remove(&t->queue);
    t->state = TASK_READY;
    t->wake_code = code;
    list_add_tail(&s->ready, &t->queue);
    loop_again(s->loop); /* the turn's run of what is ready may be over: drains are told from the flush */
}

static void on_wait_over(struct loop_timer *timer)
{
    struct task *t = list_entry(timer, struct task, timer);

    if (t->wait_ops && t->wait_ops->cancel)
        t->wait_ops->cancel(t->wait_arg);
    task_wake(t, MT_ETIMEOUT);
}

int64_t task_ms(lua_Number seconds)
{
    return seconds < 1e12 ? (int64_t)ceil(seconds * 1000) : (int64_t)1e15;
}

int64_t task_check_ms(lua_State *L, int index, int64_t otherwise)
{
    lua_Number seconds;

    if (lua_isnoneornil(L, index))
        return otherwise;
    seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0, index, "seconds must not be negative");
    return task_ms(seconds);
}

/* ---- cancelling ---- */

static void cancel_now(struct task *t)
{
    t->cancelled = true;
    if (t->state == TASK_NEW)
        lua_settop(t->co, 0);
    else
        unwind(t);
    finish(t, TASK_CANCELLED, NULL);
}

/* Leaves the operation that the task waits for, so that only its stack is left. */
static void stop_waiting(struct task *t)
{
    struct script *s = t->context.script;

    if (t->state == TASK_WAITING)
        s->waiting--;
    loop_timer_stop(s->loop, &t->timer);
    if (t->wait_ops && t->wait_ops->cancel)
        t->wait_ops->cancel(t->wait_arg);
    t->wait_ops = NULL;
    list_remove(&t->queue);
}

bool task_cancel_later(struct task *t)
{
    struct script *s = t->context.script;
    bool goes_by_itself = t->state == TASK_RUNNING || t->cancelled;

    if (t->state == TASK_DONE)
        return false;
    t->cancelled = true;
    if (goes_by_itself) /* where it next waits, or because it is queued for it */
        return true;
    stop_waiting(t);
    if (t->state == TASK_WAITING)
        t->state = TASK_READY;
    list_add_tail(&s->ready, &t->queue);
    loop_again(s->loop);
    return true;
}

bool task_cancel(struct task *t)
{
    /* Not one unwinding inside another: a chain of them would use up the C stack. */
    if (t->state == TASK_DONE || t->state == TASK_RUNNING || t->cancelled || t->context.script->unwinding)
        return task_cancel_later(t);
    stop_waiting(t);
    cancel_now(t);
    return true;
}

static uint64_t age_of(const struct task *t)
{
    uint64_t since = t->began > t->version->replaced ? t->began : t->version->replaced;

    return loop_now(t->context.script->loop) - since;
}

size_t task_cancel_old(struct version *v, uint64_t age, uint64_t *oldest)
{
    struct script *s = v->script;
    struct list_node old;
    size_t count = 0;

    *oldest = 0;
    list_init(&old);
    list_each_safe(node, next, &s->tasks)
    {
        struct task *t = list_entry(node, struct task, node);

        if (t->version != v || t->cancelled)
            continue;
        if (age_of(t) < age) {
            *oldest = age_of(t) > *oldest ? age_of(t) : *oldest;
            continue;
        }
        list_remove(node);
        list_add_tail(&old, node);
    }
    for (; !list_empty(&old); count++) { /* the end of one may be the end of others, which then leave this list */
        struct task *t = list_entry(old.next, struct task, node);

        list_remove(&t->node);
        list_add_tail(&s->tasks, &t->node);
        task_cancel(t);
    }
    return count;
}

void task_drop(struct task *t)
{
    release(t);
}

void task_fini_all(struct script *s)
{
    while (!list_empty(&s->tasks)) {
        struct task *t = list_entry(s->tasks.next, struct task, node);

        if (t->cancelled) { /* by the <close> of another: it would have been unwound in its turn */
            list_remove(&t->queue);
            cancel_now(t);
        } else {
            task_cancel(t);
        }
    }
    empty_pool(s);
}
