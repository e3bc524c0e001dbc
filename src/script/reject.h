/* reject.h - tide.reject: end a handler with an answer that says no. */
#ifndef MT_SCRIPT_REJECT_H
#define MT_SCRIPT_REJECT_H
#include "base/slice.h"
#include <lua.h>

/* Never returns: the running task is answered with this status and message. Raises. */
int reject_raise(lua_State *L, int status, struct slice message);
void api_reject_fill(lua_State *L);
#endif
