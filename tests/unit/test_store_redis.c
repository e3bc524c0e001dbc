/* test_store_redis.c - a store on a real redis-server that the test starts, kills, stops and fills. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_inbox.h"
#include "store/store.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], socket_path[96], url[160];
static pid_t server; /* 0: none */
static struct inbox *box;
static struct log *the_log;
static struct store *store;

/* ---- the server ---- */

static bool answers(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char got[8] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path, socket_path);
    bool is = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && write(fd, "PING\r\n", 6) == 6 && read(fd, got, 7) > 0;
    close(fd);
    return is && got[0] != '\0';
}

static void start(const char *option, const char *value)
{
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive a test that fails */
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path, "--dir", folder, "--save", "",
               "--appendonly", "no", "--enable-debug-command", "yes", option, value, (char *)NULL);
        _exit(127);
    }
    while (!answers()) {
        assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
        usleep(5000); /* between two looks */
    }
}

static void stop_server(void)
{
    if (server) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    server = 0;
}

/* ---- the store ---- */

static void open_store(const char *more)
{
    char *error = NULL;

    snprintf(url, sizeof(url), "unix://%s%s", socket_path, more);
    assert_int_equal(store_open_redis(&(struct store_redis_config){url, the_log}, &store, &error), 0);
    assert_null(error);
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/moontide-redis-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
    the_log = log_create(2, LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    box = fake_inbox_create();
    return 0;
}

static int setup(void **state)
{
    make_folder(state);
    start("--maxmemory-policy", "noeviction");
    open_store("");
    return 0;
}

static int teardown(void **state)
{
    char command[96];

    store_destroy(store);
    store = NULL;
    stop_server();
    fake_inbox_destroy(box);
    log_destroy(the_log);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static size_t returned; /* requests that came back since it was set to 0 */

static void on_return(struct letter *l, bool delivered)
{
    returned++;
}

static void send_it(struct store_request *r)
{
    r->letter.open = on_return;
    r->inbox = box;
    assert_int_equal(store_send(store, r), 0);
}

static void wait_for(size_t count)
{
    while (returned < count) {
        assert_true(fake_inbox_await(box));
        fake_inbox_open(box, true);
    }
    returned = 0;
}

static int ask(struct store_request *r)
{
    send_it(r);
    wait_for(1);
    return r->code;
}

/* Keys of these tests have a zero byte in front: the store of tide.store itself. */
#define KEY(text) ((struct slice){"\0" text, sizeof(text)})

static int set(struct slice key, struct store_value v, uint64_t ttl)
{
    struct store_request r = {.op = STORE_SET, .key = key, .value = v, .ttl = ttl};
    int rc = ask(&r);

    buf_fini(&r.bytes);
    return rc;
}

static struct store_value bytes_of(const char *text, size_t len)
{
    return (struct store_value){STORE_BYTES, 0, {text, len}};
}

static struct store_value integer_of(int64_t n)
{
    return (struct store_value){STORE_INTEGER, n, {NULL, 0}};
}

static void expect(struct slice key, struct store_value v)
{
    struct store_request r = {.op = STORE_GET, .key = key};

    assert_int_equal(ask(&r), 0);
    assert_true(store_value_equal(&r.answer, &v));
    buf_fini(&r.bytes);
}

static const struct store_value nothing = {STORE_NOTHING, 0, {NULL, 0}};

/* What another program sees: the reply to a command of one line, as it comes. */
static void raw(const char *command, char *reply, size_t size)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path, socket_path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_true(write(fd, command, strlen(command)) > 0 && write(fd, "\r\n", 2) == 2);
    ssize_t n = read(fd, reply, size - 1);
    assert_true(n > 0);
    reply[n] = '\0';
    close(fd);
}

/* ---- what it keeps ---- */

static void keeps_every_kind(void **state)
{
    static const char big[STORE_VALUE_MAX] = "x";
    const struct store_value values[] = {bytes_of("text", 4),
                                         bytes_of("", 0),
                                         bytes_of("a\0b\xff", 4),
                                         bytes_of("12", 2),
                                         bytes_of("-0", 2),
                                         bytes_of("007", 3),
                                         bytes_of("\1x", 2),
                                         bytes_of("\2{}", 3),
                                         bytes_of(big, sizeof(big)),
                                         integer_of(0),
                                         integer_of(INT64_MAX),
                                         integer_of(INT64_MIN),
                                         {STORE_JSON, 0, SLICE("{\"a\":[1,null]}")},
                                         {STORE_JSON, 0, SLICE("12.5")}};

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        assert_int_equal(set(KEY("k"), values[i], STORE_TTL_NONE), 0);
        expect(KEY("k"), values[i]);
    }
    expect(KEY("other"), nothing);
    expect((struct slice){"name\0k", 6}, nothing);
}

static void is_readable_by_others(void **state)
{
    char reply[64];

    set(KEY("ban:ann"), bytes_of("yes", 3), STORE_TTL_NONE);
    raw("GET moontide::ban:ann", reply, sizeof(reply));
    assert_string_equal(reply, "$3\r\nyes\r\n");
    set((struct slice){"a:b\0k", 5}, integer_of(7), STORE_TTL_NONE);
    raw("GET moontide:a%3Ab:k", reply, sizeof(reply));
    assert_string_equal(reply, "$1\r\n7\r\n");
    raw("SET moontide::theirs 12", reply, sizeof(reply));
    expect(KEY("theirs"), integer_of(12));
    raw("SET moontide::theirs hello", reply, sizeof(reply));
    expect(KEY("theirs"), bytes_of("hello", 5));
    raw("LPUSH moontide::list x", reply, sizeof(reply));
    struct store_request r = {.op = STORE_GET, .key = KEY("list")};
    assert_int_equal(ask(&r), MT_EINVALID);
    assert_non_null(strstr(r.why, "WRONGTYPE"));
}

static bool delete (struct slice key)
{
    struct store_request r = {.op = STORE_DELETE, .key = key};

    assert_int_equal(ask(&r), 0);
    return r.found;
}

static int incr(struct slice key, int64_t by, uint64_t ttl, int64_t *sum)
{
    struct store_request r = {.op = STORE_INCR, .key = key, .value = integer_of(by), .ttl = ttl};
    int rc = ask(&r);

    *sum = r.answer.integer;
    buf_fini(&r.bytes);
    return rc;
}

static void counts_and_deletes(void **state)
{
    int64_t n;

    assert_int_equal(incr(KEY("n"), 5, STORE_TTL_NONE, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(incr(KEY("n"), -7, 60000, &n), 0);
    assert_int_equal(n, -2);
    set(KEY("n"), integer_of(INT64_MAX - 1), STORE_TTL_NONE);
    assert_int_equal(incr(KEY("n"), 1, 60000, &n), 0);
    assert_true(n == INT64_MAX); /* no double on the way */
    assert_int_equal(incr(KEY("n"), 1, STORE_TTL_NONE, &n), MT_EINVALID);
    set(KEY("s"), bytes_of("12", 2), STORE_TTL_NONE);
    assert_int_equal(incr(KEY("s"), 1, STORE_TTL_NONE, &n), MT_EINVALID); /* a string, whatever it says */
    assert_true(delete (KEY("n")));
    assert_false(delete (KEY("n")));
}

static int64_t ttl_of(const char *key)
{
    char command[64], reply[64];

    snprintf(command, sizeof(command), "PTTL moontide::%s", key);
    raw(command, reply, sizeof(reply));
    return atoll(reply + 1);
}

static void values_expire(void **state)
{
    int64_t n;

    set(KEY("k"), integer_of(1), 60000);
    assert_in_range(ttl_of("k"), 50000, 60000);
    set(KEY("k"), integer_of(2), STORE_TTL_KEEP);
    assert_in_range(ttl_of("k"), 50000, 60000);
    incr(KEY("k"), 1, 1, &n); /* not new: the time stays */
    assert_in_range(ttl_of("k"), 50000, 60000);
    set(KEY("k"), integer_of(2), STORE_TTL_NONE);
    assert_int_equal(ttl_of("k"), -1);
    incr(KEY("new"), 1, 60000, &n);
    assert_in_range(ttl_of("new"), 50000, 60000);
    set(KEY("gone"), integer_of(1), 1);
    uint64_t since = clock_ms();
    while (clock_ms() - since < 3) {
    }
    expect(KEY("gone"), nothing);
}

static int replace(struct slice key, struct store_value expected, struct store_value v, uint64_t ttl)
{
    struct store_request r = {.op = STORE_REPLACE, .key = key, .value = v, .expected = expected, .ttl = ttl};

    return ask(&r);
}

static void replaces_only_what_is_expected(void **state)
{
    assert_int_equal(replace(KEY("k"), integer_of(1), integer_of(2), STORE_TTL_NONE), MT_EBUSY);
    assert_int_equal(replace(KEY("k"), nothing, integer_of(2), STORE_TTL_NONE), 0);
    assert_int_equal(replace(KEY("k"), nothing, integer_of(3), STORE_TTL_NONE), MT_EBUSY);
    assert_int_equal(replace(KEY("k"), integer_of(2), bytes_of("12", 2), 60000), 0);
    assert_int_equal(replace(KEY("k"), integer_of(12), integer_of(0), STORE_TTL_NONE), MT_EBUSY);
    assert_int_equal(replace(KEY("k"), bytes_of("12", 2), integer_of(4), STORE_TTL_KEEP), 0);
    assert_in_range(ttl_of("k"), 50000, 60000);
    assert_int_equal(replace(KEY("k"), integer_of(4), nothing, STORE_TTL_NONE), 0);
    expect(KEY("k"), nothing);
}

/* Another program has put the byte 1 in front of a string that does not need it. */
static void replaces_what_others_wrote(void **state)
{
    char reply[64];

    raw("SET moontide::k \"\\x01text\"", reply, sizeof(reply));
    expect(KEY("k"), bytes_of("text", 4));
    assert_int_equal(replace(KEY("k"), bytes_of("tex", 3), bytes_of("more", 4), STORE_TTL_NONE), MT_EBUSY);
    assert_int_equal(replace(KEY("k"), bytes_of("text", 4), bytes_of("more", 4), STORE_TTL_NONE), 0);
    expect(KEY("k"), bytes_of("more", 4));
    raw("SET moontide::k \"\\x0112\"", reply, sizeof(reply));
    assert_int_equal(replace(KEY("k"), integer_of(12), nothing, STORE_TTL_NONE), MT_EBUSY);
    assert_int_equal(replace(KEY("k"), bytes_of("12", 2), nothing, STORE_TTL_NONE), 0);
}

/* ---- scan ---- */

/* Every key of the prefix in pages of `limit`: how many, and in order. */
static size_t scan(struct slice prefix, size_t limit)
{
    char last[STORE_KEY_MAX];
    size_t last_len = 0, count = 0;
    bool more = true;

    while (more) {
        struct store_request r = {.op = STORE_SCAN, .key = prefix, .after = {last, last_len}, .limit = limit};
        assert_int_equal(ask(&r), 0);
        assert_true(r.rows <= limit);
        const unsigned char *at = r.bytes.data;
        for (size_t i = 0; i < r.rows; i++) {
            struct store_row row;
            memcpy(&row, at, sizeof(row));
            const char *key = (const char *)at + sizeof(row);
            assert_true(row.key >= prefix.len && memcmp(key, prefix.data, prefix.len) == 0);
            size_t shorter = row.key < last_len ? row.key : last_len;
            int order = memcmp(last, key, shorter);
            assert_true(order < 0 || (order == 0 && last_len < row.key));
            memcpy(last, key, last_len = row.key);
            at += sizeof(row) + row.key + row.data;
            count++;
        }
        more = r.found;
        buf_fini(&r.bytes);
    }
    return count;
}

static void scans_in_order(void **state)
{
    struct store_request *all = mem_zalloc(5000, sizeof(*all));
    char(*keys)[32] = mem_zalloc(5000, sizeof(*keys));

    for (int i = 0; i < 5000; i++) { /* pipelined */
        int len = snprintf(keys[i], sizeof(*keys), "%c%s:%d", 0, i % 2 ? "odd" : "[a*?]\\", i);
        all[i] = (struct store_request){.op = STORE_SET, .key = {keys[i], (size_t)len}, .value = integer_of(i)};
        send_it(&all[i]);
    }
    wait_for(5000);
    assert_int_equal(scan(KEY("odd:"), 100), 2500);
    assert_int_equal(scan(KEY("[a*?]\\:"), 999), 2500);
    assert_int_equal(scan(KEY(""), 5000), 5000);
    assert_int_equal(scan(KEY("a"), 10), 0);
    assert_int_equal(scan((struct slice){"other\0", 6}, 10), 0);
    mem_free(keys);
    mem_free(all);
}

/* ---- trouble ---- */

static int get_code(char *why)
{
    struct store_request r = {.op = STORE_GET, .key = KEY("k")};
    int rc = ask(&r);

    buf_fini(&r.bytes);
    if (why)
        strcpy(why, r.why);
    return rc;
}

static void until_it_answers(void)
{
    uint64_t since = clock_ms();

    while (get_code(NULL) != 0) {
        assert_true(clock_ms() - since < 10000);
        usleep(2000); /* between two looks */
    }
}

static void the_server_is_killed_and_comes_back(void **state)
{
    struct store_request all[100];
    char why[200];

    set(KEY("k"), integer_of(1), STORE_TTL_NONE);
    for (int round = 0; round < 5; round++) {
        kill(server, SIGSTOP); /* so that all of them are under way */
        for (size_t i = 0; i < 100; i++) {
            all[i] = (struct store_request){.op = STORE_SET, .key = KEY("k"), .value = integer_of(2)};
            send_it(&all[i]);
        }
        stop_server();
        wait_for(100);
        for (size_t i = 0; i < 100; i++)
            assert_true(all[i].code == MT_ECLOSED || all[i].code == MT_EREFUSED);
        int rc = get_code(why);
        assert_true(rc == MT_EREFUSED || rc == MT_ECLOSED);
        start("--maxmemory-policy", "noeviction");
        until_it_answers();
        assert_int_equal(replace(KEY("k"), nothing, integer_of(1), STORE_TTL_NONE), 0);
    }
}

static void a_server_that_is_stuck_is_left(void **state)
{
    char why[200];

    kill(server, SIGSTOP);
    assert_int_equal(get_code(why), MT_ETIMEOUT);
    assert_non_null(strstr(why, "does not answer"));
    kill(server, SIGCONT);
    until_it_answers();
    set(KEY("k"), integer_of(3), STORE_TTL_NONE);
    expect(KEY("k"), integer_of(3)); /* the late reply is nobody's */
}

static void a_full_server_says_so(void **state)
{
    char reply[64], why[200];

    raw("CONFIG SET maxmemory 1", reply, sizeof(reply));
    assert_int_equal(set(KEY("k"), integer_of(1), STORE_TTL_NONE), MT_EFULL);
    assert_int_equal(get_code(why), 0);
}

static void passwords_and_databases(void **state)
{
    char why[200], reply[64];

    store_destroy(store);
    raw("ACL SETUSER ann on >p%40ss ~* +@all", reply, sizeof(reply)); /* her password is p%40ss */
    open_store("?db=3");
    assert_int_equal(set(KEY("k"), integer_of(1), STORE_TTL_NONE), 0);
    raw("GET moontide::k", reply, sizeof(reply));
    assert_string_equal(reply, "$-1\r\n"); /* of database 0 */
    store_destroy(store);
    raw("CONFIG SET requirepass secret", reply, sizeof(reply));
    open_store("");
    assert_int_equal(get_code(why), MT_EDENIED);
    assert_non_null(strstr(why, "NOAUTH"));
}

static void no_redis_at_all(void **state)
{
    char why[200];

    open_store("");
    assert_int_equal(get_code(why), MT_EREFUSED);
    assert_non_null(strstr(why, "No such file"));
}

/* A server of the test's own, to which the store has come. */
static int open_store_here(int *listener)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, socket_path);
    assert_int_equal(bind(*listener, (struct sockaddr *)&a, sizeof(a)), 0);
    listen(*listener, 5);
    open_store("");
    return accept(*listener, NULL, NULL);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void something_else_answers(void **state)
{
    char why[200];
    int listener, fd = open_store_here(&listener);

    say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_int_equal(get_code(why), MT_EMALFORMED);
    close(fd);
    close(listener);
}

static void a_server_that_lets_nobody_in(void **state)
{
    char why[200];
    int listener, fd = open_store_here(&listener);

    say(fd, "-ERR max number of clients reached\r\n");
    assert_int_equal(get_code(why), MT_EREFUSED); /* it says nothing about the key */
    assert_non_null(strstr(why, "max number of clients"));
    close(fd);
    close(listener);
}

/* Each answer comes in time, but the last one long after its request was sent. */
static void a_slow_server_is_not_left(void **state)
{
    struct store_request all[4];
    char got[4096];
    size_t len = 0;
    int listener, fd = open_store_here(&listener);

    say(fd, "+PONG\r\n");
    for (size_t i = 0; i < 4; i++) {
        all[i] = (struct store_request){.op = STORE_SET, .key = KEY("k"), .value = integer_of(1)};
        send_it(&all[i]);
    }
    while (len < 4 * strlen("*3\r\n$3\r\nSET\r\n$11\r\nmoontide::k\r\n$1\r\n1\r\n")) {
        ssize_t n = read(fd, got, sizeof(got));
        assert_true(n > 0);
        len += (size_t)n;
    }
    for (size_t i = 0; i < 4; i++) {
        usleep(1700000); /* the test's subject: 6.8 s in all, with a limit of 5 */
        say(fd, "+OK\r\n");
        wait_for(1);
        assert_int_equal(all[i].code, 0);
    }
    close(fd);
    close(listener);
}

/* ---- names ---- */

static pthread_mutex_t name_server = PTHREAD_MUTEX_INITIALIZER; /* held: it does not answer */
static atomic_int asked;                                        /* questions that wait for it */

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    atomic_fetch_add(&asked, 1);
    pthread_mutex_lock(&name_server);
    pthread_mutex_unlock(&name_server);
    return EAI_NONAME;
}

static void a_name_server_that_does_not_answer(void **state)
{
    char *error, why[200];
    uint64_t since = clock_ms(), began;

    pthread_mutex_lock(&name_server);
    assert_int_equal(store_open_redis(&(struct store_redis_config){"redis://slow.example", the_log}, &store, &error), 0);
    assert_int_equal(get_code(why), MT_EDNS);
    assert_non_null(strstr(why, "too long"));
    assert_true(clock_ms() - since < 9000);
    do {
        assert_true(clock_ms() - since < 20000);
        began = clock_ms();
        assert_int_equal(get_code(why), MT_EDNS);
    } while (clock_ms() - began < 1000); /* until one has waited for the next attempt */
    assert_int_equal(asked, 1);          /* which asks no second time */
    pthread_mutex_unlock(&name_server);
    while (!strstr(why, "not known")) {
        assert_int_equal(get_code(why), MT_EDNS);
        assert_true(clock_ms() - since < 30000);
        usleep(10000); /* between two looks */
    }
}

static void ends_while_nothing_answers(void **state)
{
    struct store_request r = {.op = STORE_GET, .key = KEY("k")};
    uint64_t since = clock_ms();

    kill(server, SIGSTOP);
    send_it(&r);
    store_destroy(store);
    store = NULL;
    wait_for(1);
    assert_int_equal(r.code, MT_ECLOSED);
    assert_true(clock_ms() - since < 5000);
}

static void ends_after_all_was_written(void **state)
{
    struct store_request all[1000];

    for (size_t i = 0; i < 1000; i++) {
        all[i] = (struct store_request){.op = STORE_INCR, .key = KEY("n"), .value = integer_of(1)};
        send_it(&all[i]);
    }
    store_destroy(store);
    wait_for(1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(all[i].code, 0);
        assert_int_equal(all[i].answer.integer, i + 1); /* and in order */
    }
    open_store("");
    expect(KEY("n"), integer_of(1000));
}

static void opens_without_memory(void **state)
{
    const struct store_redis_config c = {"redis://ann:x@slow.example/1", the_log};
    unsigned long n = 1;
    char *error;
    int rc;

    do {
        mem_fail_at(n++);
        rc = store_open_redis(&c, &store, &error);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == MT_ENOMEM);
        assert_null(error);
        assert_true(n < 100);
    } while (rc != 0);
    assert_true(n > 5);
}

/* What a server says up to some byte, before it goes: every request comes back, once. */
static void a_server_that_goes_at_any_point(void **state)
{
    static const char said[] = "+PONG\r\n$2\r\nhi\r\n:1\r\n*2\r\n$1\r\n0\r\n*1\r\n$11\r\nmoontide::k\r\n";
    int listener, fd = open_store_here(&listener);

    for (size_t until = 5; until < sizeof(said); until++) { /* fewer only make the pauses longer */
        struct store_request get = {.op = STORE_GET, .key = KEY("k")};
        struct store_request incr = {.op = STORE_INCR, .key = KEY("k"), .value = integer_of(1)};
        struct store_request scan_all = {.op = STORE_SCAN, .key = KEY(""), .limit = 9};
        struct store_request *all[] = {&get, &incr, &scan_all};
        for (size_t i = 0; i < 3; i++)
            send_it(all[i]);
        char ping[sizeof("*1\r\n$4\r\nPING\r\n") - 1];
        assert_int_equal(recv(fd, ping, sizeof(ping), MSG_WAITALL), sizeof(ping)); /* it listens now */
        for (size_t at = 0; at < until; at++)
            if (send(fd, said + at, 1, MSG_NOSIGNAL) != 1)
                break; /* it has left: a reply did not belong there */
        close(fd);
        wait_for(3);
        assert_int_equal(returned, 0);
        assert_true(scan_all.code != 0);
        for (size_t i = 0; i < 3; i++)
            buf_fini(&all[i]->bytes);
        fd = accept(listener, NULL, NULL);
    }
    close(fd);
    close(listener);
}

static void bad_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "redis",
                                      "http://x/",
                                      "rediss://x",
                                      "redis://x:0",
                                      "redis://x:70000",
                                      "redis://x:a",
                                      "redis://x/a",
                                      "redis://x?db=-1",
                                      "redis://x?nope=1",
                                      "redis://x?prefix=%zz",
                                      "redis://%00",
                                      "unix://",
                                      "unix://relative"};
    char *error;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct store *none;
        error = NULL;
        assert_int_equal(store_open_redis(&(struct store_redis_config){bad[i], the_log}, &none, &error), MT_EINVALID);
        assert_non_null(error);
        mem_free(error);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, make_folder, teardown)
    const struct CMUnitTest tests[] = {
        TEST(keeps_every_kind),
        TEST(is_readable_by_others),
        TEST(counts_and_deletes),
        TEST(values_expire),
        TEST(replaces_only_what_is_expected),
        TEST(replaces_what_others_wrote),
        TEST(scans_in_order),
        TEST(the_server_is_killed_and_comes_back),
        TEST(a_server_that_is_stuck_is_left),
        TEST(a_full_server_says_so),
        TEST(passwords_and_databases),
        ALONE(no_redis_at_all),
        ALONE(something_else_answers),
        ALONE(a_server_that_lets_nobody_in),
        ALONE(a_slow_server_is_not_left),
        ALONE(a_name_server_that_does_not_answer),
        TEST(ends_while_nothing_answers),
        TEST(ends_after_all_was_written),
        ALONE(opens_without_memory),
        ALONE(a_server_that_goes_at_any_point),
        ALONE(bad_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
