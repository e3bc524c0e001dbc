/* timing.c - see timing.h. Every latency is kept: a run has some millions of them. */
#include "timing.h"

#include "numbers.h"
#include "proc.h"
#include <stdio.h>
#include <stdlib.h>

static struct numbers quiet, reload; /* latencies in microseconds: without a reload under way, and with */
static struct numbers gaps;          /* microseconds, of each window */
static bool reloading;
static double ended;                 /* when the last reload did, 0 before */
static double arrived;               /* the last arrival */
static double gap;                   /* the longest time between two in this window */
static double (*due)[TIMING_FLIGHT]; /* by connection and number */

void timing_init(unsigned connections)
{
    due = calloc(connections, sizeof(*due));
    arrived = proc_clock();
}

void timing_sent(unsigned from, uint32_t number, double when)
{
    due[from][number % TIMING_FLIGHT] = when;
}

static void note_gap(double now)
{
    if (now - arrived > gap)
        gap = now - arrived;
}

void timing_arrived(unsigned from, uint32_t number)
{
    double now = proc_clock(), sent = due[from][number % TIMING_FLIGHT];
    note_gap(now);
    arrived = now;
    numbers_add(reloading || sent < ended ? &reload : &quiet, (uint32_t)((now - sent) * 1e6));
}

void timing_reload(bool under_way)
{
    reloading = under_way;
    if (!under_way)
        ended = proc_clock();
}

void timing_window(void)
{
    note_gap(proc_clock());
    numbers_add(&gaps, (uint32_t)(gap * 1e6));
    gap = 0;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t share(const struct numbers *s, double part)
{
    return s->count ? s->items[(size_t)((double)(s->count - 1) * part)] : 0;
}

static void print_latencies(const char *name, struct numbers *s)
{
    if (s->count)
        qsort(s->items, s->count, sizeof(*s->items), compare);
    printf("\"%s\": {\"count\": %zu, \"p50\": %u, \"p99\": %u, \"max\": %u}, ", name, s->count, share(s, 0.5), share(s, 0.99),
           share(s, 1));
}

void timing_print(void)
{
    print_latencies("quiet", &quiet);
    print_latencies("reload", &reload);
    printf("\"gaps\": ");
    numbers_print(&gaps);
}
