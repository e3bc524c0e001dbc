/* hooks.h - turns the hooks of a coroutine on again, for which Lua 5.4 has no call.
 *
 * While a hook runs Lua keeps hooks off in its coroutine. An error that the killing hook raises leaves them off: the coroutine is
 * dead, but its <close> variables have yet to run in it, and after that it is used again. Neither could ever be killed.
 */
#ifndef MT_SCRIPT_HOOKS_H
#define MT_SCRIPT_HOOKS_H
#include <lua.h>
#include <stdbool.h>

/* Whether hooks_allow knows this Lua. To be asked before anything else is done with hooks. May raise. */
bool hooks_are_known(lua_State *L);
/* No hook of L may be running. */
void hooks_allow(lua_State *L);
#endif
