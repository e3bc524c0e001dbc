/* sql.h - the SQLite files that scripts query: the databases of one server, each with one connection and a thread of its own.
 *
 * A request is a statement with its parameters, or the begin or end of a transaction. It goes into the queue of its database and
 * comes back through `done`, with its rows. What one thread sends is carried out in that order. A transaction has the database to
 * itself from SQL_BEGIN to SQL_COMMIT or SQL_ROLLBACK: what others ask for waits. One that is open for too long is rolled back.
 *
 * A file is opened at its first request, not before. Knows no Lua.
 */
#ifndef MT_STORE_SQL_H
#define MT_STORE_SQL_H
#include "base/buf.h"
#include "base/log.h"
#include "base/slice.h"
#include "store/sql_value.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sql;
struct sql_db;
struct sql_tx; /* a transaction; counted, by any thread */

enum {
    SQL_DATABASES_MAX = 256,    /* open at once: each has a thread */
    SQL_WHY_MAX = 400,          /* bytes of a message */
    SQL_BYTES_MAX = 16 << 20,   /* of one statement with its parameters, of the rows that it gives, and of one value */
    SQL_ROW_BYTES = 64,         /* what each row and ... */
    SQL_VALUE_BYTES = 16,       /* ... each value in it count for besides their bytes */
    SQL_QUEUE_COUNT = 100000,   /* requests that may wait for one database, and ... */
    SQL_QUEUE_BYTES = 64 << 20, /* ... their bytes */
    SQL_BUSY_MS = 5000,         /* how long a statement waits for another process that holds the file */
};

/* ---- the databases of a server ---- */
struct sql_config {
    struct log *log;         /* borrowed */
    const char *folder;      /* where the files are; NULL: beside the script */
    uint64_t statement_ms;   /* how long a statement may take, with the wait for its turn */
    uint64_t transaction_ms; /* how long a transaction may be open */
};
void sql_defaults(struct sql_config *c);
/* Copies the folder. NULL when memory runs out. */
struct sql *sql_create(const struct sql_config *c);
/* Ends all threads; what was sent comes back. Nothing is carried out after it. */
void sql_stop(struct sql *s);
/* After sql_unref of every database that was opened. Stops before that, where that was not done. NULL is allowed. */
void sql_destroy(struct sql *s);
/* As it was created. */
const struct sql_config *sql_config_of(const struct sql *s);

/* The database of this path, counted: any thread. Never waits for the file. 0; or MT_ELIMITED (too many are open), MT_ECLOSED
 * (after sql_stop), MT_ENOMEM. */
int sql_open(struct sql *s, const char *path, struct sql_db **out);
void sql_ref(struct sql_db *db);
/* The last one closes it, once what was sent is done. Any thread, never waits. One in memory lives until sql_stop. */
void sql_unref(struct sql_db *db);
const char *sql_path(const struct sql_db *db);

struct sql_counts {
    size_t databases, statements; /* that are open, and that are prepared in them */
    size_t requests;              /* that are not back yet */
};
void sql_count(struct sql *s, struct sql_counts *out); /* any thread */

/* ---- requests ---- */
enum sql_op {
    SQL_QUERY,    /* one statement; of the transaction `tx`, where there is one */
    SQL_BEGIN,    /* of `tx`, which must be new */
    SQL_COMMIT,   /* of `tx`. Where it fails, that was rolled back */
    SQL_ROLLBACK, /* of `tx`, if it is open still. Cannot fail, never refused while there is a database */
    SQL_PREPARE, /* open the file and apply the migrations in the folder `text`, or none where that is empty. A failure is logged,
                    if it is `loud`. Where that is the file's or the disk's, what is asked for next tries again; where a migration
                    is at fault, all that is asked for fails like it until the next SQL_PREPARE */
};

struct sql_request {
    /* It is the sender's again. On the database's thread, or inside of sql_stop. */
    void (*done)(struct sql_request *r);
    const atomic_bool *given_up; /* nobody waits for it: it is skipped or stopped. NULL: never */
    enum sql_op op;
    struct sql_tx *tx;        /* borrowed until it is back; NULL: none */
    bool one_row;             /* only the first row is wanted */
    bool loud;                /* of SQL_PREPARE */
    struct buf in;            /* owned by the request: the text, then the parameters by sql_value_put */
    size_t text_len;          /* of the text in `in` */
    size_t values;            /* number of parameters */
    struct sql_request *next; /* the database's own, until it is back */
    /* What comes back: */
    int code;              /* 0 or MT_E* */
    char why[SQL_WHY_MAX]; /* more than the code says; empty for none */
    struct buf out;        /* owned by the request: the names of the columns, then the rows, by sql_value_put */
    size_t columns, rows;
    int64_t changes; /* rows that the statement has inserted, changed or deleted */
    int64_t last_id; /* of the row that it has inserted last; 0 for none */
};

/* Send it. Any thread that has a reference. 0; or MT_EBUSY (too much waits), MT_ECLOSED (after sql_stop): it did not leave. */
int sql_send(struct sql_db *db, struct sql_request *r);
void sql_request_fini(struct sql_request *r);

/* One reference. NULL when memory runs out. */
struct sql_tx *sql_tx_create(void);
struct sql_tx *sql_tx_ref(struct sql_tx *tx);
void sql_tx_unref(struct sql_tx *tx); /* NULL is allowed */
#endif
