/* sql_impl.h - a database, for the files of it only: sql.c (which there are), sql_db.c (its thread), sql_guard.c (what statements
 * may do, and when they are stopped), sql_run.c (one statement), sql_migrate.c.
 */
#ifndef MT_STORE_SQL_IMPL_H
#define MT_STORE_SQL_IMPL_H
#include "base/list.h"
#include "loop/loop.h"
#include "store/sql.h"
#include "store/sqlite.h"
#include <limits.h>
#include <pthread.h>

struct sql_tx {
    atomic_uint refs;
    /* The rest is its database's thread's: */
    int code;              /* why it is over, for those who go on to use it; 0 while it is new or open */
    char why[SQL_WHY_MAX]; /* the same in words */
};

struct sql_queue {
    struct sql_request *first, **last; /* oldest first */
};

struct sql_db {
    struct list_node node; /* in sql->open, or in sql->leaving. Under sql->lock, as the next */
    unsigned refs;
    struct sql *sql;
    char *path; /* owned */
    struct loop_thread *thread;
    atomic_bool stopping; /* what runs is to be stopped */
    atomic_uint statements; /* that are prepared */
    atomic_bool ended;    /* the thread has nothing more to do but return */

    pthread_mutex_t lock;
    pthread_cond_t changed;        /* by the monotonic clock */
    struct sql_queue inner, outer; /* requests of transactions, and all others. Under the lock, as the next three */
    size_t count, bytes;           /* of both */
    size_t pending;                /* requests that are not back: these, and what is carried out */
    bool closed;                   /* nothing more is sent */

    /* The thread's own: */
    struct sqlite sqlite;             /* open from the first request on */
    struct sql_tx *tx;                /* counted: the one that is open; NULL: none */
    uint64_t tx_end;                  /* when it is over, by clock_ms */
    const struct sql_request *active; /* what is carried out; NULL: none */
    bool trusted;                     /* what runs is not a script's */
    const char *denied;               /* why the authorizer has refused a part of the statement; NULL: it has not */
    char folder[PATH_MAX];            /* with migrations that are still to be applied; empty: none */
    int broken;                       /* why nothing works: a migration has failed; 0: all is well */
    char broken_why[SQL_WHY_MAX];
};

/* ---- sql_db.c ---- */
/* With one reference and its thread. NULL when memory or threads run out. */
struct sql_db *sql_db_create(struct sql *s, const char *path);
void sql_db_close(struct sql_db *db);   /* nothing is sent any more: the thread ends when what waits is done. Any thread */
void sql_db_destroy(struct sql_db *db); /* waits for the thread */

/* ---- on the database's thread ---- */
/* sql_guard.c: what scripts may not do, and when statements are stopped. After opening. */
void sql_guard_install(struct sql_db *db);
/* Whether what runs must end: 0, or why. */
int sql_guard_look(const struct sql_db *db);
/* A result of SQLite: 0, or a code with words in `why`, also for what the guard has done. */
int sql_guard_failed(struct sql_db *db, int rc, char why[SQL_WHY_MAX]);

/* sql_run.c: carry out one statement. Sets r->code and what comes back. */
void sql_run_statement(struct sql_db *db, struct sql_request *r);

/* sql_migrate.c: apply what is in the folder and was not applied. 0, or a code with words in `why`. */
int sql_migrate(struct sql_db *db, const char *folder, char why[SQL_WHY_MAX]);
#endif
