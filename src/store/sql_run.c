/* sql_run.c - one statement: parameters in, rows out. */
#include "base/err.h"
#include "store/sql_impl.h"
#include <stdio.h>
#include <string.h>

/* ---- parameters ---- */

static int bind(sqlite3_stmt *stmt, int at, const struct sql_value *v)
{
    switch (v->type) {
    case SQL_INTEGER:
        return sqlite3_bind_int64(stmt, at, v->integer);
    case SQL_REAL:
        return sqlite3_bind_double(stmt, at, v->real);
    case SQL_TEXT: /* the bytes stay until the request is back, and the bindings are cleared before */
        return sqlite3_bind_text64(stmt, at, v->bytes.data, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    case SQL_BLOB:
        return sqlite3_bind_blob64(stmt, at, v->bytes.data, v->bytes.len, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(stmt, at);
    }
}

static int bind_all(struct sql_db *db, struct sql_request *r, sqlite3_stmt *stmt)
{
    struct slice rest = {(const char *)r->in.data + r->text_len, r->in.len - r->text_len};
    int wanted = sqlite3_bind_parameter_count(stmt);

    if ((size_t)wanted != r->values) {
        snprintf(r->why, sizeof(r->why), "the statement has %d parameter%s, given %s %zu", wanted, wanted == 1 ? "" : "s",
                 r->values == 1 ? "is" : "are", r->values);
        return MT_EINVALID;
    }
    for (int i = 1; i <= wanted; i++) {
        struct sql_value v;

        sql_value_take(&rest, &v);
        int rc = bind(stmt, i, &v);
        if (rc != SQLITE_OK)
            return sql_guard_failed(db, rc, r->why);
    }
    return 0;
}

/* ---- rows ---- */

/* At the first row, not before: the first step prepares a kept statement anew where its tables have changed. */
static int put_names(struct sql_request *r, sqlite3_stmt *stmt)
{
    int err = 0;

    r->columns = (size_t)sqlite3_column_count(stmt);
    for (size_t i = 0; err == 0 && i < r->columns; i++) {
        const char *name = sqlite3_column_name(stmt, (int)i);

        err = name ? sql_value_put(&r->out, &(struct sql_value){.type = SQL_TEXT, .bytes = slice_of(name)}) : MT_ENOMEM;
    }
    return err;
}

static struct sql_value column(sqlite3_stmt *stmt, int i)
{
    struct sql_value v = {.bytes = {"", 0}};

    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        v.type = SQL_INTEGER;
        v.integer = sqlite3_column_int64(stmt, i);
        break;
    case SQLITE_FLOAT:
        v.type = SQL_REAL;
        v.real = sqlite3_column_double(stmt, i);
        break;
    case SQLITE_TEXT:
        v.type = SQL_TEXT;
        v.bytes.data = (const char *)sqlite3_column_text(stmt, i);
        break;
    case SQLITE_BLOB:
        v.type = SQL_BLOB;
        v.bytes.data = sqlite3_column_blob(stmt, i); /* NULL where there are no bytes */
        break;
    default:
        return v;
    }
    v.bytes.len = (size_t)sqlite3_column_bytes(stmt, i);
    return v;
}

static int put_row(struct sql_request *r, sqlite3_stmt *stmt)
{
    int err = 0;

    r->rows++;
    for (size_t i = 0; err == 0 && i < r->columns; i++) {
        struct sql_value v = column(stmt, (int)i);

        if ((v.type == SQL_TEXT || v.type == SQL_BLOB) && v.bytes.len > 0 && !v.bytes.data)
            return MT_ENOMEM; /* the text could not be made */
        if (r->out.len > SQL_BYTES_MAX || v.bytes.len > SQL_BYTES_MAX - r->out.len)
            return MT_ETOO_LARGE;
        err = sql_value_put(&r->out, &v);
    }
    if (err == 0 && r->out.len + r->rows * (SQL_ROW_BYTES + r->columns * SQL_VALUE_BYTES) > SQL_BYTES_MAX)
        err = MT_ETOO_LARGE;
    return err;
}

/* What a statement has written is not to stay when its rows are refused. */
static void take_back(struct sql_db *db, sqlite3_stmt *stmt)
{
    sqlite3_interrupt(db->sqlite.db);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        ;
}

/* A row beyond the first that nobody wants is stepped over where the statement writes: it must come to its end. */
static int step_all(struct sql_db *db, struct sql_request *r, sqlite3_stmt *stmt)
{
    int rc, err = 0;

    while (err == 0 && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            return sql_guard_failed(db, rc, r->why);
        if (r->one_row && r->rows > 0 && sqlite3_stmt_readonly(stmt))
            break;
        if (r->one_row && r->rows > 0)
            continue;
        if (r->rows == 0)
            err = put_names(r, stmt);
        if (err == 0)
            err = put_row(r, stmt);
    }
    if (err != 0 && !sqlite3_stmt_readonly(stmt))
        take_back(db, stmt);
    if (err == MT_ETOO_LARGE)
        snprintf(r->why, sizeof(r->why), "the rows are more than 16 MiB: ask for fewer at a time (LIMIT)");
    return err;
}

/* ---- all ---- */

static int run(struct sql_db *db, struct sql_request *r, sqlite3_stmt *stmt)
{
    sqlite3 *s = db->sqlite.db;
    sqlite3_int64 before = sqlite3_total_changes64(s);
    int err = bind_all(db, r, stmt);

    if (err != 0)
        return err;
    sqlite3_set_last_insert_rowid(s, 0); /* which tells whether this statement inserts */
    err = step_all(db, r, stmt);
    r->changes = sqlite3_total_changes64(s) != before ? sqlite3_changes64(s) : 0;
    r->last_id = r->changes ? sqlite3_last_insert_rowid(s) : 0;
    return err;
}

void sql_run_statement(struct sql_db *db, struct sql_request *r)
{
    struct slice text = {(const char *)r->in.data, r->text_len};
    sqlite3_stmt *stmt = NULL;

    db->denied = NULL;
    r->code = sqlite_take(&db->sqlite, text, &stmt);
    if (r->code == 0) {
        r->code = run(db, r, stmt);
    } else {
        r->code = db->denied ? MT_EDENIED : r->code;
        snprintf(r->why, sizeof(r->why), "%s", db->denied ? db->denied : db->sqlite.why);
    }
    sqlite_give_back(&db->sqlite, stmt);
    if (r->code != 0)
        buf_fini(&r->out);
}
