/* api_sql.c - tide.sql.open, tide.sql.blob and the methods of databases.
 *
 * A VM has one object for each database, so a script gets the same one again, whichever version it is and for as long as somebody
 * holds it. Nothing touches the file before the version that has opened it begins, and nothing at all does in a probe.
 */
#include "script/api_sql.h"

#include "script/api_help.h"
#include "script/sql_call.h"
#include "script/sql_plans.h"
#include <lauxlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 1024 };

static const char handles_key = 0; /* its address keys the weak table path -> database */

/* ---- where the file is ---- */

/* Adds "/part" for each part of `name`. False where one leads upwards. */
static bool add_parts(luaL_Buffer *b, struct slice name)
{
    while (name.len > 0) {
        const char *slash = memchr(name.data, '/', name.len);
        struct slice part = {name.data, slash ? (size_t)(slash - name.data) : name.len};

        if (slice_is(part, SLICE("..")))
            return false;
        if (part.len > 0 && !slice_is(part, SLICE("."))) {
            luaL_addchar(b, '/');
            luaL_addlstring(b, part.data, part.len);
        }
        name.data += part.len + (slash != NULL);
        name.len -= part.len + (slash != NULL);
    }
    return true;
}

/* Pushes folder/name. `name` may begin with the folder. Raises where it leads out of it. */
static void push_inside(lua_State *L, int arg, const char *folder, struct slice name)
{
    size_t len = strlen(folder);
    luaL_Buffer b;

    while (len > 0 && folder[len - 1] == '/')
        len--;
    bool whole = name.data[0] == '/';
    if (whole && (name.len <= len || memcmp(name.data, folder, len) != 0 || name.data[len] != '/'))
        luaL_argerror(L, arg, lua_pushfstring(L, "'%s' is not inside of %s", name.data, folder));
    if (whole)
        name = (struct slice){name.data + len, name.len - len};
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, folder, len);
    bool inside = add_parts(&b, name);
    luaL_pushresult(&b);
    if (!inside || lua_rawlen(L, -1) == len)
        luaL_argerror(L, arg, lua_pushfstring(L, "'%s' leads out of %s", name.data, folder));
}

/* A name at `arg` or in the table at `arg`, already on top. Without zero bytes. */
static struct slice check_file_name(lua_State *L, int arg, int index, const char *what)
{
    struct slice name;

    luaL_argcheck(L, lua_type(L, index) == LUA_TSTRING, arg, lua_pushfstring(L, "%s: a string expected", what));
    name.data = lua_tolstring(L, index, &name.len);
    luaL_argcheck(L, name.len > 0 && name.len <= NAME_BYTES_MAX && !memchr(name.data, '\0', name.len), arg,
                  lua_pushfstring(L, "%s: 1 to %d bytes, none of them zero", what, NAME_BYTES_MAX));
    return name;
}

/* Pushes the path of the database that is named at 1. */
static void push_path(lua_State *L)
{
    const struct script *s = script_of(L);
    const char *folder = sql_config_of(s->sql)->folder;
    struct slice name = check_file_name(L, 1, 1, "the name of a file");

    if (slice_is(name, SLICE(":memory:"))) {
        lua_pushvalue(L, 1);
        return;
    }
    if (strncmp(name.data, "file:", 5) == 0)
        luaL_argerror(L, 1, "the name of a file expected, not a URI");
    const char *scheme = strstr(name.data, "://");
    if (scheme) { /* what follows may have a password in it */
        lua_pushlstring(L, name.data, (size_t)(scheme + 3 - name.data));
        luaL_argerror(L, 1, lua_pushfstring(L, "SQLite files only: there is nothing for %s here", lua_tostring(L, -1)));
    }
    push_inside(L, 1, folder ? folder : s->folder, name);
}

/* Pushes the folder with the migrations, from the options at 2; or nil. */
static void push_migrations(lua_State *L)
{
    static const char *const names[] = {"migrations", NULL};

    if (!api_check_table(L, 2, names) || lua_getfield(L, 2, "migrations") == LUA_TNIL) {
        lua_settop(L, 3);
        lua_pushnil(L);
        return;
    }
    push_inside(L, 2, script_of(L)->folder, check_file_name(L, 2, -1, "migrations"));
    lua_remove(L, -2);
}

/* ---- objects ---- */

static struct sql_handle *check_db(lua_State *L)
{
    return luaL_checkudata(L, 1, SQL_DB_TYPE);
}

/* Pushes the object for the path at `path`. 0, or a code with a nil. */
static int push_handle(lua_State *L, int path)
{
    struct script *s = script_of(L);
    struct sql_handle *h;
    int err = 0;

    lua_rawgetp(L, LUA_REGISTRYINDEX, &handles_key);
    lua_pushvalue(L, path);
    if (lua_rawget(L, -2) == LUA_TUSERDATA)
        return 0;
    h = lua_newuserdatauv(L, sizeof(*h), 1);
    h->db = NULL;
    list_init(&h->open);
    luaL_setmetatable(L, SQL_DB_TYPE);
    lua_pushvalue(L, path);
    lua_setiuservalue(L, -2, 1);
    if (!s->probe)
        err = sql_open(s->sql, lua_tostring(L, path), &h->db);
    if (err != 0)
        return err;
    lua_pushvalue(L, path);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5); /* handles, nil, object */
    return 0;
}

/* tide.sql.open(name, {migrations=}) -> db | nil, message, name */
static int l_sql_open(lua_State *L)
{
    lua_settop(L, 2);
    push_path(L);       /* 3 */
    push_migrations(L); /* 4 */
    int err = push_handle(L, 3);
    const struct sql_handle *h = err == 0 ? lua_touserdata(L, -1) : NULL;
    if (h && h->db)
        err = sql_plans_note(L, h->db, lua_tostring(L, 4));
    if (err == MT_EINVALID)
        luaL_argerror(L, 2, "this version has opened the database with other migrations");
    if (err == MT_ELIMITED)
        return script_push_failure(L, "too many databases are open", err_name(err));
    return err == 0 ? 1 : script_push_result(L, err);
}

/* tide.sql.blob(bytes) -> a parameter */
static int l_sql_blob(lua_State *L)
{
    api_check_string(L, 1);
    lua_newuserdatauv(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, SQL_BLOB_TYPE);
    return 1;
}

/* ---- methods ---- */

static int query(lua_State *L, bool one_row, const char *what)
{
    const struct sql_handle *h = check_db(L);

    sql_check_outside(L, h);
    return sql_query(L, h->db, NULL, one_row, what);
}

/* db:query(sql, ...) -> rows | nil, message, name */
static int l_db_query(lua_State *L)
{
    return query(L, false, "db:query");
}

/* db:row(sql, ...) -> row | nil | nil, message, name */
static int l_db_row(lua_State *L)
{
    return query(L, true, "db:row");
}

/* db:transaction(fn) -> what fn(tx) returns | nil, message, name */
static int l_db_transaction(lua_State *L)
{
    struct sql_handle *h = check_db(L);

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    script_check_acting(L, "db:transaction");
    sql_check_outside(L, h);
    return sql_transaction(L, h);
}

static int l_db_gc(lua_State *L)
{
    struct sql_handle *h = check_db(L);

    if (h->db)
        sql_unref(h->db);
    h->db = NULL;
    return 0;
}

static int l_db_tostring(lua_State *L)
{
    check_db(L);
    lua_getiuservalue(L, 1, 1);
    lua_pushfstring(L, "database: %s", lua_tostring(L, -1));
    return 1;
}

/* ---- registration ---- */

void api_sql_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"query", l_db_query}, {"row", l_db_row}, {"transaction", l_db_transaction}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_db_gc}, {"__tostring", l_db_tostring}, {NULL, NULL}};

    luaL_newmetatable(L, SQL_DB_TYPE);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    luaL_newmetatable(L, SQL_BLOB_TYPE);
    api_seal_metatable(L);
    lua_pop(L, 2);
    script_push_weak_table(L, "v");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handles_key);
    sql_tx_open(L);
}

void api_sql_fill(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", l_sql_open}, {"blob", l_sql_blob}, {NULL, NULL}};

    luaL_newlib(L, functions);
    lua_setfield(L, -2, "sql");
}
