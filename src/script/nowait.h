/* nowait.h - where a script cannot wait, in words that say what to do instead. */
#ifndef MT_SCRIPT_NOWAIT_H
#define MT_SCRIPT_NOWAIT_H
#include <lua.h>

/* Raises why the function that runs in L cannot wait; every message begins with "cannot wait here". Never returns; the result is
 * for `return`. */
int nowait_raise(lua_State *L);
#endif
