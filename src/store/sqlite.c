/* sqlite.c - opening, statements, codes. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct sqlite_statement {
    struct sqlite_statement *next;
    sqlite3_stmt *stmt; /* owned; it has its text */
    bool taken;         /* it is in use */
    size_t len;         /* of the text */
    char text[];
};

/* ---- codes ---- */

int sqlite_code(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_NOMEM:
        return MT_ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MT_EBUSY;
    case SQLITE_CONSTRAINT:
        return MT_ECONSTRAINT;
    case SQLITE_FULL:
        return MT_EFULL;
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
        return MT_ECANCELLED;
    case SQLITE_TOOBIG:
        return MT_ETOO_LARGE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return MT_EMALFORMED;
    case SQLITE_READONLY:
    case SQLITE_AUTH:
    case SQLITE_PERM:
        return MT_EDENIED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_NOLFS:
        return MT_EIO;
    default:
        return MT_EINVALID;
    }
}

static bool has_no_room(sqlite3_file *file)
{
    int system = 0;

    if (!file || !file->pMethods || file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &system) != SQLITE_OK)
        return false;
    return system == ENOSPC || system == EDQUOT || system == EFBIG;
}

/* What a quota or a limit of the process keeps from growing, SQLite does not tell from a disk that is broken. */
static bool is_full(sqlite3 *db)
{
    sqlite3_file *file = NULL, *log = NULL;

    if (!db)
        return false;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return has_no_room(file) || has_no_room(log);
}

int sqlite_failed(struct sqlite *s, int rc)
{
    int code = (rc & 0xff) == SQLITE_IOERR && is_full(s->db) ? MT_EFULL : sqlite_code(rc);

    /* The connection remembers the last call's message; another code than that one's has only its general text. */
    const char *text = s->db && (sqlite3_errcode(s->db) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    snprintf(s->why, sizeof(s->why), "%s", text);
    return code;
}

/* ---- life ---- */

static int set_up(struct sqlite *s, const char *path, const struct sqlite_options *o)
{
    static const int off[] = {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER};

    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, o->busy_ms);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++)
        sqlite3_db_config(s->db, off[i], 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, (int)o->trusted_schema, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_FKEY, (int)o->foreign_keys, NULL);
    int rc = sqlite_run(s, o->full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    if (rc == 0 && !o->read_only && strcmp(path, ":memory:") != 0)
        rc = sqlite_run(s, "PRAGMA journal_mode = WAL"); /* the first that reads the file: what is none of SQLite's fails here */
    else if (rc == 0)
        rc = sqlite_run(s, "PRAGMA schema_version");
    return rc;
}

int sqlite_open(struct sqlite *s, const char *path, const struct sqlite_options *o)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;

    flags |= o->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (!o->read_only && !o->must_exist)
        flags |= SQLITE_OPEN_CREATE;
    memset(s, 0, sizeof(*s));
    int rc = sqlite3_open_v2(path, &s->db, flags, NULL);
    rc = rc == SQLITE_OK ? set_up(s, path, o) : sqlite_failed(s, rc);
    if (rc != 0) {
        sqlite3_close_v2(s->db);
        s->db = NULL;
    }
    return rc;
}

static void drop(struct sqlite *s, struct sqlite_statement **link)
{
    struct sqlite_statement *p = *link;

    *link = p->next;
    sqlite3_finalize(p->stmt);
    mem_free(p);
    s->count--;
}

void sqlite_close(struct sqlite *s)
{
    while (s->statements)
        drop(s, &s->statements);
    sqlite3_close_v2(s->db); /* NULL is allowed */
    s->db = NULL;
}

/* sqlite3_exec steps through rows too: pragmas give some. */
int sqlite_run(struct sqlite *s, const char *sql)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sqlite_failed(s, rc);
}

/* ---- statements ---- */

static struct sqlite_statement *find_free(struct sqlite *s, struct slice text)
{
    for (struct sqlite_statement **link = &s->statements; *link; link = &(*link)->next) {
        struct sqlite_statement *p = *link;

        if (p->taken || p->len != text.len || memcmp(p->text, text.data, text.len) != 0)
            continue;
        *link = p->next; /* to the front */
        p->next = s->statements;
        s->statements = p;
        return p;
    }
    return NULL;
}

/* The one that was not used for the longest time goes. */
static void make_room(struct sqlite *s)
{
    struct sqlite_statement **last = NULL;

    for (struct sqlite_statement **link = &s->statements; *link; link = &(*link)->next)
        if (!(*link)->taken)
            last = link;
    if (last)
        drop(s, last);
}

/* Whether there is another statement in `tail`. */
static bool has_more(struct sqlite *s, const char *tail, const char *end)
{
    sqlite3_stmt *stmt = NULL;

    if (tail >= end)
        return false;
    int rc = sqlite3_prepare_v3(s->db, tail, (int)(end - tail), 0, &stmt, NULL);
    sqlite3_finalize(stmt);
    return rc != SQLITE_OK || stmt != NULL;
}

static int refuse(struct sqlite *s, const char *why)
{
    snprintf(s->why, sizeof(s->why), "%s", why);
    return MT_EINVALID;
}

static int prepare(struct sqlite *s, struct slice text, sqlite3_stmt **out)
{
    const char *tail;
    int rc;

    if (text.len > (size_t)sqlite3_limit(s->db, SQLITE_LIMIT_SQL_LENGTH, -1)) {
        refuse(s, "the statement is too long");
        return MT_ETOO_LARGE;
    }
    rc = sqlite3_prepare_v3(s->db, text.data, (int)text.len, SQLITE_PREPARE_PERSISTENT, out, &tail);
    if (rc != SQLITE_OK)
        return sqlite_failed(s, rc);
    if (!*out)
        return refuse(s, "there is no statement in the text");
    if (!has_more(s, tail, text.data + text.len))
        return 0;
    sqlite3_finalize(*out);
    return refuse(s, "only one statement at a time");
}

static struct sqlite_statement *add(struct sqlite *s, struct slice text, sqlite3_stmt *stmt)
{
    struct sqlite_statement *p = mem_alloc(sizeof(*p) + text.len);

    if (!p)
        return NULL;
    if (s->count >= SQLITE_STATEMENTS_MAX)
        make_room(s);
    p->stmt = stmt;
    p->len = text.len;
    memcpy(p->text, text.data, text.len);
    p->next = s->statements;
    s->statements = p;
    s->count++;
    return p;
}

int sqlite_take(struct sqlite *s, struct slice text, sqlite3_stmt **out)
{
    struct sqlite_statement *p = find_free(s, text);

    *out = NULL;
    if (!p) {
        int rc = prepare(s, text, out);
        if (rc != 0) {
            *out = NULL;
            return rc;
        }
        if (!(p = add(s, text, *out))) {
            sqlite3_finalize(*out);
            *out = NULL;
            return sqlite_failed(s, SQLITE_NOMEM);
        }
    }
    p->taken = true;
    *out = p->stmt;
    return 0;
}

void sqlite_give_back(struct sqlite *s, sqlite3_stmt *stmt)
{
    struct sqlite_statement *p = s->statements;

    if (!stmt)
        return;
    while (p && p->stmt != stmt)
        p = p->next;
    assert(p && p->taken);
    sqlite3_reset(stmt); /* what it returns, the step said already */
    sqlite3_clear_bindings(stmt);
    p->taken = false;
    if (s->count > SQLITE_STATEMENTS_MAX) /* more were in use at once than are kept */
        make_room(s);
}
