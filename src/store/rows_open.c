/* rows_open.c - is it our file, and is it whole? */
#include "store/rows_open.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

enum {
    APPLICATION = 0x4d546b76, /* "MTkv" in the file's head: it is a store of ours */
    FORMAT = 1,               /* of the tables, in the head too */
    LOG_KEEP = 16 << 20,      /* bytes that the log's file keeps when it begins anew */
    CACHE_KIB = 8 << 10,
    CHECK_MS = 300, /* for looking through the whole file; larger ones are checked by reading them, page by page */
};

static const char create_text[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE store (name BLOB NOT NULL, key BLOB NOT NULL, value, expires INTEGER, PRIMARY KEY (name, key)) WITHOUT ROWID;"
    "CREATE INDEX store_expires ON store (expires) WHERE expires IS NOT NULL;";

/* ---- codes ---- */

/* No space is reported in several ways: by the disk, by a quota, by a limit of the process. */
static bool is_full(sqlite3 *db)
{
    int system = db ? sqlite3_system_errno(db) : 0;

    return system == ENOSPC || system == EDQUOT || system == EFBIG;
}

int rows_code(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_FULL:
        return MT_EFULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return MT_EMALFORMED;
    case SQLITE_NOMEM:
        return MT_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MT_EBUSY;
    case SQLITE_TOOBIG:
        return MT_ETOO_LARGE;
    case SQLITE_IOERR:
        return rc == SQLITE_IOERR_NOMEM ? MT_ENOMEM : is_full(db) ? MT_EFULL : MT_EIO;
    default:
        return MT_EIO;
    }
}

/* ---- sentences ---- */

static int refuse(int code, char **error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int refuse(int code, char **error, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    if (buf_addv(&text, format, args) == 0)
        *error = mem_strdup((char *)text.data, text.len);
    va_end(args);
    buf_fini(&text);
    return code;
}

static int refuse_damaged(const char *path, const char *why, char **error)
{
    return refuse(MT_EMALFORMED, error,
                  "store.file %s is damaged: %s. Bring a copy back, or save what can be read: sqlite3 %s .recover | sqlite3 NEW",
                  path, why, path);
}

static int refuse_code(struct rows *r, const char *path, int rc, char **error)
{
    int code = rows_code(r->db, rc);

    if (rc == SQLITE_NOTADB)
        return refuse(code, error, "store.file %s is not a store: it is no SQLite file, or its head is damaged", path);
    if (code == MT_EMALFORMED)
        return refuse_damaged(path, sqlite3_errmsg(r->db), error);
    int system = sqlite3_system_errno(r->db);
    return refuse(code, error, "store.file %s: %s%s%s", path, r->db ? sqlite3_errmsg(r->db) : err_text(code), system ? ": " : "",
                  system ? strerror(system) : "");
}

/* ---- looking at the file ---- */

/* The first column of the first row, as a number; -1 where it has none. */
static int ask_number(struct rows *r, const char *text, int64_t *out)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(r->db, text, -1, &s, NULL);

    *out = -1;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int out_of_time(void *until)
{
    return clock_ms() > *(uint64_t *)until;
}

/* What is damaged is better known before anything is written. */
static int check_pages(struct rows *r, const char *path, char **error)
{
    uint64_t until = clock_ms() + CHECK_MS;
    sqlite3_stmt *s = NULL;
    int err = 0;

    sqlite3_progress_handler(r->db, 1000, out_of_time, &until);
    int rc = sqlite3_prepare_v2(r->db, "PRAGMA quick_check(1)", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        err = refuse_damaged(path, (const char *)sqlite3_column_text(s, 0), error);
    else if (rc != SQLITE_ROW && rc != SQLITE_INTERRUPT)
        err = refuse_code(r, path, rc, error);
    sqlite3_finalize(s);
    sqlite3_progress_handler(r->db, 0, NULL, NULL);
    return err;
}

/* *fresh: there is nothing in it yet. */
static int look(struct rows *r, const char *path, bool *fresh, char **error)
{
    int64_t tables = 0, application = 0, format = 0;
    int rc = ask_number(r, "SELECT count(*) FROM sqlite_schema", &tables);

    if (rc == SQLITE_OK)
        rc = ask_number(r, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = ask_number(r, "PRAGMA user_version", &format);
    if (rc != SQLITE_OK)
        return refuse_code(r, path, rc, error);
    *fresh = tables == 0 && application == 0 && format == 0;
    if (*fresh)
        return 0;
    if (application != APPLICATION)
        return refuse(MT_EMALFORMED, error, "store.file %s is a database of another program: name a file of its own", path);
    if (format != FORMAT)
        return refuse(MT_EMALFORMED, error, "store.file %s is of a later version of moontide (format %d, this one knows %d)",
                      path, (int)format, FORMAT);
    return check_pages(r, path, error);
}

/* ---- setting up ---- */

static int count_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    ((struct rows *)arg)->log_pages = pages;
    return SQLITE_OK;
}

/* Other modes than WAL lose what two connections side by side need. */
static int enter_wal(struct rows *r, const char *path, char **error)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(r->db, "PRAGMA journal_mode = WAL", -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    bool wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(s, 0), "wal") == 0;
    sqlite3_finalize(s);
    if (rc != SQLITE_ROW)
        return refuse_code(r, path, rc, error);
    return wal ? 0
               : refuse(MT_EIO, error, "store.file %s: a write-ahead log cannot be used there; is it a network folder?", path);
}

static int set_up(struct rows *r)
{
    char text[300];

    sqlite3_busy_timeout(r->db, ROWS_BUSY_MS);
    sqlite3_extended_result_codes(r->db, 1);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    snprintf(text, sizeof(text),
             "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cell_size_check = ON; PRAGMA cache_size = -%d;"
             "PRAGMA journal_size_limit = %d;",
             CACHE_KIB, LOG_KEEP);
    int rc = sqlite3_exec(r->db, text, NULL, NULL, NULL);
    sqlite3_wal_hook(r->db, count_pages, r);
    return rc;
}

static int create(struct rows *r)
{
    char text[sizeof(create_text) + 100];

    snprintf(text, sizeof(text), "%s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", create_text, APPLICATION,
             FORMAT);
    return sqlite3_exec(r->db, text, NULL, NULL, NULL);
}

static int look_and_make(struct rows *r, const char *path, enum rows_mode mode, char **error)
{
    bool fresh = false;
    int err = look(r, path, &fresh, error);

    if (err == 0 && !(fresh && mode == ROWS_LOOK))
        err = enter_wal(r, path, error);
    if (err != 0 || !fresh || mode == ROWS_LOOK)
        return err;
    int rc = create(r);
    return rc == SQLITE_OK ? 0 : refuse_code(r, path, rc, error);
}

static int open_whole(struct rows *r, const char *path, enum rows_mode mode, char **error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int rc = sqlite3_open_v2(path, &r->db, mode == ROWS_MAKE ? flags | SQLITE_OPEN_CREATE : flags, NULL);

    if (rc == SQLITE_OK)
        rc = set_up(r);
    if (rc != SQLITE_OK)
        return refuse_code(r, path, rc, error);
    return mode == ROWS_AGAIN ? 0 : look_and_make(r, path, mode, error);
}

int rows_open(const char *path, enum rows_mode mode, struct rows **out, char **error)
{
    struct rows *r = mem_zalloc(1, sizeof(*r));

    if (!r)
        return MT_ENOMEM;
    r->why = "";
    int err = open_whole(r, path, mode, error);
    if (err) {
        rows_close(r);
        return err;
    }
    *out = r;
    return 0;
}

const char *rows_why(const struct rows *r)
{
    return r->why;
}
