/* tide_state.h - tide.state: one table per worker that lives on over reloads. */
#ifndef MT_SCRIPT_TIDE_STATE_H
#define MT_SCRIPT_TIDE_STATE_H
#include <lua.h>

/* Push the table (stack: +1). */
void tide_state_push(lua_State *L);
/* While a chunk loads the table can be read but not written: its fields move to a table behind it, and back. The table itself
 * stays the same, so that scripts may keep it in a local. Hide raises when memory runs out and has changed nothing then. Show
 * does nothing when not hidden. */
void tide_state_hide(lua_State *L);
void tide_state_show(lua_State *L);
#endif
