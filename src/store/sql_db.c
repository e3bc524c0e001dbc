/* sql_db.c - the thread of a database: its queues, its transaction, one request after the other.
 *
 * Requests of transactions have a queue of their own. While one is open only that is looked at, so that the rest waits behind its
 * end; what comes for one that is over is answered at once.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/sql_impl.h"
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- transactions, as their senders hold them ---- */

struct sql_tx *sql_tx_create(void)
{
    struct sql_tx *tx = mem_zalloc(1, sizeof(*tx));

    if (tx)
        atomic_init(&tx->refs, 1);
    return tx;
}

struct sql_tx *sql_tx_ref(struct sql_tx *tx)
{
    atomic_fetch_add(&tx->refs, 1);
    return tx;
}

void sql_tx_unref(struct sql_tx *tx)
{
    if (tx && atomic_fetch_sub(&tx->refs, 1) == 1)
        mem_free(tx);
}

/* ---- queues ---- */

static void put(struct sql_queue *q, struct sql_request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

static struct sql_request *cut(struct sql_db *db, struct sql_queue *q)
{
    struct sql_request *r = q->first;

    q->first = r->next;
    if (!q->first)
        q->last = &q->first;
    db->count--;
    db->bytes -= r->in.len;
    return r;
}

int sql_send(struct sql_db *db, struct sql_request *r)
{
    bool inner = r->tx && r->op != SQL_BEGIN;
    int err = 0;

    r->code = 0;
    r->why[0] = '\0';
    pthread_mutex_lock(&db->lock);
    bool fits = r->op == SQL_ROLLBACK || (db->count < SQL_QUEUE_COUNT && r->in.len <= SQL_QUEUE_BYTES - db->bytes);
    if (db->closed) {
        err = MT_ECLOSED;
    } else if (!fits) {
        err = MT_EBUSY;
    } else {
        put(inner ? &db->inner : &db->outer, r);
        db->count++;
        db->pending++;
        db->bytes += r->in.len;
        pthread_cond_signal(&db->changed);
    }
    pthread_mutex_unlock(&db->lock);
    return err;
}

static struct timespec at_ms(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* The next request; NULL where the transaction's time is over, or the database is closed and there is none. */
static struct sql_request *take(struct sql_db *db)
{
    const struct timespec end = at_ms(db->tx_end);
    struct sql_request *r = NULL;
    int failed = 0;

    pthread_mutex_lock(&db->lock);
    while (!r && failed == 0) {
        if (db->inner.first)
            r = cut(db, &db->inner);
        else if (db->outer.first && !db->tx)
            r = cut(db, &db->outer);
        else if (db->closed)
            break;
        else
            failed = db->tx ? pthread_cond_timedwait(&db->changed, &db->lock, &end) : pthread_cond_wait(&db->changed, &db->lock);
    }
    pthread_mutex_unlock(&db->lock);
    return r;
}

static bool is_over(struct sql_db *db)
{
    pthread_mutex_lock(&db->lock);
    bool over = db->closed && !db->inner.first && !db->outer.first;
    pthread_mutex_unlock(&db->lock);
    return over;
}

/* ---- the file ---- */

/* "Cannot be opened" without which file helps nobody. */
static int fail_open(struct sql_db *db, int code, char why[SQL_WHY_MAX])
{
    snprintf(why, SQL_WHY_MAX, "%s: %s", db->path, db->sqlite.why[0] ? db->sqlite.why : err_text(code));
    return code;
}

/* For the user of the server only; SQLite takes the mode for the files beside it. */
static void make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

/* The schema is the script author's own: its triggers keep an index of full-text search, say. */
static int ensure_open(struct sql_db *db, char why[SQL_WHY_MAX])
{
    struct sqlite_options o = {.full_sync = true, .foreign_keys = true, .trusted_schema = true, .busy_ms = SQL_BUSY_MS};

    if (db->sqlite.db)
        return 0;
    if (strcmp(db->path, ":memory:") != 0)
        make_private(db->path);
    int err = sqlite_open(&db->sqlite, db->path, &o);
    if (err == MT_EDENIED || err == MT_EIO) { /* a file that may be read is better than none */
        struct sqlite reader = {0};

        o.read_only = true;
        if (sqlite_open(&reader, db->path, &o) == 0) {
            db->sqlite = reader;
            err = 0;
        }
    }
    if (err != 0)
        return fail_open(db, err, why);
    sql_guard_install(db);
    return 0;
}

static bool will_pass(int code)
{
    return code == MT_EBUSY || code == MT_EFULL || code == MT_EIO || code == MT_ENOMEM || code == MT_ECLOSED;
}

/* Whoever asks first may end before it is done: it is for all. */
static int migrate(struct sql_db *db, char why[SQL_WHY_MAX])
{
    const struct sql_request *active = db->active;

    db->active = NULL;
    int err = sql_migrate(db, db->folder, why);
    db->active = active;
    if (will_pass(err))
        return err;
    db->folder[0] = '\0';
    db->broken = err;
    snprintf(db->broken_why, sizeof(db->broken_why), "%s", why);
    return err;
}

/* 0, or why nothing can be asked for. */
static int ensure_ready(struct sql_db *db, char why[SQL_WHY_MAX])
{
    int err = ensure_open(db, why);

    return err == 0 && db->folder[0] ? migrate(db, why) : err;
}

/* ---- transactions ---- */

/* `text` may be the transaction's own. */
static void end_tx(struct sql_db *db, int code, const char *text)
{
    db->tx->code = code;
    snprintf(db->tx->why, sizeof(db->tx->why), "%s", text);
    sql_tx_unref(db->tx);
    db->tx = NULL;
}

static int run_own(struct sql_db *db, const char *sql, char why[SQL_WHY_MAX])
{
    db->trusted = true;
    int rc = sqlite3_exec(db->sqlite.db, sql, NULL, NULL, NULL);
    db->trusted = false;
    return rc == SQLITE_OK ? 0 : sql_guard_failed(db, rc, why);
}

/* What was changed is gone, whatever happens: where SQLite cannot do it, it does when it opens the file again. */
static void roll_back(struct sql_db *db)
{
    db->trusted = true;
    if (!sqlite3_get_autocommit(db->sqlite.db))
        (void)sqlite3_exec(db->sqlite.db, "ROLLBACK", NULL, NULL, NULL);
    db->trusted = false;
    if (!sqlite3_get_autocommit(db->sqlite.db))
        sqlite_close(&db->sqlite);
}

static void expire(struct sql_db *db)
{
    roll_back(db);
    end_tx(db, MT_ETIMEOUT, "the transaction was open for longer than sql.transaction and has been rolled back");
}

static void do_begin(struct sql_db *db, struct sql_request *r)
{
    assert(!db->tx);
    r->code = run_own(db, "BEGIN IMMEDIATE", r->why);
    if (r->code != 0)
        return;
    db->tx = sql_tx_ref(r->tx);
    db->tx_end = clock_ms() + sql_config_of(db->sql)->transaction_ms;
}

static void do_commit(struct sql_db *db, struct sql_request *r)
{
    r->code = run_own(db, "COMMIT", r->why);
    if (r->code != 0)
        roll_back(db);
    end_tx(db, MT_ECLOSED, "the transaction has ended");
}

/* Some failures make SQLite roll the whole transaction back: a full disk, a stop in the middle of a write. */
static void do_query(struct sql_db *db, struct sql_request *r)
{
    sql_run_statement(db, r);
    if (!db->tx || !sqlite3_get_autocommit(db->sqlite.db))
        return;
    char why[SQL_WHY_MAX];
    snprintf(why, sizeof(why), "the transaction was rolled back: %.*s", SQL_WHY_MAX - 40, r->why);
    end_tx(db, r->code ? r->code : MT_ECLOSED, why);
}

/* ---- requests ---- */

static void fail(struct sql_request *r, int code, const char *why)
{
    r->code = code;
    if (why != r->why)
        snprintf(r->why, sizeof(r->why), "%s", why);
}

static void do_prepare(struct sql_db *db, struct sql_request *r)
{
    snprintf(db->folder, sizeof(db->folder), "%.*s", (int)r->text_len, (const char *)r->in.data);
    db->broken = 0;
    r->code = ensure_ready(db, r->why);
    if (r->code != 0 && r->loud)
        log_error(sql_config_of(db->sql)->log, NULL, "tide.sql: %s", r->why);
}

static void carry_out(struct sql_db *db, struct sql_request *r)
{
    int stopped = sql_guard_look(db);
    bool of_this = r->tx && r->tx == db->tx;

    if (r->op == SQL_ROLLBACK) {
        if (of_this) {
            roll_back(db);
            end_tx(db, MT_ECLOSED, "the transaction has ended");
        }
    } else if (r->tx && r->op != SQL_BEGIN && !of_this) {
        fail(r, r->tx->code ? r->tx->code : MT_ECLOSED, r->tx->why);
    } else if (stopped == MT_ETIMEOUT) {
        expire(db);
        fail(r, r->tx->code, r->tx->why);
    } else if (stopped != 0) {
        fail(r, stopped, err_text(stopped));
    } else if (r->op == SQL_PREPARE) {
        do_prepare(db, r);
    } else if (db->broken != 0) {
        fail(r, db->broken, db->broken_why);
    } else if ((r->code = ensure_ready(db, r->why)) == 0) {
        if (r->op == SQL_BEGIN)
            do_begin(db, r);
        else if (r->op == SQL_COMMIT)
            do_commit(db, r);
        else
            do_query(db, r);
    }
}

/* ---- the thread ---- */

static void give_back(struct sql_db *db, struct sql_request *r)
{
    utf8_mend(r->why); /* it is on its way to people, as JSON perhaps */
    atomic_store_explicit(&db->statements, db->sqlite.count, memory_order_relaxed);
    pthread_mutex_lock(&db->lock);
    db->pending--;
    pthread_mutex_unlock(&db->lock);
    r->done(r);
}

static void run(void *arg)
{
    struct sql_db *db = arg;

    while (!is_over(db)) {
        struct sql_request *r = take(db);

        if (r) {
            db->active = r;
            carry_out(db, r);
            db->active = NULL;
            give_back(db, r);
        } else if (db->tx) {
            expire(db);
        }
    }
    if (db->tx)
        expire(db);
    sqlite_close(&db->sqlite);
    atomic_store(&db->statements, 0);
    atomic_store(&db->ended, true);
}

static void init_lock(struct sql_db *db)
{
    pthread_condattr_t by_monotonic;

    pthread_mutex_init(&db->lock, NULL);
    pthread_condattr_init(&by_monotonic);
    pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&db->changed, &by_monotonic);
    pthread_condattr_destroy(&by_monotonic);
}

struct sql_db *sql_db_create(struct sql *s, const char *path)
{
    struct sql_db *db = mem_zalloc(1, sizeof(*db));

    if (!db)
        return NULL;
    list_init(&db->node);
    db->refs = 1;
    db->sql = s;
    atomic_init(&db->stopping, false);
    atomic_init(&db->ended, false);
    atomic_init(&db->statements, 0);
    init_lock(db);
    db->inner.last = &db->inner.first;
    db->outer.last = &db->outer.first;
    db->path = mem_strdup(path, strlen(path));
    if (db->path && (db->thread = loop_thread_start(run, db)))
        return db;
    sql_db_destroy(db);
    return NULL;
}

void sql_db_close(struct sql_db *db)
{
    pthread_mutex_lock(&db->lock);
    db->closed = true;
    pthread_cond_signal(&db->changed);
    pthread_mutex_unlock(&db->lock);
}

void sql_db_destroy(struct sql_db *db)
{
    if (db->thread)
        loop_thread_join(db->thread);
    assert(!db->inner.first && !db->outer.first);
    pthread_cond_destroy(&db->changed);
    pthread_mutex_destroy(&db->lock);
    mem_free(db->path);
    mem_free(db);
}
