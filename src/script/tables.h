/* tables.h - the functions of Lua's table library whose time the script chooses, in a form that ends with the script. */
#ifndef MT_SCRIPT_TABLES_H
#define MT_SCRIPT_TABLES_H
#include <lua.h>

/* Replace functions of the table library on top of the stack. May raise. */
void tables_bound(lua_State *L);
#endif
