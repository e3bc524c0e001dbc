/* static.c - files of one folder over HTTP.
 *
 * The kernel keeps requests inside the folder: openat2 with RESOLVE_BENEATH refuses every way out, ".." and symbolic links
 * included, at the moment of opening. Links that stay inside work. Where the kernel lacks openat2 (or a sandbox refuses it) the
 * path is walked one component at a time and no link is followed at all.
 */
#include "net/static.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/static_tag.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ETAG_SIZE = 64,
    TRIES_MAX = 8, /* a rename elsewhere may disturb a resolve, which then has to be tried again */
    OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY /* no waiting for the other end of a fifo */
};

struct static_root {
    int fd;       /* of the folder, O_PATH */
    bool openat2; /* the kernel has it and lets us */
    struct slice tag; /* put into HTML pages; borrowed, empty for none */
};

/* ---- types ---- */

static const struct type {
    const char *ending, *type;
} types[] = {
    /* sorted by ending: bsearch */
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain; charset=utf-8"},
    {"conf", "text/plain; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"glb", "model/gltf-binary"},
    {"gltf", "model/gltf+json"},
    {"gz", "application/gzip"},
    {"h", "text/plain; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"html", "text/html; charset=utf-8"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar; charset=utf-8"},
    {"ini", "text/plain; charset=utf-8"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", "text/plain; charset=utf-8"},
    {"lua", "text/plain; charset=utf-8"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown; charset=utf-8"},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "text/plain; charset=utf-8"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"vtt", "text/vtt; charset=utf-8"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "text/plain; charset=utf-8"},
    {"yml", "text/plain; charset=utf-8"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

static int compare_type(const void *key, const void *item)
{
    return strcasecmp(key, ((const struct type *)item)->ending);
}

const char *static_type(struct slice name)
{
    char ending[16];
    const char *dot = memrchr(name.data, '.', name.len);
    size_t n = dot ? (size_t)(name.data + name.len - dot) - 1 : 0;
    const struct type *found = NULL;

    if (n > 0 && n < sizeof(ending)) {
        memcpy(ending, dot + 1, n);
        ending[n] = 0;
        found = bsearch(ending, types, sizeof(types) / sizeof(types[0]), sizeof(types[0]), compare_type);
    }
    return found ? found->type : "application/octet-stream";
}

/* ---- opening ---- */

static int error_of(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return MT_ENOT_FOUND;
    case EXDEV: /* a way out */
    case ELOOP: /* a link, where none is followed; or too many of them */
    case ENXIO: /* a socket */
    case EACCES:
    case EPERM:
        return MT_EDENIED;
    case ENOMEM:
        return MT_ENOMEM;
    default:
        return MT_EIO;
    }
}

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;

    for (int i = 0; i < TRIES_MAX; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

/* The same without openat2. `path` has no dot components. */
static int open_walking(int root, const char *path, int flags)
{
    char part[NAME_MAX + 1];
    int at = root;

    for (;;) {
        size_t n = strcspn(path, "/");
        bool last = path[n] == 0;
        if (n > NAME_MAX) {
            errno = ENAMETOOLONG;
            break;
        }
        memcpy(part, path, n);
        part[n] = 0;
        int next = openat(at, n ? part : ".", O_NOFOLLOW | (last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC));
        int code = errno;
        if (at != root)
            close(at);
        errno = code;
        if (next < 0 || last)
            return next;
        at = next;
        path += n + 1;
    }
    if (at != root)
        close(at);
    return -1;
}

/* An fd of a file or folder, or an MT_E*. */
static int open_path(const struct static_root *root, const char *path)
{
    if (*path == 0)
        path = ".";
    int fd = root->openat2 ? open_beneath(root->fd, path, OPEN_FLAGS) : open_walking(root->fd, path, OPEN_FLAGS);

    return fd < 0 ? error_of(errno) : fd;
}

int static_open(const char *folder, struct static_root **out)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_of(errno);
    if (faccessat(fd, ".", X_OK, AT_EACCESS)) { /* a folder that cannot be entered would look empty */
        int rc = error_of(errno);
        close(fd);
        return rc;
    }
    struct static_root *root = mem_zalloc(1, sizeof(*root));
    if (!root) {
        close(fd);
        return MT_ENOMEM;
    }
    int probe = open_beneath(fd, ".", O_PATH | O_CLOEXEC);
    root->fd = fd;
    root->openat2 = probe >= 0;
    if (probe >= 0)
        close(probe);
    *out = root;
    return 0;
}

void static_close(struct static_root *root)
{
    if (!root)
        return;
    close(root->fd);
    mem_free(root);
}

void static_set_tag(struct static_root *root, const char *tag)
{
    root->tag = slice_of(tag);
}

/* ---- paths ---- */

/* The decoded path without its leading slashes, NUL-terminated, or an error. Empty for the folder itself. */
static int decode_path(struct slice path, struct buf *out)
{
    while (path.len > 0 && path.data[0] == '/') {
        path.data++;
        path.len--;
    }
    int failed = text_unpercent(out, path, false);
    if (failed)
        return failed;
    if (out->len > 0 && memchr(out->data, 0, out->len))
        return MT_EMALFORMED;
    if (out->len > 0 && memchr(out->data, '\\', out->len))
        return MT_EDENIED;
    for (size_t i = 0; i < out->len; i++)
        if (out->data[i] == '.' && (i == 0 || out->data[i - 1] == '/'))
            return MT_EDENIED;
    size_t slashes = 0; /* "%2fetc" decodes to a leading slash */
    while (slashes < out->len && out->data[slashes] == '/')
        slashes++;
    buf_drop(out, slashes);
    return buf_add_byte(out, 0);
}

/* What a path stands for. */
struct found {
    int fd; /* owned */
    struct stat st;
    const char *type;
    bool redirect; /* a folder with an index, asked for without its slash */
    bool tagged;   /* a page with root->tag in it, of which st has the size */
};

/* Open `path`; a folder's index is opened instead of it. `path` is changed. */
static int find_file(const struct static_root *root, struct buf *path, struct found *f)
{
    bool slash = path->len < 2 || path->data[path->len - 2] == '/';

    f->fd = open_path(root, (const char *)path->data);
    if (f->fd >= 0 && fstat(f->fd, &f->st) == 0 && S_ISDIR(f->st.st_mode)) {
        close(f->fd);
        f->fd = MT_ENOMEM;
        f->redirect = !slash;
        path->len--;
        if ((slash || buf_add_byte(path, '/') == 0) && buf_add(path, "index.html", sizeof("index.html")) == 0)
            f->fd = open_path(root, (const char *)path->data);
    }
    if (f->fd < 0)
        return f->fd;
    if (fstat(f->fd, &f->st) != 0 || !S_ISREG(f->st.st_mode)) {
        close(f->fd);
        return MT_EDENIED; /* a fifo, a device, a folder named index.html */
    }
    f->type = static_type((struct slice){(const char *)path->data, path->len - 1});
    return 0;
}

/* Where the file is a page that gets the root's tag, the page with it takes the place of the file. */
static int tag_file(const struct static_root *root, struct found *f)
{
    size_t size;

    if (root->tag.len == 0 || f->redirect || strncmp(f->type, "text/html", 9) != 0)
        return 0;
    int fd = static_tag_page(f->fd, root->tag, &size);
    if (fd == MT_ETOO_LARGE)
        return 0;
    close(f->fd);
    f->fd = fd;
    f->st.st_size = (off_t)size;
    f->tagged = fd >= 0;
    return fd < 0 ? fd : 0;
}

/* ---- conditions, RFC 9110 13 ---- */

static uint64_t stamp_of(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* A strong tag: any write changes the time, a replaced file has another number. */
static void make_etag(char out[ETAG_SIZE], const struct found *f)
{
    snprintf(out, ETAG_SIZE, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "%s\"", (uint64_t)f->st.st_ino, (uint64_t)f->st.st_size,
             stamp_of(&f->st), f->tagged ? "-dev" : "");
}

/* Cuts the next entity tag off a list, with its quotes. False at the end and where it is no list of tags. */
static bool next_etag(struct slice *rest, struct slice *tag, bool *weak)
{
    while (rest->len > 0 && strchr(" \t,", rest->data[0])) {
        rest->data++;
        rest->len--;
    }
    *weak = rest->len >= 2 && memcmp(rest->data, "W/", 2) == 0;
    size_t at = *weak ? 2 : 0;
    if (rest->len < at + 2 || rest->data[at] != '"')
        return false;
    const char *end = memchr(rest->data + at + 1, '"', rest->len - at - 1);
    if (!end)
        return false;
    *tag = (struct slice){rest->data + at, (size_t)(end - rest->data) + 1 - at};
    rest->len -= at + tag->len;
    rest->data = end + 1;
    return true;
}

static bool lists_etag(struct slice value, const char *etag, bool weak_counts)
{
    struct slice tag;
    bool weak;

    if (slice_is(value, SLICE("*")))
        return true;
    while (next_etag(&value, &tag, &weak))
        if ((!weak || weak_counts) && slice_is(tag, slice_of(etag)))
            return true;
    return false;
}

/* Whether any header of that name lists the tag; *given: whether there is one at all. */
static bool header_lists_etag(const struct http_request *r, struct slice name, const char *etag, bool weak_counts, bool *given)
{
    *given = false;
    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, name))
            continue;
        *given = true;
        if (lists_etag(r->headers[i].value, etag, weak_counts))
            return true;
    }
    return false;
}

/* 200, 304 or 412. Dates count only where no tags are given. */
static int check_conditions(const struct http_request *r, const struct stat *st, const char *etag)
{
    bool given;
    bool matches = header_lists_etag(r, SLICE("If-Match"), etag, false, &given);

    if (given && !matches)
        return 412;
    if (!given) {
        int64_t when = http_parse_date(http_find(r, SLICE("If-Unmodified-Since")));
        if (when >= 0 && st->st_mtim.tv_sec > when)
            return 412;
    }
    matches = header_lists_etag(r, SLICE("If-None-Match"), etag, true, &given);
    if (given)
        return matches ? 304 : 200;
    int64_t when = http_parse_date(http_find(r, SLICE("If-Modified-Since")));
    return when >= 0 && st->st_mtim.tv_sec <= when ? 304 : 200;
}

/* ---- ranges, RFC 9110 14 ---- */

/* Digits only. What does not fit is as good as the largest number: it lies behind the end of any file. */
static bool read_position(struct slice s, uint64_t *out)
{
    unsigned long long value = UINT64_MAX;

    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    if (s.len == 0)
        return false;
    if (!slice_to_uint(s, UINT64_MAX, &value))
        value = UINT64_MAX;
    *out = value;
    return true;
}

/* "bytes=a-b", "bytes=a-", "bytes=-n" of a file of `size` bytes: 206 with *first and *count, 416 when there is nothing there, 200
 * when it is no range or more than one. */
static int parse_range(struct slice value, uint64_t size, uint64_t *first, uint64_t *count)
{
    static const struct slice unit = SLICE("bytes=");
    uint64_t last = UINT64_MAX;

    if (value.len <= unit.len || !slice_is_nocase((struct slice){value.data, unit.len}, unit))
        return 200;
    struct slice set = {value.data + unit.len, value.len - unit.len};
    const char *dash = memchr(set.data, '-', set.len);
    if (!dash)
        return 200;
    struct slice from = {set.data, (size_t)(dash - set.data)};
    struct slice to = {dash + 1, set.len - from.len - 1};
    if (from.len == 0) {
        if (!read_position(to, count))
            return 200;
        *count = *count < size ? *count : size;
        *first = size - *count;
        return *count > 0 ? 206 : 416;
    }
    if (!read_position(from, first) || (to.len > 0 && !read_position(to, &last)) || last < *first)
        return 200;
    if (*first >= size)
        return 416;
    *count = (last < size - 1 ? last : size - 1) - *first + 1;
    return 206;
}

/* Whether a range may be served: If-Range must name exactly this file. A date does so only when the file had rested by then. */
static bool range_holds(const struct http_request *r, const struct stat *st, const char *etag)
{
    struct slice value = http_find(r, SLICE("If-Range"));

    if (!value.data)
        return true;
    if (value.len > 0 && (value.data[0] == '"' || value.data[0] == 'W'))
        return lists_etag(value, etag, false);
    return http_parse_date(value) == st->st_mtim.tv_sec && clock_wall() - (double)st->st_mtim.tv_sec > 1;
}

static int choose_range(const struct http_request *r, const struct found *f, const char *etag, struct static_answer *out)
{
    const struct stat *st = &f->st;
    struct slice range = {NULL, 0};
    uint64_t first = 0, count = 0;

    out->offset = 0;
    out->length = (uint64_t)st->st_size;
    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, SLICE("Range")))
            continue;
        if (range.data)
            return 200;
        range = r->headers[i].value;
    }
    if (!range.data || f->tagged || !slice_is(r->method, SLICE("GET")) || !range_holds(r, st, etag))
        return 200;
    int status = parse_range(range, (uint64_t)st->st_size, &first, &count);
    if (status == 206) {
        out->offset = (off_t)first;
        out->length = count;
    } else if (status == 416) {
        out->length = 0;
    }
    return status;
}

/* ---- the answer ---- */

static int put_validators(struct buf *head, const struct stat *st, const char *etag)
{
    char date[30];

    http_date(date, st->st_mtim.tv_sec);
    return buf_addf(head, "ETag: %s\r\nLast-Modified: %s\r\nCache-Control: no-cache\r\n", etag, date);
}

static int put_body_headers(struct buf *head, const struct found *f, const struct static_answer *a)
{
    int failed = buf_addf(head, "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", f->type, a->length);

    if (!failed && a->status == 206)
        failed = buf_addf(head, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", (uint64_t)a->offset,
                          (uint64_t)a->offset + a->length - 1, (uint64_t)f->st.st_size);
    if (!failed)
        failed = buf_addf(head, "Accept-Ranges: %s\r\nX-Content-Type-Options: nosniff\r\n", f->tagged ? "none" : "bytes");
    return failed;
}

/* Leading slashes become one: "//host" would lead to another server. */
static int put_redirect(struct buf *head, const struct http_request *r)
{
    struct slice path = r->path;

    while (path.len > 0 && path.data[0] == '/') {
        path.data++;
        path.len--;
    }
    return buf_addf(head, "Location: /%.*s/%s%.*s\r\nContent-Length: 0\r\n", (int)path.len, path.data, r->query.len ? "?" : "",
                    (int)r->query.len, r->query.data ? r->query.data : "");
}

static int put_answer(struct buf *head, const struct http_request *r, const struct found *f, struct static_answer *a)
{
    char etag[ETAG_SIZE];

    make_etag(etag, f);
    a->status = f->redirect ? 301 : check_conditions(r, &f->st, etag);
    if (a->status == 200)
        a->status = choose_range(r, f, etag, a);
    int failed = http_put_status(head, a->status);
    if (failed)
        return failed;
    switch (a->status) {
    case 301:
        return put_redirect(head, r);
    case 412:
        return buf_add_text(head, "Content-Length: 0\r\n");
    case 416:
        return buf_addf(head, "Content-Range: bytes */%" PRIu64 "\r\nContent-Length: 0\r\n", (uint64_t)f->st.st_size);
    case 304:
        return put_validators(head, &f->st, etag);
    default:
        failed = put_validators(head, &f->st, etag);
        return failed ? failed : put_body_headers(head, f, a);
    }
}

int static_answer(struct static_root *root, const struct http_request *r, struct buf *head, struct static_answer *out)
{
    bool get = slice_is(r->method, SLICE("GET"));
    struct found f = {.fd = -1};
    struct buf path = {0};
    size_t before = head->len;

    *out = (struct static_answer){.fd = -1};
    if (!get && !slice_is(r->method, SLICE("HEAD")))
        return MT_EINVALID;
    int failed = decode_path(r->path, &path);
    if (!failed)
        failed = find_file(root, &path, &f);
    if (!failed)
        failed = tag_file(root, &f);
    buf_fini(&path);
    if (failed)
        return failed;
    failed = put_answer(head, r, &f, out);
    if (!failed && get && (out->status == 200 || out->status == 206) && out->length > 0) {
        out->fd = f.fd;
        return 0;
    }
    close(f.fd);
    out->offset = 0;
    out->length = 0;
    if (failed)
        head->len = before;
    return failed;
}
