/* test_app_control.c - folders that will do and those that will not, and which sockets are found in them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/control.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/moontide-test-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void test_only_a_folder_of_our_own_is_private(void **state)
{
    char link_path[200];
    assert_true(control_folder_is_private(folder));
    assert_int_equal(chmod(folder, 0750), 0);
    assert_false(control_folder_is_private(folder));
    assert_int_equal(chmod(folder, 0701), 0);
    assert_false(control_folder_is_private(folder));
    assert_int_equal(chmod(folder, 0700), 0);
    snprintf(link_path, sizeof(link_path), "%s-link", folder);
    assert_int_equal(symlink(folder, link_path), 0);
    assert_false(control_folder_is_private(link_path));
    unlink(link_path);
    assert_false(control_folder_is_private("/tmp/moontide-that-is-not-there"));
    assert_false(control_folder_is_private("/dev/null"));
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, 65534, 65534), 0);
        assert_false(control_folder_is_private(folder));
        assert_int_equal(chown(folder, 0, 0), 0);
    }
}

static void test_the_runtime_folder_comes_first_where_it_will_do(void **state)
{
    struct buf path = {0};
    char *error = NULL, *folders[CONTROL_FOLDERS + 1];
    char expected[200];
    setenv("XDG_RUNTIME_DIR", folder, 1);
    assert_int_equal(control_default_path("moontide-1.sock", &path, &error), 0);
    assert_true(slice_is(buf_slice(&path), slice_of(path_of("moontide-1.sock"))));
    buf_clear(&path);
    snprintf(expected, sizeof(expected), "/tmp/moontide-%lu", (unsigned long)geteuid());
    static const char *const bad[] = {"relative", "/nowhere/at/all", "/dev/null", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        setenv("XDG_RUNTIME_DIR", bad[i], 1);
        assert_int_equal(control_default_path("x", &path, &error), 0);
        assert_memory_equal(path.data, expected, strlen(expected));
        buf_clear(&path);
    }
    setenv("XDG_RUNTIME_DIR", expected, 1);
    assert_int_equal(control_folders(folders), 0);
    assert_string_equal(folders[0], expected);
    assert_null(folders[1]);
    control_free_folders(folders);
    buf_fini(&path);
}

static void test_found_are_those_that_answer(void **state)
{
    struct control_file one, two, odd;
    struct buf paths = {0};
    char *error = NULL, *const folders[] = {folder, "/nowhere", NULL};
    assert_int_equal(control_find(folders, &paths), 0);
    assert_int_equal(control_listen(path_of("moontide-2.sock"), &two, &error), 0);
    assert_int_equal(control_listen(path_of("moontide-1.sock"), &one, &error), 0);
    assert_int_equal(control_listen(path_of("other.sock"), &odd, &error), 0);
    assert_int_equal(control_find(folders, &paths), 2);
    assert_string_equal((char *)paths.data, path_of("moontide-1.sock"));
    assert_string_equal((char *)paths.data + strlen((char *)paths.data) + 1, path_of("moontide-2.sock"));
    buf_clear(&paths);
    close(two.fd); /* its file stays, as after a crash */
    assert_int_equal(control_find(folders, &paths), 1);
    assert_int_equal(control_connect(path_of("moontide-2.sock")), MT_EREFUSED);
    assert_int_equal(control_connect(path_of("moontide-3.sock")), MT_ENOT_FOUND);
    buf_clear(&paths);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(control_find(folders, &paths), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    control_unlisten(path_of("moontide-1.sock"), &one);
    control_unlisten(path_of("other.sock"), &odd);
    unlink(path_of("moontide-2.sock"));
    buf_fini(&paths);
}

static void test_a_dead_socket_makes_room_and_nothing_else_does(void **state)
{
    struct control_file first, second;
    char *error = NULL;
    struct stat st;
    assert_int_equal(control_listen(path_of("a.sock"), &first, &error), 0);
    assert_int_equal(lstat(path_of("a.sock"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(control_listen(path_of("a.sock"), &second, &error), MT_EBUSY);
    assert_non_null(strstr(error, "control.path"));
    mem_free(error);
    error = NULL;
    close(first.fd);
    assert_int_equal(control_listen(path_of("a.sock"), &second, &error), 0);
    assert_int_equal(lstat(path_of("a.sock"), &st), 0);
    unlink(path_of("a.sock"));
    assert_int_equal(mkdir(path_of("a.sock"), 0700), 0);
    control_unlisten(path_of("a.sock"), &second);
    assert_int_equal(lstat(path_of("a.sock"), &st), 0); /* not its own any more */
    assert_int_equal(control_listen(path_of("a.sock"), &second, &error), MT_EDENIED);
    mem_free(error);
    error = NULL;
    rmdir(path_of("a.sock"));
    assert_int_equal(control_listen(path_of("nowhere/a.sock"), &second, &error), MT_EIO);
    mem_free(error);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_folder_of_our_own_is_private),
        cmocka_unit_test(test_the_runtime_folder_comes_first_where_it_will_do),
        cmocka_unit_test(test_found_are_those_that_answer),
        cmocka_unit_test(test_a_dead_socket_makes_room_and_nothing_else_does),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
