/* api_json.h - tide.json and tide.null. */
#ifndef MT_SCRIPT_API_JSON_H
#define MT_SCRIPT_API_JSON_H
struct lua_State;
/* Sets `json` and `null` in the table on top of the stack. May raise. */
void api_json_fill(struct lua_State *L);
#endif
