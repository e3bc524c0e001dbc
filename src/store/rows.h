/* rows.h - the table of a store's file, seen by one connection: what file.c's threads do with SQLite, and the only code of the
 * store that does.
 *
 * One row per key: the store's name, the key, the value (INTEGER as it is, BLOB for bytes, TEXT for JSON), and when it expires
 * in milliseconds of the wall clock (NULL: never). Expired rows are not there for any function here but rows_sweep.
 * A connection belongs to one thread at a time. Functions return 0 or MT_EIO, MT_EFULL, MT_EMALFORMED, MT_EBUSY (another
 * program is at the file), MT_ENOMEM; rows_why then says more. After one of these inside of a transaction roll it back. Reads
 * outside of transactions each see one moment.
 */
#ifndef MT_STORE_ROWS_H
#define MT_STORE_ROWS_H
#include "store/store.h"

struct rows;

struct row {
    struct store_value value; /* STORE_NOTHING: there is none. Its bytes stay until the next call */
    int64_t ends;             /* 0: never */
};

/* Open the file, which is there, perhaps still empty. `first`: nobody has looked yet whether it is ours, and whole as far as a
 * short look shows. On failure a sentence for the operator, with the path, is in *error (mem_free it). MT_EMALFORMED also for
 * files of others and of later versions. */
int rows_open(const char *path, bool first, struct rows **out, char **error);
/* Only that look. */
int rows_check(const char *path, char **error);
void rows_close(struct rows *r); /* NULL is allowed */
/* What the last failure was, in words; valid until the next call. */
const char *rows_why(const struct rows *r);

int rows_begin(struct rows *r);  /* to write. MT_EIO, too, where the file is not at its path any more */
int rows_commit(struct rows *r); /* 0: it is on the disk */
void rows_end(struct rows *r);   /* rolls back what was not committed, and lets go of what was read */

int rows_get(struct rows *r, struct slice key, int64_t now, struct row *out);
int rows_put(struct rows *r, struct slice key, const struct store_value *value, int64_t ends);
int rows_remove(struct rows *r, struct slice key);
/* The keys that begin with `prefix`, behind `after` unless that is empty, in their order, until `each` returns other than 0,
 * which is then the result. */
int rows_scan(struct rows *r, struct slice prefix, struct slice after, int64_t now,
              int (*each)(void *arg, struct slice key, const struct store_value *value), void *arg);
/* Removes at most `limit` rows that have expired. *next: when the one that comes then does, INT64_MAX for none. A transaction of
 * its own where none is under way. */
int rows_sweep(struct rows *r, int64_t now, int limit, int64_t *next);

/* Pages in the write-ahead log after the last commit. */
int rows_log_pages(const struct rows *r);
/* Bring the log into the file as far as readers allow. `restart`: and begin the log anew, which needs that no other connection
 * of this process is in a transaction; waits for nobody. */
int rows_checkpoint(struct rows *r, bool restart);
#endif
