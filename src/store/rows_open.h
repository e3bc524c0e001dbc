/* rows_open.h - the inside of struct rows, for rows.c and rows_open.c. */
#ifndef MT_STORE_ROWS_OPEN_H
#define MT_STORE_ROWS_OPEN_H
#include "store/rows.h"

struct sqlite3;
struct sqlite3_stmt;

enum { ROWS_BUSY_MS = 5000 }; /* how long a write waits for another program that writes to the file */

enum rows_statement {
    ROWS_GET,
    ROWS_PUT,
    ROWS_REMOVE,
    ROWS_SCAN,
    ROWS_SWEEP,
    ROWS_NEXT,
    ROWS_BEGIN,
    ROWS_COMMIT,
    ROWS_ROLLBACK,
    ROWS_STATEMENTS
};

struct rows {
    struct sqlite3 *db;
    struct sqlite3_stmt *statements[ROWS_STATEMENTS]; /* NULL until they are needed */
    struct sqlite3_stmt *reading;                     /* holds what rows_get gave; NULL: nothing */
    const char *why;                                  /* of the last failure; SQLite's text or static */
    int log_pages;
};

/* What a result of SQLite means. */
int rows_code(struct sqlite3 *db, int rc);
#endif
