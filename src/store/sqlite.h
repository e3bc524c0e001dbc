/* sqlite.h - one connection to an SQLite file: opened safely, with a cache of prepared statements and our error codes. Hides
 * nothing of sqlite3.h, which only this layer includes.
 *
 * A connection belongs to one thread. Statements are looked up by their text; those that are not in use are kept, the least used
 * ones go first.
 */
#ifndef MT_STORE_SQLITE_H
#define MT_STORE_SQLITE_H
#include "base/slice.h"
#include <sqlite3.h>
#include <stdbool.h>

enum { SQLITE_WHY_MAX = 200, SQLITE_STATEMENTS_MAX = 64 };

struct sqlite_statement;

struct sqlite {
    sqlite3 *db;                         /* NULL: not open */
    struct sqlite_statement *statements; /* owned: the most recently used first */
    unsigned count;                      /* of them */
    char why[SQLITE_WHY_MAX];            /* of the last failure, in SQLite's words */
};

struct sqlite_options {
    bool read_only;
    bool must_exist;   /* else it is made */
    bool full_sync;    /* synchronous=FULL: a commit is on the disk when it returns; else NORMAL: it is when WAL is moved over */
    bool foreign_keys; /* are checked */
    bool trusted_schema; /* triggers and views may use functions and virtual tables that have effects of their own */
    int busy_ms;         /* how long another process may hold the file before MT_EBUSY */
};

/* Open `path` in WAL mode (":memory:" has none). No extensions, no writes to the schema by tricks. Zeroed memory or a closed
 * connection before. 0, or as sqlite_code says with s->why; then it is closed.
 */
int sqlite_open(struct sqlite *s, const char *path, const struct sqlite_options *o);
void sqlite_close(struct sqlite *s); /* all statements must have been given back. Closed already: fine */

/* A result code of SQLite as one of ours. SQLITE_OK, SQLITE_ROW and SQLITE_DONE give 0. */
int sqlite_code(int rc);
/* The same, and what SQLite says about it goes to s->why. */
int sqlite_failed(struct sqlite *s, int rc);
/* Run statements that give no rows: "BEGIN IMMEDIATE". 0 or as sqlite_failed. */
int sqlite_run(struct sqlite *s, const char *sql);

/* A statement of this text, ready to bind, until sqlite_give_back. `text` is one statement; what follows it but blanks and
 * comments is MT_EINVALID, and so is none. 0 or as sqlite_failed. */
int sqlite_take(struct sqlite *s, struct slice text, sqlite3_stmt **out);
/* Reset, its bindings cleared. NULL is allowed. */
void sqlite_give_back(struct sqlite *s, sqlite3_stmt *stmt);
#endif
