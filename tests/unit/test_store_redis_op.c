/* test_store_redis_op.c - a store's requests as commands of Redis, its replies as answers, and its URLs: bytes only, no server.
 */
#include "base/err.h"
#include "base/mem.h"
#include "store/redis_op.h"
#include "store/redis_scan.h"
#include "store/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KEY(text) ((struct slice){"\0" text, sizeof(text)})
#define PREFIX SLICE("moontide:")

static void release(struct redis_call *c)
{
    redis_op_fini(c);
    buf_fini(&c->request->bytes);
}

/* What the call makes of the reply, as it comes from the server. */
static int reply(struct redis_call *c, struct slice text)
{
    redisReader *reader = redisReaderCreate();
    void *whole = NULL;

    assert_int_equal(redisReaderFeed(reader, text.data, text.len), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &whole), REDIS_OK);
    assert_non_null(whole);
    int rc = redis_op_reply(c, whole);
    freeReplyObject(whole);
    redisReaderFree(reader);
    return rc;
}

static void expect_command(struct redis_call *c, const char *text)
{
    struct buf out = {0};

    assert_int_equal(redis_op_send(PREFIX, c, &out), 0);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    assert_string_equal((char *)out.data, text);
    buf_fini(&out);
}

/* ---- scan ---- */

#define SCAN_ALL                                                                                                                 \
    "*8\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n$12\r\nmoontide::k*\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n$4\r\nTYPE\r\n$"          \
    "6\r\nstring\r\n"
#define SCANNED(count, keys) SLICE("*2\r\n$1\r\n0\r\n*" count "\r\n" keys)
#define K(n) "$12\r\nmoontide::k" n "\r\n"

static void test_keys_that_are_gone_do_not_end_a_scan(void **state)
{
    struct store_request r = {.op = STORE_SCAN, .key = KEY("k"), .limit = 2};
    struct redis_call c = {.request = &r};

    expect_command(&c, SCAN_ALL);
    assert_int_equal(reply(&c, SCANNED("5", K("4") K("2") "$12\r\nmoontide::j9\r\n" K("1") K("3"))), 1); /* j9 is none of them */
    expect_command(&c, "*3\r\n$4\r\nMGET\r\n" K("1") K("2"));
    assert_int_equal(reply(&c, SLICE("*2\r\n$-1\r\n$-1\r\n")), 1); /* they have expired: but there are more */
    expect_command(&c, SCAN_ALL);
    assert_int_equal(reply(&c, SCANNED("3", K("4") K("2") K("3"))), 1);
    expect_command(&c, "*3\r\n$4\r\nMGET\r\n" K("3") K("4"));
    assert_int_equal(reply(&c, SLICE("*2\r\n$-1\r\n$1\r\n7\r\n")), 0);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.rows, 1);
    assert_false(r.found);
    struct store_row row;
    memcpy(&row, r.bytes.data, sizeof(row));
    assert_int_equal(row.integer, 7);
    assert_memory_equal(r.bytes.data + sizeof(row), "\0k4", 3);
    release(&c);
}

static void test_a_scan_ends_where_all_are_gone(void **state)
{
    struct store_request r = {.op = STORE_SCAN, .key = KEY("k"), .limit = 2};
    struct redis_call c = {.request = &r};

    expect_command(&c, SCAN_ALL);
    assert_int_equal(reply(&c, SCANNED("2", K("1") K("1"))), 1); /* Redis may tell one twice */
    expect_command(&c, "*2\r\n$4\r\nMGET\r\n" K("1"));
    assert_int_equal(reply(&c, SLICE("*1\r\n$-1\r\n")), 0);
    assert_int_equal(r.rows, 0);
    assert_false(r.found);
    release(&c);
}

/* ---- values ---- */

static void test_what_is_an_integer(void **state)
{
    static const struct slice none[] = {SLICE(""),    SLICE("-"),  SLICE("+1"), SLICE(" 1"),   SLICE("1 "),
                                        SLICE("007"), SLICE("-0"), SLICE("1."), SLICE("12\0"), SLICE("9223372036854775808")};
    struct store_value v;

    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        redis_op_decode(none[i], &v);
        assert_int_equal(v.kind, STORE_BYTES);
        assert_true(slice_is(v.data, none[i]));
    }
    redis_op_decode(SLICE("-9223372036854775808"), &v);
    assert_true(v.kind == STORE_INTEGER && v.integer == INT64_MIN);
}

/* ---- errors ---- */

static void test_errors_have_their_names(void **state)
{
#define IN_SCRIPT "ERR Error running script (call to f_0a9a51ee): @user_script:1: @user_script: 1: "
    static const struct {
        struct slice text;
        int code;
    } errors[] = {
        {SLICE("WRONGPASS invalid username-password pair"), MT_EDENIED},
        {SLICE("DENIED Redis is running in protected mode"), MT_EDENIED},
        {SLICE("OOM command not allowed when used memory > 'maxmemory'."), MT_EFULL},
        {SLICE(IN_SCRIPT "-OOM command not allowed when used memory > 'maxmemory'."), MT_EFULL}, /* before 7.0 */
        {SLICE(IN_SCRIPT "-READONLY You can't write against a read only replica."), MT_EDENIED},
        {SLICE(IN_SCRIPT "WRONGTYPE Operation against a key holding the wrong kind of value"), MT_EINVALID},
        {SLICE("NOREPLICAS Not enough good replicas to write."), MT_EREFUSED},
        {SLICE("WRONGTYPE Operation against a key holding the wrong kind of value"), MT_EINVALID},
        {SLICE("OOM"), MT_EINVALID},
        {SLICE(""), MT_EINVALID},
    };

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        assert_int_equal(redis_op_error(errors[i].text), errors[i].code);
}

/* ---- URLs ---- */

static int parse(const char *text, struct redis_url *u)
{
    const char *why = NULL;
    int rc = redis_url_parse(slice_of(text), u, &why);

    assert_non_null(why);
    return rc;
}

static void expect_url(const char *text, const char *host, const char *port, const char *user, const char *password)
{
    struct redis_url u;

    assert_int_equal(parse(text, &u), 0);
    assert_true(slice_is(buf_slice(&u.host), slice_of(host)) && slice_is(buf_slice(&u.port), slice_of(port)));
    assert_true(slice_is(buf_slice(&u.user), slice_of(user)) && slice_is(buf_slice(&u.password), slice_of(password)));
    redis_url_fini(&u);
}

static void test_urls(void **state)
{
    expect_url("redis://", "localhost", "6379", "", "");
    expect_url("redis://h:1/3?prefix=a%3A", "h", "1", "", "");
    expect_url("redis://[::1]:7", "::1", "7", "", "");
    expect_url("redis://[fe80::1%25eth0]", "fe80::1%eth0", "6379", "", "");
    expect_url("redis://:p%0a%ff%3f@h", "h", "6379", "", "p\n\xff?");
    expect_url("redis://ann:p@ss@h", "h", "6379", "ann", "p@ss");
    expect_url("redis://ann:@h", "h", "6379", "ann", "");
}

static void test_a_login_is_never_left_out_silently(void **state)
{
    struct redis_url u;

    assert_int_equal(parse("redis://secret@h", &u), MT_EINVALID);
    redis_url_fini(&u);
    assert_int_equal(parse("redis://:p%00@h", &u), MT_EINVALID);
    redis_url_fini(&u);
}

/* ---- no memory ---- */

static int whole_scan(void)
{
    struct store_request r = {.op = STORE_SCAN, .key = KEY("k"), .after = KEY("k0"), .limit = 1};
    struct redis_call c = {.request = &r};
    struct buf out = {0};
    static const struct slice replies[] = {SCANNED("3", K("3") K("2") K("1")), SLICE("*1\r\n$-1\r\n"),
                                           SCANNED("2", K("3") K("2")), SLICE("*1\r\n$2\r\nhi\r\n")};
    int rc = redis_op_send(PREFIX, &c, &out);

    for (size_t i = 0; rc == 0 && i < sizeof(replies) / sizeof(*replies); i++) {
        int more = reply(&c, replies[i]);
        rc = more == 1 ? redis_op_send(PREFIX, &c, &out) : r.code;
        if (more == 0)
            break;
    }
    assert_true(rc != 0 || (r.rows == 1 && r.found));
    release(&c);
    buf_fini(&out);
    return rc;
}

static int whole_update(void)
{
    struct store_request r = {.op = STORE_REPLACE, .key = KEY("k"), .ttl = 5};
    struct redis_call c = {.request = &r};
    struct buf out = {0};

    r.value = (struct store_value){STORE_JSON, 0, SLICE("[]")};
    r.expected = (struct store_value){STORE_INTEGER, 7, {NULL, 0}};
    int rc = redis_op_send(PREFIX, &c, &out);
    assert_true(rc == 0 || out.len == 0);
    release(&c);
    buf_fini(&out);
    return rc;
}

static int whole_url(void)
{
    struct redis_url u;
    int rc = parse("redis://ann:p%40@h:1/3?prefix=a%3A", &u);

    redis_url_fini(&u);
    return rc;
}

static void test_memory(void **state)
{
    static int (*const work[])(void) = {whole_scan, whole_update, whole_url};

    for (size_t i = 0; i < sizeof(work) / sizeof(*work); i++) {
        int rc = MT_ENOMEM;
        for (unsigned long n = 1; rc != 0; n++) {
            mem_fail_at(n);
            rc = work[i]();
            mem_fail_at(0);
            assert_true(rc == 0 || rc == MT_ENOMEM);
            assert_true(n < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_that_are_gone_do_not_end_a_scan),
        cmocka_unit_test(test_a_scan_ends_where_all_are_gone),
        cmocka_unit_test(test_what_is_an_integer),
        cmocka_unit_test(test_errors_have_their_names),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_a_login_is_never_left_out_silently),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
