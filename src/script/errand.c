/* errand.c - the owner on the coroutine's stack is a to-be-closed value: it lets go of its errand when the call returns, raises
 * or is unwound, and not only when the collector comes by.
 */
#include "script/errand.h"

#include <lauxlib.h>

static const char owner_type[] = "moontide.errand";

static void drop(struct errand *e)
{
    if (--e->refs > 0)
        return;
    if (e->ops->destroy)
        e->ops->destroy(e);
    mem_free(e);
}

static int l_owner_close(lua_State *L)
{
    struct errand **owner = luaL_checkudata(L, 1, owner_type);
    struct errand *e = *owner;

    *owner = NULL;
    if (e)
        drop(e);
    return 0;
}

void *errand_push(lua_State *L, size_t size, const struct errand_ops *ops)
{
    struct errand **owner = lua_newuserdatauv(L, sizeof(*owner), 0);

    *owner = NULL;
    luaL_setmetatable(L, owner_type);
    struct errand *e = mem_zalloc(1, size);
    if (!e)
        luaL_error(L, "out of memory");
    e->ops = ops;
    e->refs = 1;
    atomic_init(&e->given_up, false);
    *owner = e;
    return e;
}

void errand_done(struct errand *e)
{
    if (e->task)
        task_wake(e->task, e->code);
    e->task = NULL;
    drop(e);
}

static void open_letter(struct letter *l, bool delivered)
{
    errand_done((struct errand *)l); /* not delivered: the script has ended, and with it all tasks */
}

void errand_start(struct task *t, struct errand *e)
{
    e->letter.open = open_letter;
    e->task = t;
    e->refs++;
}

void errand_refuse(struct errand *e, int code)
{
    e->code = code;
    errand_done(e);
}

/* ---- waiting ---- */

static void give_up(void *arg)
{
    struct errand *e = arg;

    if (!e->task)
        return; /* it is back */
    e->task = NULL;
    atomic_store(&e->given_up, true);
    if (e->ops->give_up)
        e->ops->give_up(e);
}

static int finish(lua_State *L, void *arg, int code)
{
    struct errand *e = arg;

    return e->ops->finish ? e->ops->finish(L, e, code) : script_push_result(L, code);
}

int errand_wait(lua_State *L, struct errand *e, int64_t ms)
{
    static const struct task_wait_ops ops = {give_up, finish};

    lua_toclose(L, -1);
    return task_wait(L, &ops, e, ms);
}

void errand_open(lua_State *L)
{
    luaL_newmetatable(L, owner_type);
    lua_pushcfunction(L, l_owner_close);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__gc");
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}
