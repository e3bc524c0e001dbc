/* api_user.h - tide.user(id) and tide.conn(id): a person or a connection wherever it is; and tide.broadcast. */
#ifndef MT_SCRIPT_API_USER_H
#define MT_SCRIPT_API_USER_H
#include "hub/hub.h"

struct lua_State;

void api_user_open(struct lua_State *L); /* the two types. May raise */
void api_user_fill(struct lua_State *L); /* sets user, conn and broadcast in the table on top. May raise */
/* Whether the value at `index` is one of the two objects; *user or *conn then is its id, empty or 0 for one that nobody can have.
 * The slice is Lua's. Never raises. */
bool api_user_test(struct lua_State *L, int index, struct slice *user, conn_id *conn);
#endif
