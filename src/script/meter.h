/* meter.h - library functions that run long in C, where no hook can interrupt them: they count their work and look up now and
 * then, so that the watchdog ends them as it ends a loop of the script.
 */
#ifndef MT_SCRIPT_METER_H
#define MT_SCRIPT_METER_H
#include <lua.h>
#include <stddef.h>

/* The work of one call so far. A unit is a few nanoseconds: a byte looked at, an item moved. */
struct meter {
    size_t done; /* since the last look */
};

/* How much passes between two looks. Table items count METER_ITEM each: a chain of __index tables makes one cost up to 2,000
 * lookups. */
enum { METER_UNITS = 1 << 17, METER_ITEM = 1 << 7 };

/* Ends the script when the watchdog wants that; may raise or yield for good. The caller owns nothing but what lies on Lua's
 * stack. */
void meter_look(lua_State *L);

/* `units` of work are about to be done or were just done. As meter_look. */
static inline void meter_step(lua_State *L, struct meter *p, size_t units)
{
    p->done += units;
    if (p->done >= METER_UNITS) {
        p->done = 0;
        meter_look(L);
    }
}
#endif
