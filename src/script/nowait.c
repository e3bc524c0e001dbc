/* nowait.c - finds out which of the four reasons it is. */
#include "script/nowait.h"

#include "script/protect.h"
#include "script/task.h"

#include <lauxlib.h>

enum { LEVELS_MAX = 200 }; /* each look walks there from the top: behind a deep recursion that would take seconds */

/* The innermost C function with a name on the stack that Lua cannot leave and come back to, as its caller names it; NULL when
 * none has one. `call` keeps the text. */
static const char *find_c_function(lua_State *L, lua_Debug *call)
{
    for (int level = 1; level <= LEVELS_MAX && lua_getstack(L, level, call); level++) {
        bool passes;

        lua_getinfo(L, "Snf", call);
        passes = protect_may_wait(lua_tocfunction(L, -1));
        lua_pop(L, 1);
        if (*call->what == 'C' && call->name && !passes)
            return call->name;
    }
    return NULL;
}

static int raise_c_function(lua_State *L)
{
    lua_Debug call;
    const char *name = find_c_function(L, &call);

    if (name)
        return luaL_error(L, "cannot wait here: inside '%s', a C function that cannot be left; wait before or after it", name);
    return luaL_error(L,
                      "cannot wait here: inside a C function that cannot be left (as table.sort, string.gsub or a shape); wait "
                      "before or after it");
}

int nowait_raise(lua_State *L)
{
    const struct script *s = script_of(L);

    if (s->loading)
        return luaL_error(L, "cannot wait here: not %s: use on_start", s->upgrade_budget > 0 ? "in on_upgrade" : "while loading");
    if (s->unwinding > 0)
        return luaL_error(L, "cannot wait here: the task has ended, and its <close> code may not wait");
    if (!task_of(L) && L != s->L)
        return luaL_error(L, "cannot wait here; use tide.spawn: only the script itself resumes a coroutine that it made");
    return raise_c_function(L);
}
