/* worker.h - one thread's share of a server: a loop, a VM with the app, and the sockets. Shares nothing with other workers
 * but what its configuration lends it. All calls on the thread that runs it, or before and after it runs.
 */
#ifndef MT_APP_WORKER_H
#define MT_APP_WORKER_H
#include "app/config.h"
#include "app/dev.h"
#include "base/log.h"
#include "loop/loop.h"
#include "net/net.h"
#include "script/script.h"

struct worker;

/* All borrowed, for as long as the worker lives. */
struct worker_config {
    int number; /* from 1 */
    struct log *log;
    struct watchdog *watchdog;
    struct static_root *files; /* NULL: none */
    const struct config *config;
    struct net_shared *net;       /* certificates and what else the sockets of all workers have in common */
    struct memory_store *memory;  /* what scripts keep in stores in memory */
    const char *script, *library; /* library may be NULL */
    const struct script_module *modules;
    size_t module_count;
};

/* Load the app and the certificates. Nothing listens yet. 0 or an error code, with a sentence in *error where there is one. */
int worker_create(const struct worker_config *c, struct worker **out, char **error);
/* After worker_run has returned, or without it. Sessions that are left are reset. */
void worker_destroy(struct worker *w);
/* Bind every address of `listen`. Same results. */
int worker_listen(struct worker *w, char **error);
/* on_start, then the loop until a drain is over. */
void worker_run(struct worker *w);
/* Begin to stop; worker_run returns when it is done. Again: nothing. */
void worker_drain(struct worker *w, uint64_t timeout_ms);
/* The limits and times of `config` for what comes after. */
void worker_set_limits(struct worker *w, const struct config *config);

struct worker_stats {
    struct net_stats net;
    struct script_stats script;
    size_t sessions, connections; /* open sockets, and those that speak WebSocket */
    size_t people, rooms;
};
/* Add what this worker counts. */
void worker_add_stats(const struct worker *w, struct worker_stats *sum);

/* What its script was made with, for script_probe. */
void worker_script_config(const struct worker *w, struct script_config *out);
struct loop *worker_loop(const struct worker *w);
struct net *worker_net(const struct worker *w);
struct script *worker_script(const struct worker *w);
struct dev *worker_dev(const struct worker *w); /* NULL outside of dev mode */
#endif
