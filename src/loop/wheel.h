/* wheel.h - a hierarchical timing wheel as a pure struct: no clock, no libuv, time is what the caller says.
 *
 * Level 0 has a slot per millisecond, each higher level slots 64 times as long. A timer sits on the level of the highest digit
 * (base 64) in which its due time differs from `now`, in the slot of that digit. So every slot lies ahead of `now`, and when
 * `now` enters a slot of a higher level, its timers move down. Start and stop cost O(1), a timer moves down at most LEVELS
 * times. Timers that are due at the same millisecond fire in the order in which they were started.
 */
#ifndef MT_LOOP_WHEEL_H
#define MT_LOOP_WHEEL_H
#include "base/list.h"
#include "loop/loop.h"
#include <stdint.h>

enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 5 };
#define WHEEL_NEVER UINT64_MAX

struct wheel {
    uint64_t now;                                      /* all timers before it have been handed out */
    uint64_t used[WHEEL_LEVELS];                       /* a bit per slot that may hold timers; cleared when found empty */
    struct list_node slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* of struct loop_timer.node */
    struct list_node far;                              /* timers that differ from `now` above the top level (12 days) */
};

void wheel_init(struct wheel *w, uint64_t now);
/* Links a stopped timer by its `due`; what is due already comes with the next wheel_expire. */
void wheel_add(struct wheel *w, struct loop_timer *t);
/* Advances to `now` and appends every timer with due <= now to the list `out`, by due time. Going back in time does nothing. */
void wheel_expire(struct wheel *w, uint64_t now, struct list_node *out);
/* When wheel_expire has something to do: never later than the first due time, maybe earlier. WHEEL_NEVER when empty. */
uint64_t wheel_next(struct wheel *w);
#endif
