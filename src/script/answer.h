/* answer.h - what a client hears about its message: one reply or one error. */
#ifndef MT_SCRIPT_ANSWER_H
#define MT_SCRIPT_ANSWER_H
#include "script/peer.h"

/* `id` is the message's id as JSON text, empty when it has none. */
/* {"type":"reply","id":id,"data":value at index}; nothing without an id. NULL, or why the value cannot be written as JSON (valid
 * until the next call): the script's fault. May raise (memory). */
const char *answer_reply(lua_State *L, struct peer *p, const struct buf *id, int index);
/* {"type":"error","id":id,"code":code,"message":message}. `code` is JSON text when `raw`. Does not raise. */
void answer_error(struct peer *p, const struct buf *id, struct slice code, bool raw, struct slice message);
/* The three results of a handler from `index` on: `nil, message, name` is answered as an error and counted as the client's.
 * True when it was one. May raise. */
bool answer_failure(lua_State *L, struct peer *p, const struct buf *id, int index);
#endif
