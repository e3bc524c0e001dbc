/* fan.c - two arrays that grow and shrink together. */
#include "hub/fan.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>

enum { FIRST_CAP = 4 };

/* Either array may have been moved when the other could not: both stay valid, cap tells the smaller size. */
static int resize(struct fan *f, uint32_t cap)
{
    struct session **sessions = mem_resize(f->sessions, cap * sizeof(*sessions));
    if (!sessions)
        return MT_ENOMEM;
    f->sessions = sessions;
    if (cap < f->cap)
        f->cap = cap;
    uint32_t **seats = mem_resize(f->seats, cap * sizeof(*seats));
    if (!seats)
        return MT_ENOMEM;
    f->seats = seats;
    f->cap = cap;
    return 0;
}

int fan_add(struct fan *f, struct session *s, uint32_t *seat)
{
    if (f->count == f->cap && resize(f, f->cap ? f->cap * 2 : FIRST_CAP))
        return MT_ENOMEM;
    *seat = f->count++;
    f->sessions[*seat] = s;
    f->seats[*seat] = seat;
    return 0;
}

void fan_remove(struct fan *f, uint32_t seat)
{
    assert(seat < f->count && *f->seats[seat] == seat);
    uint32_t last = --f->count;
    f->sessions[seat] = f->sessions[last];
    f->seats[seat] = f->seats[last];
    *f->seats[seat] = seat;
    if (f->count == 0)
        fan_fini(f);
    else if (f->cap > 2 * FIRST_CAP && f->count <= f->cap / 4)
        (void)resize(f, f->cap / 2); /* without it the array is just larger than it need be */
}

void fan_fini(struct fan *f)
{
    mem_free(f->sessions);
    mem_free(f->seats);
    *f = (struct fan){0};
}
