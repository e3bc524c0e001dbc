/* wheel.c - see wheel.h for the idea. Bitmaps make it jump over empty time instead of ticking through it. */
#include "loop/wheel.h"

static struct loop_timer *timer_of(struct list_node *n)
{
    return list_entry(n, struct loop_timer, node);
}

void wheel_init(struct wheel *w, uint64_t now)
{
    w->now = now;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        w->used[level] = 0;
        for (int i = 0; i < WHEEL_SLOTS; i++)
            list_init(&w->slots[level][i]);
    }
    list_init(&w->far);
}

void wheel_add(struct wheel *w, struct loop_timer *t)
{
    uint64_t due = t->due > w->now ? t->due : w->now;
    uint64_t differs = due ^ w->now;
    int level = differs ? (63 - __builtin_clzll(differs)) / WHEEL_BITS : 0;

    if (level >= WHEEL_LEVELS) {
        list_add_tail(&w->far, &t->node);
        return;
    }
    unsigned slot = due >> (level * WHEEL_BITS) & (WHEEL_SLOTS - 1);
    list_add_tail(&w->slots[level][slot], &t->node);
    w->used[level] |= 1ull << slot;
}

/* The first slot in time that holds timers: its level, or WHEEL_LEVELS when only `far` may. *start: when `now` enters it. */
static int find_first(struct wheel *w, unsigned *slot, uint64_t *start)
{
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        while (w->used[level]) {
            *slot = (unsigned)__builtin_ctzll(w->used[level]);
            if (!list_empty(&w->slots[level][*slot])) {
                uint64_t above = w->now >> (level * WHEEL_BITS) >> WHEEL_BITS << WHEEL_BITS;
                *start = (above | *slot) << (level * WHEEL_BITS);
                return level;
            }
            w->used[level] &= w->used[level] - 1; /* its timers were stopped */
        }
    }
    int top = WHEEL_LEVELS * WHEEL_BITS;
    *start = list_empty(&w->far) ? WHEEL_NEVER : ((w->now >> top) + 1) << top;
    return WHEEL_LEVELS;
}

/* Links the timers of a slot (or of `far`) again, as seen from the new `now`. */
static void move_down(struct wheel *w, struct list_node *from)
{
    struct list_node moving;

    list_init(&moving);
    list_take(&moving, from);
    list_each_safe(n, next, &moving)
    {
        list_remove(n);
        wheel_add(w, timer_of(n));
    }
}

static void append(struct list_node *out, struct list_node *from)
{
    list_each_safe(n, next, from)
    {
        list_remove(n);
        list_add_tail(out, n);
    }
}

void wheel_expire(struct wheel *w, uint64_t now, struct list_node *out)
{
    if (now < w->now)
        return;
    for (;;) {
        unsigned slot;
        uint64_t start;
        int level = find_first(w, &slot, &start);
        if (start > now)
            break;
        w->now = start;
        if (level == WHEEL_LEVELS) {
            move_down(w, &w->far);
            continue;
        }
        w->used[level] &= ~(1ull << slot);
        if (level == 0)
            append(out, &w->slots[level][slot]);
        else
            move_down(w, &w->slots[level][slot]);
    }
    w->now = now;
}

uint64_t wheel_next(struct wheel *w)
{
    unsigned slot;
    uint64_t start;

    find_first(w, &slot, &start);
    return start;
}
