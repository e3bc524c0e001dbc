/* tide_state.h - tide.state: one table per worker that lives on over reloads.
 *
 * The table itself stays the same as long as the worker lives, so that scripts may keep it in a local; what changes is what it
 * holds. Its fields may lie in a second table behind it, with a guard as metatable in front of that: hidden. It then reads as
 * always and cannot be written while a chunk loads. A guard with its fields, made beforehand, is put behind tide.state without
 * memory, so that cannot fail; to show it afterwards moves the fields back, and may be tried again where memory runs out on the
 * way.
 */
#ifndef MT_SCRIPT_TIDE_STATE_H
#define MT_SCRIPT_TIDE_STATE_H
#include <lua.h>

struct script;

/* Push the table (stack: +1). */
void tide_state_push(lua_State *L);
/* The fields go behind the table. Raises when memory runs out and has changed nothing then. */
void tide_state_hide(lua_State *L);
/* The fields come back. Does nothing when they are not hidden. When memory runs out some stay behind it, which reads the same. */
void tide_state_show(struct script *s);

/* ---- for an on_upgrade, while hidden ---- */
/* Push the table of the fields behind it (stack: +1). */
void tide_state_push_fields(lua_State *L);
/* Reads show the table at `index` for now, until tide_state_uncover. May raise, and has changed nothing then. */
void tide_state_cover(lua_State *L, int index);
void tide_state_uncover(struct script *s);
/* Push a guard with a copy of the fields of the table at `index` (stack: +1). May raise. */
void tide_state_push_guard(lua_State *L, int index);
/* Push the guard that hides the fields now (stack: +1). */
void tide_state_push_behind(lua_State *L);
/* What tide.state holds is thrown away, and what the referenced guard has comes instead. Takes the reference. Cannot fail. */
void tide_state_replace(struct script *s, int *guard_ref);
#endif
