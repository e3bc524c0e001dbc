/* api_store.h - tide.store: stores in memory by name, shared by all versions of the script. */
#ifndef MT_SCRIPT_API_STORE_H
#define MT_SCRIPT_API_STORE_H
struct lua_State;
void api_store_open(struct lua_State *L); /* the type of stores, and what they keep: it lives as long as the VM. May raise */
void api_store_fill(struct lua_State *L); /* sets `store` in the table on top. May raise */
#endif
