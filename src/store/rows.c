/* rows.c - the statements of a store's file. */
#include "store/rows.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/rows_open.h"
#include <sqlite3.h>

/* A table without row ids is one tree in the order of name and key: one page to change for a small value, and scans as they come.
 */
static const char *const texts[ROWS_STATEMENTS] = {
    [ROWS_GET] = "SELECT value, expires FROM store WHERE name = ?1 AND key = ?2",
    [ROWS_PUT] = "INSERT INTO store (name, key, value, expires) VALUES (?1, ?2, ?3, ?4)"
                 " ON CONFLICT (name, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
    [ROWS_REMOVE] = "DELETE FROM store WHERE name = ?1 AND key = ?2",
    [ROWS_SCAN] = "SELECT key, value FROM store WHERE name = ?1 AND key >= ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key",
    [ROWS_SWEEP] =
        "DELETE FROM store WHERE (name, key) IN (SELECT name, key FROM store WHERE expires IS NOT NULL AND expires <= ?1"
        " ORDER BY expires LIMIT ?2)",
    [ROWS_NEXT] = "SELECT min(expires) FROM store WHERE expires IS NOT NULL",
    [ROWS_BEGIN] = "BEGIN IMMEDIATE",
    [ROWS_COMMIT] = "COMMIT",
    [ROWS_ROLLBACK] = "ROLLBACK",
};

/* ---- statements ---- */

static int fail(struct rows *r, int rc)
{
    r->why = sqlite3_errmsg(r->db);
    return rows_code(r->db, rc);
}

/* What rows_get has given is done with. */
static void release(struct rows *r)
{
    if (r->reading)
        sqlite3_reset(r->reading);
    r->reading = NULL;
}

/* The statement, ready to be bound. */
static int prepare(struct rows *r, enum rows_statement which, sqlite3_stmt **out)
{
    release(r);
    *out = NULL;
    if (!r->statements[which]) {
        int rc = sqlite3_prepare_v3(r->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &r->statements[which], NULL);
        if (rc != SQLITE_OK)
            return fail(r, rc);
    }
    *out = r->statements[which];
    return 0;
}

/* One step of a statement that gives no rows. */
static int run(struct rows *r, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s), err = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : fail(r, rc);

    sqlite3_reset(s);
    return err;
}

static int run_plain(struct rows *r, enum rows_statement which)
{
    sqlite3_stmt *s;
    int err = prepare(r, which, &s);

    return err ? err : run(r, s);
}

/* A NULL pointer would be bound as NULL. */
static int bind_bytes(sqlite3_stmt *s, int at, struct slice bytes)
{
    return sqlite3_bind_blob(s, at, bytes.len ? bytes.data : "", (int)bytes.len, SQLITE_STATIC);
}

/* The name and the key in a full key. */
static void split(struct slice full, struct slice *name, struct slice *key)
{
    const char *zero = memchr(full.data, '\0', full.len);
    size_t len = zero ? (size_t)(zero - full.data) : full.len;

    *name = (struct slice){full.data, len};
    *key = zero ? (struct slice){zero + 1, full.len - len - 1} : (struct slice){"", 0};
}

static int prepare_key(struct rows *r, enum rows_statement which, struct slice full, sqlite3_stmt **out)
{
    struct slice name, key;
    int err = prepare(r, which, out);

    if (err)
        return err;
    split(full, &name, &key);
    int rc = bind_bytes(*out, 1, name);
    if (rc == SQLITE_OK)
        rc = bind_bytes(*out, 2, key);
    return rc == SQLITE_OK ? 0 : fail(r, rc);
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

static int damaged(struct rows *r)
{
    r->why = "a row holds what no store has written";
    return MT_EMALFORMED;
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
    return out->data.len && !out->data.data ? MT_ENOMEM : 0;
}

/* ---- transactions ---- */

/* What is written to a file that was deleted, or that another one stands in for, would be gone with the server. */
static int check_place(struct rows *r)
{
    int moved = 0;

    if (sqlite3_file_control(r->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK || !moved)
        return 0;
    r->why = "the file of the store was moved or deleted; the server has to be started again";
    return MT_EIO;
}

int rows_begin(struct rows *r)
{
    int err = check_place(r);

    return err ? err : run_plain(r, ROWS_BEGIN);
}

int rows_commit(struct rows *r)
{
    return run_plain(r, ROWS_COMMIT);
}

void rows_end(struct rows *r)
{
    release(r);
    if (!sqlite3_get_autocommit(r->db))
        run_plain(r, ROWS_ROLLBACK);
}

/* ---- rows ---- */

int rows_get(struct rows *r, struct slice key, int64_t now, struct row *out)
{
    sqlite3_stmt *s;
    int err = prepare_key(r, ROWS_GET, key, &s);

    *out = (struct row){{STORE_NOTHING, 0, {NULL, 0}}, 0};
    if (err)
        return err;
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && (sqlite3_column_type(s, 1) == SQLITE_NULL || sqlite3_column_int64(s, 1) > now)) {
        out->ends = sqlite3_column_int64(s, 1);
        err = read_value(r, s, 0, &out->value);
    } else if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        err = fail(r, rc);
    }
    r->reading = s; /* the value's bytes are inside */
    return err;
}

int rows_put(struct rows *r, struct slice key, const struct store_value *value, int64_t ends)
{
    sqlite3_stmt *s;
    int err = prepare_key(r, ROWS_PUT, key, &s);

    if (err)
        return err;
    int rc = bind_value(s, 3, value);
    if (rc == SQLITE_OK)
        rc = ends ? sqlite3_bind_int64(s, 4, ends) : sqlite3_bind_null(s, 4);
    err = rc == SQLITE_OK ? run(r, s) : fail(r, rc);
    sqlite3_clear_bindings(s); /* the bytes are the sender's */
    return err;
}

int rows_remove(struct rows *r, struct slice key)
{
    sqlite3_stmt *s;
    int err = prepare_key(r, ROWS_REMOVE, key, &s);

    return err ? err : run(r, s);
}

/* ---- many rows ---- */

/* Where a scan begins, in `buffer`. */
static struct slice start_of(struct slice prefix, struct slice after, char buffer[STORE_KEY_MAX + 1])
{
    struct slice name, key;

    if (after.len == 0)
        return prefix;
    split(after, &name, &key);
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

    split(prefix, &name, &key);
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
    int err = prepare(r, ROWS_SCAN, &s);

    if (err)
        return err;
    split(prefix, &name, &key);
    int rc = bind_bytes(s, 1, name);
    if (rc == SQLITE_OK)
        rc = bind_bytes(s, 2, start_of(key, after, buffer));
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 3, now);
    err = rc == SQLITE_OK ? step_through(r, s, prefix, each, arg) : fail(r, rc);
    sqlite3_reset(s);
    return err;
}

static int find_next(struct rows *r, int64_t *next)
{
    sqlite3_stmt *s;
    int err = prepare(r, ROWS_NEXT, &s);

    *next = INT64_MAX;
    if (err)
        return err;
    int rc = sqlite3_step(s);
    if (rc != SQLITE_ROW)
        err = fail(r, rc);
    else if (sqlite3_column_type(s, 0) != SQLITE_NULL)
        *next = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return err;
}

int rows_sweep(struct rows *r, int64_t now, int limit, int64_t *next)
{
    sqlite3_stmt *s;
    int err = prepare(r, ROWS_SWEEP, &s);

    if (err)
        return err;
    sqlite3_bind_int64(s, 1, now);
    sqlite3_bind_int(s, 2, limit);
    err = run(r, s);
    return err ? err : find_next(r, next);
}

/* ---- the log ---- */

int rows_log_pages(const struct rows *r)
{
    return r->log_pages;
}

int rows_checkpoint(struct rows *r, bool restart)
{
    sqlite3_busy_timeout(r->db, 0);
    int rc = sqlite3_wal_checkpoint_v2(r->db, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_busy_timeout(r->db, ROWS_BUSY_MS);
    if (rc == SQLITE_OK && restart)
        r->log_pages = 0;
    return rc == SQLITE_OK || rc == SQLITE_BUSY ? 0 : fail(r, rc);
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    for (int i = 0; i < ROWS_STATEMENTS; i++)
        sqlite3_finalize(r->statements[i]);
    sqlite3_close(r->db);
    mem_free(r);
}
