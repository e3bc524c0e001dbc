/* loop_uv.h - struct loop, for the files of this layer only: the one header that shows libuv. */
#ifndef MT_LOOP_LOOP_UV_H
#define MT_LOOP_LOOP_UV_H
#include "base/list.h"
#include "loop/loop.h"
#include "loop/wheel.h"
#include <uv.h>

struct loop_hook;

struct loop {
    uv_loop_t uv;
    uv_prepare_t before_block; /* runs the flush hooks; being active it also keeps uv_run going while nothing is watched */
    uv_idle_t again;           /* active: the next poll does not block, and due timers run on the next turn */
    uv_timer_t alarm;          /* the one timer under the wheel */
    uint64_t alarm_due;        /* for which `alarm` is set, WHEEL_NEVER when it is not */
    struct wheel wheel;        /* all loop_timers */
    bool firing;               /* timers are running: the alarm is set once, behind the last */
    bool running;              /* inside loop_run: libuv keeps its time fresh */
    struct list_node hooks;    /* of struct loop_hook, in the order added */
    struct list_node work;     /* of struct work, queued or running in the pool */
};

/* Sets up and closes the timers' part of a loop. */
int timer_init(struct loop *l);
void timer_close(struct loop *l);
/* Runs the timers that are due now, but none that these start. */
void timer_run_due(struct loop *l);
/* Asks the pool to drop what it has not begun. */
void work_cancel_all(struct loop *l);
#endif
