/* api_queue.h - tide.queue and the queues that it gives. */
#ifndef MT_SCRIPT_API_QUEUE_H
#define MT_SCRIPT_API_QUEUE_H
#include "script/state.h"

void api_queue_open(lua_State *L); /* once per VM. May raise */
void api_queue_fill(lua_State *L); /* once per version. May raise */
/* Items that wait in queues of this version. */
size_t api_queue_count(const struct version *v);
/* The version ends: queues that scripts still hold work for whoever puts something in next. */
void api_queue_leave(struct version *v);
#endif
