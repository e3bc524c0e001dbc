/* modules.c - reads and compiles sources, finds modules. */
#include "script/modules.h"

#include "script/api_json.h"
#include "script/lint.h"
#include "script/sandbox.h"
#include "script/sources.h"
#include "script/version.h"
#include "script/vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { PATH_MAX_BYTES = 4096, COMPILE_FAILED = -1 };

/* Without a byte order mark and without the text of a first line that begins with # (the line itself still counts). */
static struct slice without_head(struct slice text)
{
    if (text.len >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0)
        text = (struct slice){text.data + 3, text.len - 3};
    if (text.len > 0 && text.data[0] == '#') {
        const char *end = memchr(text.data, '\n', text.len);

        text = end ? (struct slice){end, (size_t)(text.data + text.len - end)} : (struct slice){"", 0};
    }
    return text;
}

/* The text of a source: from the version's set, which fills itself where the version is the first to load. What the set was never
 * asked for comes from the disk, and `own` holds it: a running handler requires something, or a chunk takes another way than it
 * took when the set was read. 0 or an errno value. */
static int find_text(struct version *v, const char *path, const char *shown, struct slice *text, struct buf *own)
{
    bool loading = v->script->loading == v;
    int rc = v->reads ? sources_look(v->sources, path, shown, text) : sources_find(v->sources, path, text);

    if (!v->reads && (rc < 0 || (rc > 0 && !loading))) { /* for a handler a file may be there by now */
        rc = sources_read_file(path, own);
        *text = buf_slice(own);
    }
    if (v->reads)
        memcpy(v->hash, sources_hash(v->sources), sizeof(v->hash));
    return rc == 0 && version_note_file(v, path) != 0 ? ENOMEM : rc;
}

/* Compile `path` under the name that errors show: 0 with the function pushed, COMPILE_FAILED with a message, or an errno value.
 */
static int push_chunk(lua_State *L, struct version *v, const char *path, const char *shown)
{
    struct slice text = {0};
    struct buf own = {0};
    char name[PATH_MAX_BYTES + 1];
    bool compiled;
    int rc = find_text(v, path, shown, &text, &own), status = LUA_OK;

    snprintf(name, sizeof(name), "@%s", shown);
    text = without_head(text);
    compiled = text.len && text.data[0] == LUA_SIGNATURE[0];
    if (rc == 0)
        lint_source(v, shown, text);
    if (rc == 0)
        status = luaL_loadbufferx(L, text.len ? text.data : "", text.len, name, "t");
    buf_fini(&own);
    if (rc != 0)
        return rc;
    if (compiled) { /* Lua's own words do not say which file */
        lua_pop(L, 1);
        lua_pushfstring(L, "%s: this is no Lua source; compiled chunks are not loaded", shown);
    }
    if (status != LUA_OK)
        return COMPILE_FAILED;
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->env_ref);
    lua_setupvalue(L, -2, 1);
    return 0;
}

/* Raises what push_chunk found. */
static int raise_failure(lua_State *L, const char *path, int rc)
{
    char why[128];

    if (rc == COMPILE_FAILED)
        return lua_error(L);
    lua_pushfstring(L, "cannot read %s: %s", path, strerror_r(rc, why, sizeof(why)));
    return lua_error(L);
}

void modules_push_script(lua_State *L, struct version *v)
{
    const char *path = v->script->config.path;
    const char *base = strrchr(path, '/');
    int rc = push_chunk(L, v, path, base ? base + 1 : path);

    if (rc != 0)
        raise_failure(L, path, rc);
}

/* ---- require ---- */

/* "a.b" and "a/b" are file names below a folder; nothing leads out of it. */
static bool is_module_name(const char *name)
{
    if (name[0] == '\0' || strlen(name) > 200 || strstr(name, ".."))
        return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '\\')
            return false;
    return name[0] != '/' && name[0] != '.';
}

/* Push the compiled module from one folder: as name.lua or name/init.lua. 1: found, 0: not there. Raises what the compiler says.
 */
static int push_from_folder(lua_State *L, struct version *v, const char *folder, const char *name)
{
    static const char *const endings[] = {".lua", "/init.lua"};
    char shown[512], path[PATH_MAX_BYTES];
    int rc;

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        snprintf(shown, sizeof(shown), "%s%s", name, endings[i]);
        for (char *p = shown; *p && p < shown + strlen(name); p++)
            if (*p == '.')
                *p = '/';
        if (snprintf(path, sizeof(path), "%s/%s", folder, shown) >= (int)sizeof(path))
            continue;
        rc = push_chunk(L, v, path, shown);
        if (rc == 0)
            return 1;
        if (!sources_is_missing(rc))
            raise_failure(L, path, rc);
    }
    return 0;
}

/* With sandbox.allow=package: a C module on the real package.cpath. Pushes its opener. */
static int push_c_module(lua_State *L, const char *name)
{
    if (!sandbox_allows(script_of(L), "package"))
        return 0;
    vm_push_library(L, "package"); /* package */
    lua_getfield(L, -1, "searchpath");
    lua_pushstring(L, name);
    lua_getfield(L, -3, "cpath");
    lua_call(L, 2, 1); /* package, file */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 2);
        return 0;
    }
    lua_getfield(L, -2, "loadlib"); /* package, file, loadlib */
    lua_insert(L, -2);
    lua_pushliteral(L, "luaopen_");
    luaL_gsub(L, name, ".", "_");
    lua_concat(L, 2);
    lua_call(L, 2, 2); /* package, opener, why */
    if (!lua_isfunction(L, -2))
        lua_error(L);
    lua_pop(L, 1);
    lua_remove(L, -2);
    return 1;
}

/* Native modules of the embedding program, and tide.json in the shape of lua-cjson. Pushes the module. */
static int push_native(lua_State *L, const char *name)
{
    const struct script_config *c = &script_of(L)->config;

    for (size_t i = 0; i < c->module_count; i++)
        if (strcmp(name, c->modules[i].name) == 0) {
            vm_push_library(L, name);
            return 1;
        }
    if (strcmp(name, "cjson") != 0 && strcmp(name, "cjson.safe") != 0)
        return 0;
    api_json_push_cjson(L, strcmp(name, "cjson.safe") == 0);
    return 1;
}

static int raise_not_found(lua_State *L, const char *name)
{
    const struct script *s = script_of(L);

    if (s->config.library)
        return luaL_error(L, "module '%s' not found: no such file beside the script (%s) or in %s", name, s->folder,
                          s->config.library);
    return luaL_error(L, "module '%s' not found: no such file beside the script (%s)", name, s->folder);
}

int l_require(lua_State *L)
{
    struct script *s = script_of(L);
    struct version *v = s->version;
    const char *name = luaL_checkstring(L, 1);

    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->loaded_ref); /* name, loaded */
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    if (!push_native(L, name)) {
        if (!is_module_name(name))
            return luaL_error(L, "require: '%s' is no module name", name);
        if (!push_from_folder(L, v, s->folder, name) && !(s->config.library && push_from_folder(L, v, s->config.library, name)) &&
            !push_c_module(L, name))
            return raise_not_found(L, name);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1); /* name, loaded, module */
    }
    if (lua_isnil(L, 3) && lua_getfield(L, 2, name) != LUA_TNIL) {
        lua_replace(L, 3); /* it put itself into package.loaded */
        return 1;
    }
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_pushboolean(L, 1);
        lua_replace(L, 3);
    }
    lua_pushvalue(L, 3);
    lua_setfield(L, 2, name);
    return 1;
}
