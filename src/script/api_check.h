/* api_check.h - tide.check and tide.now. */
#ifndef MT_SCRIPT_API_CHECK_H
#define MT_SCRIPT_API_CHECK_H
struct lua_State;
void api_check_open(struct lua_State *L); /* shapes. May raise */
void api_check_fill(struct lua_State *L); /* sets check and now in the table on top. May raise */
#endif
