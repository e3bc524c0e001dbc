/* sql_migrate.c - files NNN_name.sql of a folder, each applied once, in the order of their numbers.
 *
 * What was applied is in a table of the database itself, and written in the same transaction as the change: so a migration is
 * applied whole or not at all, whatever happens, and by one of several servers that start together.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/sql_impl.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 10000, FILE_BYTES_MAX = 16 << 20, NAME_BYTES = 256, DIGEST_BYTES = 17 };

struct migration {
    unsigned long long number;
    char name[NAME_BYTES];
};

struct migrations {
    struct sql_db *db;
    const char *folder;
    struct migration *list; /* owned; by number */
    size_t count, cap;
    struct buf text;           /* of the file that is being applied; a zero byte lies behind it */
    char digest[DIGEST_BYTES]; /* of it */
    char *why;                 /* SQL_WHY_MAX bytes */
};

static __attribute__((format(printf, 3, 4))) int fail(struct migrations *m, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(m->why, SQL_WHY_MAX, format, args);
    va_end(args);
    return code;
}

/* ---- which there are ---- */

static bool read_name(const char *name, unsigned long long *number)
{
    size_t digits = strspn(name, "0123456789"), len = strlen(name);
    struct slice text = {name, digits};

    return len < NAME_BYTES && name[digits] == '_' && len > digits + 1 + 4 && slice_to_uint(text, INT64_MAX, number);
}

static int add_file(struct migrations *m, const char *name)
{
    size_t len = strlen(name);
    unsigned long long number;

    if (name[0] == '.' || len < 4 || strcmp(name + len - 4, ".sql") != 0)
        return 0; /* a note, or what an editor leaves */
    if (!read_name(name, &number))
        return fail(m, MT_EINVALID, "%s/%s: the name of a migration is NUMBER_NAME.sql, as in 001_players.sql", m->folder, name);
    if (m->count == FILES_MAX)
        return fail(m, MT_ELIMITED, "%s: more than %d migrations", m->folder, FILES_MAX);
    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        struct migration *list = mem_resize(m->list, cap * sizeof(*list));

        if (!list)
            return fail(m, MT_ENOMEM, "%s", err_text(MT_ENOMEM));
        m->list = list;
        m->cap = cap;
    }
    m->list[m->count].number = number;
    memcpy(m->list[m->count++].name, name, len + 1);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    unsigned long long x = ((const struct migration *)a)->number, y = ((const struct migration *)b)->number;

    return x < y ? -1 : x > y;
}

static int list_files(struct migrations *m)
{
    DIR *folder = opendir(m->folder);
    struct dirent *entry;
    int err = 0;

    if (!folder)
        return fail(m, errno == ENOENT ? MT_ENOT_FOUND : MT_EIO, "migrations: %s: %s", m->folder, strerror(errno));
    while (err == 0 && (entry = readdir(folder)))
        err = add_file(m, entry->d_name);
    closedir(folder);
    if (err != 0)
        return err;
    if (m->count > 0)
        qsort(m->list, m->count, sizeof(*m->list), by_number);
    for (size_t i = 1; i < m->count; i++)
        if (m->list[i].number == m->list[i - 1].number)
            return fail(m, MT_EINVALID, "%s: %s and %s have the same number", m->folder, m->list[i - 1].name, m->list[i].name);
    return 0;
}

/* ---- one file ---- */

static int read_all(int fd, struct buf *out)
{
    ssize_t n;

    do {
        if (out->len > FILE_BYTES_MAX)
            return MT_ETOO_LARGE;
        if (buf_reserve(out, 65536) != 0)
            return MT_ENOMEM;
        n = read(fd, out->data + out->len, 65536);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? MT_EIO : 0;
}

/* FNV-1a: it is to find a file that somebody has edited, not one that somebody has forged. */
static void digest(struct slice text, char out[DIGEST_BYTES])
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211u;
    snprintf(out, DIGEST_BYTES, "%016llx", (unsigned long long)hash);
}

static int read_file(struct migrations *m, const struct migration *file)
{
    char path[4096 + NAME_BYTES];

    snprintf(path, sizeof(path), "%s/%s", m->folder, file->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would never end */
    if (fd < 0)
        return fail(m, MT_EIO, "%s: %s", path, strerror(errno));
    buf_clear(&m->text);
    int err = read_all(fd, &m->text);
    close(fd);
    if (err == 0 && memchr(m->text.data, '\0', m->text.len))
        err = MT_EMALFORMED; /* SQLite would see an end there */
    if (err == 0 && buf_add_byte(&m->text, '\0') != 0)
        err = MT_ENOMEM;
    if (err != 0)
        return fail(m, err, "%s: %s", path, err_text(err));
    m->text.len--;
    digest(buf_slice(&m->text), m->digest);
    return 0;
}

static size_t line_of(const struct migrations *m, size_t at)
{
    size_t line = 1;

    for (size_t i = 0; i < at && i < m->text.len; i++)
        line += m->text.data[i] == '\n';
    return line;
}

/* `at`: where in the text the statement begins; SQLite knows better where it is a word that it does not understand. */
static int fail_at(struct migrations *m, const struct migration *file, size_t at, int rc)
{
    char why[SQL_WHY_MAX];
    int offset = sqlite3_error_offset(m->db->sqlite.db);
    int code = sql_guard_failed(m->db, rc, why);

    while (at < m->text.len && isspace(m->text.data[at]))
        at++, offset -= offset > 0;
    return fail(m, code, "%s/%s:%zu: %.*s", m->folder, file->name, line_of(m, at + (offset > 0 ? (size_t)offset : 0)), 200, why);
}

/* All statements of the text, one after the other. Given as a string, as the text is: with a length SQLite would copy all that is
 * left for each of them, and bound that and not the statement. */
static int run_text(struct migrations *m, const struct migration *file)
{
    const char *text = (const char *)m->text.data, *end = text + m->text.len, *tail = text;
    sqlite3_stmt *stmt;

    for (const char *at = text; at < end; at = tail) {
        m->db->denied = NULL;
        int rc = sqlite3_prepare_v2(m->db->sqlite.db, at, -1, &stmt, &tail);

        while (rc == SQLITE_OK && stmt && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
            rc = SQLITE_OK;
        if (rc != SQLITE_OK && rc != SQLITE_DONE) {
            int code = fail_at(m, file, (size_t)(at - text), rc);
            sqlite3_finalize(stmt);
            return code;
        }
        sqlite3_finalize(stmt);
    }
    return 0;
}

/* ---- what was applied ---- */

/* Our own statements: they never name anything of the user's. */
static int run_own(struct migrations *m, const char *sql)
{
    m->db->trusted = true;
    int rc = sqlite3_exec(m->db->sqlite.db, sql, NULL, NULL, NULL);
    m->db->trusted = false;
    if (rc == SQLITE_OK)
        return 0;
    int code = sql_guard_failed(m->db, rc, m->why);
    char why[SQL_WHY_MAX];
    memcpy(why, m->why, sizeof(why));
    return fail(m, code, "migrations: %s: %.*s", m->db->path, 200, why);
}

/* Never NULL, whatever columns a table of that name has. */
static const char *text_of(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);

    return text ? (const char *)text : "";
}

/* *found: its name and digest are as recorded. A file that has changed since is an error. */
static int look_up(struct migrations *m, const struct migration *file, bool *found)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_take(&m->db->sqlite, SLICE("SELECT name, digest FROM moontide_migrations WHERE number = ?"), &stmt), code = 0;

    if (rc != 0)
        return fail(m, rc, "migrations: %s: %s", m->db->path, m->db->sqlite.why);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)file->number);
    rc = sqlite3_step(stmt);
    *found = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW && strcmp(text_of(stmt, 1), m->digest) != 0)
        code = fail(
            m, MT_EINVALID,
            "%s/%s: has changed since it was applied (as %.100s): put it back, and make the change in a file with a new number",
            m->folder, file->name, text_of(stmt, 0));
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = sql_guard_failed(m->db, rc, m->why);
    sqlite_give_back(&m->db->sqlite, stmt);
    return code;
}

static int record(struct migrations *m, const struct migration *file)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_take(&m->db->sqlite, SLICE("INSERT INTO moontide_migrations VALUES (?, ?, ?)"), &stmt);

    if (rc != 0)
        return fail(m, rc, "migrations: %s: %s", m->db->path, m->db->sqlite.why);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)file->number);
    sqlite3_bind_text(stmt, 2, file->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, m->digest, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    int code = rc == SQLITE_DONE ? 0 : sql_guard_failed(m->db, rc, m->why);
    sqlite_give_back(&m->db->sqlite, stmt);
    return code;
}

/* In a transaction. *found: another server has applied it since it was looked for. */
static int apply_in(struct migrations *m, const struct migration *file, bool *found)
{
    int err = look_up(m, file, found);

    if (err != 0 || *found)
        return err;
    err = run_text(m, file);
    if (err == 0)
        err = record(m, file);
    return err == 0 ? run_own(m, "COMMIT") : err;
}

static int apply(struct migrations *m, const struct migration *file)
{
    int err = run_own(m, "BEGIN IMMEDIATE");
    bool found = false;

    if (err != 0)
        return err;
    err = apply_in(m, file, &found);
    if (!sqlite3_get_autocommit(m->db->sqlite.db)) {
        m->db->trusted = true;
        sqlite3_exec(m->db->sqlite.db, "ROLLBACK", NULL, NULL, NULL);
        m->db->trusted = false;
    }
    if (err == 0 && !found)
        log_info(sql_config_of(m->db->sql)->log, NULL, "tide.sql: %s: %s was applied", m->db->path, file->name);
    return err;
}

static int apply_all(struct migrations *m)
{
    int err = run_own(m, "CREATE TABLE IF NOT EXISTS moontide_migrations"
                         " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL)");

    for (size_t i = 0; err == 0 && i < m->count; i++) {
        bool found = false;

        err = read_file(m, &m->list[i]);
        if (err == 0)
            err = look_up(m, &m->list[i], &found);
        if (err == 0 && !found)
            err = apply(m, &m->list[i]);
    }
    return err;
}

int sql_migrate(struct sql_db *db, const char *folder, char why[SQL_WHY_MAX])
{
    struct migrations m = {.db = db, .folder = folder, .why = why};
    int err = list_files(&m);

    if (err == 0)
        err = apply_all(&m);
    mem_free(m.list);
    buf_fini(&m.text);
    return err;
}
