/* clock.h - the two clocks: one that only goes forward, for waiting, and one for people. */
#ifndef MT_BASE_CLOCK_H
#define MT_BASE_CLOCK_H
#include <stdint.h>

uint64_t clock_ms(void);     /* monotonic milliseconds; costs a vDSO call, prefer loop_now() */
uint64_t clock_us(void);     /* monotonic microseconds */
double clock_wall(void);     /* seconds since 1970, with microseconds */
#endif
