/* api_json.h - tide.json and tide.null. */
#ifndef MT_SCRIPT_API_JSON_H
#define MT_SCRIPT_API_JSON_H
#include <stdbool.h>

struct lua_State;

/* Sets `json` and `null` in the table on top of the stack. May raise. */
void api_json_fill(struct lua_State *L);
/* Push what require "cjson" gives, for programs that were written for lua-cjson: encode, decode and null of this server's JSON.
 * That library itself allocates outside of script.memory and cannot be ended. Failures are raised; `safe`: returned. May raise.
 */
void api_json_push_cjson(struct lua_State *L, bool safe);
#endif
