/* report.h - what a server says about itself, as one line of JSON. Pure: all facts are given. */
#ifndef MT_APP_REPORT_H
#define MT_APP_REPORT_H
#include "app/history.h"
#include "app/services.h"
#include "app/worker.h"
#include "base/buf.h"
#include <stdint.h>

/* All borrowed for the call. */
struct report {
    const char *script;
    const char *const *addresses; /* NULL-terminated */
    double now, started;          /* unix seconds */
    size_t workers, silent;       /* silent: those that did not answer in time, whose numbers are missing */
    bool stopping;
    uint64_t reloads, reloads_failed, rollbacks;
    double last_pause;            /* seconds of the last switch, 0 before the first */
    const char *fallback;         /* hash of the version that is kept for a rollback, NULL for none */
    struct slice old;             /* what report_old_versions said for each worker, with commas between */
    struct worker_stats stats;    /* of all workers together */
    struct services_counts services;
    const struct history *history;
};

int report_status(const struct report *r, struct buf *out);    /* 0 or MT_ENOMEM */
/* The versions of one worker that are not live but still there, as the items of a JSON list; nothing when there are none. On the
 * worker's thread. 0 or MT_ENOMEM. */
int report_old_versions(struct script *script, int worker, struct buf *out);
int report_versions(const struct history *h, struct buf *out); /* newest first; 0 or MT_ENOMEM */
/* {"ok":false,...}; `version` is what serves on, NULL to leave it out. 0 or MT_ENOMEM. */
int report_failure(const char *version, struct slice why, struct buf *out);
/* After a reload that went well. 0 or MT_ENOMEM. */
int report_reloaded(const char *version, bool changed, struct buf *out);
#endif
