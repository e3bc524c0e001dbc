/* proc.c - see proc.h. Linux only, like the whole benchmark. */
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static FILE *open_or_die(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

double proc_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Fields 14 and 15 of stat; field 2 is a name that may hold blanks, so count from its closing bracket. */
static double process_seconds(pid_t pid)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = open_or_die(path);
    char *end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
        fprintf(stderr, "%s: not understood\n", path);
        exit(1);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double self_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* user, nice and system, then (after idle and iowait) irq and softirq. */
static double machine_seconds(void)
{
    unsigned long v[7] = {0};
    FILE *f = open_or_die("/proc/stat");
    int n = fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]);
    fclose(f);
    return n == 7 ? (double)(v[0] + v[1] + v[2] + v[5] + v[6]) / (double)sysconf(_SC_CLK_TCK) : 0;
}

struct usage proc_usage(pid_t server)
{
    struct usage u = {.clock = proc_clock(), .self = self_seconds(), .machine = machine_seconds()};
    u.server = server ? process_seconds(server) : 0;
    return u;
}

double proc_resident(pid_t pid)
{
    char path[64], line[256];
    double kilobytes = -1;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = open_or_die(path);
    while (kilobytes < 0 && fgets(line, sizeof(line), f))
        if (sscanf(line, "Rss: %lf", &kilobytes) != 1)
            kilobytes = -1;
    fclose(f);
    if (kilobytes < 0) {
        fprintf(stderr, "%s: not understood\n", path);
        exit(1);
    }
    return kilobytes * 1024;
}
