/* test_app_privileges.c - who the settings say that the server should be, asked without becoming it. What root really gives up:
 * tests/e2e/test_user.py. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/privileges.h"
#include "base/err.h"
#include "base/mem.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
    *state = config_create();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    config_destroy(*state);
    return 0;
}

static void set(struct config *c, const char *key, const char *value)
{
    assert_int_equal(config_set(c, CONFIG_FLAG, key, value, true, NULL), 0);
}

static void expect_refusal(const struct config *c, const char *words)
{
    struct privileges p;
    char *error = NULL;

    assert_int_equal(privileges_find(c, &p, &error), MT_EINVALID);
    assert_false(p.drop);
    if (!error || !strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error ? error : "", words);
    mem_free(error);
    privileges_fini(&p);
}

/* The user that runs the test, by its number. */
static const char *self(char out[16])
{
    snprintf(out, 16, "%lu", (unsigned long)geteuid());
    return out;
}

static void nobody_is_named(void **state)
{
    struct privileges p;
    char *error = NULL;

    assert_int_equal(privileges_find(*state, &p, &error), 0);
    assert_false(p.drop);
    assert_int_equal(p.risky, geteuid() == 0);
    assert_int_equal(privileges_drop(&p, &error), 0); /* does nothing */
    privileges_fini(&p);
}

static void oneself(void **state)
{
    struct privileges p;
    char *error = NULL, text[16];

    set(*state, "user", self(text));
    assert_int_equal(privileges_find(*state, &p, &error), 0);
    assert_int_equal(p.uid, geteuid());
    assert_false(p.drop);
    assert_false(p.risky);
    privileges_fini(&p);
}

static void names_that_mean_nobody(void **state)
{
    static const char *const users[] = {"no such user", "-1",  "4294967295", "4294967296", "2147483648", "0x10",    " 1",
                                        "1 ",           "1.5", "+1",         "%s%s%n",     "root\n",     "\xff\xfe"};
    char longest[100000];

    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        set(*state, "user", users[i]);
        expect_refusal(*state, "there is no such user");
    }
    set(*state, "user", longest);
    expect_refusal(*state, "user = \"xxx"); /* and as much of it as fits into a line */
    set(*state, "user", "0");
    for (size_t i = 0; geteuid() == 0 && i < sizeof users / sizeof *users; i++) {
        set(*state, "group", users[i]);
        expect_refusal(*state, "there is no such group");
    }
}

static void a_number_without_a_name_needs_a_group(void **state)
{
    struct privileges p;
    char *error = NULL;

    if (geteuid() != 0 || getpwuid(1999999999))
        skip();
    set(*state, "user", "1999999999");
    expect_refusal(*state, "set group too");
    set(*state, "group", "2147483647");
    assert_int_equal(privileges_find(*state, &p, &error), 0);
    assert_true(p.drop);
    assert_null(p.name);
    assert_int_equal(p.uid, 1999999999);
    assert_int_equal(p.gid, 2147483647);
    privileges_fini(&p);
}

static void a_group_alone(void **state)
{
    set(*state, "group", "0");
    expect_refusal(*state, "without user");
}

static void only_root_changes(void **state)
{
    char text[16];

    if (geteuid() == 0)
        skip();
    set(*state, "user", "0");
    expect_refusal(*state, "only root can become");
    set(*state, "user", self(text));
    set(*state, "group", "2147483647");
    expect_refusal(*state, "only root can change");
}

/* Each allocation fails once: the answer is the same, or there is none. */
static void without_memory(void **state)
{
    char text[16];
    bool reached = true;

    set(*state, "user", self(text));
    for (unsigned long n = 1; reached; n++) {
        struct privileges p;
        char *error = NULL;
        mem_fail_at(n);
        int rc = privileges_find(*state, &p, &error);
        reached = mem_fail_left() == 0;
        mem_fail_at(0);
        assert_int_equal(rc, reached ? MT_ENOMEM : 0);
        assert_false(p.drop);
        mem_free(error);
        privileges_fini(&p);
    }
    set(*state, "user", "no such user");
    reached = true;
    for (unsigned long n = 1; reached; n++) {
        struct privileges p;
        char *error = NULL;
        mem_fail_at(n);
        int rc = privileges_find(*state, &p, &error);
        reached = mem_fail_left() == 0;
        mem_fail_at(0);
        assert_true(rc == MT_EINVALID || (reached && rc == MT_ENOMEM));
        assert_false(p.drop);
        mem_free(error);
        privileges_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(oneself, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_mean_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_number_without_a_name_needs_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(only_root_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
