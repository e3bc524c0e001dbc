/* test_loop_files.c - every way in which a file is saved, replaced, removed and brought back. */
#include "base/err.h"
#include "base/mem.h"
#include "loop/loop.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop *l;
static struct loop_files *files;
static struct loop_timer guard;
static char root[32];
static int reports;          /* since the last expect */
static char first[PATH_MAX]; /* of them; one turn may bring several */
static bool hung;

/* ---- a folder of its own for each test ---- */

/* A path under root; valid until the fourth call after. */
static const char *in_root(const char *name)
{
    static char paths[4][PATH_MAX];
    static int at;
    at = (at + 1) % 4;
    snprintf(paths[at], PATH_MAX, "%s/%s", root, name);
    return paths[at];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_root(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void on_guard(struct loop_timer *t)
{
    hung = true;
    loop_stop(l);
}

static void on_change(const char *path, void *arg)
{
    assert_ptr_equal(arg, &reports);
    if (!reports++)
        snprintf(first, sizeof(first), "%s", path);
    loop_stop(l);
}

static int setup(void **state)
{
    strcpy(root, "/tmp/moontide-test-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    l = loop_create();
    loop_timer_init(&guard, on_guard);
    files = loop_files_open(l, on_change, &reports);
    reports = 0;
    hung = false;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    loop_files_close(files);
    loop_timer_stop(l, &guard);
    loop_destroy(l);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- waiting ---- */

/* Runs the loop until a report comes, which must be about `name`. */
static void expect(const char *name)
{
    reports = 0;
    loop_timer_start(l, &guard, 20000);
    loop_run(l);
    loop_timer_stop(l, &guard);
    if (hung)
        fail_msg("nothing was reported about %s", name);
    assert_string_equal(first, in_root(name));
}

static void on_turn(void *arg)
{
    if (++*(int *)arg == 4)
        loop_stop(l);
    loop_again(l);
}

/* Works off what the kernel has queued by now: it queues before the call that causes it returns. */
static int drain(void)
{
    int turns = 0;
    reports = 0;
    /* A report stops the loop too. */
    while (turns < 4) {
        loop_add_flush(l, on_turn, &turns);
        loop_run(l);
        loop_remove_flush(l, on_turn, &turns);
    }
    return reports;
}

static void add(const char *name)
{
    assert_int_equal(loop_files_add(files, in_root(name)), 0);
}

/* ---- the tests ---- */

static void a_write_is_seen(void **state)
{
    put("a.lua", "1");
    put("b.lua", "1");
    add("a.lua");
    assert_int_equal(drain(), 0);
    put("a.lua", "2");
    expect("a.lua");
    drain();
    put("b.lua", "2"); /* its neighbour is nobody's business */
    assert_int_equal(drain(), 0);
}

static void editors_save_by_rename(void **state)
{
    put("a.lua", "1");
    add("a.lua");
    for (int i = 0; i < 5; i++) {
        put("a.lua.tmp", "2");
        assert_int_equal(drain(), 0);
        assert_int_equal(rename(in_root("a.lua.tmp"), in_root("a.lua")), 0);
        expect("a.lua");
        drain();
    }
    assert_int_equal(rename(in_root("a.lua"), in_root("a.lua~")), 0); /* as vim does: away, then anew */
    expect("a.lua");
    put("a.lua", "3");
    expect("a.lua");
}

static void deleted_and_created_again(void **state)
{
    put("a.lua", "1");
    add("a.lua");
    for (int i = 0; i < 3; i++) {
        unlink(in_root("a.lua"));
        expect("a.lua");
        drain();
        put("a.lua", "2");
        expect("a.lua");
        drain();
    }
}

static void a_file_may_come_later(void **state)
{
    add("later.lua");
    put("later.lua", "1");
    expect("later.lua");
}

static void several_folders(void **state)
{
    assert_int_equal(mkdir(in_root("one"), 0700) | mkdir(in_root("two"), 0700), 0);
    put("one/x.lua", "1");
    put("two/x.lua", "1");
    add("one/x.lua");
    add("two/x.lua");
    put("two/x.lua", "2");
    expect("two/x.lua");
    drain();
    put("one/x.lua", "2");
    expect("one/x.lua");
}

static void relative_paths(void **state)
{
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(root), 0);
    put("a.lua", "1");
    assert_int_equal(loop_files_add(files, "a.lua"), 0);
    put("a.lua", "2");
    reports = 0;
    loop_timer_start(l, &guard, 20000);
    loop_run(l);
    assert_false(hung);
    assert_string_equal(first, "a.lua"); /* as it was added */
    drain();
    loop_files_clear(files);
    mkdir("sub", 0700);
    assert_int_equal(loop_files_add(files, "./sub//../sub/b.lua"), 0);
    put("sub/b.lua", "1");
    reports = 0;
    loop_run(l);
    assert_false(hung);
    assert_string_equal(first, "./sub//../sub/b.lua");
    assert_int_equal(chdir(here), 0);
}

static void added_twice_is_told_once(void **state)
{
    put("a.lua", "1");
    add("a.lua");
    add("a.lua");
    chmod(in_root("a.lua"), 0600); /* exactly one event */
    assert_int_equal(drain(), 1);
}

static void no_folder_is_an_error(void **state)
{
    assert_int_equal(loop_files_add(files, in_root("nowhere/a.lua")), MT_EIO);
    assert_int_equal(loop_files_add(files, ""), MT_EIO);
    assert_int_equal(loop_files_add(files, "/"), MT_EIO);
    put("file", "1");
    assert_int_equal(loop_files_add(files, in_root("file/a.lua")), MT_EIO);
    char *long_path = malloc(2 * PATH_MAX);
    memset(long_path, 'a', 2 * PATH_MAX);
    long_path[2 * PATH_MAX - 1] = '\0';
    assert_int_equal(loop_files_add(files, long_path), MT_EIO);
    free(long_path);
    assert_int_equal(symlink("circle", in_root("circle")), 0);
    assert_int_equal(loop_files_add(files, in_root("circle")), MT_EIO);
    assert_int_equal(drain(), 0);
}

static void a_linked_file(void **state)
{
    assert_int_equal(mkdir(in_root("real"), 0700), 0);
    put("real/a.lua", "1");
    put("real/b.lua", "22");
    assert_int_equal(symlink("real/a.lua", in_root("link.lua")), 0);
    add("link.lua");
    put("real/a.lua", "2"); /* written through another name */
    expect("link.lua");
    drain();
    assert_int_equal(symlink("real/b.lua", in_root("new")), 0);
    assert_int_equal(rename(in_root("new"), in_root("link.lua")), 0); /* turned round */
    expect("link.lua");
    drain();
    put("real/b.lua", "3"); /* and followed */
    expect("link.lua");
    drain();
    put("real/a.lua", "4");
    assert_int_equal(drain(), 0);
    assert_int_equal(symlink("./real/b.lua", in_root("new")), 0); /* another link to the same file is no change */
    assert_int_equal(rename(in_root("new"), in_root("link.lua")), 0);
    assert_int_equal(drain(), 0);
}

/* How releases are switched: current -> releases/1, then -> releases/2. */
static void a_linked_folder(void **state)
{
    mkdir(in_root("r1"), 0700);
    mkdir(in_root("r2"), 0700);
    put("r1/a.lua", "1");
    put("r2/a.lua", "1");
    assert_int_equal(symlink(in_root("r1"), in_root("current")), 0);
    add("current/a.lua");
    put("r1/a.lua", "2");
    expect("current/a.lua");
    drain();
    assert_int_equal(symlink(in_root("r2"), in_root("next")), 0);
    assert_int_equal(rename(in_root("next"), in_root("current")), 0);
    expect("current/a.lua");
    drain();
    put("r2/a.lua", "3");
    expect("current/a.lua");
}

/* How Kubernetes updates a mounted secret: file -> ..data/file, ..data -> a dated folder, and ..data is swapped. */
static void a_mounted_secret(void **state)
{
    mkdir(in_root("..1"), 0700);
    put("..1/cert.pem", "1");
    assert_int_equal(symlink("..1", in_root("..data")) | symlink("..data/cert.pem", in_root("cert.pem")), 0);
    add("cert.pem");
    mkdir(in_root("..2"), 0700);
    put("..2/cert.pem", "2");
    assert_int_equal(symlink("..2", in_root("..tmp")), 0);
    assert_int_equal(drain(), 0);
    assert_int_equal(rename(in_root("..tmp"), in_root("..data")), 0);
    expect("cert.pem");
    drain();
    unlink(in_root("..1/cert.pem"));
    assert_int_equal(drain(), 0);
}

/* A checkout of another branch may remove a folder and bring it back. */
static void the_folder_goes_and_comes_back(void **state)
{
    mkdir(in_root("lib"), 0700);
    put("lib/a.lua", "1");
    add("lib/a.lua");
    for (int i = 0; i < 3; i++) {
        unlink(in_root("lib/a.lua"));
        assert_int_equal(rmdir(in_root("lib")), 0);
        expect("lib/a.lua");
        drain();
        mkdir(in_root("lib"), 0700);
        put("lib/a.lua", "2");
        expect("lib/a.lua");
        drain();
        put("lib/a.lua", "33");
        expect("lib/a.lua");
        drain();
    }
    assert_int_equal(rename(in_root("lib"), in_root("old")), 0); /* moved: the old watch follows the old folder */
    expect("lib/a.lua");
    drain();
    put("old/a.lua", "4");
    assert_int_equal(drain(), 0);
    mkdir(in_root("lib"), 0700);
    put("lib/a.lua", "5");
    expect("lib/a.lua");
}

static void on_count(void *arg)
{
    ++*(int *)arg;
}

/* Looking for a lost folder must not keep the loop busy. */
static void a_lost_folder_costs_little(void **state)
{
    int turns = 0;
    mkdir(in_root("lib"), 0700);
    add("lib/a.lua");
    assert_int_equal(rmdir(in_root("lib")), 0);
    drain();
    loop_add_flush(l, on_count, &turns);
    loop_timer_start(l, &guard, 100);
    loop_run(l);
    loop_remove_flush(l, on_count, &turns);
    assert_in_range(turns, 1, 20);
}

static void on_change_add_again(const char *path, void *arg)
{
    /* What a reload does: it asks for the files of the new version. The path must still be there afterwards. */
    loop_files_clear(files);
    assert_int_equal(loop_files_add(files, in_root("a.lua")), 0);
    assert_int_equal(loop_files_add(files, in_root("b.lua")), 0);
    on_change(path, &reports);
}

static void the_callback_may_clear_and_add(void **state)
{
    loop_files_close(files);
    files = loop_files_open(l, on_change_add_again, &reports);
    put("a.lua", "1");
    put("b.lua", "1");
    add("a.lua");
    for (int i = 0; i < 5; i++) {
        put("a.lua", i % 2 ? "2" : "33");
        put("b.lua", "3");
        expect("a.lua");
        drain();
    }
}

static void on_change_close(const char *path, void *arg)
{
    loop_files_close(files);
    files = NULL;
    on_change(path, &reports);
}

static void the_callback_may_close(void **state)
{
    loop_files_close(files);
    files = loop_files_open(l, on_change_close, &reports);
    put("a.lua", "1");
    put("b.lua", "1");
    add("a.lua");
    add("b.lua");
    put("a.lua", "2");
    put("b.lua", "2");
    expect("a.lua");
    assert_int_equal(drain(), 0);
}

/* A save between clear and add must not be lost: the watch on the folder stays for that long. */
static void clear_and_add_miss_nothing(void **state)
{
    put("a.lua", "1");
    add("a.lua");
    put("a.lua", "2");
    loop_files_clear(files);
    add("a.lua");
    expect("a.lua");
    drain();
    loop_files_clear(files);
    put("a.lua", "3");
    assert_int_equal(drain(), 0);
}

static void no_memory_adds_nothing(void **state)
{
    mem_fail_at(1);
    assert_null(loop_files_open(l, on_change, NULL));
    mkdir(in_root("real"), 0700);
    put("real/a.lua", "1");
    assert_int_equal(symlink("real/a.lua", in_root("a.lua")), 0);
    unsigned long n = 1;
    for (;; n++) {
        mem_fail_at(n);
        int err = loop_files_add(files, in_root("a.lua"));
        mem_fail_at(0);
        drain(); /* lets folders that are not needed close */
        if (!err)
            break;
        assert_int_equal(err, MT_ENOMEM);
    }
    assert_true(n > 6);
    put("real/a.lua", "2");
    expect("a.lua");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_write_is_seen),
        TEST(editors_save_by_rename),
        TEST(deleted_and_created_again),
        TEST(a_file_may_come_later),
        TEST(several_folders),
        TEST(relative_paths),
        TEST(added_twice_is_told_once),
        TEST(no_folder_is_an_error),
        TEST(a_linked_file),
        TEST(a_linked_folder),
        TEST(a_mounted_secret),
        TEST(the_folder_goes_and_comes_back),
        TEST(a_lost_folder_costs_little),
        TEST(the_callback_may_clear_and_add),
        TEST(the_callback_may_close),
        TEST(clear_and_add_miss_nothing),
        TEST(no_memory_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
