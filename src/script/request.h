/* request.h - questions to clients that a task waits for, and their answers among what clients send. */
#ifndef MT_SCRIPT_REQUEST_H
#define MT_SCRIPT_REQUEST_H
#include "script/peer.h"

/* conn:request, user:request: the message is the table at 2, the options { timeout= } are at 3. `nobody` is the failure when
 * there is no connection to ask. Raises the author's mistakes, and where waiting is impossible. Use as `return request_ask(...)`.
 */
int request_ask(lua_State *L, const struct whom *w, const char *function, int nobody);

/* A text came from a client that was asked something before. True when it answers a question, also one that nobody waits for any
 * more: then it is not for handlers. Does not raise. */
bool request_take(struct peer *p, const char *data, size_t len);
#endif
