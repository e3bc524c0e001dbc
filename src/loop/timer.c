/* timer.c - the wheel on libuv: one uv_timer, set to the next time at which the wheel has something to do.
 *
 * It is only set again when that time comes closer. Stopping a timer leaves it alone: waking up once for nothing is cheaper than
 * a heap operation for each stop, and most timers (handshakes, pings) are stopped or moved, not fired.
 */
#include "loop/loop_uv.h"

#include "base/clock.h"

static struct loop_timer *timer_of(struct list_node *n)
{
    return list_entry(n, struct loop_timer, node);
}

static void on_alarm(uv_timer_t *handle)
{
    struct loop *l = list_entry(handle, struct loop, alarm);

    l->alarm_due = WHEEL_NEVER;
    timer_run_due(l);
}

/* Make sure that the loop wakes up at `due`. A timer of libuv that is due at once would run in the same turn again, for
 * ever when a callback keeps starting timers of 0 ms; the idle handle runs on the next turn. */
static void wake_at(struct loop *l, uint64_t due)
{
    uint64_t now = uv_now(&l->uv);

    if (due <= now) {
        loop_again(l);
    } else if (due < l->alarm_due) {
        l->alarm_due = due;
        uv_timer_start(&l->alarm, on_alarm, due - now, 0);
    }
}

void timer_run_due(struct loop *l)
{
    struct list_node due;

    /* All that is due moves to a list of its own: a callback may stop, free and start any of them. */
    list_init(&due);
    wheel_expire(&l->wheel, uv_now(&l->uv), &due);
    l->firing = true;
    while (!list_empty(&due)) {
        struct loop_timer *t = timer_of(due.next);
        list_remove(&t->node);
        t->fn(t);
    }
    l->firing = false;
    wake_at(l, wheel_next(&l->wheel));
}

int timer_init(struct loop *l)
{
    wheel_init(&l->wheel, uv_now(&l->uv));
    l->alarm_due = WHEEL_NEVER;
    return uv_timer_init(&l->uv, &l->alarm);
}

void timer_close(struct loop *l)
{
    uv_close((uv_handle_t *)&l->alarm, NULL);
}

void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn)
{
    list_init(&t->node);
    t->due = 0;
    t->fn = fn;
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t ms)
{
    /* Outside of loop_run libuv's time stands still; waits must not count what went by before. */
    if (!l->running)
        uv_update_time(&l->uv);
    uint64_t now = uv_now(&l->uv);

    /* A callback that took long has left the turn's time behind: counted from there the timer would fire too early. */
    if (ms > 0 && clock_ms() > now)
        now = clock_ms();
    list_remove(&t->node);
    t->due = ms < WHEEL_NEVER - 1 - now ? now + ms : WHEEL_NEVER - 1;
    wheel_add(&l->wheel, t);
    if (!l->firing)
        wake_at(l, t->due);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    list_remove(&t->node);
}

bool loop_timer_active(const struct loop_timer *t)
{
    return !list_empty(&t->node);
}
