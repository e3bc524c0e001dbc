/* test_store_sql.c - databases with their threads: requests there and back, transactions, what is given up, ends. Without Lua and
 * without a loop: what comes back is counted under a lock.
 */
#include "base/err.h"
#include "base/mem.h"
#include "store/sql.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ENDLESS "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"

static char folder[] = "/tmp/moontide-sql-XXXXXX", path[64];
static struct sql *sql;
static struct sql_db *db;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;

struct ask {
    struct sql_request request; /* first */
    atomic_bool given_up;
    bool back; /* under the lock */
};

static void on_done(struct sql_request *r)
{
    pthread_mutex_lock(&lock);
    ((struct ask *)r)->back = true;
    pthread_cond_broadcast(&came);
    pthread_mutex_unlock(&lock);
}

static void await(struct ask *a)
{
    struct timespec until;
    int failed = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&lock);
    while (!a->back && failed == 0)
        failed = pthread_cond_timedwait(&came, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(failed, 0);
}

static bool is_back(struct ask *a)
{
    pthread_mutex_lock(&lock);
    bool back = a->back;
    pthread_mutex_unlock(&lock);
    return back;
}

static void send_on(struct sql_db *to, struct ask *a, enum sql_op op, struct sql_tx *tx, const char *text)
{
    memset(a, 0, sizeof(*a));
    a->request.done = on_done;
    a->request.given_up = &a->given_up;
    a->request.op = op;
    a->request.tx = tx;
    a->request.text_len = strlen(text);
    assert_int_equal(buf_add(&a->request.in, text, strlen(text)), 0);
    assert_int_equal(sql_send(to, &a->request), 0);
}

static void send(struct ask *a, enum sql_op op, struct sql_tx *tx, const char *text)
{
    send_on(db, a, op, tx, text);
}

/* The result of a request. */
static int ask(enum sql_op op, struct sql_tx *tx, const char *text)
{
    struct ask a;

    send(&a, op, tx, text);
    await(&a);
    sql_request_fini(&a.request);
    return a.request.code;
}

/* The one integer that a statement gives. */
static int64_t number(const char *text)
{
    struct ask a;
    struct sql_value v = {.type = SQL_NULL};

    send(&a, SQL_QUERY, NULL, text);
    await(&a);
    assert_int_equal(a.request.code, 0);
    assert_int_equal(a.request.rows, 1);
    struct slice rest = buf_slice(&a.request.out);
    sql_value_take(&rest, &v); /* the name */
    sql_value_take(&rest, &v);
    assert_int_equal(v.type, SQL_INTEGER);
    assert_int_equal(rest.len, 0);
    sql_request_fini(&a.request);
    return v.integer;
}

static int setup_with(uint64_t transaction_ms)
{
    struct sql_config c;

    sql_defaults(&c);
    c.transaction_ms = transaction_ms;
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    if (!mkdtemp(folder) || !(sql = sql_create(&c)))
        return -1;
    snprintf(path, sizeof(path), "%s/a.db", folder);
    return sql_open(sql, path, &db);
}

static int setup(void **state)
{
    return setup_with(10000);
}

static int setup_hasty(void **state)
{
    return setup_with(100);
}

static int teardown(void **state)
{
    char command[96];

    if (db)
        sql_unref(db);
    sql_destroy(sql);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static void counts_those_who_hold_it(void **state)
{
    struct sql_db *again, *other;

    assert_int_equal(access(path, F_OK), -1); /* nothing is made before somebody asks */
    assert_int_equal(sql_open(sql, path, &again), 0);
    assert_ptr_equal(again, db);
    sql_unref(again);
    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v)"), 0);
    sql_unref(db); /* closed, and opened again while the first may still be about to close */
    assert_int_equal(sql_open(sql, path, &db), 0);
    assert_int_equal(number("SELECT count(*) FROM t"), 0);
    assert_int_equal(sql_open(sql, ":memory:", &other), 0);
    sql_unref(other); /* lives on */
    assert_int_equal(sql_open(sql, ":memory:", &again), 0);
    assert_ptr_equal(other, again);
    sql_unref(again);
}

static void has_a_limit_of_databases(void **state)
{
    static struct sql_db *many[SQL_DATABASES_MAX];
    struct sql_db *more;
    char name[96];
    int n = 0, err = 0;

    for (; n < SQL_DATABASES_MAX && err == 0; n++) {
        snprintf(name, sizeof(name), "%s/%d", folder, n);
        err = sql_open(sql, name, &many[n]);
    }
    assert_int_equal(err, MT_ELIMITED);
    assert_int_equal(n, SQL_DATABASES_MAX); /* one was open before */
    assert_int_equal(sql_open(sql, path, &more), 0);
    sql_unref(more);
    for (int i = 0; i < n - 1; i++)
        sql_unref(many[i]);
    while ((err = sql_open(sql, name, &more)) == MT_ELIMITED) /* their threads have to end first */
        sched_yield();
    assert_int_equal(err, 0);
    sql_unref(more);
}

static void carries_out_in_order(void **state)
{
    static struct ask asks[500];
    char text[64];

    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v INTEGER PRIMARY KEY)"), 0);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "INSERT INTO t SELECT %d WHERE %d = (SELECT count(*) FROM t)", i + 1, i);
        send(&asks[i], SQL_QUERY, NULL, text);
    }
    for (int i = 0; i < 500; i++) {
        await(&asks[i]);
        assert_int_equal(asks[i].request.changes, 1);
        assert_int_equal(asks[i].request.last_id, i + 1);
        sql_request_fini(&asks[i].request);
    }
}

static void a_transaction_goes_first(void **state)
{
    struct sql_tx *tx = sql_tx_create();
    struct ask outside;

    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v)"), 0);
    assert_int_equal(ask(SQL_BEGIN, tx, ""), 0);
    send(&outside, SQL_QUERY, NULL, "SELECT count(*) FROM t");
    assert_int_equal(ask(SQL_QUERY, tx, "INSERT INTO t VALUES (1)"), 0);
    assert_false(is_back(&outside));
    assert_int_equal(ask(SQL_COMMIT, tx, ""), 0);
    await(&outside);
    assert_int_equal(outside.request.code, 0);
    sql_request_fini(&outside.request);
    assert_int_equal(ask(SQL_QUERY, tx, "INSERT INTO t VALUES (2)"), MT_ECLOSED);
    assert_int_equal(ask(SQL_COMMIT, tx, ""), MT_ECLOSED);
    assert_int_equal(ask(SQL_ROLLBACK, tx, ""), 0); /* does nothing */
    assert_int_equal(number("SELECT count(*) FROM t"), 1);
    sql_tx_unref(tx);
}

static void an_open_transaction_expires(void **state)
{
    struct sql_tx *tx = sql_tx_create();

    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v)"), 0);
    assert_int_equal(ask(SQL_BEGIN, tx, ""), 0);
    assert_int_equal(ask(SQL_QUERY, tx, "INSERT INTO t VALUES (1)"), 0);
    assert_int_equal(number("SELECT count(*) FROM t"), 0); /* waited for that */
    assert_int_equal(ask(SQL_QUERY, tx, "INSERT INTO t VALUES (1)"), MT_ETIMEOUT);
    assert_int_equal(ask(SQL_COMMIT, tx, ""), MT_ETIMEOUT);
    sql_tx_unref(tx);
}

static void stops_what_is_given_up(void **state)
{
    struct ask running, queued;

    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v)"), 0);
    send(&running, SQL_QUERY, NULL, ENDLESS);
    send(&queued, SQL_QUERY, NULL, "INSERT INTO t VALUES (1)");
    atomic_store(&queued.given_up, true);
    assert_false(is_back(&queued));
    atomic_store(&running.given_up, true);
    await(&running);
    await(&queued);
    assert_int_equal(running.request.code, MT_ECANCELLED);
    assert_int_equal(queued.request.code, MT_ECANCELLED);
    sql_request_fini(&running.request);
    sql_request_fini(&queued.request);
    assert_int_equal(number("SELECT count(*) FROM t"), 0);
}

static void a_begin_that_is_given_up_keeps_nobody_out(void **state)
{
    struct sql_tx *tx = sql_tx_create();
    struct ask begin, end;

    send(&begin, SQL_BEGIN, tx, "");
    atomic_store(&begin.given_up, true);
    send(&end, SQL_ROLLBACK, tx, "");
    await(&begin);
    await(&end);
    assert_int_equal(number("SELECT 1"), 1);
    sql_request_fini(&begin.request);
    sql_request_fini(&end.request);
    sql_tx_unref(tx);
}

static void an_interrupted_write_ends_its_transaction(void **state)
{
    struct sql_tx *tx = sql_tx_create();
    struct ask endless;

    assert_int_equal(ask(SQL_QUERY, NULL, "CREATE TABLE t (v)"), 0);
    assert_int_equal(ask(SQL_BEGIN, tx, ""), 0);
    assert_int_equal(ask(SQL_QUERY, tx, "INSERT INTO t VALUES (1)"), 0);
    send(&endless, SQL_QUERY, tx, "INSERT INTO t " ENDLESS);
    atomic_store(&endless.given_up, true);
    await(&endless);
    sql_request_fini(&endless.request);
    int err = ask(SQL_QUERY, tx, "INSERT INTO t VALUES (2)"); /* given up before it began: then the transaction is as it was */
    assert_true(err == 0 || err == MT_ECANCELLED);
    assert_int_equal(ask(SQL_COMMIT, tx, ""), err);
    assert_int_equal(number("SELECT count(*) FROM t"), err == 0 ? 2 : 0);
    sql_tx_unref(tx);
}

static void stops_with_everything_under_way(void **state)
{
    struct sql_tx *tx = sql_tx_create();
    struct ask first, endless, queued;

    send(&first, SQL_BEGIN, tx, "");
    send(&endless, SQL_QUERY, tx, ENDLESS);
    send(&queued, SQL_QUERY, NULL, "SELECT 1");
    await(&first);
    sql_stop(sql);
    assert_true(is_back(&endless) && is_back(&queued));
    assert_int_equal(endless.request.code, MT_ECLOSED);
    assert_int_equal(queued.request.code, MT_ECLOSED);
    struct sql_request late = {.done = on_done, .op = SQL_QUERY};
    assert_int_equal(sql_send(db, &late), MT_ECLOSED);
    struct sql_db *other;
    assert_int_equal(sql_open(sql, "other", &other), MT_ECLOSED);
    sql_request_fini(&first.request);
    sql_request_fini(&endless.request);
    sql_request_fini(&queued.request);
    sql_tx_unref(tx);
}

static void values_come_out_as_they_went_in(void **state)
{
    static const struct sql_value values[] = {{.type = SQL_NULL},
                                              {.type = SQL_INTEGER, .integer = INT64_MIN},
                                              {.type = SQL_REAL, .real = -0.5},
                                              {.type = SQL_TEXT, .bytes = {"a\0b", 3}},
                                              {.type = SQL_BLOB, .bytes = {"", 0}},
                                              {.type = SQL_TEXT, .bytes = {"", 0}}};
    struct buf b = {0};

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        assert_int_equal(sql_value_put(&b, &values[i]), 0);
    struct slice rest = buf_slice(&b);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        struct sql_value v;

        sql_value_take(&rest, &v);
        assert_int_equal(v.type, values[i].type);
        assert_int_equal(v.integer, values[i].integer);
        assert_true(v.real == values[i].real && slice_is(v.bytes, values[i].bytes));
    }
    assert_int_equal(rest.len, 0);
    buf_fini(&b);
}

static long most_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* The first value fills all that there may be, so that its type and length are past the bound already. */
static void a_row_is_bounded_before_it_is_taken(void **state)
{
    enum { MORE = 10, KIB = SQL_BYTES_MAX >> 10 };
    char text[4096];
    int names = (MORE + 1) * 6, len = snprintf(text, sizeof(text), "SELECT zeroblob(%d) AS a", SQL_BYTES_MAX - names);
    long before = most_kib();

    for (int i = 0; i < MORE; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, ", zeroblob(%d) AS a", SQL_BYTES_MAX);
    assert_int_equal(ask(SQL_QUERY, NULL, text), MT_ETOO_LARGE);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* which need more memory */
    (void)before;
#else
    assert_in_range(most_kib() - before, 0, (MORE + 6) * KIB); /* SQLite has the row once; all of it in a buffer would be again */
#endif
}

/* Every allocation of the sender fails once: nothing leaks, nothing hangs. */
static void survives_the_want_of_memory(void **state)
{
    for (unsigned long n = 1; n < 20; n++) {
        struct sql_config c;
        struct sql_db *other = NULL;

        sql_defaults(&c);
        c.folder = "/tmp";
        mem_fail_at(n);
        struct sql *s = sql_create(&c);
        int err = s ? sql_open(s, path, &other) : MT_ENOMEM;
        mem_fail_at(0);
        assert_true(err == 0 ? other != NULL : err == MT_ENOMEM && !other);
        if (other)
            sql_unref(other);
        sql_destroy(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_those_who_hold_it, setup, teardown),
        cmocka_unit_test_setup_teardown(has_a_limit_of_databases, setup, teardown),
        cmocka_unit_test_setup_teardown(carries_out_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_goes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(an_open_transaction_expires, setup_hasty, teardown),
        cmocka_unit_test_setup_teardown(stops_what_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_begin_that_is_given_up_keeps_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_write_ends_its_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_with_everything_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_is_bounded_before_it_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_the_want_of_memory, setup, teardown),
        cmocka_unit_test(values_come_out_as_they_went_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
