/* mend.h - puts right what an end from outside leaves wrong in a coroutine, for which Lua 5.4 has no call.
 *
 * While a hook runs Lua keeps hooks off in its coroutine; an error that the killing hook raises leaves them off. And a coroutine
 * that ends while it waits, or is killed, inside of xpcall still has that message handler (Lua itself mends it from 5.4.6 on).
 * The coroutine is dead then, but its <close> variables have yet to run in it, and after that it is used again: they could never
 * be killed, and an error would call whatever lies where the handler was.
 */
#ifndef MT_SCRIPT_MEND_H
#define MT_SCRIPT_MEND_H
#include <lua.h>
#include <stdbool.h>

/* Whether mend_coroutine knows this Lua. To be asked once per VM, in a protected call without a message handler. May raise. */
bool mend_is_possible(lua_State *L);
/* Before lua_resetthread. No code of L may be running. */
void mend_coroutine(lua_State *L);
#endif
