/* timing.h - how long messages take, and how long nothing comes at all; with and without a reload under way.
 *
 * Latency is from the moment that a message was due, not from when the generator came to send it, to each of its arrivals: a
 * generator that is held up cannot hide that. A message counts to the reload when one was under way at any time between. */
#ifndef STORM_TIMING_H
#define STORM_TIMING_H
#include <stdbool.h>
#include <stdint.h>

enum { TIMING_FLIGHT = 256 }; /* messages of one connection that may be under way */

void timing_init(unsigned connections);
/* Message `number` of connection `from` was due at `when`, in seconds of proc_clock, and goes out now. */
void timing_sent(unsigned from, uint32_t number, double when);
/* That message has come to somebody. */
void timing_arrived(unsigned from, uint32_t number);
void timing_reload(bool under_way);
/* A window of time is over, in which the longest time without an arrival is looked for; the next one begins. */
void timing_window(void);
/* Prints `"quiet": {...}, "reload": {...}`, each with count, p50, p99 and max, and `"gaps": [...]`, one for each window. All in
 * microseconds. */
void timing_print(void);
#endif
