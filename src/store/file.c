/* file.c - the durable store in an SQLite file: a thread that writes, a thread that reads, and a cache in front of both.
 *
 * Everything that waits goes into one transaction, so that one commit, which is one wait for the disk, makes many writes durable
 * (group commit). They come back when it has ended well. A batch that fails is rolled back whole and done again request by
 * request, so that what is wrong with one, or does not fit any more, costs no other.
 *
 * A get goes to the reader, whose connection sees what is committed; but where writes of the same key are under way it goes to
 * the writer, behind them (cache.h counts them).
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/cache.h"
#include "store/file_lock.h"
#include "store/queue.h"
#include "store/work.h"

enum {
    BATCH = 1000,            /* writes in one transaction at most, */
    BATCH_BYTES = 8 << 20,   /* and bytes, so that nobody waits long for others */
    READ_BATCH = 64,         /* reads of one moment: the log cannot begin anew meanwhile */
    SWEEP_ROWS = 500,        /* expired rows removed in one transaction */
    SWEEP_PAUSE_MS = 1000,   /* between two looks for them, */
    SWEEP_BEHIND_MS = 50,    /* and where there are more than that, */
    SWEEP_FAILED_MS = 10000, /* and when it did not go well */
    LOG_PAGES = 1000,        /* the write-ahead log is brought into the file when it has so many */
};

struct store_file {
    struct store store; /* first */
    struct log *log;
    char *path;
    struct file_lock *lock;
    int64_t (*now)(void); /* wall clock, milliseconds */
    struct store_cache *cache;
    struct store_queue writes, reads;
    struct rows *writer, *reader;                      /* connections, each of its thread */
    struct loop_thread *writer_thread, *reader_thread; /* NULL: not started */
    pthread_mutex_t gate;                              /* held by the reader while it is in a transaction */
    /* Of the writer's thread: */
    bool failing;       /* the last batch did not go well, and the log says so */
    int64_t next_sweep; /* wall clock */
    int next_log_pages; /* with so many the next checkpoint is due */
};

static int64_t wall_ms(void)
{
    return (int64_t)(clock_wall() * 1000);
}

/* ---- answers ---- */

static void answer(struct store_file *f, struct store_request *list)
{
    for (struct store_request *next; list; list = next) {
        next = list->next; /* the receiver frees it */
        store_answer(&f->store, list);
    }
}

/* The connection says why, but for memory of our own. */
static void fail(struct store_request *r, int code, const struct rows *rows)
{
    const char *why = code == MT_ENOMEM ? err_text(code) : rows_why(rows);
    size_t len = strlen(why);

    len = len < sizeof(r->why) ? len : sizeof(r->why) - 1;
    memcpy(r->why, why, len);
    r->why[len] = '\0';
    r->code = code;
}

/* ---- writing ---- */

static void log_failure(struct store_file *f, int code)
{
    if (!f->failing)
        log_error(f->log, NULL, "store.file %s: writes fail: %s (%s)", f->path, rows_why(f->writer), err_name(code));
    f->failing = true;
}

static void log_success(struct store_file *f)
{
    if (f->failing)
        log_info(f->log, NULL, "store.file %s: writes go well again", f->path);
    f->failing = false;
}

/* One transaction. After a failure nothing of it has happened, and rows_end is still to come. *begun: it is not the file as a
 * whole that cannot be written. */
static int try_batch(struct store_file *f, struct store_request *list, bool *begun)
{
    int err = rows_begin(f->writer);

    *begun = err == 0;
    for (struct store_request *r = list; r && err == 0; r = r->next)
        err = store_work(f->writer, r, f->now());
    return err == 0 ? rows_commit(f->writer) : err;
}

/* What is committed becomes known before anybody hears that it is. */
static void publish(struct store_file *f, struct store_request *list)
{
    for (struct store_request *r = list; r; r = r->next) {
        const struct store_value *written = store_work_written(r);
        if (written)
            store_cache_put(f->cache, r->key, written, r->ends);
        if (r->op != STORE_GET)
            store_cache_end_write(f->cache, r->key);
        if (written && r->ends && r->ends < f->next_sweep)
            f->next_sweep = r->ends;
    }
}

static void give_up(struct store_file *f, struct store_request *list, int code)
{
    for (struct store_request *r = list; r; r = r->next)
        fail(r, code, f->writer);
    log_failure(f, code);
    rows_end(f->writer);
    publish(f, list);
    answer(f, list);
}

static bool write_batch(struct store_file *f, struct store_request *list)
{
    bool begun;
    int err = try_batch(f, list, &begun);

    if (err == 0) {
        publish(f, list);
        answer(f, list);
        return true;
    }
    if (!begun || !list->next) {
        give_up(f, list, err);
        return false;
    }
    rows_end(f->writer);
    for (struct store_request *next; list; list = next) {
        next = list->next;
        list->next = NULL;
        write_batch(f, list);
    }
    return false;
}

/* ---- what the writer does besides ---- */

static void sweep(struct store_file *f)
{
    int64_t now = f->now(), next = INT64_MAX;

    if (now < f->next_sweep)
        return;
    int err = rows_sweep(f->writer, now, SWEEP_ROWS, &next);
    if (err != 0) {
        log_failure(f, err);
        rows_end(f->writer);
        f->next_sweep = now + SWEEP_FAILED_MS;
    } else {
        f->next_sweep = next <= now ? now + SWEEP_BEHIND_MS : next < now + SWEEP_PAUSE_MS ? now + SWEEP_PAUSE_MS : next;
    }
}

/* Most of it is done while the reader reads. It is kept out for what is left, as the log can begin anew only while nobody reads
 * from it; other programs that do so make it grow until they end. */
static void checkpoint(struct store_file *f)
{
    if (rows_log_pages(f->writer) < f->next_log_pages)
        return;
    int err = rows_checkpoint(f->writer, false);
    if (err == 0) {
        pthread_mutex_lock(&f->gate);
        err = rows_checkpoint(f->writer, true);
        pthread_mutex_unlock(&f->gate);
    }
    if (err != 0)
        log_failure(f, err);
    f->next_log_pages = rows_log_pages(f->writer) + LOG_PAGES;
}

static int64_t pause_of(const struct store_file *f)
{
    int64_t now = f->now();

    if (f->next_sweep == INT64_MAX)
        return -1;
    return f->next_sweep <= now ? 0 : f->next_sweep - now < 3600000 ? f->next_sweep - now : 3600000;
}

static void run_writer(void *arg)
{
    struct store_file *f = arg;

    while (!store_queue_is_over(&f->writes)) {
        struct store_request *list = store_queue_take(&f->writes, BATCH, BATCH_BYTES, pause_of(f));
        if (list && write_batch(f, list))
            log_success(f);
        sweep(f);
        checkpoint(f);
    }
}

/* ---- reading ---- */

static void read_one(struct store_file *f, struct store_request *r)
{
    uint64_t generation = r->op == STORE_GET ? store_cache_generation(f->cache, r->key) : 0;
    int err = store_work(f->reader, r, f->now());

    if (err != 0)
        fail(r, err, f->reader);
    else if (r->op == STORE_GET)
        store_cache_fill(f->cache, r->key, &r->answer, r->ends, generation);
}

static void run_reader(void *arg)
{
    struct store_file *f = arg;

    while (!store_queue_is_over(&f->reads)) {
        struct store_request *list = store_queue_take(&f->reads, READ_BATCH, SIZE_MAX, -1);
        pthread_mutex_lock(&f->gate);
        for (struct store_request *r = list; r; r = r->next)
            read_one(f, r);
        rows_end(f->reader);
        pthread_mutex_unlock(&f->gate);
        answer(f, list);
    }
}

/* ---- the interface ---- */

static int send_request(struct store *store, struct store_request *r)
{
    struct store_file *f = (struct store_file *)store;

    if (r->op == STORE_SCAN || (r->op == STORE_GET && !store_cache_is_writing(f->cache, r->key)))
        return store_queue_put(&f->reads, r);
    if (r->op == STORE_GET)
        return store_queue_put(&f->writes, r);
    store_cache_begin_write(f->cache, r->key);
    int err = store_queue_put(&f->writes, r);
    if (err != 0)
        store_cache_end_write(f->cache, r->key);
    return err;
}

static bool peek(struct store *store, struct slice key, struct store_value *out, struct buf *copy)
{
    return store_cache_find(((struct store_file *)store)->cache, key, out, copy);
}

static void destroy(struct store *store)
{
    struct store_file *f = (struct store_file *)store;

    store_queue_close(&f->writes);
    store_queue_close(&f->reads);
    if (f->writer_thread)
        loop_thread_join(f->writer_thread);
    if (f->reader_thread)
        loop_thread_join(f->reader_thread);
    rows_close(f->reader);
    rows_close(f->writer); /* the last one brings the log into the file */
    file_unlock(f->lock);
    store_queue_fini(&f->writes);
    store_queue_fini(&f->reads);
    pthread_mutex_destroy(&f->gate);
    store_cache_destroy(f->cache);
    mem_free(f->path);
    mem_free(f);
}

/* ---- opening ---- */

static int open_parts(struct store_file *f, const struct store_file_config *c, char **error)
{
    if (!(f->path = mem_strdup(c->path, strlen(c->path))) || !(f->cache = store_cache_create(c->cache, f->now)))
        return MT_ENOMEM;
    int err = file_lock(c->path, &f->lock, error);
    if (err == 0)
        err = rows_open(c->path, true, &f->writer, error);
    if (err == 0)
        err = rows_open(c->path, false, &f->reader, error);
    if (err == 0 &&
        (!(f->writer_thread = loop_thread_start(run_writer, f)) || !(f->reader_thread = loop_thread_start(run_reader, f))))
        err = MT_ENOMEM;
    return err;
}

int store_open_file(const struct store_file_config *c, struct store **out, char **error)
{
    static const struct store_ops ops = {send_request, peek, destroy};
    struct store_file *f = mem_zalloc(1, sizeof(*f));

    *error = NULL;
    if (!f)
        return MT_ENOMEM;
    f->store.ops = &ops;
    f->log = c->log;
    f->now = c->now ? c->now : wall_ms;
    f->next_log_pages = LOG_PAGES;
    store_queue_init(&f->writes);
    store_queue_init(&f->reads);
    pthread_mutex_init(&f->gate, NULL);
    int err = open_parts(f, c, error);
    if (err != 0)
        destroy(&f->store);
    else
        *out = &f->store;
    return err;
}

int store_check_file(const char *path, char **error)
{
    bool there = false;

    *error = NULL;
    int err = file_check(path, &there, error);
    return err == 0 && there ? rows_check(path, error) : err;
}
