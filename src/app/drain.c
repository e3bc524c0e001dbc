/* drain.c - shutting down in paced steps: closing 100,000 connections in one turn would stall the last farewell for seconds. */
#include "app/drain.h"

enum {
    BATCH = 256,          /* close frames per turn */
    SCAN = 8192,          /* connections looked at per turn */
    LOOK_MS = 10,         /* between two looks at what is left */
    HEAD_START_MAX = 1000 /* ms for on_stop before connections are told to go */
};

static void finish(struct drain *d)
{
    if (d->over)
        return;
    d->over = true;
    loop_timer_stop(d->loop, &d->turn);
    loop_timer_stop(d->loop, &d->deadline);
    d->done(d->arg);
}

/* One batch. False when the walk has come to its end. */
static bool close_batch(struct drain *d)
{
    struct hub *hub = script_hub_of(d->script);
    for (unsigned seen = 0, told = 0; seen < SCAN && told < BATCH; seen++) {
        struct conn *c = conn_next(hub, &d->at);
        if (!c)
            return false;
        if (c->session && session_close(c->session, 1001, SLICE("going away")) == 0)
            told++;
    }
    return true;
}

/* Upgrades that were waiting for on_connect come late, so the walk starts again until nobody is left. */
static void on_turn(struct loop_timer *t)
{
    struct drain *d = list_entry(t, struct drain, turn);
    d->closing = true;
    if (close_batch(d)) {
        loop_timer_start(d->loop, &d->turn, 1);
        return;
    }
    d->at = 0;
    if (d->script_ended && net_count(d->net) == 0)
        finish(d);
    else
        loop_timer_start(d->loop, &d->turn, LOOK_MS);
}

static void on_deadline(struct loop_timer *t)
{
    finish(list_entry(t, struct drain, deadline));
}

static void on_script_ended(void *arg)
{
    struct drain *d = arg;
    d->script_ended = true;
    if (!d->closing && !d->over)
        loop_timer_start(d->loop, &d->turn, 0);
}

void drain_init(struct drain *d, struct loop *loop, struct net *net, struct script *script)
{
    *d = (struct drain){.loop = loop, .net = net, .script = script};
    loop_timer_init(&d->turn, on_turn);
    loop_timer_init(&d->deadline, on_deadline);
}

void drain_start(struct drain *d, uint64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    uint64_t head_start = timeout_ms / 5 < HEAD_START_MAX ? timeout_ms / 5 : HEAD_START_MAX;
    d->done = done;
    d->arg = arg;
    net_stop_listening(d->net);
    loop_timer_start(d->loop, &d->deadline, timeout_ms);
    loop_timer_start(d->loop, &d->turn, head_start);
    script_stop(d->script, on_script_ended, d);
}

void drain_fini(struct drain *d)
{
    d->over = true;
    loop_timer_stop(d->loop, &d->turn);
    loop_timer_stop(d->loop, &d->deadline);
}
