/* test_app_excerpt.c - which place a message names, and which lines are shown for it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/excerpt.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdio.h>

static const char *const files[] = {"./chat.lua", "/srv/app/lib/a.lua", "/srv/app/other/a.lua", "my shop/x-1.lua", NULL};

static void expect_place(const char *text, const char *file, const char *shown, unsigned line)
{
    struct excerpt_place p;
    if (!excerpt_find(slice_of(text), files, &p))
        fail_msg("no place in: %s", text);
    assert_string_equal(p.file, file);
    assert_true(slice_is(p.shown, slice_of(shown)));
    assert_int_equal(p.line, line);
}

static void test_the_first_place_that_is_in_a_file_of_ours_is_found(void **state)
{
    expect_place("chat.lua:31: attempt to index a nil value", files[0], "chat.lua", 31);
    expect_place("chat.lua: chat.lua:4: unexpected symbol", files[0], "chat.lua", 4);
    expect_place("table: 0x5581\nstack traceback:\n\t[C]: in function 'error'\n\tchat.lua:7: in main chunk", files[0], "chat.lua",
                 7);
    expect_place("from 12:30:15 on, chat.lua:8: late", files[0], "chat.lua", 8);
    expect_place("'./chat.lua:2: x", files[0], "./chat.lua", 2);
    expect_place("my shop/x-1.lua:12: x", files[3], "my shop/x-1.lua", 12);
    expect_place("chat.lua:999999999: x", files[0], "chat.lua", 999999999);
}

static void test_more_of_the_path_decides_between_files_of_one_name(void **state)
{
    expect_place("lib/a.lua:1: x", files[1], "lib/a.lua", 1);
    expect_place("other/a.lua:1: x", files[2], "other/a.lua", 1);
    expect_place("/srv/app/other/a.lua:5: x", files[2], "/srv/app/other/a.lua", 5);
}

static void test_a_name_that_was_cut_at_the_front_is_found(void **state)
{
    expect_place("...pp/other/a.lua:3: x", files[2], "...pp/other/a.lua", 3);
}

static void test_what_only_looks_like_a_place_is_none(void **state)
{
    static const char *const texts[] = {"",
                                        "app.on_mesage: no such handler",
                                        "mychat.lua:3: another file",
                                        "x/a.lua:3: another folder",
                                        "hop/x-1.lua:3: half a folder",
                                        "chat.lua:3",
                                        "chat.lua:: x",
                                        "chat.lua:0: x",
                                        "chat.lua:x1: x",
                                        "chat.lua:1234567890: x",
                                        ":3: x",
                                        "[C]: in function 'error'"};
    struct excerpt_place p;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (excerpt_find(slice_of(texts[i]), files, &p))
            fail_msg("a place in: %s", texts[i]);
    assert_false(excerpt_find(SLICE("chat.lua:3: x"), (const char *const[]){NULL}, &p));
}

/* ---- lines ---- */

static void expect_excerpt(struct slice source, unsigned line, const char *expected)
{
    struct excerpt e;
    struct buf out = {0};
    assert_true(excerpt_cut(source, line, &e));
    assert_int_equal(excerpt_print(&e, &out), 0);
    assert_int_equal(buf_add_byte(&out, 0), 0);
    assert_string_equal((char *)out.data, expected);
    buf_fini(&out);
}

static const char ten[] = "one\ntwo\n\n\tfour\nfive\nsix\nseven\neight\nnine\nten\n";

static void test_three_lines_before_and_after(void **state)
{
    expect_excerpt(slice_of(ten), 5, "  2 | two\n  3 |\n  4 | \tfour\n> 5 | five\n  6 | six\n  7 | seven\n  8 | eight\n");
    expect_excerpt(slice_of(ten), 1, "> 1 | one\n  2 | two\n  3 |\n  4 | \tfour\n");
    expect_excerpt(slice_of(ten), 10, "   7 | seven\n   8 | eight\n   9 | nine\n> 10 | ten\n");
}

static void test_the_empty_line_at_the_end_is_there_for_what_is_missing_behind_it(void **state)
{
    expect_excerpt(SLICE("return {\n"), 2, "  1 | return {\n> 2 |\n");
    expect_excerpt(SLICE("return {\n"), 1, "> 1 | return {\n");
    expect_excerpt(SLICE(""), 1, "> 1 |\n");
}

static void test_lines_that_are_not_there(void **state)
{
    struct excerpt e;
    assert_false(excerpt_cut(slice_of(ten), 0, &e));
    assert_false(excerpt_cut(slice_of(ten), 12, &e));
    assert_false(excerpt_cut(SLICE("return {"), 2, &e));
    assert_false(excerpt_cut(SLICE(""), 2, &e));
    assert_false(excerpt_cut(slice_of(ten), 999999999, &e));
}

static void test_line_breaks_count_as_for_lua(void **state)
{
    expect_excerpt(SLICE("a\r\nb\r\r\nc\n\rd\n\ne"), 7, "  4 | c\n  5 | d\n  6 |\n> 7 | e\n");
    expect_excerpt(SLICE("a\r\nb\r\nc"), 2, "  1 | a\n> 2 | b\n  3 | c\n");
}

static void test_long_lines_are_cut_between_characters(void **state)
{
    char text[EXCERPT_WIDTH + 20], expected[EXCERPT_WIDTH + 20];
    memset(text, 'x', sizeof(text));
    memcpy(text + EXCERPT_WIDTH - 1, "é", 2);
    snprintf(expected, sizeof(expected), "> 1 | %.*s…\n", EXCERPT_WIDTH - 1, text);
    expect_excerpt((struct slice){text, sizeof(text)}, 1, expected);
    snprintf(expected, sizeof(expected), "> 1 | %.*s\n", EXCERPT_WIDTH - 1, text);
    expect_excerpt((struct slice){text, EXCERPT_WIDTH - 1}, 1, expected);
    memset(text, 0x80, sizeof(text)); /* no UTF-8 at all */
    expect_excerpt((struct slice){text, sizeof(text)}, 1, "> 1 |…\n");
}

static void test_json(void **state)
{
    char line[EXCERPT_WIDTH + 1], expected[EXCERPT_WIDTH + 40];
    struct excerpt e;
    struct buf out = {0};
    assert_true(excerpt_cut(SLICE("say \"hi\"\n\t</script>\nx\0y\n"), 2, &e));
    assert_int_equal(excerpt_print_json(&e, &out), 0);
    assert_true(
        slice_is(buf_slice(&out), SLICE("[{\"line\":1,\"text\":\"say \\\"hi\\\"\"},{\"line\":2,\"text\":\"\\t</script>\"},"
                                        "{\"line\":3,\"text\":\"x\\u0000y\"}]")));
    buf_clear(&out);
    memset(line, 'x', sizeof(line));
    assert_true(excerpt_cut((struct slice){line, sizeof(line)}, 1, &e));
    assert_int_equal(excerpt_print_json(&e, &out), 0);
    snprintf(expected, sizeof(expected), "[{\"line\":1,\"text\":\"%.*s…\"}]", EXCERPT_WIDTH, line);
    assert_true(slice_is(buf_slice(&out), slice_of(expected)));
    buf_fini(&out);
}

static void test_memory_may_run_out(void **state)
{
    struct excerpt e;
    assert_true(excerpt_cut(slice_of(ten), 5, &e));
    for (int json = 0; json < 2; json++) {
        int rc = MT_ENOMEM;
        for (unsigned long n = 1; rc && n < 100; n++) {
            struct buf out = {0};
            mem_fail_at(n);
            rc = json ? excerpt_print_json(&e, &out) : excerpt_print(&e, &out);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == MT_ENOMEM);
            assert_true(n > 1 || rc);
            buf_fini(&out);
        }
        assert_int_equal(rc, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_place_that_is_in_a_file_of_ours_is_found),
        cmocka_unit_test(test_more_of_the_path_decides_between_files_of_one_name),
        cmocka_unit_test(test_a_name_that_was_cut_at_the_front_is_found),
        cmocka_unit_test(test_what_only_looks_like_a_place_is_none),
        cmocka_unit_test(test_three_lines_before_and_after),
        cmocka_unit_test(test_the_empty_line_at_the_end_is_there_for_what_is_missing_behind_it),
        cmocka_unit_test(test_lines_that_are_not_there),
        cmocka_unit_test(test_line_breaks_count_as_for_lua),
        cmocka_unit_test(test_long_lines_are_cut_between_characters),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
