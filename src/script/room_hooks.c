/* room_hooks.c - what the hub asks and tells about rooms: grace, current, on_join, on_leave.
 *
 * The hub tells of a person while a handler may be running (conn:join inside of it), so a hook is a task of its own that runs
 * behind it.
 */
#include "script/api_room.h"
#include "script/dispatch.h"
#include "script/handlers.h"
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>

/* Somebody came or left: copies, as the hub's are gone when the hook runs. */
struct hook {
    struct script *script;
    bool joined;
    struct slice room, user; /* behind the struct */
    conn_id conn;
    struct blob *info; /* counted, or NULL */
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
    api_room_push_member(L, &(struct person){h->user, h->conn, h->info});
    script_core_end(h->script);
    lua_callk(L, 2, 0, 0, end_of_hook);
    return 0;
}

static void hook_done(struct task *t, enum task_end end)
{
    struct hook *h = t->arg;

    blob_unref(h->info);
    mem_free(h);
}

static struct hook *make_hook(struct script *s, bool joined, struct slice room, const struct person *p)
{
    struct hook *h = mem_alloc(sizeof(*h) + room.len + p->user.len);
    char *text;

    if (!h)
        return NULL;
    text = (char *)(h + 1);
    *h = (struct hook){s, joined, {text, room.len}, {text + room.len, p->user.len}, p->conn, p->info ? blob_ref(p->info) : NULL};
    memcpy(text, room.data, room.len);
    if (p->user.len)
        memcpy(text + room.len, p->user.data, p->user.len);
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
        if (h)
            blob_unref(h->info);
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

const struct hub_events room_hooks = {on_join, on_leave, grace, current};
