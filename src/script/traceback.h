/* traceback.h - tracebacks that cost little however deep the stack is.
 *
 * Lua's own show both ends of a deep stack, and every look at the far end walks through all of it: behind an endless recursion, a
 * million calls, that takes seconds in which nothing can be killed.
 */
#ifndef MT_SCRIPT_TRACEBACK_H
#define MT_SCRIPT_TRACEBACK_H
#include <lua.h>

/* As luaL_traceback: pushes onto L the message (NULL for none) and the stack of co from `level` on; of a deep stack its upper end.
 * May raise. */
void traceback_push(lua_State *L, lua_State *co, const char *message, int level);
/* debug.traceback for scripts, set in the table on top of the stack. */
void traceback_fill(lua_State *L);
#endif
