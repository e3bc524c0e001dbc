/* api_task.h - tide.sleep, tide.spawn, tide.timeout and the task object. */
#ifndef MT_SCRIPT_API_TASK_H
#define MT_SCRIPT_API_TASK_H
#include "script/task.h"

void api_task_open(lua_State *L);
void api_task_fill(lua_State *L);
/* The function at `index` and everything above it become a task; pushes its object and returns 1 (tide.spawn, conn:spawn). `conn` and `owner`
 * (the list peer->tasks) are given for work that ends with a connection, else 0 and NULL. Raises when there is no function or no memory. */
int api_task_spawn(lua_State *L, int index, conn_id conn, struct list_node *owner);
/* The task of an object has ended: keep its results (values on its stack) or its error. Does not raise. */
void api_task_ended(struct task *t, enum task_end end, const char *text);
#endif
