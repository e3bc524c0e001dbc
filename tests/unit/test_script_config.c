/* test_script_config.c - moontide.conf.lua: what it may hold, and how it fails. */
#include "script/script.h"

#include "base/err.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct got {
    char text[1024];
    const char *refuse; /* this key is refused */
};

static int take(void *arg, const char *key, const char *value, char **error)
{
    struct got *g = arg;

    if (g->refuse && strcmp(key, g->refuse) == 0) {
        *error = mem_strdup("no such key", 11);
        return MT_EINVALID;
    }
    snprintf(g->text + strlen(g->text), sizeof(g->text) - strlen(g->text), "%s=%s;", key, value);
    return 0;
}

static int read_text(struct got *g, const char *text, char **error)
{
    char path[] = "/tmp/moontide-conf-XXXXXX";
    int fd = mkstemp(path);
    int rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    rc = script_read_config(path, take, g, error);
    unlink(path);
    return rc;
}

static void expect(const char *text, const char *values)
{
    struct got g = {{0}, NULL};
    char *error;

    assert_int_equal(read_text(&g, text, &error), 0);
    assert_null(error);
    assert_string_equal(g.text, values);
}

static void expect_error(const char *text, const char *part)
{
    struct got g = {{0}, "bad.key"};
    char *error;

    assert_int_not_equal(read_text(&g, text, &error), 0);
    assert_non_null(error);
    if (!strstr(error, part))
        fail_msg("expected: %s\ngot: %s", part, error);
    mem_free(error);
}

static void test_values(void **state)
{
    expect("return { workers = 2 }", "workers=2;");
    expect("return { ping = { interval = 2.5 } }", "ping.interval=2.5;");
    expect("return { limit = 1e6 }", "limit=1000000;");
    expect("return { watch = false }", "watch=false;");
    expect("return { listen = { '127.0.0.1:1', 'unix:/x' } }", "listen[1]=127.0.0.1:1;listen[2]=unix:/x;");
    expect("return { tls = { { cert = 'a' } } }", "tls[1].cert=a;");
    expect("return { ['log.level'] = 'debug' }", "log.level=debug;");
    expect("return {}", "");
}

static void test_errors(void **state)
{
    expect_error("return 5", "returned number: a table expected");
    expect_error("x = ", "moontide-conf-");
    expect_error("return {\n  a = 1 +\n}", ":3:");
    expect_error("return { a = function() end }", "a: string, number, boolean or table expected, got function");
    expect_error("return { [true] = 1 }", "keys are names, got a boolean");
    expect_error("return { bad = { key = 1 } }", "no such key");
    expect_error("return { a = 'x\\0y' }", "a: a zero byte in a text");
    expect_error("return { a = 0/0 }", "a: a finite number expected");
    expect_error("local t = {} t.t = t return t", "nested too deep");
    expect_error("return { a = os.getenv 'HOME' }", "os");
}

static void test_bounds(void **state)
{
    expect_error("while true do end", "longer than 1 s");
    expect_error("local s = 'x' while true do s = s .. s end", "not enough memory");
    expect_error("\x1bLua", "binary");
}

static void test_missing(void **state)
{
    struct got g = {{0}, NULL};
    char *error;

    assert_int_equal(script_read_config("/nonexistent/x.lua", take, &g, &error), MT_ESCRIPT);
    assert_non_null(strstr(error, "/nonexistent/x.lua"));
    mem_free(error);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_errors),
                                              cmocka_unit_test(test_bounds), cmocka_unit_test(test_missing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
