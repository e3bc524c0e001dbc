/* test_app_history.c - what stays in the list of versions, and in which state. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/history.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static const char *const files[] = {"app.lua", "part.lua", NULL};
static const char *const no_files[] = {NULL};

static void test_a_new_version_replaces_the_live_one(void **state)
{
    struct history h = {0};
    assert_null(history_live(&h));
    history_add_live(&h, "11111111", files, 10);
    history_add_live(&h, "22222222", no_files, 20);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.entries[0].result, HISTORY_REPLACED);
    assert_true(h.entries[0].time == 10 && h.entries[0].ended == 20);
    assert_int_equal(h.entries[0].file_count, 2);
    assert_string_equal(h.entries[0].files[1], "part.lua");
    assert_string_equal(history_live(&h)->hash, "22222222");
    assert_int_equal(history_live(&h)->file_count, 0);
    history_fini(&h);
    assert_int_equal(h.count, 0);
}

static void test_the_same_version_again_changes_nothing(void **state)
{
    struct history h = {0};
    history_add_live(&h, "11111111", files, 10);
    history_add_live(&h, "11111111", files, 20);
    assert_int_equal(h.count, 1);
    assert_true(history_live(&h)->time == 10);
    /* but one that comes back after another is a new entry */
    history_add_live(&h, "22222222", files, 30);
    history_add_live(&h, "11111111", files, 40);
    assert_int_equal(h.count, 3);
    assert_true(history_live(&h)->time == 40);
    history_fini(&h);
}

static void test_a_rollback_says_why_and_brings_the_old_one_back(void **state)
{
    struct history h = {0};
    history_add_live(&h, "11111111", files, 10);
    history_add_live(&h, "22222222", no_files, 20);
    history_add_rollback(&h, "11111111", files, "5 of 9 events failed\nand more", 30);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.entries[1].result, HISTORY_ROLLED_BACK);
    assert_string_equal(h.entries[1].reason, "5 of 9 events failed");
    assert_true(h.entries[1].ended == 30);
    assert_ptr_equal(history_live(&h), &h.entries[2]);
    assert_string_equal(history_live(&h)->hash, "11111111");
    history_fini(&h);
}

static void test_a_failure_keeps_its_first_line_here_and_all_of_the_newest(void **state)
{
    struct history h = {0};
    history_add_live(&h, "11111111", files, 10);
    history_add_failure(&h, "", files, "one\ntraceback", 20);
    history_add_failure(&h, "33333333", files, "two\nmore", 30);
    assert_int_equal(h.entries[1].result, HISTORY_FAILED);
    assert_string_equal(h.entries[1].hash, "");
    assert_string_equal(h.entries[1].reason, "one");
    assert_string_equal(h.entries[2].reason, "two");
    assert_string_equal(h.last_failure, "two\nmore");
    assert_true(h.last_failed == 30);
    assert_string_equal(history_live(&h)->hash, "11111111");
    history_fini(&h);
}

static void test_the_oldest_goes_but_not_the_live_one(void **state)
{
    struct history h = {0};
    char why[16];
    history_add_live(&h, "11111111", files, 1);
    history_add_live(&h, "22222222", files, 2);
    for (int i = 0; i < 2 * HISTORY_MAX; i++) {
        snprintf(why, sizeof(why), "%d", i);
        history_add_failure(&h, "33333333", files, why, 3 + i);
    }
    assert_int_equal(h.count, HISTORY_MAX);
    assert_string_equal(h.entries[0].hash, "22222222");
    assert_int_equal(h.entries[0].result, HISTORY_LIVE);
    assert_string_equal(h.entries[1].reason, "21");
    assert_string_equal(h.entries[HISTORY_MAX - 1].reason, "39");
    history_add_live(&h, "44444444", files, 99);
    assert_int_equal(h.entries[0].result, HISTORY_REPLACED);
    history_add_failure(&h, "33333333", files, "x", 100);
    assert_string_equal(h.entries[0].hash, "33333333");
    assert_string_equal(history_live(&h)->hash, "44444444");
    history_fini(&h);
}

static void test_memory_that_runs_out_loses_texts_only(void **state)
{
    for (unsigned long n = 1; n < 16; n++) {
        struct history h = {0};
        mem_fail_at(n);
        history_add_live(&h, "11111111", files, 1);
        history_add_failure(&h, "22222222", files, "why\nmore", 2);
        mem_fail_at(0);
        assert_int_equal(h.count, 2);
        assert_int_equal(h.entries[1].file_count, 2);
        history_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_version_replaces_the_live_one),
        cmocka_unit_test(test_the_same_version_again_changes_nothing),
        cmocka_unit_test(test_a_rollback_says_why_and_brings_the_old_one_back),
        cmocka_unit_test(test_a_failure_keeps_its_first_line_here_and_all_of_the_newest),
        cmocka_unit_test(test_the_oldest_goes_but_not_the_live_one),
        cmocka_unit_test(test_memory_that_runs_out_loses_texts_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
