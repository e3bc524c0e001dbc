/* test_script_dispatch.c - events of connections to handlers: order, replies, whose fault it was. */
#include "fake_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_echo(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local app = {} function app.on_message(conn, text) conn:send(text) end return app");
    s = fake_open(f, "/");
    fake_text(f, s, "hello");
    fake_text(f, s, "");
    fake_expect(s, "hello\n\n");
    fake_binary(f, s, "x", 1);
    assert_int_equal(s->close_code, 1003);
    fake_expect_no_log(f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_echo, fake_setup, fake_teardown),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
