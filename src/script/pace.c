/* pace.c - see pace.h. */
#include "script/pace.h"

#include "script/state.h"
#include "script/watch.h"

void pace_look(lua_State *L)
{
    if (script_is_ending(L)) {
        watch_note(L);
        script_pass_on(L);
    }
}
