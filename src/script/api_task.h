/* api_task.h - tide.sleep, tide.spawn, tide.timeout and the task object. */
#ifndef MT_SCRIPT_API_TASK_H
#define MT_SCRIPT_API_TASK_H
#include "script/task.h"

void api_task_open(lua_State *L);
void api_task_fill(lua_State *L);
/* The task of an object has ended: keep its results (values on its stack) or its error. Does not raise. */
void api_task_ended(struct task *t, enum task_end end, const char *text);
#endif
