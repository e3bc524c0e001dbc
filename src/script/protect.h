/* protect.h - pcall, xpcall and the coroutine library as scripts see them. */
#ifndef MT_SCRIPT_PROTECT_H
#define MT_SCRIPT_PROTECT_H
#include <lua.h>
#include <stdbool.h>

/* Set pcall, xpcall and setmetatable in the table on top of the stack (_G of a version). May raise. */
void protect_fill_base(lua_State *L);
/* Replace functions of the coroutine library on top of the stack. May raise. */
void protect_fill_coroutine(lua_State *L);
/* Whether what `function` calls may wait: pcall and xpcall. */
bool protect_may_wait(lua_CFunction function);
#endif
