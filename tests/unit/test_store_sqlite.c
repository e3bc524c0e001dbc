/* test_store_sqlite.c - opening files of all sorts, statements that are kept, codes. */
#include "base/err.h"
#include "store/sqlite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/moontide-sqlite-XXXXXX", path[64];
static const struct sqlite_options options = {.busy_ms = 0, .foreign_keys = true};

static int make_folder(void **state)
{
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/a.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static int64_t ask(struct sqlite *s, const char *sql)
{
    sqlite3_stmt *stmt;

    assert_int_equal(sqlite_take(s, slice_of(sql), &stmt), 0);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite_give_back(s, stmt);
    return n;
}

static void keeps_what_is_written(void **state)
{
    struct sqlite s;

    assert_int_equal(sqlite_open(&s, path, &options), 0);
    assert_int_equal(sqlite_run(&s, "CREATE TABLE t (n INTEGER PRIMARY KEY)"), 0);
    assert_int_equal(sqlite_run(&s, "INSERT INTO t VALUES (1), (2)"), 0);
    sqlite_close(&s);
    sqlite_close(&s); /* once more is fine */
    assert_int_equal(sqlite_open(&s, path, &options), 0);
    assert_int_equal(ask(&s, "SELECT count(*) FROM t"), 2);
    assert_int_equal(ask(&s, "PRAGMA foreign_keys"), 1);
    sqlite_close(&s);
}

/* What SQLite takes for unsafe in a trigger is FTS5, say: of a file whose schema nobody vouches for. */
static void trusts_the_schema_where_it_is_told_to(void **state)
{
    struct sqlite_options trusting = options;

    trusting.trusted_schema = true;
    for (int i = 0; i < 2; i++) {
        struct sqlite s;

        assert_int_equal(sqlite_open(&s, path, i == 0 ? &trusting : &options), 0);
        if (i == 0)
            assert_int_equal(sqlite_run(&s, "CREATE TABLE t (a); CREATE VIRTUAL TABLE f USING fts5 (a);"
                                            "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO f VALUES (new.a); END"),
                             0);
        assert_int_equal(sqlite_run(&s, "INSERT INTO t VALUES ('x')"), i == 0 ? 0 : MT_EINVALID);
        sqlite_close(&s);
    }
}

static void refuses_what_is_no_database(void **state)
{
    FILE *f = fopen(path, "w");
    struct sqlite s;

    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", f);
    fclose(f);
    assert_int_equal(sqlite_open(&s, path, &options), MT_EMALFORMED);
    assert_string_equal(s.why, "file is not a database");
    assert_null(s.db);
    assert_int_equal(sqlite_open(&s, "/nowhere/at/all.db", &options), MT_EIO);
    assert_string_equal(s.why, "unable to open database file");
    assert_int_equal(sqlite_open(&s, path, &(struct sqlite_options){.read_only = true}), MT_EMALFORMED);
}

static void has_our_codes(void **state)
{
    struct sqlite s, other;
    sqlite3_stmt *stmt;

    assert_int_equal(sqlite_open(&s, path, &options), 0);
    assert_int_equal(sqlite_open(&other, path, &options), 0);
    sqlite_run(&s, "CREATE TABLE t (n INTEGER PRIMARY KEY)");
    assert_int_equal(sqlite_run(&s, "INSERT INTO t VALUES (1)"), 0);
    assert_int_equal(sqlite_run(&s, "INSERT INTO t VALUES (1)"), MT_ECONSTRAINT);
    assert_string_equal(s.why, "UNIQUE constraint failed: t.n");
    assert_int_equal(sqlite_run(&s, "INSERT INTO nowhere VALUES (1)"), MT_EINVALID);
    assert_int_equal(sqlite_run(&other, "BEGIN IMMEDIATE"), 0);
    assert_int_equal(sqlite_run(&s, "INSERT INTO t VALUES (2)"), MT_EBUSY);
    sqlite_run(&other, "ROLLBACK");
    sqlite_run(&s, "PRAGMA max_page_count = 3");
    sqlite_run(&s, "CREATE TABLE b (v BLOB)");
    assert_int_equal(sqlite_run(&s, "INSERT INTO b VALUES (zeroblob(100000))"), MT_EFULL);
    assert_int_equal(sqlite_take(&s, SLICE("SELECT 1; SELECT 2"), &stmt), MT_EINVALID);
    assert_string_equal(s.why, "only one statement at a time");
    assert_int_equal(sqlite_take(&s, SLICE("SELECT 1; garbage"), &stmt), MT_EINVALID);
    assert_int_equal(sqlite_take(&s, SLICE(" -- nothing\n"), &stmt), MT_EINVALID);
    assert_int_equal(sqlite_take(&s, SLICE("SELECT 1 ; -- the end"), &stmt), 0);
    sqlite_give_back(&s, stmt);
    sqlite_close(&other);
    sqlite_close(&s);
}

static void keeps_statements_but_not_all(void **state)
{
    sqlite3_stmt *first, *again, *twice;
    struct sqlite s;
    char sql[32];

    assert_int_equal(sqlite_open(&s, path, &options), 0);
    assert_int_equal(sqlite_take(&s, SLICE("SELECT 1"), &first), 0);
    assert_int_equal(sqlite_take(&s, SLICE("SELECT 1"), &twice), 0); /* in use: another one */
    assert_true(first != twice);
    sqlite_give_back(&s, twice);
    sqlite_give_back(&s, first);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sqlite_take(&s, SLICE("SELECT 1"), &again), 0); /* what is used often stays */
        assert_true(again == first || again == twice);
        sqlite_give_back(&s, again);
        snprintf(sql, sizeof(sql), "SELECT %d", i + 2);
        assert_int_equal(ask(&s, sql), i + 2);
        assert_true(s.count <= SQLITE_STATEMENTS_MAX);
    }
    sqlite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_is_written, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_database, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(trusts_the_schema_where_it_is_told_to, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(has_our_codes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(keeps_statements_but_not_all, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
