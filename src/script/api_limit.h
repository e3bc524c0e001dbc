/* api_limit.h - tide.limit: token buckets that scripts keep, by name and key. */
#ifndef MT_SCRIPT_API_LIMIT_H
#define MT_SCRIPT_API_LIMIT_H
#include <lua.h>

void api_limit_open(lua_State *L);
void api_limit_fill(lua_State *L);
#endif
