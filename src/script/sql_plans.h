/* sql_plans.h - which databases a version has opened, and with which migrations: they are prepared when the version begins,
 * before anything else of it runs, and not while it is still to be seen whether it goes live.
 */
#ifndef MT_SCRIPT_SQL_PLANS_H
#define MT_SCRIPT_SQL_PLANS_H
#include "script/state.h"

struct sql_db;

/* The version whose code runs or loads has opened a database; `folder` NULL: without migrations. Prepares it at once where the
 * version has begun. 0, MT_ENOMEM, or MT_EINVALID: this version has opened it with migrations from somewhere else. */
int sql_plans_note(lua_State *L, struct sql_db *db, const char *folder);
/* The version begins. Also the one that comes back. Runs no Lua. */
void sql_plans_begin(struct version *v);
void sql_plans_free(struct version *v);
#endif
