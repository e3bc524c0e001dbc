/* timing.c - see timing.h. Every latency is kept: a run has some millions of them. */
#include "timing.h"

#include "numbers.h"
#include "proc.h"
#include <stdio.h>
#include <stdlib.h>

/* A time with a reload under way, or without. */
struct phase {
    struct numbers latencies; /* microseconds */
    struct numbers gaps;      /* microseconds, one for each time that the phase came */
};

static struct phase quiet, reload;
static bool reloading;
static double changed;               /* when a reload last began or ended */
static double arrived;               /* the last arrival */
static double gap;                   /* the longest time between two since `changed` */
static double (*due)[TIMING_FLIGHT]; /* by connection and number */

void timing_init(unsigned connections)
{
    due = calloc(connections, sizeof(*due));
    changed = arrived = proc_clock();
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
    bool touched = reloading || (sent < changed && reload.gaps.count > 0);
    note_gap(now);
    arrived = now;
    numbers_add(touched ? &reload.latencies : &quiet.latencies, (uint32_t)((now - sent) * 1e6));
}

void timing_reload(bool under_way)
{
    double now = proc_clock();
    if (under_way == reloading)
        return;
    note_gap(now);
    numbers_add(reloading ? &reload.gaps : &quiet.gaps, (uint32_t)(gap * 1e6));
    reloading = under_way;
    changed = now;
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

static void print_phase(const char *name, struct phase *p)
{
    struct numbers *s = &p->latencies;
    if (s->count)
        qsort(s->items, s->count, sizeof(*s->items), compare);
    printf("\"%s\": {\"count\": %zu, \"p50\": %u, \"p99\": %u, \"max\": %u, \"gaps\": ", name, s->count, share(s, 0.5),
           share(s, 0.99), share(s, 1));
    numbers_print(&p->gaps);
    putchar('}');
}

void timing_print(void)
{
    print_phase("quiet", &quiet);
    printf(", ");
    print_phase("reload", &reload);
}
