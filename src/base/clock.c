/* clock.c - CLOCK_MONOTONIC and CLOCK_REALTIME; both are vDSO calls on Linux. */
#include "base/clock.h"

#include <time.h>

static struct timespec read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t); /* cannot fail with these ids */
    return t;
}

uint64_t clock_ms(void)
{
    struct timespec t = read_clock(CLOCK_MONOTONIC);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_us(void)
{
    struct timespec t = read_clock(CLOCK_MONOTONIC);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

double clock_wall(void)
{
    struct timespec t = read_clock(CLOCK_REALTIME);
    return (double)t.tv_sec + (double)(t.tv_nsec / 1000) / 1e6;
}
