/* api_log.h - tide.log. */
#ifndef MT_SCRIPT_API_LOG_H
#define MT_SCRIPT_API_LOG_H
struct lua_State;
void api_log_fill(struct lua_State *L); /* sets `log` in the table on top. May raise */
#endif
