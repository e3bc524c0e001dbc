/* test_app_past.c - which sources a rollback goes back to. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/past.h"
#include "base/slice.h"
#include "script/sources.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sealed set with one file of this text. */
static struct sources *make(const char *text)
{
    char path[] = "/tmp/moontide-past-XXXXXX";
    struct sources *s = sources_create();
    struct slice read;
    int fd = mkstemp(path);

    assert_non_null(s);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(sources_look(s, path, "app.lua", &read), 0);
    unlink(path);
    assert_int_equal(sources_seal(s), 0);
    return s;
}

static void test_back_one_by_one(void **state)
{
    struct past p = {0};
    struct sources *one = make("1"), *two = make("2"), *three = make("3");
    char first[16], second[16], third[16];

    snprintf(first, sizeof(first), "%s", sources_hash(one));
    snprintf(second, sizeof(second), "%s", sources_hash(two));
    snprintf(third, sizeof(third), "%s", sources_hash(three));
    assert_string_not_equal(first, second);
    assert_null(past_newest(&p, third));
    past_add(&p, one);
    past_add(&p, two);
    past_add(&p, three);
    assert_ptr_equal(past_newest(&p, third), two); /* never what is live already */
    assert_null(past_take(&p, "ffffffff"));
    assert_int_equal(p.count, 3);
    assert_ptr_equal(past_take(&p, second), two); /* and what came after it is forgotten */
    sources_unref(two);
    assert_int_equal(p.count, 1);
    assert_ptr_equal(past_newest(&p, second), one);
    assert_null(past_newest(&p, first));
    past_fini(&p);
    assert_int_equal(p.count, 0);
}

static void test_the_oldest_goes(void **state)
{
    struct past p = {0};
    char text[16];

    for (int i = 0; i < PAST_MAX + 3; i++) {
        snprintf(text, sizeof(text), "%d", i);
        past_add(&p, make(text));
    }
    struct sources *dropped = make("2"), *oldest = make("3");
    assert_int_equal(p.count, PAST_MAX);
    assert_null(past_take(&p, sources_hash(dropped)));
    assert_string_equal(sources_hash(p.items[0]), sources_hash(oldest));
    sources_unref(dropped);
    sources_unref(oldest);
    past_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_back_one_by_one), cmocka_unit_test(test_the_oldest_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
