/* api_store.h - tide.store: keys and values that are shared by all workers, durable or in memory. */
#ifndef MT_SCRIPT_API_STORE_H
#define MT_SCRIPT_API_STORE_H
struct lua_State;
void api_store_open(struct lua_State *L); /* the type of stores that were opened; it lives as long as the VM. May raise */
void api_store_fill(struct lua_State *L); /* sets `store` in the table on top. May raise */
#endif
