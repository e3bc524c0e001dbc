/* reload.h - brings new versions of the script to all workers, one at a time, and brings the one before back where it fails.
 *
 * A run from files: read and try them on a thread of the pool until they hold still, prepare the version in every worker, switch
 * all of them (switchover.h), and watch it for reload.probation. A rollback is a switch to the version that was kept, or, once
 * that is gone, a run from the sources it had. All on worker 1's thread but reload_note_errors.
 */
#ifndef MT_APP_RELOAD_H
#define MT_APP_RELOAD_H
#include "app/worker.h"

struct reload;

enum reload_kind { RELOAD_FILES, RELOAD_ROLLBACK };

/* How a run ended. Borrowed for the call. */
struct reload_end {
    enum reload_kind kind;
    uint64_t wish;        /* it serves the wishes of its kind up to this one */
    int rc;               /* 0: `version` is live now */
    bool automatic;       /* a rollback that nobody asked for */
    bool changed;         /* the version is another one than before */
    const char *before;   /* hash of the version that was live */
    const char *version;  /* and of the one that was tried; empty where no source was read */
    const char *why;      /* sentence, with file, line and traceback, of what failed; why a rollback was made */
    double seconds, pause; /* of the whole run, and while the workers stood still */
};

/* All borrowed. */
struct reload_config {
    struct worker *const *workers;
    const struct worker_config *worker_config;
    void (*ended)(void *arg, const struct reload_end *e); /* may ask for the next run */
    void *arg;
};

/* Times and limits, which may change. */
struct reload_limits {
    double pause, probation; /* seconds: reload.pause, reload.probation */
    double prepare;          /* seconds that a worker may take to prepare a version */
    uint64_t errors;         /* reload.errors */
};

/* The workers have loaded their first version. NULL when memory runs out. */
struct reload *reload_create(const struct reload_config *c);
/* After reload_stop, and after the workers are destroyed. NULL is allowed. */
void reload_destroy(struct reload *r);
void reload_set_limits(struct reload *r, const struct reload_limits *limits);
/* Load the files, or go a version back: now, or when the run under way is over. */
void reload_files(struct reload *r);
void reload_rollback(struct reload *r);
/* The number that the next wish will have, see struct reload_end. */
uint64_t reload_next_wish(const struct reload *r);
/* Nothing new: what is under way is given up without a word. */
void reload_stop(struct reload *r);
/* Any thread: what `on_error` of struct worker_config tells. */
void reload_note_errors(struct reload *r, int worker, uint64_t generation, uint64_t events, uint64_t errors);
/* Hash and files of the version that is live. */
const char *reload_version(const struct reload *r);
const char *const *reload_live_files(const struct reload *r);
/* Whether these files are not any more what was read; looks at each. */
bool reload_is_outdated(const struct reload *r);
/* Files that the last run read or looked for where it failed; empty when it went well. NULL-terminated. */
const char *const *reload_failed_files(const struct reload *r);
#endif
