/* api_timer.h - tide.after, tide.every and the timer object. */
#ifndef MT_SCRIPT_API_TIMER_H
#define MT_SCRIPT_API_TIMER_H
#include "script/state.h"

void api_timer_open(lua_State *L);
void api_timer_fill(lua_State *L);
/* `v` is live in place of `old`: timers of old with a handler's name move to v, its tide.every are suspended, timers with a
 * function stay in the version that made them. */
void api_timer_switch(struct version *old, struct version *v);
/* A version begins: timers that were made while it loaded start, suspended ones go on. */
void api_timer_begin(struct version *v);
/* A version will not be live again: its tide.every end, and what never began. */
void api_timer_settle(struct version *v);
/* Timers of a version that will still fire in it. */
size_t api_timer_count(const struct version *v);
/* All timers of a version end, without a call. */
void api_timer_drop(struct version *v);
#endif
