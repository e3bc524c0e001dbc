/* api_password.h - tide.password. */
#ifndef MT_SCRIPT_API_PASSWORD_H
#define MT_SCRIPT_API_PASSWORD_H
struct lua_State;
void api_password_fill(struct lua_State *L); /* sets `password` in the table on top. May raise */
#endif
