/* copy.h - a deep copy of Lua tables. */
#ifndef MT_SCRIPT_COPY_H
#define MT_SCRIPT_COPY_H
#include <lua.h>

/* Push a copy of the table at `index`, and of every table that is reached from it, keys too (stack: +1). Tables that are reached
 * twice are copied once. Copies have the metatables of the originals. All else is the same value in both: functions, userdata,
 * tables that own something (__gc), and the table at `keep`. Raises when memory or the seconds run out. The collector must be
 * stopped, or weak tables would lose entries on the way. */
void copy_push_deep(lua_State *L, int index, int keep, double seconds);
#endif
