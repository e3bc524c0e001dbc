/* response.h - what tide.http gives: the answer of another server, whole or as a stream.
 *
 * The object owns its call and outlives the version that made it. Of a whole answer the call is gone once its fields are made; a
 * stream keeps it until the object is closed or collected.
 */
#ifndef MT_SCRIPT_RESPONSE_H
#define MT_SCRIPT_RESPONSE_H
#include "client/http.h"
#include "script/state.h"

/* Push an object with a call that has not begun (stack: +1). Raises when memory runs out. */
struct http_call *response_push(lua_State *L, struct http_client *c);
/* The object is on top, and its call has begun: wait for the answer, or for its head where it is a stream. `longest` bounds a
 * line of a stream. Use as `return response_wait(...)`, after task_check_wait. */
int response_wait(lua_State *L, int64_t ms, bool stream, size_t longest);
/* The object is on top, and its call has failed or did not begin: pushes nil, message, name and returns 3. The call is gone. */
int response_push_failure(lua_State *L);
void api_response_open(lua_State *L);
#endif
