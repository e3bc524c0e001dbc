/* api_conn.h - the conn object: one userdata per connection, safe to keep for ever.
 *
 * It holds an id, never a pointer. From the first time that a script sees the connection until on_close has returned, peer->ref
 * keeps the userdata, so that there is one; after that it lives as long as a script holds it, nothing pushes that id any more,
 * and its methods give nil, "closed", "closed".
 */
#ifndef MT_SCRIPT_API_CONN_H
#define MT_SCRIPT_API_CONN_H
#include "hub/hub.h"

struct lua_State;
struct peer;

/* Once per VM: the type. May raise. */
void api_conn_open(struct lua_State *L);
/* Sets tide.conns in the table on top. May raise. */
void api_conn_fill(struct lua_State *L);
/* Push the userdata of a connection (stack: +1). Raises when memory runs out. */
void api_conn_push(struct lua_State *L, conn_id id);
/* The table at `index` becomes conn.data. Raises when memory runs out. */
void api_conn_set_data(struct lua_State *L, struct peer *p, int index);
/* Whether the value at `index` is a conn; its id then. Never raises. */
bool api_conn_test(struct lua_State *L, int index, conn_id *id);
#endif
