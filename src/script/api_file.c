/* api_file.c - the file object: read, write, size, close. */
#include "script/api_files.h"

#include "base/err.h"
#include "script/api_help.h"
#include <lauxlib.h>

#define FILE_TYPE "moontide.file"

enum { PIECE_MAX = 16 << 20 }; /* bytes of one read or write */

static struct file **check_object(lua_State *L)
{
    return luaL_checkudata(L, 1, FILE_TYPE);
}

struct file *api_file_push(lua_State *L)
{
    struct file **object = lua_newuserdatauv(L, sizeof(*object), 0);

    *object = NULL;
    luaL_setmetatable(L, FILE_TYPE);
    *object = file_create(script_of(L)->files);
    if (!*object)
        luaL_error(L, "%s", err_text(MT_ENOMEM));
    return *object;
}

static bool is_closed(const struct file *file)
{
    return !file || file->closed;
}

static uint64_t check_offset(lua_State *L, int arg)
{
    lua_Integer offset = luaL_checkinteger(L, arg);

    luaL_argcheck(L, offset >= 0, arg, "offset: 0 or more");
    return (uint64_t)offset;
}

/* ---- file:read ---- */

static int work_read(struct file_errand *e)
{
    e->data = mem_alloc(e->len ? e->len : 1);
    return e->data ? folder_read(e->file->open, e->offset, e->data, &e->len) : MT_ENOMEM;
}

static int finish_read(lua_State *L, struct file_errand *e)
{
    lua_pushlstring(L, e->data, e->len);
    return 1;
}

/* file:read(offset, n) -> bytes | nil, message, name */
static int l_file_read(lua_State *L)
{
    struct file *file = *check_object(L);
    uint64_t offset = check_offset(L, 2);
    lua_Integer n = luaL_checkinteger(L, 3);

    luaL_argcheck(L, n >= 0 && n <= PIECE_MAX, 3, "0 to 16777216 bytes");
    if (is_closed(file))
        return script_push_result(L, MT_ECLOSED);
    struct task *t = task_check_wait(L);
    struct file_errand *e = file_errand_push(L, file, work_read, finish_read);
    e->offset = offset;
    e->len = e->weight = (size_t)n;
    return file_errand_send(L, t, e);
}

/* ---- file:write ---- */

static int work_write(struct file_errand *e)
{
    return folder_write(e->file->open, e->offset, e->data, e->from.len);
}

static int finish_write(lua_State *L, struct file_errand *e)
{
    lua_pushboolean(L, true);
    return 1;
}

/* file:write(offset, bytes) -> ok. The bytes stay on the stack of the coroutine, which waits. */
static int l_file_write(lua_State *L)
{
    struct file *file = *check_object(L);
    uint64_t offset = check_offset(L, 2);
    struct slice bytes = api_check_string(L, 3);

    luaL_argcheck(L, bytes.len <= PIECE_MAX, 3, "at most 16777216 bytes");
    if (is_closed(file))
        return script_push_result(L, MT_ECLOSED);
    luaL_argcheck(L, file->writable, 1, "the file was opened for reading");
    struct task *t = task_check_wait(L);
    struct file_errand *e = file_errand_push(L, file, work_write, finish_write);
    e->offset = offset;
    e->from = bytes;
    e->weight = bytes.len;
    return file_errand_send(L, t, e);
}

/* ---- file:size ---- */

static int work_size(struct file_errand *e)
{
    return folder_size(e->file->open, &e->offset);
}

static int finish_size(lua_State *L, struct file_errand *e)
{
    lua_pushinteger(L, (lua_Integer)e->offset);
    return 1;
}

/* file:size() -> n | nil, message, name. It waits as well: a file system over a network asks its server. */
static int l_file_size(lua_State *L)
{
    struct file *file = *check_object(L);

    if (is_closed(file))
        return script_push_result(L, MT_ECLOSED);
    struct task *t = task_check_wait(L);
    return file_errand_send(L, t, file_errand_push(L, file, work_size, finish_size));
}

/* ---- its end ---- */

/* file:close(), and the end of a `<close>` variable */
static int l_file_close(lua_State *L)
{
    struct file *file = *check_object(L);

    if (!is_closed(file)) {
        script_check_acting(L, "file:close");
        file_close(file);
    }
    return 0;
}

static int l_file_gc(lua_State *L)
{
    struct file **object = check_object(L), *file = *object;

    *object = NULL;
    if (file)
        file_unref(file);
    return 0;
}

static int l_file_tostring(lua_State *L)
{
    lua_pushfstring(L, "file: %p%s", lua_topointer(L, 1), is_closed(*check_object(L)) ? " (closed)" : "");
    return 1;
}

static const luaL_Reg file_methods[] = {
    {"read", l_file_read}, {"write", l_file_write}, {"size", l_file_size}, {"close", l_file_close}, {NULL, NULL}};
static const luaL_Reg file_meta[] = {
    {"__close", l_file_close}, {"__gc", l_file_gc}, {"__tostring", l_file_tostring}, {NULL, NULL}};

void api_file_open(lua_State *L)
{
    luaL_newmetatable(L, FILE_TYPE);
    luaL_setfuncs(L, file_meta, 0);
    luaL_newlib(L, file_methods);
    lua_setfield(L, -2, "__index");
    api_seal_metatable(L);
    lua_pop(L, 1);
}
