/* api_queue.c - tide.queue: work that waits for a worker.
 *
 * An item is a task of its own from the pool; when one ends the next starts, up to `workers` at once. So an idle queue has no
 * coroutine, an item has the budget and the log lines of any task, and one that fails takes nothing with it.
 *
 * A queue belongs to the version that made it, and its work runs there, also when that version is not live any more. While it has
 * work its object is anchored and its tasks keep the version; an idle one keeps nothing.
 */
#include "script/api_queue.h"

#include "script/api_help.h"
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>

#define QUEUE_TYPE "moontide.queue"

enum {
    WORKERS_DEFAULT = 1,
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10 * 1000 * 1000,
    WORKERS_MAX = 100 * 1000,
    FUNCTION = 1, /* user values of the object: the function, and the items that wait, each a packed table */
    ITEMS = 2,
};

struct queue {
    struct list_node node;   /* in version->queues */
    struct version *version; /* its work runs there; NULL: that has ended. Not counted, see above */
    int handle_ref;          /* anchors the object while there is work, else LUA_NOREF */
    size_t workers, limit;   /* items at work at most, and items that may wait */
    size_t waiting;          /* in ITEMS, at the keys first to first + waiting - 1 */
    lua_Integer first;       /* key of the oldest */
    size_t at_work;          /* tasks */
    size_t lost;             /* items that were dropped since there is work */
    uint64_t since;          /* loop time since which there is work: for reload.age a queue is as old as that */
};

static struct queue *check_queue(lua_State *L)
{
    return luaL_checkudata(L, 1, QUEUE_TYPE);
}

/* ---- items ---- */

/* The values above the queue, which is at 1, become an item behind all others. It counts when `waiting` does. */
static void add_item(lua_State *L, const struct queue *q)
{
    int n = lua_gettop(L) - 1;

    lua_getiuservalue(L, 1, ITEMS);
    lua_createtable(L, n, 1); /* ..., items, item */
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, i + 1);
        lua_rawseti(L, -2, i);
    }
    lua_rawseti(L, -2, q->first + (lua_Integer)q->waiting);
    lua_settop(L, 1);
}

/* Removes the oldest item from the table at `index`. Needs no memory. */
static void remove_item(lua_State *L, struct queue *q, int index)
{
    lua_pushnil(L);
    lua_rawseti(L, index, q->first++);
    q->waiting--;
}

struct give {
    struct queue *queue;
    struct task *task;
};

/* The oldest item, with the function below it, goes onto the task's stack. */
static int give_item(lua_State *L)
{
    struct give *give = lua_touserdata(L, 1);
    struct queue *q = give->queue;
    lua_State *co = give->task->co;
    int n;

    lua_rawgeti(L, LUA_REGISTRYINDEX, q->handle_ref);
    lua_getiuservalue(L, 2, ITEMS);
    lua_rawgeti(L, 3, q->first); /* give, object, items, item */
    lua_getfield(L, 4, "n");
    n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n + 1, "too many values");
    if (!lua_checkstack(co, n + 1))
        return luaL_error(L, "not enough memory");
    lua_getiuservalue(L, 2, FUNCTION);
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, 4, i);
    lua_xmove(L, co, n + 1);
    remove_item(L, q, 3);
    return 0;
}

/* ---- work ---- */

static void on_item_done(struct task *t, enum task_end end);

static bool start_item(struct queue *q)
{
    struct script *s = q->version->script;
    struct give give = {q, task_create(s, q->version, TASK_QUEUE)};

    if (!give.task)
        return false;
    if (script_protect(s, give_item, &give) != LUA_OK) {
        lua_pop(s->L, 1);
        lua_settop(give.task->co, 0);
        task_drop(give.task);
        return false;
    }
    give.task->what = "tide.queue";
    give.task->done = on_item_done;
    give.task->arg = q;
    give.task->began = q->since;
    q->at_work++;
    task_start_later(give.task, lua_gettop(give.task->co) - 1);
    return true;
}

/* As many as may be at work. False when memory runs out. */
static bool start_items(struct queue *q)
{
    while (q->waiting && q->at_work < q->workers)
        if (!start_item(q))
            return false;
    return true;
}

/* Returns how many there were. */
static size_t drop_items(struct queue *q)
{
    lua_State *L = q->version->script->L;
    size_t n = q->waiting;

    lua_rawgeti(L, LUA_REGISTRYINDEX, q->handle_ref);
    lua_getiuservalue(L, -1, ITEMS);
    while (q->waiting)
        remove_item(L, q, lua_gettop(L));
    lua_pop(L, 2);
    return n;
}

static void tell_lost(const struct queue *q)
{
    struct script *s = q->version->script;
    lua_Debug function;

    lua_rawgeti(s->L, LUA_REGISTRYINDEX, q->handle_ref);
    lua_getiuservalue(s->L, -1, FUNCTION);
    lua_getinfo(s->L, ">S", &function);
    lua_pop(s->L, 1);
    log_warn(s->log, &(struct log_about){.version = slice_of(q->version->hash)}, "%zu item%s of the queue of %s:%d %s dropped",
             q->lost, q->lost == 1 ? "" : "s", function.short_src, function.linedefined, q->lost == 1 ? "was" : "were");
}

/* Nothing is at work any more. */
static void rest(struct queue *q)
{
    q->lost += drop_items(q); /* of which there are none, unless memory ran out */
    if (q->lost)
        tell_lost(q);
    q->lost = 0;
    q->first = 1;
    script_unref(q->version->script->L, &q->handle_ref);
}

/* Items end by themselves, or because all of it ends: reload.age, the end of the server. */
static void on_item_done(struct task *t, enum task_end end)
{
    struct queue *q = t->arg;

    q->at_work--;
    if (end == TASK_CANCELLED) {
        q->lost += 1 + drop_items(q);
    } else {
        start_items(q);
    }
    if (q->at_work == 0)
        rest(q);
}

/* ---- versions ---- */

static void enter_version(struct queue *q, struct version *v)
{
    q->version = v;
    list_add_tail(&v->queues, &q->node);
}

void api_queue_leave(struct version *v)
{
    while (!list_empty(&v->queues)) {
        struct queue *q = list_entry(v->queues.next, struct queue, node);

        list_remove(&q->node);
        q->version = NULL;
    }
}

size_t api_queue_count(const struct version *v)
{
    size_t n = 0;

    list_each(node, &v->queues) n += list_entry(node, struct queue, node)->waiting;
    return n;
}

/* ---- for scripts ---- */

/* Before the first item since it was idle. Raises when memory runs out. */
static void wake(lua_State *L, struct queue *q)
{
    if (!q->version)
        enter_version(q, version_of(L));
    if (q->handle_ref != LUA_NOREF)
        return;
    lua_pushvalue(L, 1);
    q->handle_ref = script_ref(L);
    q->since = loop_now(script_of(L)->loop);
}

/* queue:put(...) -> true | nil, message, "full" */
static int l_queue_put(lua_State *L)
{
    struct queue *q = check_queue(L);

    script_check_acting(L, "queue:put");
    if (q->waiting >= q->limit)
        return script_push_failure(L, "the queue is full", err_name(MT_EFULL));
    add_item(L, q);
    wake(L, q);
    q->waiting++;
    if (start_items(q) || q->at_work)
        return script_push_result(L, 0);
    drop_items(q); /* the one of this call: there was no other work */
    rest(q);
    return script_push_result(L, MT_ENOMEM);
}

/* queue:count() -> items that wait for a worker */
static int l_queue_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_queue(L)->waiting);
    return 1;
}

static int l_queue_gc(lua_State *L)
{
    list_remove(&check_queue(L)->node);
    return 0;
}

static int l_queue_tostring(lua_State *L)
{
    const struct queue *q = check_queue(L);

    lua_pushfstring(L, "queue: %d waiting, %d at work", (int)q->waiting, (int)q->at_work);
    return 1;
}

/* The field `name` of the options at 2. */
static size_t check_number(lua_State *L, const char *name, lua_Integer otherwise, lua_Integer max)
{
    lua_Integer n = otherwise;

    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        luaL_argcheck(L, lua_isinteger(L, -1), 2, lua_pushfstring(L, "%s: a whole number", name));
        n = lua_tointeger(L, -1);
        luaL_argcheck(L, n >= 1 && n <= max, 2, lua_pushfstring(L, "%s: 1 to %d", name, (int)max));
    }
    lua_settop(L, 2);
    return (size_t)n;
}

/* tide.queue(fn, {workers=1, limit=1000}) -> queue */
static int l_queue(lua_State *L)
{
    static const char *const names[] = {"workers", "limit", NULL};
    size_t workers = WORKERS_DEFAULT, limit = LIMIT_DEFAULT;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (api_check_table(L, 2, names)) {
        workers = check_number(L, "workers", WORKERS_DEFAULT, WORKERS_MAX);
        limit = check_number(L, "limit", LIMIT_DEFAULT, LIMIT_MAX);
    }
    struct queue *q = lua_newuserdatauv(L, sizeof(*q), 2);
    *q = (struct queue){.handle_ref = LUA_NOREF, .workers = workers, .limit = limit, .first = 1};
    list_init(&q->node);
    luaL_setmetatable(L, QUEUE_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 3, FUNCTION);
    lua_newtable(L);
    lua_setiuservalue(L, 3, ITEMS);
    enter_version(q, version_of(L));
    return 1;
}

static const luaL_Reg queue_methods[] = {{"put", l_queue_put}, {"count", l_queue_count}, {NULL, NULL}};
static const luaL_Reg queue_meta[] = {{"__gc", l_queue_gc}, {"__tostring", l_queue_tostring}, {NULL, NULL}};

void api_queue_open(lua_State *L)
{
    luaL_newmetatable(L, QUEUE_TYPE);
    luaL_setfuncs(L, queue_meta, 0);
    luaL_newlib(L, queue_methods);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_queue_fill(lua_State *L)
{
    lua_pushcfunction(L, l_queue);
    lua_setfield(L, -2, "queue");
}
