/* room_hooks.c - what the hub asks and tells: grace and current of rooms, on_join and on_leave, signals.
 *
 * The hub tells of a person while a handler may be running (conn:join inside of it), so a hook is a task of its own that runs
 * behind it.
 */
#include "script/api_room.h"
#include "script/api_signal.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>

/* Somebody came or left: copies, as the hub's are gone when the hook runs. */
struct hook {
    struct script *script;
    bool joined;
    struct slice room; /* this and person's texts lie behind the struct */
    struct person person;
};

static const struct room_kind *kind_of(struct script *s, struct slice room)
{
    return s->live ? handlers_room(s->live->handlers, room) : NULL;
}

static int end_of_hook(lua_State *L, int status, lua_KContext context)
{
    return 0;
}

static int run_hook(lua_State *L)
{
    struct hook *h = lua_touserdata(L, 1);
    const struct room_kind *kind;
    int ref;

    task_use_live(task_of(L));
    kind = handlers_room(task_of(L)->version->handlers, h->room);
    ref = !kind ? LUA_NOREF : h->joined ? kind->on_join : kind->on_leave;
    if (ref == LUA_NOREF) /* a reload took it away meanwhile */
        return 0;
    script_core_begin(h->script);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    api_room_push(L, h->room);
    api_room_push_member(L, &h->person);
    script_core_end(h->script);
    lua_callk(L, 2, 0, 0, end_of_hook);
    return 0;
}

static void hook_done(struct task *t, enum task_end end)
{
    mem_free(t->arg);
}

static struct slice copy_text(char **at, struct slice text)
{
    struct slice copy = {text.data ? *at : NULL, text.len};

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static struct hook *make_hook(struct script *s, bool joined, struct slice room, const struct person *p)
{
    struct hook *h = mem_alloc(sizeof(*h) + room.len + p->user.len + p->info.len);
    char *at = (char *)(h + 1);

    if (!h)
        return NULL;
    h->script = s;
    h->joined = joined;
    h->room = copy_text(&at, room);
    h->person.conn = p->conn;
    h->person.user = copy_text(&at, p->user);
    h->person.info = copy_text(&at, p->info);
    return h;
}

static void start_hook(struct script *s, bool joined, struct slice room, const struct person *p)
{
    const struct room_kind *kind = kind_of(s, room);
    struct hook *h;
    struct task *t;

    if (!kind || (joined ? kind->on_join : kind->on_leave) == LUA_NOREF)
        return;
    h = make_hook(s, joined, room, p);
    t = h ? dispatch_task(s, TASK_HOOK, run_hook, h, joined ? "on_join" : "on_leave") : NULL;
    if (!t) {
        mem_free(h);
        return;
    }
    t->done = hook_done;
    t->conn = p->conn;
    task_start_later(t, 1);
}

static void on_join(void *arg, struct slice room, const struct person *p)
{
    start_hook(arg, true, room, p);
}

static void on_leave(void *arg, struct slice room, const struct person *p)
{
    start_hook(arg, false, room, p);
}

static uint64_t grace(void *arg, struct slice room)
{
    const struct room_kind *kind = kind_of(arg, room);

    return kind ? kind->grace_ms : GRACE_DEFAULT_MS;
}

static bool current(void *arg, struct slice room)
{
    const struct room_kind *kind = kind_of(arg, room);

    return kind && kind->current;
}

static void on_signal(void *arg, struct slice name, struct blob *value)
{
    api_signal_deliver(arg, name, value);
}

static void on_asked(void *arg, struct conn *c)
{
    if (c->owner)
        peer_asked(c->owner);
}

static void on_dropped(void *arg, unsigned worker, uint64_t count)
{
    const struct script *s = arg;

    log_warn(s->log, NULL, "worker %u is too slow: %llu messages for its connections were dropped", worker,
             (unsigned long long)count);
}

const struct hub_events room_hooks = {on_join, on_leave, grace, current, on_signal, on_asked, on_dropped};
