/* test_store_file.c - the durable store in a file: real files, real threads, a clock that the tests turn. */
#include "fake_inbox.h"
#include "store/store.h"

#include "base/err.h"
#include "base/mem.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int64_t clock_now = 1000000;

static atomic_ulong fail_at; /* which allocation of the thread fails that asks for the time next */

static int64_t now(void)
{
    unsigned long n = atomic_exchange(&fail_at, 0);

    if (n)
        mem_fail_at(n);
    return clock_now;
}

struct rig {
    char folder[40], path[64];
    struct log *log;
    int log_fd;
    struct store *store;
    struct inbox *inbox;
    size_t cache;
    char *error; /* of the last try to open */
};

static int open_store(struct rig *t)
{
    const struct store_file_config c = {.path = t->path, .cache = t->cache, .log = t->log, .now = now};

    mem_free(t->error);
    return store_open_file(&c, &t->store, &t->error);
}

static void close_store(struct rig *t)
{
    store_destroy(t->store);
    t->store = NULL;
}

static int setup(void **state)
{
    struct rig *t = calloc(1, sizeof(*t));

    snprintf(t->folder, sizeof(t->folder), "/tmp/test_store_XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    snprintf(t->path, sizeof(t->path), "%s/store.db", t->folder);
    t->log_fd = open(t->folder, O_TMPFILE | O_RDWR, 0600);
    t->log = log_create(t->log_fd, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    t->inbox = fake_inbox_create();
    t->cache = 1 << 20;
    assert_int_equal(open_store(t), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct rig *t = *state;
    char command[80];

    close_store(t);
    fake_inbox_destroy(t->inbox);
    log_destroy(t->log);
    close(t->log_fd);
    mem_free(t->error);
    snprintf(command, sizeof(command), "rm -r %s", t->folder);
    assert_int_equal(system(command), 0);
    free(t);
    return 0;
}

static void reopen(struct rig *t)
{
    close_store(t);
    assert_int_equal(open_store(t), 0);
}

/* ---- requests ---- */

struct order {
    struct store_request r; /* first */
    bool back;
};

static void came_back(struct letter *l, bool delivered)
{
    ((struct order *)l)->back = true;
}

static struct store_value bytes(const char *text)
{
    return (struct store_value){STORE_BYTES, 0, slice_of(text)};
}

static struct store_value integer(int64_t n)
{
    return (struct store_value){STORE_INTEGER, n, {NULL, 0}};
}

static const struct store_value nothing = {STORE_NOTHING, 0, {NULL, 0}};

#define KEY(text) ((struct slice){"\0" text, sizeof("\0" text) - 1})

static struct slice key_of(const char *text, char buffer[100])
{
    size_t len = strlen(text) + 1;

    buffer[0] = '\0';
    memcpy(buffer + 1, text, len - 1);
    return (struct slice){buffer, len};
}

static void send_order(struct rig *t, struct inbox *inbox, struct order *o, enum store_op op, struct slice key)
{
    o->back = false;
    o->r.letter.open = came_back;
    o->r.inbox = inbox;
    o->r.op = op;
    o->r.key = key;
    assert_int_equal(store_send(t->store, &o->r), 0);
}

static void wait_for(struct inbox *inbox, struct order *o)
{
    while (!o->back) {
        assert_true(fake_inbox_await(inbox));
        fake_inbox_open(inbox, true);
    }
}

static void done(struct order *o)
{
    buf_fini(&o->r.bytes);
    memset(o, 0, sizeof(*o));
}

static int call(struct rig *t, struct order *o, enum store_op op, struct slice key)
{
    send_order(t, t->inbox, o, op, key);
    wait_for(t->inbox, o);
    return o->r.code;
}

static int set(struct rig *t, const char *key, struct store_value value, uint64_t ttl)
{
    struct order o = {.r = {.value = value, .ttl = ttl}};
    char full[100];
    int err = call(t, &o, STORE_SET, key_of(key, full));

    done(&o);
    return err;
}

static void expect(struct rig *t, const char *key, struct store_value want)
{
    struct order o = {.back = false};
    char full[100];

    assert_int_equal(call(t, &o, STORE_GET, key_of(key, full)), 0);
    assert_true(store_value_equal(&o.r.answer, &want));
    done(&o);
}

static bool delete (struct rig *t, const char *key)
{
    struct order o = {.back = false};
    char full[100];

    assert_int_equal(call(t, &o, STORE_DELETE, key_of(key, full)), 0);
    bool found = o.r.found;
    done(&o);
    return found;
}

static int incr(struct rig *t, const char *key, int64_t by, uint64_t ttl, int64_t *sum)
{
    struct order o = {.r = {.value = integer(by), .ttl = ttl}};
    char full[100];
    int err = call(t, &o, STORE_INCR, key_of(key, full));

    *sum = o.r.answer.integer;
    done(&o);
    return err;
}

static int replace(struct rig *t, const char *key, struct store_value expected, struct store_value value, uint64_t ttl)
{
    struct order o = {.r = {.value = value, .expected = expected, .ttl = ttl}};
    char full[100];
    int err = call(t, &o, STORE_REPLACE, key_of(key, full));

    done(&o);
    return err;
}

/* -1: not known. */
static int peek(struct rig *t, const char *key, struct store_value want)
{
    struct store_value got;
    struct buf copy = {0};
    char full[100];
    int result = store_peek(t->store, key_of(key, full), &got, &copy) ? store_value_equal(&got, &want) : -1;

    buf_fini(&copy);
    return result;
}

/* What another program sees in the file. */
static int64_t count_rows(struct rig *t)
{
    sqlite3 *db;
    sqlite3_stmt *s;

    assert_int_equal(sqlite3_open_v2(t->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM store", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t count = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return count;
}

/* ---- what it does ---- */

static void test_values(void **state)
{
    struct rig *t = *state;
    struct store_value raw = {STORE_BYTES, 0, {"a\0\xff", 3}}, json = {STORE_JSON, 0, SLICE("{\"a\":1}")};

    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            expect(t, "raw", nothing);
            assert_int_equal(set(t, "raw", bytes("before"), 0), 0);
            assert_int_equal(set(t, "raw", raw, 0), 0);
            assert_int_equal(set(t, "json", json, 0), 0);
            assert_int_equal(set(t, "empty", bytes(""), 0), 0);
            assert_int_equal(set(t, "least", integer(INT64_MIN), 0), 0);
            assert_int_equal(set(t, "gone", bytes("x"), 0), 0);
            assert_true(delete (t, "gone"));
            assert_false(delete (t, "gone"));
        }
        expect(t, "raw", raw);
        expect(t, "json", json);
        expect(t, "empty", bytes(""));
        expect(t, "least", integer(INT64_MIN));
        expect(t, "gone", nothing);
        reopen(t);
    }
}

static void test_incr_and_replace(void **state)
{
    struct rig *t = *state;
    int64_t n;

    assert_int_equal(incr(t, "n", 5, 0, &n), 0);
    assert_int_equal(incr(t, "n", -7, 0, &n), 0);
    assert_int_equal(n, -2);
    set(t, "text", bytes("5"), 0);
    assert_int_equal(incr(t, "text", 1, 0, &n), MT_EINVALID);
    set(t, "top", integer(INT64_MAX), 0);
    assert_int_equal(incr(t, "top", 1, 0, &n), MT_EINVALID);
    expect(t, "top", integer(INT64_MAX));
    expect(t, "text", bytes("5"));

    assert_int_equal(replace(t, "r", bytes("a"), bytes("b"), 0), MT_EBUSY);
    assert_int_equal(replace(t, "r", nothing, bytes("a"), 0), 0);
    assert_int_equal(replace(t, "r", nothing, bytes("b"), 0), MT_EBUSY);
    assert_int_equal(replace(t, "r", bytes("a"), integer(1), 0), 0);
    assert_int_equal(replace(t, "r", integer(2), nothing, 0), MT_EBUSY);
    expect(t, "r", integer(1));
    assert_int_equal(replace(t, "r", integer(1), nothing, 0), 0);
    expect(t, "r", nothing);
    assert_int_equal(replace(t, "r", nothing, nothing, 0), 0);
}

static void test_time_to_live(void **state)
{
    struct rig *t = *state;
    int64_t n;

    set(t, "short", bytes("x"), 100);
    set(t, "long", bytes("x"), 100000);
    set(t, "keeps", bytes("x"), 100);
    set(t, "keeps", bytes("y"), STORE_TTL_KEEP);
    set(t, "freed", bytes("x"), 100);
    set(t, "freed", bytes("y"), STORE_TTL_NONE);
    set(t, "never", bytes("x"), STORE_TTL_KEEP);
    incr(t, "n", 5, 100, &n);
    clock_now += 99;
    assert_int_equal(incr(t, "n", 5, 100, &n), 0); /* does not live longer by that */
    assert_int_equal(n, 10);
    expect(t, "short", bytes("x"));
    assert_int_equal(peek(t, "short", bytes("x")), 1);
    clock_now += 1;
    assert_int_equal(peek(t, "short", nothing), 1);
    expect(t, "short", nothing);
    expect(t, "keeps", nothing);
    expect(t, "freed", bytes("y"));
    assert_false(delete (t, "short"));
    assert_int_equal(replace(t, "keeps", bytes("y"), bytes("z"), 0), MT_EBUSY);
    assert_int_equal(replace(t, "keeps", nothing, bytes("z"), 0), 0);
    assert_int_equal(incr(t, "n", 1, 0, &n), 0);
    assert_int_equal(n, 1);
    reopen(t);
    expect(t, "short", nothing);
    expect(t, "long", bytes("x"));
    clock_now += 100000;
    expect(t, "long", nothing);
    expect(t, "never", bytes("x"));
}

/* What has expired leaves the file although nobody asks for it, a bite after every batch. */
static void test_sweep(void **state)
{
    struct rig *t = *state;
    struct order *many = calloc(1300, sizeof(*many));
    char keys[1300][100], name[16];

    for (int i = 0; i < 1300; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        many[i].r.value = bytes("x");
        many[i].r.ttl = 50;
        send_order(t, t->inbox, &many[i], STORE_SET, key_of(name, keys[i]));
    }
    wait_for(t->inbox, &many[1299]);
    free(many);
    assert_int_equal(count_rows(t), 1300);
    clock_now += 5000;
    for (int i = 0; i < 5; i++, clock_now += 5000)
        assert_int_equal(set(t, "other", bytes("x"), 0), 0);
    assert_int_equal(count_rows(t), 1);
}

/* ---- order and the cache ---- */

static void test_a_get_sees_what_was_sent_before(void **state)
{
    struct rig *t = *state;
    struct order sets[50] = {{.back = false}}, gets[50] = {{.back = false}};

    for (int i = 0; i < 50; i++) {
        sets[i].r.value = integer(i);
        send_order(t, t->inbox, &sets[i], STORE_SET, KEY("k"));
        send_order(t, t->inbox, &gets[i], STORE_GET, KEY("k"));
    }
    wait_for(t->inbox, &gets[49]);
    for (int i = 0; i < 50; i++) {
        assert_true(sets[i].back && gets[i].back);
        assert_int_equal(gets[i].r.answer.integer, i);
        done(&gets[i]);
    }
}

static void test_cache(void **state)
{
    struct rig *t = *state;

    assert_int_equal(peek(t, "k", nothing), -1);
    expect(t, "k", nothing);
    assert_int_equal(peek(t, "k", nothing), 1);
    set(t, "k", bytes("one"), 0);
    assert_int_equal(peek(t, "k", bytes("one")), 1);
    assert_true(delete (t, "k"));
    assert_int_equal(peek(t, "k", nothing), 1);
    replace(t, "k", nothing, bytes("two"), 0);
    reopen(t);
    assert_int_equal(peek(t, "k", bytes("two")), -1);
    expect(t, "k", bytes("two"));
    assert_int_equal(peek(t, "k", bytes("two")), 1);
}

static void test_cache_is_bounded(void **state)
{
    struct rig *t = *state;
    char value[2001] = "", name[16], *large = calloc(1, 100001);
    int known = 0;

    memset(value, 'x', 2000);
    memset(large, 'y', 100000);
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        assert_int_equal(set(t, name, bytes(value), 0), 0);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        known += peek(t, name, bytes(value)) == 1;
    }
    assert_in_range(known, 350, 520); /* of 1 MiB */
    assert_int_equal(peek(t, "k1999", bytes(value)), 1);
    set(t, "k1999", bytes(large), 0); /* more than half of a stripe */
    assert_int_equal(peek(t, "k1999", bytes(large)), -1);
    expect(t, "k1999", bytes(large));
    close_store(t);
    t->cache = 0;
    assert_int_equal(open_store(t), 0);
    expect(t, "k1", bytes(value));
    assert_int_equal(peek(t, "k1", bytes(value)), -1);
    free(large);
}

/* ---- scan ---- */

/* The page as "key=value key=value"; a bytes value of more than 10 bytes by its length. */
static void page(struct rig *t, const char *prefix, const char *after, size_t limit, bool more, const char *want)
{
    struct order o = {.r = {.limit = limit}};
    char a[100], b[100];
    struct buf text = {0};

    if (after)
        o.r.after = key_of(after, b);
    assert_int_equal(call(t, &o, STORE_SCAN, key_of(prefix, a)), 0);
    const char *at = (const char *)o.r.bytes.data;
    for (size_t i = 0; i < o.r.rows; i++) {
        struct store_row row;
        memcpy(&row, at, sizeof(row));
        at += sizeof(row);
        buf_addf(&text, "%s%.*s=", i ? " " : "", (int)row.key - 1, at + 1);
        at += row.key;
        if (row.kind == STORE_INTEGER)
            buf_addf(&text, "%lld", (long long)row.integer);
        else if (row.data > 10)
            buf_addf(&text, "%u", row.data);
        else
            buf_addf(&text, "%.*s", (int)row.data, at);
        at += row.data;
    }
    buf_add_byte(&text, '\0');
    assert_string_equal((char *)text.data, want);
    assert_int_equal(o.r.found, more);
    buf_fini(&text);
    done(&o);
}

static void test_scan(void **state)
{
    struct rig *t = *state;
    struct order other = {.r = {.value = bytes("x")}};
    char *large = calloc(1, 200001);

    page(t, "", NULL, 10, false, "");
    set(t, "a:2", integer(2), 0);
    set(t, "a:10", bytes("ten"), 0);
    set(t, "a:1", bytes("x"), 50);
    set(t, "a", (struct store_value){STORE_JSON, 0, SLICE("true")}, 0);
    set(t, "b:1", bytes(""), 0);
    set(t, "\xff\xff", bytes("x"), 0);
    assert_int_equal(call(t, &other, STORE_SET, SLICE("s\0a:1")), 0);
    page(t, "a:", NULL, 10, false, "a:1=x a:10=ten a:2=2");
    page(t, "", NULL, 10, false, "a=true a:1=x a:10=ten a:2=2 b:1= \xff\xff=x");
    page(t, "a:", NULL, 2, true, "a:1=x a:10=ten");
    page(t, "a:", "a:10", 2, false, "a:2=2");
    page(t, "a:", "a:100", 1, false, "a:2=2");
    page(t, "\xff", NULL, 10, false, "\xff\xff=x");
    page(t, "c", NULL, 10, false, "");
    clock_now += 50;
    page(t, "a:", NULL, 1, true, "a:10=ten");
    memset(large, 'y', 200000);
    set(t, "l:1", bytes(large), 0);
    set(t, "l:2", bytes(large), 0);
    set(t, "l:3", bytes(large), 0);
    page(t, "l:", NULL, 10, true, "l:1=200000 l:2=200000"); /* pages are bounded by bytes, too */
    page(t, "l:", "l:2", 10, false, "l:3=200000");
    free(large);
}

/* ---- what goes wrong ---- */

/* The path is in each of these sentences. */
static void refused(struct rig *t, int code, const char *part)
{
    assert_int_equal(open_store(t), code);
    assert_non_null(t->error);
    assert_non_null(strstr(t->error, t->path));
    if (!strstr(t->error, part))
        fail_msg("%s", t->error);
}

static void checked(struct rig *t, int code, const char *part)
{
    mem_free(t->error);
    assert_int_equal(store_check_file(t->path, &t->error), code);
    if (code != 0 && !strstr(t->error, part))
        fail_msg("%s", t->error);
}

static void run_sql(struct rig *t, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(t->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void write_at(struct rig *t, off_t at, const void *data, size_t len)
{
    int fd = open(t->path, O_RDWR | O_CREAT, 0600);

    assert_int_equal(pwrite(fd, data, len, at), len);
    close(fd);
}

static void test_one_at_a_time(void **state)
{
    struct rig *t = *state, second = *t;
    char link[60];

    second.error = NULL;
    checked(t, 0, ""); /* which asks for nothing that it has */
    refused(&second, MT_EBUSY, "another process has it, with pid");
    snprintf(link, sizeof(link), "%s/link", t->folder);
    assert_int_equal(symlink(t->path, link), 0);
    snprintf(second.path, sizeof(second.path), "%s", link);
    refused(&second, MT_EBUSY, "another process has it");
    assert_int_equal(set(t, "k", bytes("still fine"), 0), 0);
    mem_free(second.error);
    checked(t, 0, "");
    reopen(t);
    expect(t, "k", bytes("still fine"));
}

static void test_files_of_others(void **state)
{
    struct rig *t = *state;
    struct stat before, after;

    set(t, "k", bytes("v"), 0);
    close_store(t);
    run_sql(t, "PRAGMA user_version = 7");
    refused(t, MT_EMALFORMED, "of a later version of moontide: format 7");
    checked(t, MT_EMALFORMED, "of a later version");
    unlink(t->path);
    run_sql(t, "CREATE TABLE store (id INTEGER)");
    assert_int_equal(stat(t->path, &before), 0);
    refused(t, MT_EMALFORMED, "another program");
    checked(t, MT_EMALFORMED, "another program");
    assert_int_equal(stat(t->path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(after.st_mtim)); /* it is left alone */
    unlink(t->path);
    write_at(t, 0, "this is a text of which nothing must be lost", 44);
    refused(t, MT_EMALFORMED, "is no store, or damaged");
    checked(t, MT_EMALFORMED, "is no store, or damaged");
    unlink(t->path);
    checked(t, 0, "");
    assert_int_not_equal(access(t->path, F_OK), 0); /* a check makes nothing */
    write_at(t, 0, "", 0);
    assert_int_equal(open_store(t), 0); /* an empty file is as good as none */
    expect(t, "k", nothing);
    assert_int_equal(stat(t->path, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0600);
}

static void test_no_folder(void **state)
{
    struct rig *t = *state;

    close_store(t);
    snprintf(t->path, sizeof(t->path), "%s/no/store.db", t->folder);
    refused(t, MT_EIO, "cannot be made: No such file or directory");
    checked(t, MT_EIO, "No such file or directory");
    snprintf(t->path, sizeof(t->path), "%s", t->folder);
    refused(t, MT_EIO, "is not a file");
    checked(t, MT_EIO, "is not a file");
}

static void test_names_that_mean_something_else(void **state)
{
    static const char *const names[] = {":memory:", "file:store.db", "file:store.db?mode=memory"};
    struct rig *t = *state;

    close_store(t);
    assert_int_equal(chdir(t->folder), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        strcpy(t->path, names[i]);
        refused(t, MT_EIO, "a path is expected; ./");
        checked(t, MT_EIO, "a path is expected");
        assert_int_not_equal(access(names[i], F_OK), 0);
    }
    strcpy(t->path, "./file:store.db");
    assert_int_equal(open_store(t), 0);
    assert_int_equal(access("file:store.db-wal", F_OK), 0);
    assert_int_equal(chdir("/"), 0);
}

static void test_permissions(void **state)
{
    enum { NOBODY = 65534 };
    struct rig *t = *state;
    bool root = geteuid() == 0; /* who may do everything */
    char lock[80];

    close_store(t);
    snprintf(lock, sizeof(lock), "%s.lock", t->path);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(chmod(t->folder, 0777), 0);
    assert_int_equal(chmod(t->path, 0), 0);
    if (root)
        assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
    refused(t, MT_EIO, "Permission denied");
    checked(t, MT_EIO, "Permission denied");
    if (root)
        assert_int_equal(setresuid(0, 0, 0), 0);
    assert_int_equal(chmod(t->path, 0600), 0);
    assert_int_equal(open_store(t), 0);
}

static void test_damaged_file(void **state)
{
    struct rig *t = *state;
    char value[1001] = "", name[16], junk[4096];

    memset(value, 'x', 1000);
    memset(junk, 0xa5, sizeof(junk));
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        set(t, name, bytes(value), 0);
    }
    close_store(t);
    write_at(t, 10 * 4096, junk, sizeof(junk));
    refused(t, MT_EMALFORMED, "sqlite3");
    checked(t, MT_EMALFORMED, ".recover");
    assert_int_equal(truncate(t->path, 5 * 4096), 0);
    refused(t, MT_EMALFORMED, "damaged");
}

/* A page that nobody has looked at goes bad while the store is open: what needs it fails, and nothing else. */
static void test_damaged_while_open(void **state)
{
    struct rig *t = *state;
    struct order o = {.back = false};
    char *value = calloc(1, 20001), junk[4096];
    int bad = 0;

    close_store(t);
    t->cache = 0;
    assert_int_equal(open_store(t), 0);
    memset(value, 'x', 20000);
    memset(junk, 0xa5, sizeof(junk));
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "k%03d", i);
        set(t, name, bytes(value), 0);
    }
    reopen(t);
    for (int i = 30; i < 60; i++)
        write_at(t, i * 4096, junk, sizeof(junk));
    for (int i = 0; i < 300; i++) {
        char name[16], full[100];
        snprintf(name, sizeof(name), "k%03d", i);
        int err = call(t, &o, STORE_GET, key_of(name, full));
        assert_true((err == 0 && o.r.answer.data.len == 20000) || err == MT_EMALFORMED);
        if (err != 0)
            assert_non_null(strstr(o.r.why, "malformed"));
        bad += err != 0;
        done(&o);
    }
    assert_in_range(bad, 1, 60);
    free(value);
}

static void test_the_file_is_gone(void **state)
{
    struct rig *t = *state;
    struct order o = {.r = {.value = bytes("v")}};
    char moved[80];

    assert_int_equal(set(t, "k", bytes("v"), 0), 0);
    snprintf(moved, sizeof(moved), "%s/moved", t->folder);
    assert_int_equal(rename(t->path, moved), 0);
    assert_int_equal(call(t, &o, STORE_SET, KEY("l")), MT_EIO);
    assert_non_null(strstr(o.r.why, "moved or deleted"));
    assert_int_equal(rename(moved, t->path), 0);
    assert_int_equal(set(t, "l", bytes("v"), 0), 0);
    reopen(t);
    expect(t, "k", bytes("v"));
    expect(t, "l", bytes("v"));
}

/* Such as a copy that VACUUM INTO has made. */
static void test_a_file_without_log(void **state)
{
    struct rig *t = *state;

    set(t, "k", bytes("v"), 0);
    close_store(t);
    run_sql(t, "PRAGMA journal_mode = DELETE");
    assert_int_equal(open_store(t), 0);
    expect(t, "k", bytes("v"));
    assert_int_equal(set(t, "k", bytes("w"), 0), 0);
    reopen(t);
    expect(t, "k", bytes("w"));
}

/* What is in the log only, and would be gone with the server. */
static void test_the_log_is_gone(void **state)
{
    struct rig *t = *state;
    struct order o = {.r = {.value = bytes("v")}};
    char log[80], moved[80];

    assert_int_equal(set(t, "k", bytes("v"), 0), 0);
    snprintf(log, sizeof(log), "%s-wal", t->path);
    snprintf(moved, sizeof(moved), "%s/moved", t->folder);
    assert_int_equal(rename(log, moved), 0);
    assert_int_equal(call(t, &o, STORE_SET, KEY("l")), MT_EIO);
    assert_non_null(strstr(o.r.why, "-wal"));
    int fd = open(log, O_RDWR | O_CREAT, 0600); /* as another program makes it anew */
    assert_int_equal(call(t, &o, STORE_SET, KEY("l")), MT_EIO);
    close(fd);
    assert_int_equal(rename(moved, log), 0);
    assert_int_equal(set(t, "l", bytes("v"), 0), 0);
    reopen(t);
    expect(t, "k", bytes("v"));
    expect(t, "l", bytes("v"));
}

/* What lies where the lock has to be, and is none. */
static void test_the_lock_of_others(void **state)
{
    static const char text[] = "version = 1 # of the packages";
    struct rig *t = *state;
    char name[80], other[80], got[sizeof(text)] = "";

    close_store(t);
    snprintf(name, sizeof(name), "%s.lock", t->path);
    snprintf(other, sizeof(other), "%s/other", t->folder);
    unlink(name);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    refused(t, MT_EIO, "no lock of a server");
    assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(text));
    assert_string_equal(got, text);
    close(fd);
    assert_int_equal(rename(name, other), 0);
    assert_int_equal(symlink(other, name), 0);
    refused(t, MT_EIO, "cannot be made");
    unlink(name);
    assert_int_equal(open_store(t), 0);
}

static void limit_files(rlim_t bytes_each)
{
    struct rlimit limit = {bytes_each, RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Nothing fits any more: clear errors, nothing in part; what is small goes on, and all of it does when there is room again. */
static void test_no_room(void **state)
{
    struct rig *t = *state;
    struct order three[3] = {{.back = false}};
    char *value = calloc(1, 100001), name[16];
    int fit = 0, err = 0;

    memset(value, 'x', 100000);
    limit_files(1000000);
    for (; fit < 50 && err == 0; fit++) {
        snprintf(name, sizeof(name), "k%d", fit);
        err = set(t, name, bytes(value), 0);
    }
    fit--;
    assert_int_equal(err, MT_EFULL);
    assert_in_range(fit, 3, 20);
    for (int i = 0; i < 3; i++)
        three[i].r.value = i == 1 ? bytes(value) : integer(i);
    send_order(t, t->inbox, &three[0], STORE_SET, KEY("first"));
    send_order(t, t->inbox, &three[1], STORE_SET, KEY("large"));
    send_order(t, t->inbox, &three[2], STORE_SET, KEY("last"));
    for (int i = 0; i < 3; i++)
        wait_for(t->inbox, &three[i]);
    assert_int_equal(three[0].r.code, 0);
    assert_int_equal(three[1].r.code, MT_EFULL);
    assert_true(three[1].r.why[0]);
    assert_int_equal(three[2].r.code, 0);
    expect(t, "large", nothing);
    expect(t, name, nothing);
    limit_files(RLIM_INFINITY);
    assert_int_equal(set(t, "large", bytes(value), 0), 0);
    reopen(t);
    for (int i = 0; i < fit; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        expect(t, name, bytes(value));
    }
    expect(t, "first", integer(0));
    expect(t, "large", bytes(value));
    expect(t, "last", integer(2));
    free(value);
}

/* ---- many at once ---- */

/* What was sent is carried out, also when the store is to end at once. */
static void test_destroy_carries_out(void **state)
{
    enum { COUNT = 5000 };
    struct rig *t = *state;
    struct order *many = calloc(COUNT, sizeof(*many));
    char(*keys)[100] = calloc(COUNT, sizeof(*keys)), name[16];

    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        many[i].r.value = integer(i);
        send_order(t, t->inbox, &many[i], i % 10 ? STORE_SET : STORE_GET, key_of(name, keys[i]));
    }
    close_store(t);
    fake_inbox_open(t->inbox, true);
    for (int i = 0; i < COUNT; i++) {
        assert_true(many[i].back);
        assert_int_equal(many[i].r.code, 0);
    }
    free(many);
    free(keys);
    assert_int_equal(open_store(t), 0);
    assert_int_equal(count_rows(t), COUNT / 10 * 9);
}

static void test_too_much(void **state)
{
    enum { COUNT = 100 };
    struct rig *t = *state;
    struct order *many = calloc(COUNT, sizeof(*many));
    char *value = calloc(1, STORE_VALUE_MAX), full[100];
    int sent = 0, err = 0;

    for (; sent < COUNT && err == 0; sent++) {
        many[sent].r = (struct store_request){.letter.open = came_back,
                                              .inbox = t->inbox,
                                              .op = STORE_SET,
                                              .key = key_of("k", full),
                                              .value = {STORE_BYTES, 0, {value, STORE_VALUE_MAX}}};
        err = store_send(t->store, &many[sent].r);
    }
    if (err != 0) { /* else the disk was faster than we */
        assert_int_equal(err, MT_EBUSY);
        assert_in_range(sent, 64, COUNT);
        sent--;
    }
    for (int i = 0; i < sent; i++)
        wait_for(t->inbox, &many[i]);
    expect(t, "k", (struct store_value){STORE_BYTES, 0, {value, STORE_VALUE_MAX}});
    free(value);
    free(many);
}

enum { THREADS = 4, ROUNDS = 300 };

struct hand {
    struct rig *t;
    pthread_t thread;
    int number;
    int tries;
};

static void run_order(struct hand *h, struct inbox *inbox, struct order *o, enum store_op op, struct slice key)
{
    send_order(h->t, inbox, o, op, key);
    wait_for(inbox, o);
}

/* Read, add, replace if nobody was faster. */
static void add_one(struct hand *h, struct inbox *inbox)
{
    int err;

    do {
        struct order get = {.back = false}, put = {.back = false};
        run_order(h, inbox, &get, STORE_GET, KEY("cas"));
        put.r.expected = get.r.answer;
        put.r.value = integer(get.r.answer.integer + 1);
        run_order(h, inbox, &put, STORE_REPLACE, KEY("cas"));
        err = put.r.code;
        done(&get);
        h->tries++;
    } while (err == MT_EBUSY);
}

/* What a peek knows is never older than what this thread has heard of: the key is written by it alone. */
static void look_at_own(struct hand *h, struct inbox *inbox, int64_t n)
{
    struct order o = {.r = {.value = integer(n)}};
    struct store_value got;
    struct buf copy = {0};
    char name[2] = {(char)('a' + h->number), 0}, full[100];
    struct slice key = key_of(name, full);

    run_order(h, inbox, &o, STORE_SET, key);
    for (int i = 0; i < 20; i++)
        if (store_peek(h->t->store, key, &got, &copy))
            assert_int_equal(got.integer, n);
    buf_fini(&copy);
}

static void *work(void *arg)
{
    struct hand *h = arg;
    struct inbox *inbox = fake_inbox_create();

    for (int i = 0; i < ROUNDS; i++) {
        struct order o = {.r = {.value = integer(1)}};
        run_order(h, inbox, &o, STORE_INCR, KEY("total"));
        add_one(h, inbox);
        look_at_own(h, inbox, i);
    }
    fake_inbox_destroy(inbox);
    return NULL;
}

static void test_threads(void **state)
{
    struct rig *t = *state;
    struct hand hands[THREADS];

    for (int i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){.t = t, .number = i};
        assert_int_equal(pthread_create(&hands[i].thread, NULL, work, &hands[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(hands[i].thread, NULL);
    for (int i = 0; i < 2; i++) {
        expect(t, "total", integer(THREADS * ROUNDS));
        expect(t, "cas", integer(THREADS * ROUNDS));
        reopen(t);
    }
}

static atomic_bool stop_reading;

static void *read_all_the_time(void *arg)
{
    struct hand h = {.t = arg};
    struct inbox *inbox = fake_inbox_create();

    while (!stop_reading) {
        static struct order o[40];
        for (int i = 0; i < 40; i++)
            send_order(h.t, inbox, &o[i], STORE_GET, KEY("k1"));
        for (int i = 0; i < 40; i++) {
            wait_for(inbox, &o[i]);
            done(&o[i]);
        }
    }
    fake_inbox_destroy(inbox);
    return NULL;
}

/* The log begins anew although somebody reads at every moment. */
static void test_the_log_is_bounded(void **state)
{
    struct rig *t = *state;
    struct order *many = calloc(100, sizeof(*many));
    char *value = calloc(1, 100000), keys[100][100], name[16], wal[80];
    struct stat s;
    pthread_t reader;

    close_store(t);
    t->cache = 0;
    assert_int_equal(open_store(t), 0);
    stop_reading = false;
    assert_int_equal(pthread_create(&reader, NULL, read_all_the_time, t), 0);
    for (int round = 0; round < 20; round++) { /* 200 MB */
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof(name), "k%d", i);
            many[i] = (struct order){.r = {.value = {STORE_BYTES, 0, {value, 100000}}}};
            send_order(t, t->inbox, &many[i], STORE_SET, key_of(name, keys[i]));
        }
        for (int i = 0; i < 100; i++) {
            wait_for(t->inbox, &many[i]);
            assert_int_equal(many[i].r.code, 0);
        }
    }
    stop_reading = true;
    pthread_join(reader, NULL);
    snprintf(wal, sizeof(wal), "%s-wal", t->path);
    assert_int_equal(stat(wal, &s), 0);
    assert_in_range(s.st_size, 1, 40 << 20);
    free(value);
    free(many);
}

/* Opening gives back what it has when there is no memory for more. */
static void test_memory(void **state)
{
    struct rig *t = *state;
    unsigned long n = 1;
    int err;

    close_store(t);
    do {
        mem_fail_at(n++);
        err = open_store(t);
        mem_fail_at(0);
        assert_true(err == 0 || err == MT_ENOMEM);
        assert_true(n < 100);
    } while (err != 0);
    assert_true(n > 5);
    assert_int_equal(set(t, "k", bytes("v"), 0), 0);
}

/* A thread of the store has no memory for an answer: it says so, and not what went wrong some time before. */
static void test_memory_of_threads(void **state)
{
    static const enum store_op ops[] = {STORE_GET, STORE_SCAN};
    struct rig *t = *state;

    t->cache = 0;
    reopen(t);
    set(t, "k", bytes("value"), 0);
    run_sql(t, "INSERT INTO store VALUES (x'', CAST('odd' AS BLOB), 1.5, NULL)");
    for (size_t i = 0; i < 2; i++) {
        struct order o = {.r = {.limit = 1}};
        assert_int_equal(call(t, &o, STORE_GET, KEY("odd")), MT_EMALFORMED);
        atomic_store(&fail_at, 1);
        assert_int_equal(call(t, &o, ops[i], KEY("k")), MT_ENOMEM);
        assert_string_equal(o.r.why, err_text(MT_ENOMEM));
        assert_int_equal(call(t, &o, ops[i], KEY("k")), 0);
        done(&o);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_values),
        TEST(test_incr_and_replace),
        TEST(test_time_to_live),
        TEST(test_sweep),
        TEST(test_a_get_sees_what_was_sent_before),
        TEST(test_cache),
        TEST(test_cache_is_bounded),
        TEST(test_scan),
        TEST(test_one_at_a_time),
        TEST(test_files_of_others),
        TEST(test_no_folder),
        TEST(test_names_that_mean_something_else),
        TEST(test_permissions),
        TEST(test_damaged_file),
        TEST(test_damaged_while_open),
        TEST(test_the_file_is_gone),
        TEST(test_a_file_without_log),
        TEST(test_the_log_is_gone),
        TEST(test_the_lock_of_others),
        TEST(test_no_room),
        TEST(test_destroy_carries_out),
        TEST(test_too_much),
        TEST(test_threads),
        TEST(test_the_log_is_bounded),
        TEST(test_memory),
        TEST(test_memory_of_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
