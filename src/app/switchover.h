/* switchover.h - the moment in which all workers change the version, or none does.
 *
 * Every worker calls switchover_run between two events. They wait for each other, so that nothing of the old version runs any
 * more; each empties its inbox, so that what the old version sent has arrived before the new one speaks; on_upgrade runs and all
 * vote; then all switch or none. Whoever waits longer than reload.pause gives up for all of them.
 */
#ifndef MT_APP_SWITCHOVER_H
#define MT_APP_SWITCHOVER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inbox;
struct script;
struct switchover;

/* What the workers do: from the version that is live to the one that was prepared, or back to the one before. */
enum switchover_kind { SWITCHOVER_ON, SWITCHOVER_BACK };

/* How it went; the same for all workers. */
struct switchover_result {
    bool switched;
    bool late;    /* somebody did not come, or was not done, in time */
    char *why;    /* owned: why not; NULL when it went well or memory ran out */
    double pause; /* seconds from the first worker's stop to now */
};

/* With one reference for each of `workers`. `reason` is static text for on_start; `seconds`: reload.pause; `generation` is the
 * number of what goes live. NULL when memory runs out. */
struct switchover *switchover_create(enum switchover_kind kind, const char *reason, size_t workers, double seconds,
                                     uint64_t generation);
/* One of the workers, borrowed for the call. */
struct switchover_place {
    struct script *script;
    struct inbox *inbox;
    int worker;           /* its number */
    uint64_t *generation; /* set where it switches, before anything of the new version runs */
};
/* On the worker's thread, outside of all events: waits, and gives its reference back. The script has switched and begun where
 * `result` says so; what was staged is gone where SWITCHOVER_ON was given up. */
void switchover_run(struct switchover *o, const struct switchover_place *place, struct switchover_result *result);
/* A worker that will not run it gives its reference back: nobody switches. */
void switchover_leave(struct switchover *o);
#endif
