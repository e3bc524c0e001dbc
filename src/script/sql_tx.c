/* sql_tx.c - db:transaction and the object that its function gets.
 *
 * That object is a to-be-closed value on the stack of the call, so a transaction is rolled back however its function is left: by
 * a raise, by tide.reject, when the task is cancelled or killed. Steps that wait find what they need on the stack:
 *     1 db  2 function  3 tx  4 the request of the begin  5... what the function has returned, then the request of the commit
 */
#include "script/api_help.h"
#include "script/sql_call.h"
#include <lauxlib.h>

struct sql_guard {
    struct list_node node;        /* in sql_handle.open while it is open */
    struct task *task;            /* whose transaction it is */
    struct sql_db *db;            /* counted; NULL: it has ended, as the next two */
    struct sql_tx *tx;            /* counted */
    struct sql_request *rollback; /* owned; made beforehand, so that there is always memory for it */
    bool open;                    /* the begin is under way or done, and the commit is not */
    bool committing;              /* the function has returned: no more statements */
};

enum { AT_FUNCTION = 2, AT_GUARD, AT_BEGIN, AT_RESULTS };

/* ---- the guard ---- */

/* On the database's thread, or where it could not be sent. */
static void free_rollback(struct sql_request *r)
{
    sql_tx_unref(r->tx);
    sql_request_fini(r);
    mem_free(r);
}

/* The end, whichever way. */
static void leave(struct sql_guard *g)
{
    struct sql_request *r = g->rollback;

    list_remove(&g->node);
    g->rollback = NULL;
    if (r && (!g->open || sql_send(g->db, r) != 0))
        free_rollback(r);
    sql_tx_unref(g->tx);
    g->tx = NULL;
    if (g->db)
        sql_unref(g->db);
    g->db = NULL;
}

static int l_tx_close(lua_State *L)
{
    leave(luaL_checkudata(L, 1, SQL_TX_TYPE));
    return 0;
}

/* Pushes the guard of a transaction that has not begun. */
static struct sql_guard *push_guard(lua_State *L, struct sql_handle *h)
{
    struct sql_guard *g = lua_newuserdatauv(L, sizeof(*g), 0);

    *g = (struct sql_guard){.task = task_of(L)};
    list_init(&g->node);
    luaL_setmetatable(L, SQL_TX_TYPE);
    g->db = h->db;
    sql_ref(g->db);
    g->tx = sql_tx_create();
    g->rollback = mem_zalloc(1, sizeof(*g->rollback));
    if (!g->tx || !g->rollback)
        luaL_error(L, "not enough memory");
    *g->rollback = (struct sql_request){.done = free_rollback, .op = SQL_ROLLBACK, .tx = sql_tx_ref(g->tx)};
    return g;
}

/* ---- tx:query, tx:row ---- */

static int query(lua_State *L, bool one_row, const char *what)
{
    const struct sql_guard *g = luaL_checkudata(L, 1, SQL_TX_TYPE);

    if (!g->db || g->committing)
        return luaL_error(L, "%s: this transaction has ended; tx is for its function only", what);
    return sql_query(L, g->db, g->tx, one_row, what);
}

/* tx:query(sql, ...) -> rows | nil, message, name */
static int l_tx_query(lua_State *L)
{
    return query(L, false, "tx:query");
}

/* tx:row(sql, ...) -> row | nil | nil, message, name */
static int l_tx_row(lua_State *L)
{
    return query(L, true, "tx:row");
}

/* ---- db:transaction ---- */

static int finish_commit(lua_State *L, struct errand *e, int code)
{
    int count = lua_gettop(L) - AT_RESULTS;

    if (code != 0)
        return sql_call_push_failure(L, (const struct sql_call *)e, code);
    ((struct sql_guard *)lua_touserdata(L, AT_GUARD))->open = false;
    if (count == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    luaL_checkstack(L, count, "too many results");
    for (int i = 0; i < count; i++)
        lua_pushvalue(L, AT_RESULTS + i);
    return count;
}

/* The function has returned. A commit is waited for as long as it takes: afterwards it must be known how it went. */
static int on_returned(lua_State *L, int status, lua_KContext context)
{
    static const struct errand_ops ops = {finish_commit, NULL, sql_call_destroy};
    struct sql_guard *g = lua_touserdata(L, AT_GUARD);
    int count = lua_gettop(L) - (AT_RESULTS - 1);

    g->committing = true;
    if (count > 0 && !lua_toboolean(L, AT_RESULTS))
        return count; /* the guard rolls it back */
    struct task *t = task_check_wait(L);
    struct sql_call *c = sql_call_push(L, SQL_COMMIT, g->tx, &ops);
    return sql_call_wait(L, g->db, c, t, -1);
}

static int finish_begin(lua_State *L, struct errand *e, int code)
{
    if (code != 0)
        return sql_call_push_failure(L, (const struct sql_call *)e, code);
    lua_pushvalue(L, AT_FUNCTION);
    lua_pushvalue(L, AT_GUARD);
    lua_callk(L, 1, LUA_MULTRET, 0, on_returned);
    return on_returned(L, LUA_OK, 0);
}

int sql_transaction(lua_State *L, struct sql_handle *h)
{
    static const struct errand_ops ops = {finish_begin, NULL, sql_call_destroy};
    struct task *t = task_check_wait(L);
    struct sql_guard *g = push_guard(L, h);

    lua_toclose(L, AT_GUARD);
    struct sql_call *c = sql_call_push(L, SQL_BEGIN, g->tx, &ops);
    list_add_tail(&h->open, &g->node);
    g->open = true;
    return sql_call_wait(L, g->db, c, t, sql_statement_ms(L));
}

void sql_check_outside(lua_State *L, const struct sql_handle *h)
{
    list_each(node, &h->open)
    {
        if (list_entry(node, struct sql_guard, node)->task == task_of(L))
            luaL_error(L, "this is inside of a transaction of the same database: use its tx here, or db outside of it");
    }
}

void sql_tx_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"query", l_tx_query}, {"row", l_tx_row}, {NULL, NULL}};

    luaL_newmetatable(L, SQL_TX_TYPE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_tx_close);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__gc");
    lua_setfield(L, -2, "__close");
    api_seal_metatable(L);
    lua_pop(L, 1);
}
