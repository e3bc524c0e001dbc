/* api_user.h - tide.user(id) and tide.conn(id): a person or a connection wherever it is; and tide.broadcast. */
#ifndef MT_SCRIPT_API_USER_H
#define MT_SCRIPT_API_USER_H
struct lua_State;
void api_user_open(struct lua_State *L); /* the two types. May raise */
void api_user_fill(struct lua_State *L); /* sets user, conn and broadcast in the table on top. May raise */
#endif
