/* test_app_dev_report.c - a failed reload as the terminal and as the pages are told it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/dev_report.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/moontide-test-XXXXXX";
static char script[64], module[64], missing[64], odd[64];
static const char *const files[] = {script, module, missing, odd, NULL};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    char path[64];
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/lib", folder);
    snprintf(script, sizeof(script), "%s/chat.lua", folder);
    snprintf(module, sizeof(module), "%s/lib/a.lua", folder);
    snprintf(missing, sizeof(missing), "%s/gone.lua", folder);
    snprintf(odd, sizeof(odd), "%s/odd.lua", folder);
    if (mkdir(path, 0700) || mkfifo(odd, 0600))
        return 1;
    write_file(script, "local app = {}\nfunction app.on_open(conn)\n\tconn:send {\n}}\nreturn app\n");
    write_file(module, "return {\n");
    return 0;
}

static int teardown(void **state)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/lib", folder);
    unlink(script);
    unlink(module);
    unlink(odd);
    return rmdir(path) || rmdir(folder);
}

static struct dev_failure failure(const char *text)
{
    return (struct dev_failure){.text = slice_of(text), .files = files, .script = script, .version = "4b385cf3"};
}

static void expect(int (*report)(const struct dev_failure *f, struct buf *out), const struct dev_failure *f, const char *expected)
{
    struct buf out = {0};
    assert_int_equal(report(f, &out), 0);
    assert_int_equal(buf_add_byte(&out, 0), 0);
    assert_string_equal((char *)out.data, expected);
    buf_fini(&out);
}

static void expect_text(const char *text, const char *expected)
{
    const struct dev_failure f = failure(text);
    expect(dev_report_text, &f, expected);
}

static void test_the_terminal_shows_the_lines_between_message_and_traceback(void **state)
{
    expect_text("chat.lua:4: unexpected symbol near '}'", "chat.lua:4: unexpected symbol near '}'\n"
                                                          "  1 | local app = {}\n"
                                                          "  2 | function app.on_open(conn)\n"
                                                          "  3 | \tconn:send {\n"
                                                          "> 4 | }}\n"
                                                          "  5 | return app");
    expect_text("lib/a.lua:2: '}' expected near <eof>\nstack traceback:\n\tchat.lua:1: in main chunk",
                "lib/a.lua:2: '}' expected near <eof>\n"
                "  1 | return {\n"
                "> 2 |\n"
                "stack traceback:\n\tchat.lua:1: in main chunk");
}

static void test_without_a_place_the_text_stays_as_it_is(void **state)
{
    static const char *const texts[] = {"",
                                        "chat.lua: app.on_mesage: no such handler",
                                        "chat.lua:77: behind the end",
                                        "gone.lua:1: no file",
                                        "odd.lua:1: a fifo",
                                        "other.lua:1: not one of them\nstack traceback:"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        expect_text(texts[i], texts[i]);
}

static void test_pages_get_it_in_parts(void **state)
{
    const struct dev_failure f = failure("lib/a.lua:2: it's \"bad\"\nstack traceback:\n\t[C]: in ?");
    expect(dev_report_failed, &f,
           "{\"type\":\"failed\",\"script\":\"chat.lua\",\"version\":\"4b385cf3\",\"rolled_back\":false,"
           "\"text\":\"lib/a.lua:2: it's \\\"bad\\\"\\nstack traceback:\\n\\t[C]: in ?\",\"file\":\"lib/a.lua\",\"line\":2,"
           "\"excerpt\":[{\"line\":1,\"text\":\"return {\"},{\"line\":2,\"text\":\"\"}]}");
}

static void test_a_place_that_is_known_goes_before_the_one_in_the_text(void **state)
{
    struct dev_failure f = failure("chat.lua:4: x");
    f.file = module;
    f.line = 1;
    f.rolled_back = true;
    expect(
        dev_report_failed, &f,
        "{\"type\":\"failed\",\"script\":\"chat.lua\",\"version\":\"4b385cf3\",\"rolled_back\":true,\"text\":\"chat.lua:4: x\","
        "\"file\":\"lib/a.lua\",\"line\":1,\"excerpt\":[{\"line\":1,\"text\":\"return {\"}]}");
    f = failure("a.lua:1: the name of the text is shown");
    f.files = (const char *const[]){module, NULL};
    f.file = module;
    f.line = 1;
    expect(dev_report_failed, &f,
           "{\"type\":\"failed\",\"script\":\"chat.lua\",\"version\":\"4b385cf3\",\"rolled_back\":false,"
           "\"text\":\"a.lua:1: the name of the text is shown\",\"file\":\"a.lua\",\"line\":1,"
           "\"excerpt\":[{\"line\":1,\"text\":\"return {\"}]}");
}

static void test_a_file_without_a_line_is_named(void **state)
{
    struct dev_failure f = failure("app.on_mesage: no such handler");
    f.script = "chat.lua"; /* in the current folder */
    f.file = "lib/a.lua";
    expect(dev_report_failed, &f,
           "{\"type\":\"failed\",\"script\":\"chat.lua\",\"version\":\"4b385cf3\",\"rolled_back\":false,"
           "\"text\":\"app.on_mesage: no such handler\",\"file\":\"lib/a.lua\",\"line\":null,\"excerpt\":[]}");
}

static void test_what_is_not_known_is_null(void **state)
{
    const struct dev_failure f = failure("app.on_mesage: no such handler");
    expect(dev_report_failed, &f,
           "{\"type\":\"failed\",\"script\":\"chat.lua\",\"version\":\"4b385cf3\",\"rolled_back\":false,"
           "\"text\":\"app.on_mesage: no such handler\",\"file\":null,\"line\":null,\"excerpt\":[]}");
}

static void test_an_endless_text_has_an_end(void **state)
{
    size_t len = 1 << 20;
    char *text = mem_alloc(len + 1);
    struct buf out = {0};
    memset(text, 'x', len);
    text[len] = '\0';
    const struct dev_failure f = failure(text);
    assert_int_equal(dev_report_failed(&f, &out), 0);
    assert_true(out.len > 10000 && out.len < 32768);
    assert_int_equal(out.data[out.len - 1], '}');
    buf_fini(&out);
    mem_free(text);
}

static void test_live(void **state)
{
    struct buf out = {0};
    assert_int_equal(dev_report_live("4b385cf3", &out), 0);
    assert_true(slice_is(buf_slice(&out), SLICE("{\"type\":\"live\",\"version\":\"4b385cf3\"}")));
    buf_fini(&out);
}

static void test_memory_may_run_out(void **state)
{
    const struct dev_failure f = failure("chat.lua:4: x\nstack traceback:\n\ty");
    int (*const reports[])(const struct dev_failure *, struct buf *) = {dev_report_text, dev_report_failed};
    for (int i = 0; i < 2; i++) {
        int rc = MT_ENOMEM;
        for (unsigned long n = 1; rc && n < 100; n++) {
            struct buf out = {0};
            mem_fail_at(n);
            rc = reports[i](&f, &out);
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
        cmocka_unit_test(test_the_terminal_shows_the_lines_between_message_and_traceback),
        cmocka_unit_test(test_without_a_place_the_text_stays_as_it_is),
        cmocka_unit_test(test_pages_get_it_in_parts),
        cmocka_unit_test(test_a_place_that_is_known_goes_before_the_one_in_the_text),
        cmocka_unit_test(test_a_file_without_a_line_is_named),
        cmocka_unit_test(test_what_is_not_known_is_null),
        cmocka_unit_test(test_an_endless_text_has_an_end),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
