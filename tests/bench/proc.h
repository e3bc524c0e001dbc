/* proc.h - what a process and the machine used so far, read from /proc. */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H
#include <sys/types.h>

struct usage {
    double clock;   /* monotonic seconds */
    double server;  /* processor seconds of the measured process, all threads */
    double self;    /* of this process */
    double machine; /* of everything on every core */
};

double proc_clock(void);
/* `server` 0 means none is watched. Ends the program when /proc cannot be read: no numbers without it. */
struct usage proc_usage(pid_t server);
/* Resident bytes of `pid`, exact (the cheaper statm counters lag behind). */
double proc_resident(pid_t pid);
#endif
