/* test_store_folder.c - the files of one folder: names, every way out that there might be, and what the disk refuses. */
#include "store/folder.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIMIT = 1 << 20 };

static char base[64];    /* temporary; "in" is the folder, "out" lies beside it */
static struct folder *f; /* of base/in */

static const char *path_of(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect_content(const char *name, const char *text)
{
    char got[256] = {0};
    FILE *file = fopen(path_of(name), "r");

    assert_non_null(file);
    assert_int_equal(fread(got, 1, sizeof(got) - 1, file), strlen(text));
    assert_string_equal(got, text);
    fclose(file);
}

static int setup(void **state)
{
    snprintf(base, sizeof(base), "/tmp/moontide-test-XXXXXX");
    assert_non_null(mkdtemp(base));
    mkdir(path_of("in"), 0700);
    mkdir(path_of("out"), 0700);
    put("out/secret", "secret");
    return folder_open(path_of("in"), LIMIT, &f);
}

static int teardown(void **state)
{
    char command[256];

    folder_close(f);
    snprintf(command, sizeof(command), "chmod -R u+rwx '%s' && rm -rf '%s'", base, base);
    return system(command);
}

static struct folder_file *open_file(const char *name, bool write)
{
    struct folder_file *file = NULL;

    assert_int_equal(folder_open_file(f, name, write, &file), 0);
    return file;
}

static int try_open(const char *name, bool write)
{
    struct folder_file *file;
    int rc = folder_open_file(f, name, write, &file);

    if (rc == 0)
        folder_close_file(file);
    return rc;
}

static void expect_read(struct folder_file *file, uint64_t offset, size_t n, const char *text)
{
    char data[64];

    assert_int_equal(folder_read(file, offset, data, &n), 0);
    assert_true(slice_is((struct slice){data, n}, slice_of(text)));
}

static void write_text(struct folder_file *file, uint64_t offset, const char *text)
{
    assert_int_equal(folder_write(file, offset, text, strlen(text)), 0);
}

static uint64_t size_of(struct folder_file *file)
{
    uint64_t size = 99;

    assert_int_equal(folder_size(file, &size), 0);
    return size;
}

/* ---- names ---- */

static void names(void **state)
{
    static const char *const fine[] = {"a", "a.txt", "a/b",      "a..b",       "a.",
                                       "-", "a b",   "\xc3\xa4", "x/y/z.part", "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g"};
    static const char *const bad[] = {"",
                                      "/",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".",
                                      "..",
                                      "../a",
                                      "a/..",
                                      "a/../b",
                                      "./a",
                                      "a/.",
                                      ".a",
                                      "a/.b",
                                      "\\",
                                      "a\\b",
                                      "a\nb",
                                      "\x1b[2J",
                                      "\x7f",
                                      "\xff",
                                      "a\xc3",
                                      "\xed\xa0\x80",
                                      "1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h"};
    char longest[FOLDER_NAME_MAX + 2];

    for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
        if (!folder_is_name(slice_of(fine[i])))
            fail_msg("%s is a name", fine[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (folder_is_name(slice_of(bad[i])))
            fail_msg("%s is no name", bad[i]);
    assert_false(folder_is_name(SLICE("a\0b")));
    memset(longest, 'x', sizeof(longest));
    assert_true(folder_is_name((struct slice){longest, 255}));
    assert_false(folder_is_name((struct slice){longest, 256}));
    for (size_t i = 200; i < sizeof(longest); i += 200)
        longest[i] = '/';
    assert_true(folder_is_name((struct slice){longest, FOLDER_NAME_MAX}));
    assert_false(folder_is_name((struct slice){longest, FOLDER_NAME_MAX + 1}));
    assert_true(folder_is_prefix(SLICE("")) && folder_is_prefix(SLICE("a")) && folder_is_prefix(SLICE("a/")));
    assert_false(folder_is_prefix(SLICE("/")) || folder_is_prefix(SLICE("../")) || folder_is_prefix(SLICE("a//")));
}

/* ---- reading and writing ---- */

static void written_and_read(void **state)
{
    struct folder_file *file = open_file("a.bin", true);
    struct stat st;

    assert_int_equal(size_of(file), 0);
    write_text(file, 0, "hello");
    write_text(file, 8, "world");
    assert_int_equal(size_of(file), 13);
    expect_read(file, 0, 5, "hello");
    expect_read(file, 8, 64, "world");
    expect_read(file, 13, 64, "");
    expect_read(file, INT64_MAX, 64, "");
    expect_read(file, UINT64_MAX, 64, "");
    expect_read(file, 0, 0, "");
    folder_close_file(file);
    assert_int_equal(stat(path_of("in/a.bin"), &st), 0);
    assert_int_equal(st.st_mode & 0777 & ~0640, 0);
}

static void opening_again_keeps_what_is_there(void **state)
{
    struct folder_file *first = open_file("a.part", true), *second = open_file("a.part", true),
                       *reader = open_file("a.part", false);

    write_text(first, 0, "one");
    assert_int_equal(size_of(second), 3);
    write_text(second, 3, "two");
    expect_read(first, 0, 64, "onetwo");
    expect_read(reader, 0, 64, "onetwo");
    assert_int_not_equal(folder_write(reader, 0, "x", 1), 0);
    folder_close_file(first);
    folder_close_file(second);
    folder_close_file(reader);
    assert_int_equal(try_open("none", false), MT_ENOT_FOUND);
    assert_int_equal(try_open("none/a", false), MT_ENOT_FOUND);
}

static void no_larger_than_allowed(void **state)
{
    struct folder_file *file = open_file("a", true);

    assert_int_equal(folder_write(file, LIMIT, "x", 1), MT_ETOO_LARGE);
    assert_int_equal(folder_write(file, LIMIT - 1, "xy", 2), MT_ETOO_LARGE);
    assert_int_equal(folder_write(file, UINT64_MAX, "x", 1), MT_ETOO_LARGE);
    assert_int_equal(folder_write(file, UINT64_MAX - 1, "xyz", 3), MT_ETOO_LARGE);
    assert_int_equal(size_of(file), 0);
    write_text(file, LIMIT - 1, "x");
    assert_int_equal(size_of(file), LIMIT);
    folder_close_file(file);
}

static void folders_are_made(void **state)
{
    struct stat st;

    folder_close_file(open_file("a/b/c.txt", true));
    assert_int_equal(stat(path_of("in/a/b"), &st), 0);
    assert_true(S_ISDIR(st.st_mode) && (st.st_mode & 0777 & ~0750) == 0);
    folder_close_file(open_file("a/b/d.txt", true));
    assert_int_equal(try_open("a", true), MT_EDENIED);
    assert_int_equal(try_open("a", false), MT_EDENIED);
    assert_int_equal(try_open("a/b/c.txt/d", true), MT_EDENIED);
}

/* ---- no way out ---- */

static void expect_denied(const char *name)
{
    struct folder_list list = {0};

    assert_int_equal(try_open(name, false), MT_EDENIED);
    assert_int_equal(try_open(name, true), MT_EDENIED);
    assert_int_equal(folder_delete(f, name), MT_EDENIED);
    assert_int_equal(folder_rename(f, name, "new"), MT_EDENIED);
    put("in/old", "old");
    assert_int_equal(folder_rename(f, "old", name), MT_EDENIED);
    expect_content("in/old", "old");
    assert_int_equal(folder_find(f, "l", 10, NULL, &list), 0);
    assert_int_equal(list.count, 0);
    folder_list_fini(&list);
    expect_content("out/secret", "secret");
}

static void links_lead_nowhere(void **state)
{
    assert_int_equal(symlink(path_of("out/secret"), path_of("in/link")), 0);
    expect_denied("link");
    assert_int_equal(symlink("../out", path_of("in/lfolder")), 0);
    expect_denied("lfolder/secret");
    assert_int_equal(try_open("lfolder/new", true), MT_EDENIED);
    assert_int_equal(access(path_of("out/new"), F_OK), -1);
    assert_int_equal(symlink("../out/made", path_of("in/lnothing")), 0);
    expect_denied("lnothing");
    assert_int_equal(access(path_of("out/made"), F_OK), -1);
    assert_int_equal(symlink("/proc/self/root", path_of("in/lroot")), 0);
    expect_denied("lroot/etc/passwd");
    assert_int_equal(symlink(".", path_of("in/lself")), 0);
    expect_denied("lself/x");
}

static void only_plain_files(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(mkfifo(path_of("in/lfifo"), 0600), 0);
    expect_denied("lfifo");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of("in/lsocket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    expect_denied("lsocket");
    close(fd);
    assert_int_equal(mkdir(path_of("in/lfolder"), 0700), 0);
    expect_denied("lfolder");
    if (geteuid() == 0 && mknod(path_of("in/ldevice"), S_IFCHR | 0600, 1 << 8 | 3) == 0)
        expect_denied("ldevice");
}

static void *turn_round(void *arg)
{
    const char *folder = path_of("in/swap"), *kept = path_of("in/kept"), *out = path_of("out");

    for (int i = 0; i < 3000; i++) {
        rename(folder, kept);
        symlink(out, folder);
        unlink(folder);
        rename(kept, folder);
    }
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

/* A folder on the way becomes a link and a folder again, all the time. */
static void a_link_that_comes_and_goes(void **state)
{
    atomic_bool ended = false;
    pthread_t thread;
    unsigned opened = 0;

    folder_close_file(open_file("swap/secret", true));
    assert_int_equal(pthread_create(&thread, NULL, turn_round, &ended), 0);
    while (!atomic_load(&ended)) {
        struct folder_file *file;
        int rc = folder_open_file(f, "swap/secret", false, &file);
        if (rc == 0) {
            assert_int_equal(size_of(file), 0); /* ours is empty, the secret is not */
            folder_close_file(file);
            opened++;
        } else {
            assert_true(rc == MT_ENOT_FOUND || rc == MT_EDENIED);
        }
        rc = folder_delete(f, "swap/other");
        assert_true(rc == MT_ENOT_FOUND || rc == MT_EDENIED);
    }
    pthread_join(thread, NULL);
    assert_true(opened > 0);
    expect_content("out/secret", "secret");
}

/* ---- rename, delete, list ---- */

static void renamed(void **state)
{
    struct folder_file *file = open_file("a.part", true);

    write_text(file, 0, "new");
    put("in/a", "old content");
    assert_int_equal(folder_rename(f, "a.part", "a"), 0);
    expect_content("in/a", "new");
    write_text(file, 3, "er");
    expect_content("in/a", "newer");
    folder_close_file(file);
    assert_int_equal(folder_rename(f, "a.part", "a"), MT_ENOT_FOUND);
    assert_int_equal(folder_rename(f, "none", "made/b"), MT_ENOT_FOUND);
    assert_int_equal(access(path_of("in/made"), F_OK), -1);
    assert_int_equal(folder_rename(f, "a", "x/y/z"), 0);
    expect_content("in/x/y/z", "newer");
    assert_int_equal(folder_rename(f, "x/y/z", "x/y/z"), 0);
    expect_content("in/x/y/z", "newer");
}

static void deleted(void **state)
{
    struct folder_file *file = open_file("a", true);

    write_text(file, 0, "kept");
    assert_int_equal(folder_delete(f, "a"), 0);
    assert_int_equal(folder_delete(f, "a"), MT_ENOT_FOUND);
    assert_int_equal(folder_delete(f, "none/a"), MT_ENOT_FOUND);
    expect_read(file, 0, 64, "kept"); /* for who has it open */
    folder_close_file(file);
}

static void expect_list(const char *prefix, const char *expected)
{
    struct folder_list list = {0};
    struct buf got = {0};

    assert_int_equal(folder_find(f, prefix, 100, NULL, &list), 0);
    for (size_t i = 0; i < list.count; i++)
        buf_addf(&got, "%s ", list.entries[i].name);
    buf_add_byte(&got, 0);
    assert_string_equal((char *)got.data, expected);
    buf_fini(&got);
    folder_list_fini(&list);
}

static void listed(void **state)
{
    expect_list("", "");
    folder_close_file(open_file("p/2026/b.jpg", true));
    folder_close_file(open_file("p/a.jpg", true));
    folder_close_file(open_file("pool", true));
    folder_close_file(open_file("q", true));
    put("in/.hidden", "x");
    put("in/bad\xff", "x");
    mkdir(path_of("in/empty"), 0700);
    assert_int_equal(symlink(path_of("out"), path_of("in/plink")), 0);
    expect_list("", "p/2026/b.jpg p/a.jpg pool q ");
    expect_list("p", "p/2026/b.jpg p/a.jpg pool ");
    expect_list("p/", "p/2026/b.jpg p/a.jpg ");
    expect_list("p/2026/", "p/2026/b.jpg ");
    expect_list("p/a", "p/a.jpg ");
    expect_list("none/", "");
    expect_list("nothing", "");
}

static void what_a_list_says(void **state)
{
    struct folder_list list = {0};
    struct stat st;
    atomic_bool stop = true;

    put("in/a", "12345");
    assert_int_equal(stat(path_of("in/a"), &st), 0);
    assert_int_equal(folder_find(f, "", 1, NULL, &list), 0);
    assert_int_equal(list.entries[0].size, 5);
    assert_true(list.entries[0].time > (double)st.st_mtim.tv_sec - 0.001 && list.entries[0].time < (double)st.st_mtim.tv_sec + 1);
    folder_list_fini(&list);
    put("in/b", "");
    assert_int_equal(folder_find(f, "", 1, NULL, &list), MT_ETOO_LARGE);
    folder_list_fini(&list);
    assert_int_equal(folder_find(f, "", 10, &stop, &list), MT_ECANCELLED);
    folder_list_fini(&list);
}

/* ---- what the system refuses ---- */

static void no_folder(void **state)
{
    struct folder *other = NULL;

    assert_int_equal(folder_open(path_of("none"), LIMIT, &other), MT_ENOT_FOUND);
    assert_int_equal(folder_open(path_of("out/secret"), LIMIT, &other), MT_ENOT_FOUND);
    mem_fail_at(1);
    assert_int_equal(folder_open(path_of("in"), LIMIT, &other), MT_ENOMEM);
}

static void the_folder_is_removed(void **state)
{
    struct folder_file *file = open_file("a", true);

    assert_int_equal(unlink(path_of("in/a")), 0);
    assert_int_equal(rmdir(path_of("in")), 0);
    write_text(file, 0, "x");
    folder_close_file(file);
    assert_int_equal(try_open("a", false), MT_ENOT_FOUND);
    assert_int_equal(try_open("a", true), MT_EIO);
    assert_int_equal(try_open("a/b", true), MT_EIO);
    expect_list("", "");
}

static void a_file_of_which_the_system_takes_no_more(void **state)
{
    struct folder_file *file = open_file("a", true);
    struct rlimit limit, small;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){4096, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN); /* blocked on the threads of a pool */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_text(file, 4090, "123456");
    int rc = folder_write(file, 4095, "123456", 6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, MT_ETOO_LARGE);
    folder_close_file(file);
}

static void no_descriptors_left(void **state)
{
    struct rlimit limit, none;

    put("in/a", "x");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = try_open("a", false);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, MT_ELIMITED);
}

/* A part of the list is none. */
static void no_descriptor_for_a_folder_below(void **state)
{
    struct folder_list list = {0};
    struct rlimit limit, one;
    int next = dup(0);

    close(next);
    put("in/a", "x");
    assert_int_equal(mkdir(path_of("in/below"), 0700), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    one = (struct rlimit){(rlim_t)next + 1, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
    int rc = folder_find(f, "", 10, NULL, &list);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, MT_ELIMITED);
    folder_list_fini(&list);
}

static unsigned reads_left = UINT_MAX; /* of folders, until the disk fails */

/* In place of the C library's. */
struct dirent *readdir(DIR *dir)
{
    struct dirent *(*real)(DIR * dir);

    if (reads_left == 0) {
        errno = EIO;
        return NULL;
    }
    reads_left--;
    *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    return real(dir);
}

static void a_disk_that_fails_while_a_folder_is_read(void **state)
{
    struct folder_list list = {0};

    put("in/a", "x");
    put("in/b", "x");
    for (unsigned n = 0; n < 5; n++) { /* two files, "." and "..", the end */
        reads_left = n;
        assert_int_equal(folder_find(f, "", 10, NULL, &list), MT_EIO);
        folder_list_fini(&list);
    }
    reads_left = UINT_MAX;
    assert_int_equal(folder_find(f, "", 10, NULL, &list), 0);
    assert_int_equal(list.count, 2);
    folder_list_fini(&list);
}

/* Not for root, whom modes do not stop. */
static void modes(void **state)
{
    put("in/a", "x");
    assert_int_equal(chmod(path_of("in"), 0500), 0);
    if (geteuid() != 0) {
        assert_int_equal(try_open("b", true), MT_EDENIED);
        assert_int_equal(folder_delete(f, "a"), MT_EDENIED);
        assert_int_equal(folder_rename(f, "a", "b"), MT_EDENIED);
    }
    assert_int_equal(try_open("a", false), 0);
}

static void every_allocation_fails_once(void **state)
{
    struct folder_list list = {0};
    int rc;

    folder_close_file(open_file("x/a", true));
    folder_close_file(open_file("x/b", true));
    mem_fail_at(1);
    assert_int_equal(try_open("x/a", false), MT_ENOMEM);
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        rc = folder_find(f, "x", 10, NULL, &list);
        mem_fail_at(0);
        folder_list_fini(&list);
        if (rc == 0)
            break;
        assert_int_equal(rc, MT_ENOMEM);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        TEST(written_and_read),
        TEST(opening_again_keeps_what_is_there),
        TEST(no_larger_than_allowed),
        TEST(folders_are_made),
        TEST(links_lead_nowhere),
        TEST(only_plain_files),
        TEST(a_link_that_comes_and_goes),
        TEST(renamed),
        TEST(deleted),
        TEST(listed),
        TEST(what_a_list_says),
        TEST(no_folder),
        TEST(the_folder_is_removed),
        TEST(a_file_of_which_the_system_takes_no_more),
        TEST(no_descriptors_left),
        TEST(no_descriptor_for_a_folder_below),
        TEST(a_disk_that_fails_while_a_folder_is_read),
        TEST(modes),
        TEST(every_allocation_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
