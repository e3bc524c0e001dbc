/* sql_call.c - parameters from Lua, rows to Lua.
 *
 * Values keep their types. NULL is no field of its row, so that a row reads like any other table.
 */
#include "script/sql_call.h"

#include "script/api_help.h"
#include "script/json.h"
#include <lauxlib.h>
#include <math.h>

/* ---- there and back ---- */

/* On the database's thread. */
static void on_done(struct sql_request *r)
{
    struct sql_call *c = list_entry(r, struct sql_call, request);

    c->errand.code = r->code;
    inbox_post(c->inbox, &c->errand.letter);
}

void sql_call_destroy(struct errand *e)
{
    struct sql_call *c = (struct sql_call *)e;

    sql_tx_unref(c->request.tx);
    sql_request_fini(&c->request);
}

struct sql_call *sql_call_push(lua_State *L, enum sql_op op, struct sql_tx *tx, const struct errand_ops *ops)
{
    struct sql_call *c = errand_push(L, sizeof(*c), ops);

    c->inbox = script_of(L)->inbox;
    c->request.done = on_done;
    c->request.given_up = &c->errand.given_up;
    c->request.op = op;
    c->request.tx = tx ? sql_tx_ref(tx) : NULL;
    return c;
}

int sql_call_wait(lua_State *L, struct sql_db *db, struct sql_call *c, struct task *t, int64_t ms)
{
    errand_start(t, &c->errand);
    int err = sql_send(db, &c->request);
    if (err != 0)
        errand_refuse(&c->errand, err);
    return errand_wait(L, &c->errand, ms);
}

int sql_call_push_failure(lua_State *L, const struct sql_call *c, int code)
{
    const char *text = err_text(code);

    if (atomic_load(&c->errand.given_up)) /* the request is the other thread's still */
        text = "longer than sql.timeout";
    else if (c->request.why[0])
        text = c->request.why;
    else if (code == MT_EBUSY)
        text = "too many statements wait for this database";
    return script_push_failure(L, text, err_name(code));
}

int64_t sql_statement_ms(lua_State *L)
{
    return (int64_t)sql_config_of(script_of(L)->sql)->statement_ms;
}

/* ---- parameters ---- */

static void read_bytes(lua_State *L, int index, enum sql_type type, struct sql_value *out)
{
    out->type = type;
    out->bytes.data = lua_tolstring(L, index, &out->bytes.len);
}

/* The value at `arg`; the bytes of a blob are pushed. Raises for what SQLite has no type for. */
static void check_value(lua_State *L, int arg, struct sql_value *out)
{
    *out = (struct sql_value){.type = SQL_NULL};
    if (lua_isnil(L, arg) || (lua_type(L, arg) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, arg)))
        return;
    if (lua_isboolean(L, arg) || lua_isinteger(L, arg)) {
        out->type = SQL_INTEGER;
        out->integer = lua_isboolean(L, arg) ? lua_toboolean(L, arg) : lua_tointeger(L, arg);
    } else if (lua_type(L, arg) == LUA_TNUMBER) {
        out->type = SQL_REAL;
        out->real = lua_tonumber(L, arg);
        luaL_argcheck(L, !isnan(out->real), arg, "nan is no value of SQL");
    } else if (lua_type(L, arg) == LUA_TSTRING) {
        read_bytes(L, arg, SQL_TEXT, out);
    } else if (luaL_testudata(L, arg, SQL_BLOB_TYPE)) {
        lua_getiuservalue(L, arg, 1);
        read_bytes(L, -1, SQL_BLOB, out);
    } else {
        luaL_argerror(L, arg, lua_pushfstring(L, "a value of SQL expected, got %s", luaL_typename(L, arg)));
    }
}

static void add(lua_State *L, int err)
{
    if (err != 0)
        luaL_error(L, "not enough memory");
}

/* The statement at 2 and what is between it and the request on top. False when that is too large. */
static bool fill(lua_State *L, struct sql_request *r)
{
    struct slice text = api_check_string(L, 2);
    int last = lua_gettop(L) - 1;

    add(L, buf_add(&r->in, text.data, text.len));
    r->text_len = text.len;
    for (int arg = 3; arg <= last && r->in.len <= SQL_BYTES_MAX; arg++) {
        struct sql_value v;

        check_value(L, arg, &v);
        if (v.bytes.len > SQL_BYTES_MAX)
            return false;
        add(L, sql_value_put(&r->in, &v));
        lua_settop(L, last + 1);
    }
    r->values = (size_t)(last - 2);
    return r->in.len <= SQL_BYTES_MAX;
}

/* ---- rows ---- */

static void push_value(lua_State *L, const struct sql_value *v)
{
    if (v->type == SQL_INTEGER)
        lua_pushinteger(L, v->integer);
    else if (v->type == SQL_REAL)
        lua_pushnumber(L, v->real);
    else
        lua_pushlstring(L, v->bytes.data, v->bytes.len);
}

/* Pushes the names of the columns. */
static void push_names(lua_State *L, const struct sql_request *r, struct slice *rest)
{
    luaL_checkstack(L, (int)r->columns + 10, "too many columns");
    for (size_t i = 0; i < r->columns; i++) {
        struct sql_value name;

        sql_value_take(rest, &name);
        push_value(L, &name);
    }
}

/* Pushes the next row; the names are at `names` and up. */
static void push_row(lua_State *L, const struct sql_request *r, struct slice *rest, int names)
{
    lua_createtable(L, 0, (int)r->columns);
    for (int i = 0; i < (int)r->columns; i++) {
        struct sql_value v;

        sql_value_take(rest, &v);
        if (v.type == SQL_NULL)
            continue;
        lua_pushvalue(L, names + i);
        push_value(L, &v);
        lua_rawset(L, -3);
    }
}

/* What a list of rows has besides its items: it is found there and not among them, and so the list stays one for JSON. */
static void add_facts(lua_State *L, const struct sql_request *r)
{
    lua_createtable(L, 0, 4);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, r->changes);
    lua_setfield(L, -2, "changes");
    if (r->last_id) {
        lua_pushinteger(L, r->last_id);
        lua_setfield(L, -2, "last_id");
    }
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "list");
    lua_setfield(L, -2, "__name");
    api_seal_metatable(L);
    json_mark_metatable(L);
    lua_setmetatable(L, -2);
}

static int push_rows(lua_State *L, const struct sql_request *r)
{
    struct slice rest = buf_slice(&r->out);

    lua_createtable(L, (int)r->rows, 0);
    int list = lua_gettop(L);
    push_names(L, r, &rest);
    for (size_t i = 1; i <= r->rows; i++) {
        push_row(L, r, &rest, list + 1);
        lua_rawseti(L, list, (lua_Integer)i);
    }
    lua_settop(L, list);
    add_facts(L, r);
    return 1;
}

static int push_first(lua_State *L, const struct sql_request *r)
{
    struct slice rest = buf_slice(&r->out);
    int top = lua_gettop(L);

    if (r->rows == 0) {
        lua_pushnil(L);
        return 1;
    }
    push_names(L, r, &rest);
    push_row(L, r, &rest, top + 1);
    return 1;
}

/* ---- a statement ---- */

static int finish(lua_State *L, struct errand *e, int code)
{
    const struct sql_call *c = (const struct sql_call *)e;

    if (code != 0)
        return sql_call_push_failure(L, c, code);
    return c->request.one_row ? push_first(L, &c->request) : push_rows(L, &c->request);
}

int sql_query(lua_State *L, struct sql_db *db, struct sql_tx *tx, bool one_row, const char *what)
{
    static const struct errand_ops ops = {finish, NULL, sql_call_destroy};

    api_check_string(L, 2);
    script_check_acting(L, what);
    struct sql_call *c = sql_call_push(L, SQL_QUERY, tx, &ops);
    if (!fill(L, &c->request))
        return script_push_failure(L, "a statement with its parameters has at most 16 MiB", err_name(MT_ETOO_LARGE));
    c->request.one_row = one_row;
    return sql_call_wait(L, db, c, task_check_wait(L), sql_statement_ms(L));
}
