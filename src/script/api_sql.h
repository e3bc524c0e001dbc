/* api_sql.h - tide.sql and the databases that it opens. */
#ifndef MT_SCRIPT_API_SQL_H
#define MT_SCRIPT_API_SQL_H
struct lua_State;

void api_sql_open(struct lua_State *L); /* once per VM. May raise */
void api_sql_fill(struct lua_State *L); /* once per version, onto the table on top of the stack. May raise */
#endif
