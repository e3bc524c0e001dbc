/* drain.h - the end of a worker: nobody new, on_stop, close 1001 to everybody in batches, and out. Loop thread only.
 *
 * on_stop gets a head start (a fifth of the time, at most a second), so that it can still speak to clients. Then every
 * connection is told to go. The drain is over when all sockets are gone and the script has ended, or when the time is up.
 */
#ifndef MT_APP_DRAIN_H
#define MT_APP_DRAIN_H
#include "loop/loop.h"
#include "net/net.h"
#include "script/script.h"

struct drain {
    struct loop *loop;
    struct net *net;
    struct script *script;
    struct loop_timer turn;     /* next batch, or the next look */
    struct loop_timer deadline; /* the time is up */
    uint32_t at;                /* where the walk over connections is, 0 = at the start */
    bool script_ended;          /* script_stop has said so */
    bool closing;               /* connections are being told */
    bool over;                  /* done was called */
    void (*done)(void *arg);
    void *arg;
};

void drain_init(struct drain *d, struct loop *loop, struct net *net, struct script *script);
/* Begin. `done` comes once, on the loop, possibly before this returns. */
void drain_start(struct drain *d, uint64_t timeout_ms, void (*done)(void *arg), void *arg);
void drain_fini(struct drain *d); /* stops its timers; fine at any time after init */
#endif
