/* rows_open.h - the inside of struct rows, for rows.c and rows_open.c. */
#ifndef MT_STORE_ROWS_OPEN_H
#define MT_STORE_ROWS_OPEN_H
#include "store/rows.h"
#include "store/sqlite.h"
#include <sys/types.h>

enum { ROWS_BUSY_MS = 5000 }; /* how long a write waits for another program that writes to the file */

struct rows {
    struct sqlite sql;
    sqlite3_stmt *reading; /* holds what rows_get gave, to be given back; NULL: nothing */
    int log_pages;
    const char *log; /* path of the write-ahead log; SQLite's */
    ino_t log_inode; /* which one it is */
};
#endif
