/* api_timer.h - tide.after, tide.every and the timer object. */
#ifndef MT_SCRIPT_API_TIMER_H
#define MT_SCRIPT_API_TIMER_H
#include "script/state.h"

void api_timer_open(lua_State *L);
void api_timer_fill(lua_State *L);
/* `v` goes live in place of `old` (NULL at the start): timers made while v was loading start; of the old version tide.every ends,
 * timers with a handler's name move to v, timers with a function stay in the version that made them. */
void api_timer_switch(struct version *old, struct version *v);
/* All timers of a version end, without a call. */
void api_timer_drop(struct version *v);
#endif
