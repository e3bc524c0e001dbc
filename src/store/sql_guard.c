/* sql_guard.c - what statements of scripts may do, and what stops one that runs.
 *
 * The file of a database is all that scripts reach: no other file is attached or written. Transactions are begun and ended by
 * requests only, so that it is known whose they are.
 */
#include "base/clock.h"
#include "base/err.h"
#include "store/sql_impl.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LOOK_EVERY = 1000 }; /* instructions of SQLite's machine: some ten microseconds */

static bool is_listed(const char *name, const char *const *list)
{
    while (*list && sqlite3_stricmp(name, *list) != 0)
        list++;
    return *list != NULL;
}

static bool may_use_pragma(const char *name, const char *value)
{
    static const char *const any[] = {"application_id",
                                      "defer_foreign_keys",
                                      "foreign_key_check",
                                      "foreign_key_list",
                                      "incremental_vacuum",
                                      "index_info",
                                      "index_list",
                                      "index_xinfo",
                                      "integrity_check",
                                      "optimize",
                                      "quick_check",
                                      "table_info",
                                      "table_list",
                                      "table_xinfo",
                                      "user_version",
                                      "wal_checkpoint",
                                      NULL};
    static const char *const reading[] = {
        "auto_vacuum",   "collation_list", "compile_options", "data_version", "encoding",       "foreign_keys", "freelist_count",
        "function_list", "journal_mode",   "page_count",      "page_size",    "schema_version", "synchronous",  NULL};

    return is_listed(name, any) || (!value && is_listed(name, reading));
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *schema, const char *trigger)
{
    struct sql_db *db = arg;
    const char *why = NULL;

    if (db->trusted)
        return SQLITE_OK;
    if (action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT)
        why = "transactions are begun and ended by db:transaction(function(tx) ... end), not by statements";
    else if (action == SQLITE_ATTACH || action == SQLITE_DETACH)
        why = "a statement reaches the file of its own database only (no ATTACH, DETACH, VACUUM)";
    else if (action == SQLITE_PRAGMA && !may_use_pragma(a, b))
        why = "this PRAGMA is not for scripts";
    else if (action == SQLITE_FUNCTION &&
             (sqlite3_stricmp(b, "load_extension") == 0 || sqlite3_stricmp(b, "fts3_tokenizer") == 0))
        why = "this function is not for scripts";
    if (!why)
        return SQLITE_OK;
    db->denied = why;
    return SQLITE_DENY;
}

int sql_guard_look(const struct sql_db *db)
{
    const struct sql_request *r = db->active;

    if (atomic_load(&db->stopping))
        return MT_ECLOSED;
    if (r && r->given_up && atomic_load(r->given_up))
        return MT_ECANCELLED;
    return db->tx && clock_ms() >= db->tx_end ? MT_ETIMEOUT : 0;
}

static int on_progress(void *arg)
{
    return sql_guard_look(arg) != 0;
}

/* Another process has the file. */
static int on_busy(void *arg, int tries)
{
    static const struct timespec pause[] = {{0, 1000000}, {0, 2000000}, {0, 5000000}, {0, 10000000}, {0, 20000000}};
    enum { PAUSES = sizeof(pause) / sizeof(*pause), MS_BEFORE_THE_LAST = 18 };

    if (sql_guard_look(arg) != 0)
        return 0;
    if (tries >= PAUSES + (SQL_BUSY_MS - MS_BEFORE_THE_LAST) / 20)
        return 0;
    nanosleep(&pause[tries < PAUSES ? tries : PAUSES - 1], NULL);
    return 1;
}

void sql_guard_install(struct sql_db *db)
{
    sqlite3 *s = db->sqlite.db;

    sqlite3_set_authorizer(s, authorize, db);
    sqlite3_progress_handler(s, LOOK_EVERY, on_progress, db);
    sqlite3_busy_handler(s, on_busy, db);
    sqlite3_limit(s, SQLITE_LIMIT_LENGTH, SQL_BYTES_MAX);
    sqlite3_limit(s, SQLITE_LIMIT_SQL_LENGTH, 1 << 20);
    sqlite3_limit(s, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000); /* clients choose these, and nothing stops a comparison */
}

int sql_guard_failed(struct sql_db *db, int rc, char why[SQL_WHY_MAX])
{
    int code = sqlite_failed(&db->sqlite, rc), stopped = sql_guard_look(db);
    const char *text = db->sqlite.why;

    if (db->denied) {
        code = MT_EDENIED;
        text = db->denied;
    } else if ((code == MT_ECANCELLED || code == MT_EBUSY) && stopped != 0) {
        code = stopped;
        text = stopped == MT_ETIMEOUT ? "the transaction was open for longer than sql.transaction" : err_text(stopped);
    } else if (code == MT_ETOO_LARGE) {
        text = "a statement of more than 1 MiB, or a value of more than 16 MiB";
    }
    db->denied = NULL;
    snprintf(why, SQL_WHY_MAX, "%s", text);
    return code;
}
