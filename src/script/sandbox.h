/* sandbox.h - the environment of a version: copies of the standard libraries without what could hurt the server. */
#ifndef MT_SCRIPT_SANDBOX_H
#define MT_SCRIPT_SANDBOX_H
#include "script/state.h"

/* Push a new environment (_G) for the version that loads, and below it a new package.loaded. Stack: +2 (loaded, env). May raise.
 */
void sandbox_push_env(lua_State *L);
/* Whether the configuration opens this library ("io", "os", "process", "debug", "package"). */
bool sandbox_allows(const struct script *s, const char *library);
#endif
