/* rows_open.c - is it our file, and is it whole? */
#include "store/rows_open.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    APPLICATION = 0x4d546b76, /* "MTkv" in the file's head: it is a store of ours */
    FORMAT = 1,               /* of the tables, in the head too */
    LOG_KEEP = 16 << 20,      /* bytes that the log's file keeps when it begins anew */
    CACHE_KIB = 8 << 10,
    CHECK_MS = 300, /* for looking through the whole file; larger ones are checked by reading them, page by page */
};

static const char tables[] =
    "CREATE TABLE store (name BLOB NOT NULL, key BLOB NOT NULL, value, expires INTEGER, PRIMARY KEY (name, key)) WITHOUT ROWID;"
    "CREATE INDEX store_expires ON store (expires) WHERE expires IS NOT NULL;";

/* ---- sentences ---- */

#define RESCUE "Bring a copy back, or save what can be read: sqlite3 %s .recover | sqlite3 NEW"

static int refuse_code(struct rows *r, const char *path, int code, char **error)
{
    int system = r->sql.db ? sqlite3_system_errno(r->sql.db) : 0;

    if (code == MT_EMALFORMED)
        return store_refuse(code, error, "store.file %s is no store, or damaged: %s. " RESCUE, path, r->sql.why, path);
    return store_refuse(code, error, "store.file %s: %s%s%s", path, r->sql.why, system ? ": " : "",
                        system ? strerror(system) : "");
}

/* ---- looking at the file ---- */

/* The first column of the first row, as a number. */
static int ask_number(struct rows *r, struct slice text, int64_t *out)
{
    sqlite3_stmt *s;
    int err = sqlite_take(&r->sql, text, &s);

    if (err)
        return err;
    int rc = sqlite3_step(s);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    err = sqlite_failed(&r->sql, rc);
    sqlite_give_back(&r->sql, s);
    return err;
}

static int out_of_time(void *until)
{
    return clock_ms() > *(uint64_t *)until;
}

/* Looks through all pages, as far as there is time. */
static int check_pages(struct rows *r)
{
    uint64_t until = clock_ms() + CHECK_MS;
    sqlite3_stmt *s;
    int err = sqlite_take(&r->sql, SLICE("PRAGMA quick_check(1)"), &s);

    if (err)
        return err;
    sqlite3_progress_handler(r->sql.db, 1000, out_of_time, &until);
    int rc = sqlite3_step(s);
    const char *found = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : "ok";
    err = rc == SQLITE_INTERRUPT ? 0 : sqlite_failed(&r->sql, rc);
    if (found && strcmp(found, "ok") != 0) {
        const char *line = strchr(found, '\n'); /* behind "in database main" */
        snprintf(r->sql.why, sizeof(r->sql.why), "%s", line ? line + 1 : found);
        err = MT_EMALFORMED;
    }
    sqlite_give_back(&r->sql, s);
    sqlite3_progress_handler(r->sql.db, 0, NULL, NULL);
    return err;
}

/* *fresh: there is nothing in it yet. */
static int look(struct rows *r, const char *path, bool *fresh, char **error)
{
    int64_t count = 0, application = 0, format = 0;
    int err = ask_number(r, SLICE("SELECT count(*) FROM sqlite_schema"), &count);

    if (err == 0)
        err = ask_number(r, SLICE("PRAGMA application_id"), &application);
    if (err == 0)
        err = ask_number(r, SLICE("PRAGMA user_version"), &format);
    *fresh = count == 0 && application == 0 && format == 0;
    if (err == 0 && !*fresh && application != APPLICATION)
        return store_refuse(MT_EMALFORMED, error, "store.file %s is a database of another program: name a file of its own", path);
    if (err == 0 && !*fresh && format != FORMAT)
        return store_refuse(MT_EMALFORMED, error, "store.file %s is of a later version of moontide: format %d, this one knows %d",
                            path, (int)format, FORMAT);
    if (err == 0 && !*fresh)
        err = check_pages(r);
    return err ? refuse_code(r, path, err, error) : 0;
}

/* By a connection that can change nothing: it may be somebody else's file. */
static int look_first(const char *path, bool *fresh, char **error)
{
    const struct sqlite_options o = {.read_only = true, .must_exist = true, .busy_ms = ROWS_BUSY_MS};
    struct rows r = {.log_pages = 0};
    int err = sqlite_open(&r.sql, path, &o);

    err = err ? refuse_code(&r, path, err, error) : look(&r, path, fresh, error);
    sqlite_close(&r.sql);
    return err;
}

/* ---- setting up ---- */

static int count_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    ((struct rows *)arg)->log_pages = pages;
    return SQLITE_OK;
}

/* In other modes, which SQLite falls back to where memory cannot be shared, two connections get into each other's way. */
static int check_wal(struct rows *r)
{
    sqlite3_stmt *s;
    int err = sqlite_take(&r->sql, SLICE("PRAGMA journal_mode"), &s);

    if (err)
        return err;
    if (sqlite3_step(s) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(s, 0), "wal") != 0) {
        snprintf(r->sql.why, sizeof(r->sql.why), "no write-ahead log can be had there; is it a network folder?");
        err = MT_EIO;
    }
    sqlite_give_back(&r->sql, s);
    return err;
}

/* Which file the log is, as long as this connection is open. A copy that VACUUM has made has none before it is read. */
static int find_log(struct rows *r)
{
    struct stat s;
    int64_t count;
    int err = ask_number(r, SLICE("SELECT count(*) FROM sqlite_schema"), &count);

    if (err)
        return err;
    r->log = sqlite3_filename_wal(sqlite3_db_filename(r->sql.db, "main"));
    if (stat(r->log, &s) != 0) {
        snprintf(r->sql.why, sizeof(r->sql.why), "%s: %s", r->log, strerror(errno));
        return MT_EIO;
    }
    r->log_inode = s.st_ino;
    return 0;
}

static int set_up(struct rows *r)
{
    char text[200];

    snprintf(
        text, sizeof(text),
        "PRAGMA wal_autocheckpoint = 0; PRAGMA cell_size_check = ON; PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d",
        CACHE_KIB, LOG_KEEP);
    int err = sqlite_run(&r->sql, text);
    sqlite3_wal_hook(r->sql.db, count_pages, r);
    return err;
}

static int make(struct rows *r)
{
    char text[sizeof(tables) + 100];

    snprintf(text, sizeof(text), "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", tables,
             APPLICATION, FORMAT);
    return sqlite_run(&r->sql, text);
}

static int open_whole(struct rows *r, const char *path, bool fresh)
{
    const struct sqlite_options o = {.must_exist = true, .full_sync = true, .busy_ms = ROWS_BUSY_MS};
    int err = sqlite_open(&r->sql, path, &o);

    if (err == 0)
        err = check_wal(r);
    if (err == 0)
        err = set_up(r);
    if (err == 0 && fresh)
        err = make(r);
    return err == 0 ? find_log(r) : err;
}

int rows_open(const char *path, bool first, struct rows **out, char **error)
{
    struct rows *r = mem_zalloc(1, sizeof(*r));
    bool fresh = false;

    if (!r)
        return MT_ENOMEM;
    int err = first ? look_first(path, &fresh, error) : 0;
    if (err == 0 && (err = open_whole(r, path, fresh)) != 0)
        refuse_code(r, path, err, error);
    if (err) {
        rows_close(r);
        return err;
    }
    *out = r;
    return 0;
}

int rows_check(const char *path, char **error)
{
    bool fresh;

    return look_first(path, &fresh, error);
}

const char *rows_why(const struct rows *r)
{
    return r->sql.why;
}
