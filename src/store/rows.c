/* rows.c - the statements of a store's file. */
#include "store/rows.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/rows_open.h"
#include <stdio.h>
#include <sys/stat.h>

/* A table without row ids is one tree in the order of name and key: one page to change for a small value, and scans as they come.
 */
#define GET SLICE("SELECT value, expires FROM store WHERE name = ?1 AND key = ?2")
#define PUT                                                                                                                      \
    SLICE("INSERT INTO store (name, key, value, expires) VALUES (?1, ?2, ?3, ?4)"                                                \
          " ON CONFLICT (name, key) DO UPDATE SET value = excluded.value, expires = excluded.expires")
#define REMOVE SLICE("DELETE FROM store WHERE name = ?1 AND key = ?2")
#define SCAN                                                                                                                     \
    SLICE("SELECT key, value FROM store WHERE name = ?1 AND key >= ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key")
#define SWEEP                                                                                                                    \
    SLICE("DELETE FROM store WHERE (name, key) IN"                                                                               \
          " (SELECT name, key FROM store WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2)")
#define NEXT SLICE("SELECT min(expires) FROM store WHERE expires IS NOT NULL")

/* ---- statements ---- */

static int fail(struct rows *r, int rc)
{
    return sqlite_failed(&r->sql, rc);
}

/* What rows_get has given is done with. */
static void release(struct rows *r)
{
    sqlite_give_back(&r->sql, r->reading);
    r->reading = NULL;
}

/* The statement, ready to be bound; to be given back. */
static int prepare(struct rows *r, struct slice text, sqlite3_stmt **out)
{
    release(r);
    return sqlite_take(&r->sql, text, out);
}

/* One step of a statement that gives no rows, which is given back. `rc` is of its bindings. */
static int run(struct rows *r, sqlite3_stmt *s, int rc)
{
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    int err = rc == SQLITE_DONE ? 0 : fail(r, rc);
    sqlite_give_back(&r->sql, s);
    return err;
}

static int run_plain(struct rows *r, struct slice text)
{
    sqlite3_stmt *s;
    int err = prepare(r, text, &s);

    return err ? err : run(r, s, SQLITE_OK);
}

/* A NULL pointer would be bound as NULL. */
static int bind_bytes(sqlite3_stmt *s, int at, struct slice bytes)
{
    return sqlite3_bind_blob(s, at, bytes.len ? bytes.data : "", (int)bytes.len, SQLITE_STATIC);
}

static int bind_key(sqlite3_stmt *s, struct slice full)
{
    struct slice name, key;

    store_split_key(full, &name, &key);
    int rc = bind_bytes(s, 1, name);
    return rc == SQLITE_OK ? bind_bytes(s, 2, key) : rc;
}

/* ---- values ---- */

static int bind_value(sqlite3_stmt *s, int at, const struct store_value *v)
{
    if (v->kind == STORE_INTEGER)
        return sqlite3_bind_int64(s, at, v->integer);
    if (v->kind == STORE_JSON)
        return sqlite3_bind_text(s, at, v->data.data, (int)v->data.len, SQLITE_STATIC);
    return bind_bytes(s, at, v->data);
}

static int refuse(struct rows *r, int code, const char *why)
{
    snprintf(r->sql.why, sizeof(r->sql.why), "%s", why);
    return code;
}

static int damaged(struct rows *r)
{
    return refuse(r, MT_EMALFORMED, "a row holds what no store has written");
}

static int read_value(struct rows *r, sqlite3_stmt *s, int column, struct store_value *out)
{
    int type = sqlite3_column_type(s, column);

    *out = (struct store_value){STORE_NOTHING, 0, {NULL, 0}};
    if (type == SQLITE_INTEGER) {
        out->kind = STORE_INTEGER;
        out->integer = sqlite3_column_int64(s, column);
        return 0;
    }
    if (type != SQLITE_BLOB && type != SQLITE_TEXT)
        return damaged(r);
    out->kind = type == SQLITE_BLOB ? STORE_BYTES : STORE_JSON;
    out->data.data = sqlite3_column_blob(s, column);
    out->data.len = (size_t)sqlite3_column_bytes(s, column);
    return out->data.len && !out->data.data ? fail(r, SQLITE_NOMEM) : 0;
}

/* ---- transactions ---- */

/* What is written to a file that was deleted, or that another one stands in for, would be gone with the server. */
static int check_place(struct rows *r)
{
    int moved = 0;
    struct stat s;

    if (sqlite3_file_control(r->sql.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        return refuse(r, MT_EIO, "the file was moved or deleted; the server has to be started again");
    if (stat(r->log, &s) != 0 || s.st_ino != r->log_inode)
        return refuse(r, MT_EIO, "the file's write-ahead log (-wal) was moved or deleted; the server has to be started again");
    return 0;
}

int rows_begin(struct rows *r)
{
    int err = check_place(r);

    return err ? err : run_plain(r, SLICE("BEGIN IMMEDIATE"));
}

int rows_commit(struct rows *r)
{
    return run_plain(r, SLICE("COMMIT"));
}

void rows_end(struct rows *r)
{
    release(r);
    if (!sqlite3_get_autocommit(r->sql.db))
        run_plain(r, SLICE("ROLLBACK"));
}

/* ---- rows ---- */

int rows_get(struct rows *r, struct slice key, int64_t now, struct row *out)
{
    sqlite3_stmt *s;
    int err = prepare(r, GET, &s);

    *out = (struct row){{STORE_NOTHING, 0, {NULL, 0}}, 0};
    if (err)
        return err;
    r->reading = s; /* the value's bytes are inside */
    int rc = bind_key(s, key);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? 0 : fail(r, rc);
    out->ends = sqlite3_column_int64(s, 1);
    if (sqlite3_column_type(s, 1) != SQLITE_NULL && out->ends <= now) {
        out->ends = 0;
        return 0;
    }
    return read_value(r, s, 0, &out->value);
}

int rows_put(struct rows *r, struct slice key, const struct store_value *value, int64_t ends)
{
    sqlite3_stmt *s;
    int err = prepare(r, PUT, &s);

    if (err)
        return err;
    int rc = bind_key(s, key);
    if (rc == SQLITE_OK)
        rc = bind_value(s, 3, value);
    if (rc == SQLITE_OK && ends)
        rc = sqlite3_bind_int64(s, 4, ends);
    return run(r, s, rc);
}

int rows_remove(struct rows *r, struct slice key)
{
    sqlite3_stmt *s;
    int err = prepare(r, REMOVE, &s);

    return err ? err : run(r, s, bind_key(s, key));
}

/* ---- many rows ---- */

/* Where a scan begins, in `buffer`. */
static struct slice start_of(struct slice prefix, struct slice after, char buffer[STORE_KEY_MAX + 1])
{
    struct slice name, key;

    if (after.len == 0)
        return prefix;
    store_split_key(after, &name, &key);
    memcpy(buffer, key.data, key.len);
    buffer[key.len] = '\0'; /* the next one that there can be */
    return (struct slice){buffer, key.len + 1};
}

static bool begins_with(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
}

/* Puts the key of the current row behind the store's name and its zero byte, which are in `full` already. */
static bool take_key(sqlite3_stmt *s, char full[STORE_KEY_MAX], size_t before, struct slice *out)
{
    struct slice key = {sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0)};

    if (key.len > STORE_KEY_MAX - before)
        return false;
    if (key.len)
        memcpy(full + before, key.data, key.len);
    *out = (struct slice){full, before + key.len};
    return true;
}

static int step_through(struct rows *r, sqlite3_stmt *s, struct slice prefix,
                        int (*each)(void *arg, struct slice key, const struct store_value *value), void *arg)
{
    char full[STORE_KEY_MAX];
    struct store_value value;
    struct slice name, key;
    int rc, err = 0;

    store_split_key(prefix, &name, &key);
    memcpy(full, prefix.data, name.len + 1);
    while (err == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!take_key(s, full, name.len + 1, &key))
            return damaged(r);
        if (!begins_with(key, prefix))
            return 0;
        err = read_value(r, s, 1, &value);
        if (err == 0)
            err = each(arg, key, &value);
    }
    return err != 0 || rc == SQLITE_DONE ? err : fail(r, rc);
}

int rows_scan(struct rows *r, struct slice prefix, struct slice after, int64_t now,
              int (*each)(void *arg, struct slice key, const struct store_value *value), void *arg)
{
    char buffer[STORE_KEY_MAX + 1];
    struct slice name, key;
    sqlite3_stmt *s;
    int err = prepare(r, SCAN, &s);

    if (err)
        return err;
    store_split_key(prefix, &name, &key);
    int rc = bind_bytes(s, 1, name);
    if (rc == SQLITE_OK)
        rc = bind_bytes(s, 2, start_of(key, after, buffer));
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 3, now);
    err = rc == SQLITE_OK ? step_through(r, s, prefix, each, arg) : fail(r, rc);
    sqlite_give_back(&r->sql, s);
    return err;
}

static int find_next(struct rows *r, int64_t *next)
{
    sqlite3_stmt *s;
    int err = prepare(r, NEXT, &s);

    *next = INT64_MAX;
    if (err)
        return err;
    int rc = sqlite3_step(s);
    if (rc != SQLITE_ROW)
        err = fail(r, rc);
    else if (sqlite3_column_type(s, 0) != SQLITE_NULL)
        *next = sqlite3_column_int64(s, 0);
    sqlite_give_back(&r->sql, s);
    return err;
}

int rows_sweep(struct rows *r, int64_t now, int limit, int64_t *next)
{
    sqlite3_stmt *s;
    int err = prepare(r, SWEEP, &s);

    if (err)
        return err;
    int rc = sqlite3_bind_int64(s, 1, now);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(s, 2, limit);
    err = run(r, s, rc);
    return err ? err : find_next(r, next);
}

/* ---- the log ---- */

int rows_log_pages(const struct rows *r)
{
    return r->log_pages;
}

int rows_checkpoint(struct rows *r, bool restart)
{
    sqlite3_busy_timeout(r->sql.db, 0);
    int rc =
        sqlite3_wal_checkpoint_v2(r->sql.db, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_busy_timeout(r->sql.db, ROWS_BUSY_MS);
    if (rc == SQLITE_OK && restart)
        r->log_pages = 0;
    return rc == SQLITE_OK || rc == SQLITE_BUSY ? 0 : fail(r, rc);
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    release(r);
    sqlite_close(&r->sql);
    mem_free(r);
}
