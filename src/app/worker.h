/* worker.h - one thread's share of a server: a loop, a VM with the app, the sockets, and an inbox for letters of the others.
 *
 * Made and destroyed by the thread that owns the server, one after the other; in between all of a worker happens on the thread
 * that runs it. worker_post is the one call for other threads.
 */
#ifndef MT_APP_WORKER_H
#define MT_APP_WORKER_H
#include "app/config.h"
#include "app/switchover.h"
#include "base/log.h"
#include "loop/loop.h"
#include "net/net.h"
#include "net/shared.h"
#include "script/script.h"

struct dev;
struct services;
struct worker;

/* The same for all workers of a server. All borrowed, for as long as they live. */
struct worker_config {
    size_t count; /* of workers */
    struct log *log;
    struct watchdog *watchdog;
    struct static_root *files; /* NULL: none */
    const struct config *config;
    struct net_shared *net;
    struct access *access; /* who may connect, at the start */
    struct hub_crew *crew;
    struct services *services;
    const char *script, *library; /* library may be NULL */
    const struct script_module *modules;
    size_t module_count;
    /* A handler of the live version failed. On the worker's thread; `generation` as the switchover brought it. */
    void (*on_error)(void *arg, int worker, uint64_t generation, uint64_t events, uint64_t errors);
    /* A worker's drain is over. On its thread. */
    void (*drained)(void *arg);
    void *arg;
};

/* What the script layer is to know; for script_probe too. */
void worker_script_config(const struct worker_config *c, int number, struct script_config *out);
/* Load the app from `sources`, or from its files where that is NULL. Nothing listens yet. 0 or an error code, with a sentence in
 * *error where there is one. */
int worker_create(const struct worker_config *c, int number, struct sources *sources, struct worker **out, char **error);
/* After its thread: what is still open is reset, the script ends. Letters to it still wait in its inbox. */
void worker_end(struct worker *w);
/* After worker_end of all workers. */
void worker_destroy(struct worker *w);
/* Bind every address of `listen`. Worker 1 comes first. Same results. */
int worker_listen(struct worker *w, char **error);

/* on_start, then the loop until a drain is over. */
void worker_run(struct worker *w);
/* The same on a thread of its own: 0 or MT_ENOMEM. worker_join waits for its end. */
int worker_start(struct worker *w);
void worker_join(struct worker *w);

/* Any thread: run `fn` on the worker's thread, between two events and in the order of the calls. `w` is NULL where the worker has
 * ended: then fn only frees what `arg` holds. 0 or MT_ENOMEM. */
typedef void worker_fn(struct worker *w, void *arg);
int worker_post(struct worker *w, worker_fn *fn, void *arg);

/* Any thread: worker_run returns. */
void worker_leave(struct worker *w);

/* ---- on the worker's thread ---- */
/* Stage a version, see script_prepare. */
int worker_prepare(struct worker *w, struct sources *sources, char **error);
/* Take part in `o` at the end of this turn; one that was asked for before is left. After it `fn` (may be NULL) hears how it went. */
typedef void worker_switched_fn(void *arg, const struct switchover_result *r);
void worker_switch(struct worker *w, struct switchover *o, worker_switched_fn *fn, void *arg);
/* The version before is not needed any more, if this is still the generation that went live. */
void worker_settle(struct worker *w, uint64_t generation);
/* Begin to stop; `drained` hears when that is done. Again: nothing. */
void worker_drain(struct worker *w, uint64_t timeout_ms);
/* The limits and times of `config` for what comes after. */
void worker_set_limits(struct worker *w, const struct net_options *limits);
/* net_set_access. */
void worker_set_access(struct worker *w, struct access *a);

struct worker_stats {
    struct net_stats net;
    struct script_stats script;
    size_t sessions, connections; /* open sockets, and those that speak WebSocket */
    size_t people, rooms;
};
/* Add what this worker counts; people and rooms are those of all workers, and told by worker 1. */
void worker_add_stats(const struct worker *w, struct worker_stats *sum);
void worker_stats_add(struct worker_stats *sum, const struct worker_stats *one);

int worker_number(const struct worker *w);
struct loop *worker_loop(const struct worker *w);
struct net *worker_net(const struct worker *w);
struct dev *worker_dev(const struct worker *w); /* NULL outside of dev mode */
struct script *worker_script(const struct worker *w);
/* The limits and times that `config` sets. */
void worker_read_limits(const struct config *config, struct net_options *out);
#endif
