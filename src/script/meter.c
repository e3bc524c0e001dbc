/* meter.c - see meter.h. */
#include "script/meter.h"

#include "script/state.h"
#include "script/watch.h"

void meter_look(lua_State *L)
{
    if (script_is_ending(L)) {
        watch_note(L);
        script_pass_on(L);
    }
}
