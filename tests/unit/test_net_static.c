/* test_net_static.c - files over HTTP: what is served, what is not, conditions and ranges. All of it runs twice, the second time
 * with openat2 taken away by a seccomp filter, as old kernels and some sandboxes have it. */
#include "net/static.h"

#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATE 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE_TEXT "Sun, 06 Nov 1994 08:49:37 GMT"

static bool without_openat2;
static char base[64];
static struct static_root *root;
static struct http_request req;
static struct static_answer answer;
static struct buf head;

/* ---- the folder ---- */

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    return path;
}

static void write_file(const char *name, const char *text, time_t seconds, long nanoseconds)
{
    const struct timespec times[2] = {{seconds, 0}, {seconds, nanoseconds}};
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static void link_to(const char *target, const char *name)
{
    assert_int_equal(symlink(target, path_of(name)), 0);
}

static int make_folder(void **state)
{
    static const char *const folders[] = {"www",      "www/sub",     "www/sub/deep",          "www/bare",
                                          "www/.git", "www/twisted", "www/twisted/index.html"};

    strcpy(base, "/tmp/moontide-static-XXXXXX");
    assert_non_null(mkdtemp(base));
    for (size_t i = 0; i < COUNT(folders); i++)
        assert_int_equal(mkdir(path_of(folders[i]), 0755), 0);
    write_file("secret.txt", "secret", DATE, 0);
    write_file("www/index.html", "<p>root", DATE, 0);
    write_file("www/ten.txt", "0123456789", DATE, 500);
    write_file("www/empty.js", "", DATE, 0);
    write_file("www/a b+%c.css", "odd", DATE, 0);
    write_file("www/\xc3\xa9.svg", "<svg", DATE, 0);
    write_file("www/back\\slash.txt", "no", DATE, 0);
    write_file("www/.env", "no", DATE, 0);
    write_file("www/.git/config", "no", DATE, 0);
    write_file("www/sub/index.html", "<p>sub", DATE, 0);
    write_file("www/sub/deep/x.tar.gz", "gz", DATE, 0);
    link_to("../secret.txt", "www/out.txt");
    link_to("/etc/passwd", "www/passwd");
    link_to("..", "www/up");
    link_to("ten.txt", "www/inside.txt");
    link_to("sub/../ten.txt", "www/winding.txt");
    link_to("sub", "www/sublink");
    link_to("loop", "www/loop");
    link_to("gone", "www/dangling");
    assert_int_equal(mkfifo(path_of("www/fifo"), 0644), 0);
    return static_open(path_of("www"), &root);
}

static int drop_folder(void **state)
{
    char command[128];

    static_close(root);
    buf_fini(&head);
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    return system(command);
}

/* ---- asking ---- */

static int ask(const char *method, const char *target, const char *headers)
{
    static char text[HTTP_HEAD_MAX];
    const char *reason;
    size_t scanned = 0;
    int len = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target, headers);

    if (http_parse_head(text, (size_t)len, sizeof(text), &scanned, &req, &reason) != len)
        fail_msg("%s: %s", target, reason ? reason : "incomplete");
    if (answer.fd > 0)
        close(answer.fd);
    buf_clear(&head);
    assert_int_equal(buf_add_text(&head, "before|"), 0);
    int got = static_answer(root, &req, &head, &answer);
    if (got != 0) {
        assert_int_equal(answer.fd, -1);
        assert_int_equal(head.len, 7);
    }
    return got;
}

static int get(const char *target)
{
    return ask("GET", target, "");
}

/* Value of a header of the answer; NULL when it is not there. */
static const char *header(const char *name)
{
    static char value[300];
    char key[64];

    assert_int_equal(buf_add_byte(&head, 0), 0);
    head.len--;
    assert_memory_equal(head.data, "before|HTTP/1.1 ", 16);
    assert_null(strstr((char *)head.data, "\r\n\r\n"));
    snprintf(key, sizeof(key), "\r\n%s: ", name);
    const char *at = strstr((char *)head.data, key);
    if (!at)
        return NULL;
    at += strlen(key);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static void assert_header(const char *name, const char *want)
{
    const char *value = header(name);

    if (!want)
        assert_null(value);
    else if (!value)
        fail_msg("no %s", name);
    else
        assert_string_equal(value, want);
}

static void assert_body(const char *want)
{
    char text[200] = "";

    if (*want == 0) {
        assert_int_equal(answer.fd, -1);
        assert_int_equal(answer.length, 0);
        return;
    }
    assert_true(answer.fd >= 0 && fcntl(answer.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(answer.length, strlen(want));
    assert_int_equal(pread(answer.fd, text, answer.length, answer.offset), answer.length);
    assert_string_equal(text, want);
}

static void assert_status(int status)
{
    char line[32];

    assert_int_equal(answer.status, status);
    snprintf(line, sizeof(line), "before|HTTP/1.1 %d ", status);
    assert_memory_equal(head.data, line, strlen(line));
}

/* ---- what is served ---- */

static void test_file(void **state)
{
    assert_int_equal(get("/ten.txt?v=1"), 0);
    assert_status(200);
    assert_body("0123456789");
    assert_header("Content-Type", "text/plain; charset=utf-8");
    assert_header("Content-Length", "10");
    assert_header("Last-Modified", DATE_TEXT);
    assert_header("Cache-Control", "no-cache");
    assert_header("X-Content-Type-Options", "nosniff");
    assert_header("Accept-Ranges", "bytes");
    assert_header("Content-Range", NULL);
    assert_header("Connection", NULL);
    assert_non_null(header("Date"));
    const char *etag = header("ETag");
    assert_true(etag && etag[0] == '"' && strlen(etag) > 6 && etag[strlen(etag) - 1] == '"');
}

static void test_names(void **state)
{
    static const struct {
        const char *target, *body, *type;
    } cases[] = {
        {"/", "<p>root", "text/html; charset=utf-8"},
        {"//", "<p>root", "text/html; charset=utf-8"},
        {"/index.html", "<p>root", "text/html; charset=utf-8"},
        {"/?x", "<p>root", "text/html; charset=utf-8"},
        {"/sub/", "<p>sub", "text/html; charset=utf-8"},
        {"/sub//", "<p>sub", "text/html; charset=utf-8"},
        {"//sub/index.html", "<p>sub", "text/html; charset=utf-8"},
        {"/sub/deep/x.tar.gz", "gz", "application/gzip"},
        {"/sub%2Fdeep%2fx.tar.gz", "gz", "application/gzip"},
        {"/%74en.t%78t", "0123456789", "text/plain; charset=utf-8"},
        {"/a%20b+%25c.css", "odd", "text/css; charset=utf-8"},
        {"/%C3%A9.svg", "<svg", "image/svg+xml"},
        {"/empty.js", "", "text/javascript; charset=utf-8"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].target);
        assert_int_equal(get(cases[i].target), 0);
        assert_status(200);
        assert_body(cases[i].body);
        assert_header("Content-Type", cases[i].type);
    }
}

static void test_what_is_not_served(void **state)
{
    static const struct {
        const char *target;
        int want;
    } cases[] = {
        {"/none", MT_ENOT_FOUND},
        {"/none/index.html", MT_ENOT_FOUND},
        {"/ten.txt/", MT_ENOT_FOUND},
        {"/ten.txt/x", MT_ENOT_FOUND},
        {"/bare/", MT_ENOT_FOUND},
        {"/bare", MT_ENOT_FOUND},
        {"/TEN.TXT", MT_ENOT_FOUND},
        {"/ten.txt%20", MT_ENOT_FOUND},
        {"/a+b+%25c.css", MT_ENOT_FOUND}, /* a plus is a plus in paths */
        {"/%2574en.txt", MT_ENOT_FOUND},  /* decoded once */
        {"/etc/passwd", MT_ENOT_FOUND},
        {"//etc/passwd", MT_ENOT_FOUND},
        {"/%2fetc%2fpasswd", MT_ENOT_FOUND},
        {"/.env", MT_EDENIED},
        {"/%2eenv", MT_EDENIED},
        {"/.git/config", MT_EDENIED},
        {"/sub/.git", MT_EDENIED},
        {"/.", MT_EDENIED},
        {"/./ten.txt", MT_EDENIED},
        {"/..", MT_EDENIED},
        {"/../secret.txt", MT_EDENIED},
        {"/sub/../ten.txt", MT_EDENIED},
        {"/sub/../../secret.txt", MT_EDENIED},
        {"/%2e%2e/secret.txt", MT_EDENIED},
        {"/..%2fsecret.txt", MT_EDENIED},
        {"/sub/..%2f..%2fsecret.txt", MT_EDENIED},
        {"/...", MT_EDENIED},
        {"/back\\slash.txt", MT_EDENIED},
        {"/back%5cslash.txt", MT_EDENIED},
        {"/..\\secret.txt", MT_EDENIED},
        {"/out.txt", MT_EDENIED},
        {"/passwd", MT_EDENIED},
        {"/loop", MT_EDENIED},
        {"/fifo", MT_EDENIED},
        {"/twisted/", MT_EDENIED},
        {"/%", MT_EMALFORMED},
        {"/%2", MT_EMALFORMED},
        {"/%zz", MT_EMALFORMED},
        {"/ten.txt%00", MT_EMALFORMED},
        {"/%00/ten.txt", MT_EMALFORMED},
        {"/ten.txt%00.css", MT_EMALFORMED},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].target);
        assert_int_equal(get(cases[i].target), cases[i].want);
    }
}

/* Links that stay inside are fine where the kernel vouches for them, and never followed elsewhere. */
static void test_links(void **state)
{
    static const char *const inside[] = {"/inside.txt", "/winding.txt", "/sublink/", "/sublink/deep/x.tar.gz"};

    for (size_t i = 0; i < COUNT(inside); i++) {
        int got = get(inside[i]);
        assert_true(without_openat2 ? got == MT_EDENIED || got == MT_ENOT_FOUND : got == 0);
    }
    assert_int_equal(get("/dangling"), without_openat2 ? MT_EDENIED : MT_ENOT_FOUND);
    assert_true(get("/up/secret.txt") < 0);
    assert_true(get("/up/www/ten.txt") < 0);
}

static void test_long_paths(void **state)
{
    char target[8000] = "/";

    memset(target + 1, 'a', 300);
    assert_int_equal(get(target), MT_ENOT_FOUND);
    for (size_t i = 1; i < 7999; i++)
        target[i] = i % 2 ? 'a' : '/';
    target[7999] = 0;
    assert_int_equal(get(target), MT_ENOT_FOUND);
}

static void test_redirects(void **state)
{
    static const char *const cases[][2] = {
        {"/sub", "/sub/"},
        {"/sub?a=b&c", "/sub/?a=b&c"},
        {"//sub", "/sub/"}, /* not to a server named sub */
        {"/%73ub", "/%73ub/"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(get(cases[i][0]), 0);
        assert_status(301);
        assert_header("Location", cases[i][1]);
        assert_header("Content-Length", "0");
        assert_body("");
    }
}

static void test_methods(void **state)
{
    assert_int_equal(ask("HEAD", "/ten.txt", "Range: bytes=0-1\r\n"), 0);
    assert_status(200);
    assert_body("");
    assert_header("Content-Length", "10");
    assert_int_equal(ask("POST", "/ten.txt", ""), MT_EINVALID);
    assert_int_equal(ask("DELETE", "/none", ""), MT_EINVALID);
    assert_int_equal(ask("get", "/ten.txt", ""), MT_EINVALID);
}

/* ---- conditions ---- */

static char etag[100];

static void learn_etag(const char *target)
{
    assert_int_equal(get(target), 0);
    strcpy(etag, header("ETag"));
}

/* `%s` in a header is the tag of ten.txt. */
static void check_status(const char *format, int status)
{
    char headers[400];

    snprintf(headers, sizeof(headers), format, etag);
    print_message("%s", headers);
    assert_int_equal(ask("GET", "/ten.txt", headers), 0);
    assert_status(status);
    assert_body(status == 200 ? "0123456789" : status == 206 ? "01" : "");
    if (status == 304) {
        assert_header("ETag", etag);
        assert_header("Cache-Control", "no-cache");
        assert_header("Content-Length", NULL);
        assert_header("Content-Type", NULL);
        assert_int_equal(ask("HEAD", "/ten.txt", headers), 0);
        assert_status(304);
    }
}

static void test_conditions(void **state)
{
    learn_etag("/ten.txt");
    check_status("If-None-Match: %s\r\n", 304);
    check_status("If-None-Match: W/%s\r\n", 304);
    check_status("If-None-Match: *\r\n", 304);
    check_status("If-None-Match: \"x\", W/\"y,z\" ,%s\r\n", 304);
    check_status("If-None-Match: \"x\"\r\nIf-None-Match: %s\r\n", 304);
    check_status("If-None-Match: \"x\"\r\n", 200);
    check_status("If-None-Match: x%s\r\n", 200);
    check_status("If-None-Match: \"x\r\n", 200);
    check_status("If-None-Match: W/\r\n", 200);
    check_status("If-None-Match: \"*\"\r\n", 200);
    check_status("If-None-Match:\r\n", 200);
    check_status("If-Modified-Since: " DATE_TEXT "\r\n", 304);
    check_status("If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 304);
    check_status("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200);
    check_status("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", 304);
    check_status("If-Modified-Since: today\r\n", 200);
    check_status("If-Modified-Since: " DATE_TEXT "\r\nIf-None-Match: \"x\"\r\n", 200);
    check_status("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\nIf-None-Match: %s\r\n", 304);
    check_status("If-Match: %s\r\n", 200);
    check_status("If-Match: *\r\n", 200);
    check_status("If-Match: W/%s\r\n", 412);
    check_status("If-Match: \"x\"\r\n", 412);
    check_status("If-Unmodified-Since: " DATE_TEXT "\r\n", 200);
    check_status("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 412);
    check_status("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\nIf-Match: %s\r\n", 200);
    check_status("Range: bytes=0-1\r\nIf-None-Match: %s\r\n", 304);
}

/* The tag changes with the time to the nanosecond, the size, and the file itself. */
static void test_etag_follows_the_file(void **state)
{
    char before[100], other[100];

    write_file("www/changing.txt", "aaa", DATE, 1);
    learn_etag("/changing.txt");
    strcpy(before, etag);
    learn_etag("/changing.txt");
    assert_string_equal(etag, before);
    write_file("www/changing.txt", "bbb", DATE, 2);
    learn_etag("/changing.txt");
    assert_string_not_equal(etag, before);
    strcpy(before, etag);
    write_file("www/changing.txt", "bbbb", DATE, 2);
    learn_etag("/changing.txt");
    assert_string_not_equal(etag, before);
    strcpy(before, etag);
    write_file("www/other.txt", "cccc", DATE, 2);
    strcpy(other, path_of("www/other.txt"));
    assert_int_equal(rename(other, path_of("www/changing.txt")), 0);
    learn_etag("/changing.txt");
    assert_string_not_equal(etag, before);
}

/* ---- ranges ---- */

static void test_ranges(void **state)
{
    static const struct {
        const char *range;
        int status;
        const char *body, *content_range;
    } cases[] = {
        {"bytes=0-0", 206, "0", "bytes 0-0/10"},
        {"bytes=2-4", 206, "234", "bytes 2-4/10"},
        {"bytes=0-9", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=9-9", 206, "9", "bytes 9-9/10"},
        {"bytes=5-", 206, "56789", "bytes 5-9/10"},
        {"bytes=0-", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=5-100", 206, "56789", "bytes 5-9/10"},
        {"bytes=5-99999999999999999999999", 206, "56789", "bytes 5-9/10"},
        {"bytes=-3", 206, "789", "bytes 7-9/10"},
        {"bytes=-10", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=-11", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=-99999999999999999999999", 206, "0123456789", "bytes 0-9/10"},
        {"BYTES=1-1", 206, "1", "bytes 1-1/10"},
        {"bytes=10-", 416, "", "bytes */10"},
        {"bytes=10-10", 416, "", "bytes */10"},
        {"bytes=99999999999999999999999-", 416, "", "bytes */10"},
        {"bytes=18446744073709551615-18446744073709551615", 416, "", "bytes */10"},
        {"bytes=-0", 416, "", "bytes */10"},
        {"bytes=0-1,3-4", 200, "0123456789", NULL},
        {"bytes=0-1, -1", 200, "0123456789", NULL},
        {"bytes=4-2", 200, "0123456789", NULL},
        {"bytes=-", 200, "0123456789", NULL},
        {"bytes=", 200, "0123456789", NULL},
        {"bytes", 200, "0123456789", NULL},
        {"bytes=1", 200, "0123456789", NULL},
        {"bytes=a-b", 200, "0123456789", NULL},
        {"bytes=+1-2", 200, "0123456789", NULL},
        {"bytes=1--2", 200, "0123456789", NULL},
        {"bytes= 1-2", 200, "0123456789", NULL},
        {"items=1-2", 200, "0123456789", NULL},
        {"bytes=0-1\r\nRange: bytes=0-1", 200, "0123456789", NULL},
    };
    char headers[200], length[20];

    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].range);
        snprintf(headers, sizeof(headers), "Range: %s\r\n", cases[i].range);
        assert_int_equal(ask("GET", "/ten.txt", headers), 0);
        assert_status(cases[i].status);
        assert_body(cases[i].body);
        assert_header("Content-Range", cases[i].content_range);
        snprintf(length, sizeof(length), "%zu", strlen(cases[i].body));
        assert_header("Content-Length", length);
    }
    assert_int_equal(ask("GET", "/empty.js", "Range: bytes=0-\r\n"), 0);
    assert_status(416);
    assert_header("Content-Range", "bytes */0");
}

static void test_if_range(void **state)
{
    learn_etag("/ten.txt");
    check_status("Range: bytes=0-1\r\nIf-Range: %s\r\n", 206);
    check_status("Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", 200);
    check_status("Range: bytes=0-1\r\nIf-Range: W/%s\r\n", 200);
    check_status("Range: bytes=0-1\r\nIf-Range: *\r\n", 200);
    check_status("Range: bytes=0-1\r\nIf-Range:\r\n", 200);
    check_status("Range: bytes=0-1\r\nIf-Range: " DATE_TEXT "\r\n", 206);
    check_status("Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 200);
    check_status("Range: bytes=20-\r\nIf-Range: \"x\"\r\n", 200);
    check_status("Range: bytes=20-\r\nIf-Range: %s\r\n", 416);
}

/* A file that changed within this second may change again within it: its date proves nothing. */
static void test_if_range_needs_a_rested_file(void **state)
{
    char headers[200], date[30];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    write_file("www/new.txt", "0123", now.tv_sec + 5, 0);
    http_date(date, now.tv_sec + 5);
    snprintf(headers, sizeof(headers), "Range: bytes=0-1\r\nIf-Range: %s\r\n", date);
    assert_int_equal(ask("GET", "/new.txt", headers), 0);
    assert_status(200);
}

/* ---- the rest ---- */

static void test_types(void **state)
{
    static const char *const cases[][2] = {
        {"a.html", "text/html; charset=utf-8"},
        {"A.HTM", "text/html; charset=utf-8"},
        {"x/y.css", "text/css; charset=utf-8"},
        {"a.js", "text/javascript; charset=utf-8"},
        {"a.mjs", "text/javascript; charset=utf-8"},
        {"a.json", "application/json"},
        {"a.js.map", "application/json"},
        {"a.webmanifest", "application/manifest+json"},
        {"a.wasm", "application/wasm"},
        {"a.svg", "image/svg+xml"},
        {"a.png", "image/png"},
        {"a.apng", "image/apng"},
        {"a.jpg", "image/jpeg"},
        {"a.jpeg", "image/jpeg"},
        {"a.gif", "image/gif"},
        {"a.webp", "image/webp"},
        {"a.avif", "image/avif"},
        {"a.ico", "image/vnd.microsoft.icon"},
        {"a.bmp", "image/bmp"},
        {"a.tiff", "image/tiff"},
        {"a.woff", "font/woff"},
        {"a.woff2", "font/woff2"},
        {"a.ttf", "font/ttf"},
        {"a.otf", "font/otf"},
        {"a.txt", "text/plain; charset=utf-8"},
        {"a.md", "text/markdown; charset=utf-8"},
        {"a.csv", "text/csv; charset=utf-8"},
        {"a.xml", "application/xml"},
        {"a.xhtml", "application/xhtml+xml"},
        {"a.rss", "application/rss+xml"},
        {"a.pdf", "application/pdf"},
        {"a.mp4", "video/mp4"},
        {"a.webm", "video/webm"},
        {"a.ogv", "video/ogg"},
        {"a.mov", "video/quicktime"},
        {"a.mp3", "audio/mpeg"},
        {"a.ogg", "audio/ogg"},
        {"a.opus", "audio/ogg"},
        {"a.wav", "audio/wav"},
        {"a.flac", "audio/flac"},
        {"a.m4a", "audio/mp4"},
        {"a.aac", "audio/aac"},
        {"a.vtt", "text/vtt; charset=utf-8"},
        {"a.lua", "text/plain; charset=utf-8"},
        {"a.zip", "application/zip"},
        {"a.tar.gz", "application/gzip"},
        {"a.7z", "application/x-7z-compressed"},
        {"a.zst", "application/zstd"},
        {"a.yml", "text/plain; charset=utf-8"},
        {"a.glb", "model/gltf-binary"},
        {"README", "application/octet-stream"},
        {"a.", "application/octet-stream"},
        {"a.unknown", "application/octet-stream"},
        {"a.html/b", "application/octet-stream"},
        {"a.averyveryverylongending", "application/octet-stream"},
        {"", "application/octet-stream"},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(static_type(slice_of(cases[i][0])), cases[i][1]);
}

static void test_bad_folders(void **state)
{
    struct static_root *r;

    assert_int_equal(static_open(path_of("none"), &r), MT_ENOT_FOUND);
    assert_int_equal(static_open(path_of("www/ten.txt"), &r), MT_ENOT_FOUND);
    mem_fail_at(1);
    assert_int_equal(static_open(path_of("www"), &r), MT_ENOMEM);
    mem_fail_at(0);
    static_close(NULL);
}

/* ---- the tag of dev mode ---- */

#define TAG "<script src=\"/_moontide/dev.js\"></script>"

static const char *body(void)
{
    static char text[256];
    ssize_t n = pread(answer.fd, text, sizeof(text) - 1, answer.offset);

    assert_int_equal(n, answer.length);
    text[n] = '\0';
    return text;
}

static void test_tag(void **state)
{
    static const char *const pages[][2] = {
        {"<html><body>a</body></html>", "<html><body>a" TAG "</body></html>"},
        {"<BODY>\"</body>\" a</BODY\n>\n", "<BODY>\"</body>\" a" TAG "</BODY\n>\n"},
        {"<head></head>a</head", "<head>" TAG "</head>a</head"},
        {"<p>a", "<p>a" TAG},
        {"</bod", "</bod" TAG},
        {"</body", TAG "</body"},
        {"", TAG},
        {"<<<</body", "<<<" TAG "</body"},
    };
    char plain[100], tagged[100], line[200];

    write_file("www/page.html", pages[0][0], DATE, 0);
    assert_int_equal(get("/page.html"), 0);
    snprintf(plain, sizeof(plain), "%s", header("ETag"));
    static_set_tag(root, TAG);
    for (size_t i = 0; i < COUNT(pages); i++) {
        write_file("www/page.html", pages[i][0], DATE, 0);
        assert_int_equal(get("/page.html"), 0);
        assert_int_equal(answer.status, 200);
        assert_string_equal(body(), pages[i][1]);
        assert_int_equal(atoi(header("Content-Length")), strlen(pages[i][1]));
        assert_string_equal(header("Accept-Ranges"), "none");
    }
    assert_int_equal(ask("HEAD", "/page.html", ""), 0);
    assert_int_equal(atoi(header("Content-Length")), strlen(pages[COUNT(pages) - 1][1]));
    assert_int_equal(answer.fd, -1);
    assert_int_equal(get("/sub/"), 0); /* also the index of a folder */
    assert_string_equal(body(), "<p>sub" TAG);
    assert_int_equal(get("/sub"), 0);
    assert_int_equal(answer.status, 301);
    assert_int_equal(get("/ten.txt"), 0); /* other types stay as they are */
    assert_string_equal(body(), "0123456789");
    assert_string_equal(header("Accept-Ranges"), "bytes");

    write_file("www/page.html", pages[0][0], DATE, 0);
    assert_int_equal(get("/page.html"), 0);
    snprintf(tagged, sizeof(tagged), "%s", header("ETag"));
    assert_string_not_equal(tagged, plain);
    snprintf(line, sizeof(line), "If-None-Match: %s\r\n", plain); /* from before dev mode: has no tag in it */
    assert_int_equal(ask("GET", "/page.html", line), 0);
    assert_int_equal(answer.status, 200);
    snprintf(line, sizeof(line), "If-None-Match: %s\r\n", tagged);
    assert_int_equal(ask("GET", "/page.html", line), 0);
    assert_int_equal(answer.status, 304);
    assert_int_equal(ask("GET", "/page.html", "Range: bytes=0-3\r\n"), 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(body(), pages[0][1]);
    static_set_tag(root, NULL);
    assert_int_equal(get("/page.html"), 0);
    assert_string_equal(body(), pages[0][0]);
    assert_string_equal(header("ETag"), plain);
}

static void test_large_pages_get_no_tag(void **state)
{
    static_set_tag(root, TAG);
    write_file("www/page.html", "<p>", DATE, 0);
    assert_int_equal(truncate(path_of("www/page.html"), 16 << 20), 0);
    assert_int_equal(get("/page.html"), 0);
    assert_int_equal(answer.length, (16 << 20) + strlen(TAG));
    assert_int_equal(truncate(path_of("www/page.html"), (16 << 20) + 1), 0);
    assert_int_equal(get("/page.html"), 0);
    assert_int_equal(answer.length, (16 << 20) + 1);
    assert_string_equal(header("Accept-Ranges"), "bytes");
    static_set_tag(root, NULL);
}

static int lowest_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* Every allocation failed once, and everything above: no descriptor stays open. */
static void test_nothing_leaks(void **state)
{
    static const char *const targets[] = {"/ten.txt",           "/sub/",    "/sub",  "/none", "/fifo", "/twisted/",
                                          "/sub/deep/x.tar.gz", "/out.txt", "/a/b/c"};

    get("/none"); /* closes what the test before left in `answer` */
    buf_fini(&head);
    int lowest = lowest_fd();
    static_set_tag(root, TAG);
    for (size_t i = 0; i < COUNT(targets); i++) {
        int got = 0;
        for (unsigned long n = 0; n < 10; n++) {
            char text[200];
            const char *reason;
            size_t scanned = 0;
            int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[i]);
            assert_int_equal(http_parse_head(text, (size_t)len, sizeof(text), &scanned, &req, &reason), len);
            struct buf out = {0};
            struct static_answer a;
            mem_fail_at(n);
            int now = static_answer(root, &req, &out, &a);
            mem_fail_at(0);
            got = n == 0 ? now : got;
            assert_true(now == got || now == MT_ENOMEM);
            assert_true(now == 0 || (a.fd == -1 && out.len == 0));
            if (a.fd >= 0)
                close(a.fd);
            buf_fini(&out);
            assert_int_equal(lowest_fd(), lowest);
        }
    }
    static_set_tag(root, NULL);
}

static int take_openat2_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};

    without_openat2 = true;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),    cmocka_unit_test(test_names),       cmocka_unit_test(test_what_is_not_served),
        cmocka_unit_test(test_links),   cmocka_unit_test(test_long_paths),  cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_methods), cmocka_unit_test(test_conditions),  cmocka_unit_test(test_etag_follows_the_file),
        cmocka_unit_test(test_ranges),  cmocka_unit_test(test_if_range),    cmocka_unit_test(test_if_range_needs_a_rested_file),
        cmocka_unit_test(test_types),   cmocka_unit_test(test_bad_folders), cmocka_unit_test(test_nothing_leaks),
        cmocka_unit_test(test_tag),     cmocka_unit_test(test_large_pages_get_no_tag),
    };
    /* Old kernels lack it, and so does valgrind. */
    without_openat2 = syscall(SYS_openat2, AT_FDCWD, ".", NULL, 0) < 0 && errno == ENOSYS;
    int failed = cmocka_run_group_tests_name("with openat2", tests, make_folder, drop_folder);

    if (take_openat2_away() != 0) {
        perror("seccomp");
        return 1;
    }
    return failed + cmocka_run_group_tests_name("without openat2", tests, make_folder, drop_folder);
}
