/* modules.h - source files and `require`: modules are found beside the script, then in the library folder; each version has its
 * own. */
#ifndef MT_SCRIPT_MODULES_H
#define MT_SCRIPT_MODULES_H
#include "script/state.h"

/* require(name) as scripts see it. */
int l_require(lua_State *L);
/* Push the compiled main script of `v`, bound to its environment. Raises when it cannot be read or compiled, or memory runs out.
 */
void modules_push_script(lua_State *L, struct version *v);
#endif
