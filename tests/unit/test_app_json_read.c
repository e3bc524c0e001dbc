/* test_app_json_read.c - values picked out of answers, and texts that are no JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/cli_admin.h"
#include "app/json_read.h"
#include "base/mem.h"
#include <string.h>

static const char sample[] = " { \"a\" : 1.5 , \"s\":\"x\\\"}, \\u00e9\\n\\/\", \"o\": {\"k\": {\"a\": -2}, \"t\": true },"
                             "\"l\":[ \"p\" ,{\"n\":[1,2]}, 3],\"e\":[],\"last\":null}";

static void test_members_at_any_depth(void **state)
{
    struct slice v, json = slice_of(sample);
    double n;
    assert_true(json_read_member(json, "a", &v) && json_read_number(v, &n) && n == 1.5);
    assert_true(json_read_member(json, "o.k.a", &v) && json_read_number(v, &n) && n == -2);
    assert_true(json_read_member(json, "o.t", &v) && json_read_true(v));
    assert_true(json_read_member(json, "last", &v) && slice_is(v, SLICE("null")));
    assert_false(json_read_number(v, &n));
    assert_false(json_read_member(json, "b", &v));
    assert_false(json_read_member(json, "o.k.b", &v));
    assert_false(json_read_member(json, "a.b", &v));
    assert_false(json_read_member(json, "s.x", &v));
}

static void test_texts_lose_their_escapes(void **state)
{
    struct slice v;
    struct buf text = {0};
    assert_true(json_read_member(slice_of(sample), "s", &v) && json_read_text(v, &text));
    assert_true(slice_is(buf_slice(&text), SLICE("x\"}, \xc3\xa9\n/")));
    buf_clear(&text);
    assert_true(json_read_text(SLICE("\"\\u0041\\u20ac\\ud800\\t\""), &text));
    assert_true(slice_is(buf_slice(&text), SLICE("A\xe2\x82\xac\xef\xbf\xbd\t")));
    assert_false(json_read_text(SLICE("\"\\u00g0\""), &text));
    assert_false(json_read_text(SLICE("\"\\u00\""), &text));
    assert_false(json_read_text(SLICE("\"\\x\""), &text));
    assert_false(json_read_text(SLICE("\"\\\""), &text));
    assert_false(json_read_text(SLICE("\""), &text));
    assert_false(json_read_text(SLICE("12"), &text));
    buf_fini(&text);
}

static void test_items_of_a_list(void **state)
{
    struct slice rest, item;
    assert_true(json_read_member(slice_of(sample), "l", &rest));
    assert_true(json_read_item(&rest, &item) && slice_is(item, SLICE("\"p\"")));
    assert_true(json_read_item(&rest, &item) && slice_is(item, SLICE("{\"n\":[1,2]}")));
    assert_true(json_read_item(&rest, &item) && slice_is(item, SLICE("3")));
    assert_false(json_read_item(&rest, &item));
    assert_true(json_read_member(slice_of(sample), "e", &rest));
    assert_false(json_read_item(&rest, &item));
}

/* A heap block of exactly the length, so that a sanitizer sees a read past its end. */
static void read_all(const char *text, size_t len)
{
    char *exact = mem_alloc(len ? len : 1);
    struct slice json = {exact, len}, v, item;
    struct buf out = {0};
    double n;
    assert_non_null(exact);
    memcpy(exact, text, len);
    if (json_read_member(json, "l", &v))
        while (json_read_item(&v, &item))
            json_read_number(item, &n);
    if (json_read_member(json, "s", &v))
        json_read_text(v, &out);
    json_read_text(json, &out);
    assert_false(json_read_member(json, "nothing", &v));
    for (int c = CLI_STATUS; c <= CLI_VERSIONS; c++)
        cli_admin_show((enum cli_command)c, json, &out);
    buf_fini(&out);
    mem_free(exact);
}

static void test_every_piece_and_every_wrong_byte_is_stood(void **state)
{
    char broken[sizeof(sample)];
    for (size_t len = 0; len < sizeof(sample); len++)
        read_all(sample, len);
    for (size_t at = 0; at + 1 < sizeof(sample); at++)
        for (size_t i = 0; i < 10; i++) {
            memcpy(broken, sample, sizeof(sample));
            broken[at] = "\"\\{}[],:\0u"[i];
            read_all(broken, sizeof(sample) - 1);
        }
}

static void test_what_a_terminal_would_obey_is_left_out(void **state)
{
    struct buf out = {0};
    assert_int_equal(cli_admin_show(CLI_RELOAD, SLICE("{\"version\":\"a\\u001b[31m\\u007fb\",\"changed\":true}"), &out), 0);
    assert_true(slice_is(buf_slice(&out), SLICE("version a[31mb is live\n")));
    buf_fini(&out);
}

static void test_numbers_as_people_read_them(void **state)
{
    struct buf out = {0};
    const char status[] = "{\"program\":\"9\",\"pid\":7,\"uptime\":93784,\"script\":\"/s\",\"addresses\":[\"u\",\"v\"],"
                          "\"net\":{\"bytes_in\":1023,\"bytes_out\":1572864}}";
    assert_int_equal(cli_admin_show(CLI_STATUS, slice_of(status), &out), 0);
    assert_int_equal(buf_add_byte(&out, '\0'), 0);
    assert_non_null(strstr((char *)out.data, "moontide 9, pid 7, up 1 d 2 h\n"));
    assert_non_null(strstr((char *)out.data, "\naddresses       u v\n"));
    assert_non_null(strstr((char *)out.data, "\nbytes in        1023 bytes\n"));
    assert_non_null(strstr((char *)out.data, "\nbytes out       1.5 MiB\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_at_any_depth),
        cmocka_unit_test(test_texts_lose_their_escapes),
        cmocka_unit_test(test_items_of_a_list),
        cmocka_unit_test(test_every_piece_and_every_wrong_byte_is_stood),
        cmocka_unit_test(test_what_a_terminal_would_obey_is_left_out),
        cmocka_unit_test(test_numbers_as_people_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
