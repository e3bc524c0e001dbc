/* api_files.c - tide.files: the one folder that a setting names. */
#include "script/api_files.h"

#include "base/err.h"
#include "script/api_help.h"
#include "script/json.h"
#include <lauxlib.h>

enum {
    LIST_MAX = 10000, /* files of one list: so many become tables without a stall that anybody would notice */
    COLLECT_MS = 5000,
};

static const char *const modes[] = {"r", "w", NULL};

/* What is wrong with the call as such: pushes a failure and returns 3, or 0. Names come from clients, so a bad one is no mistake
 * of the author. */
static int refuse(lua_State *L, const char *function, bool fine)
{
    script_check_acting(L, function);
    if (!script_of(L)->files->folder)
        return script_push_failure(L, "the setting files.folder is not there", err_name(MT_EDENIED));
    return fine ? 0 : script_push_failure(L, "not a file name", err_name(MT_EINVALID));
}

/* Keeps a name for the errand on top of the stack. Raises when memory runs out. */
static char *copy_name(lua_State *L, struct slice name)
{
    char *copy = mem_strdup(name.data, name.len);

    if (!copy)
        luaL_error(L, "%s", err_text(MT_ENOMEM));
    return copy;
}

/* What is about one name or two, and no open file. */
static int send_names(lua_State *L, int (*work)(struct file_errand *e), int (*finish)(lua_State *L, struct file_errand *e),
                      struct slice name, const struct slice *other)
{
    struct task *t = task_check_wait(L);
    struct file_errand *e = file_errand_push(L, NULL, work, finish);

    e->name = copy_name(L, name);
    e->other = other ? copy_name(L, *other) : NULL;
    return file_errand_send(L, t, e);
}

static int finish_true(lua_State *L, struct file_errand *e)
{
    lua_pushboolean(L, true);
    return 1;
}

/* ---- open ---- */

static int work_open(struct file_errand *e)
{
    return folder_open_file(e->files->folder, e->name, e->file->writable, &e->file->open);
}

/* The object is below the errand's owner. */
static int finish_open(lua_State *L, struct file_errand *e)
{
    e->fresh = false;
    lua_pushvalue(L, 3);
    return 1;
}

/* Files that no script holds any more are closed when the collector finds them, which may be long after: it knows nothing of
 * descriptors. */
static bool has_room(lua_State *L, struct files *f)
{
    uint64_t now = loop_now(script_of(L)->loop);

    if (f->open >= f->limit && (f->collected == 0 || now - f->collected >= COLLECT_MS)) {
        f->collected = now;
        lua_gc(L, LUA_GCCOLLECT);
    }
    return f->open < f->limit;
}

/* files.open(name, mode="r") -> file | nil, message, name */
static int l_files_open(lua_State *L)
{
    struct slice name = api_check_string(L, 1);
    bool write = api_check_option(L, 2, "mode", modes, 0) == 1;
    int refused = refuse(L, "tide.files.open", folder_is_name(name));

    if (refused)
        return refused;
    struct task *t = task_check_wait(L);
    if (!has_room(L, script_of(L)->files))
        return script_push_failure(L, "too many open files", err_name(MT_ELIMITED));
    lua_settop(L, 2);
    struct file *file = api_file_push(L); /* name, mode, file */
    file->writable = write;
    struct file_errand *e = file_errand_push(L, file, work_open, finish_open);
    e->fresh = true;
    e->name = copy_name(L, name);
    return file_errand_send(L, t, e);
}

/* ---- rename, delete ---- */

static int work_rename(struct file_errand *e)
{
    return folder_rename(e->files->folder, e->name, e->other);
}

/* files.rename(from, to) -> ok */
static int l_files_rename(lua_State *L)
{
    struct slice from = api_check_string(L, 1), to = api_check_string(L, 2);
    int refused = refuse(L, "tide.files.rename", folder_is_name(from) && folder_is_name(to));

    return refused ? refused : send_names(L, work_rename, finish_true, from, &to);
}

static int work_delete(struct file_errand *e)
{
    int rc = folder_delete(e->files->folder, e->name);

    e->offset = rc == 0; /* the answer: whether it was there */
    return rc == MT_ENOT_FOUND ? 0 : rc;
}

static int finish_delete(lua_State *L, struct file_errand *e)
{
    lua_pushboolean(L, e->offset != 0);
    return 1;
}

/* files.delete(name) -> boolean | nil, message, name */
static int l_files_delete(lua_State *L)
{
    struct slice name = api_check_string(L, 1);
    int refused = refuse(L, "tide.files.delete", folder_is_name(name));

    return refused ? refused : send_names(L, work_delete, finish_delete, name, NULL);
}

/* ---- list ---- */

static int work_list(struct file_errand *e)
{
    return folder_find(e->files->folder, e->name, LIST_MAX, &e->errand.given_up, &e->list);
}

static void push_entry(lua_State *L, const struct folder_entry *entry)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, entry->name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, (lua_Integer)entry->size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, entry->time);
    lua_setfield(L, -2, "time");
}

static int finish_list(lua_State *L, struct file_errand *e)
{
    lua_createtable(L, (int)e->list.count, 0);
    for (size_t i = 0; i < e->list.count; i++) {
        push_entry(L, &e->list.entries[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    json_mark_array(L);
    return 1;
}

/* files.list(prefix="") -> { {name=, size=, time=} } | nil, message, name */
static int l_files_list(lua_State *L)
{
    struct slice prefix = lua_isnoneornil(L, 1) ? SLICE("") : api_check_string(L, 1);
    int refused = refuse(L, "tide.files.list", folder_is_prefix(prefix));

    return refused ? refused : send_names(L, work_list, finish_list, prefix, NULL);
}

static const luaL_Reg files_functions[] = {
    {"open", l_files_open}, {"rename", l_files_rename}, {"delete", l_files_delete}, {"list", l_files_list}, {NULL, NULL}};

void api_files_fill(lua_State *L)
{
    luaL_newlib(L, files_functions);
    lua_setfield(L, -2, "files");
}
