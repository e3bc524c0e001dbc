/* fuzz_access.c - what strangers and proxies say of who they are: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, Origin; and the same
 * bytes as items of the lists.
 *
 * Input: header lines (a line break between them), which come to a server whose lists are fixed. */
#include "base/cidr.h"
#include "base/err.h"
#include "base/mem.h"
#include "fuzz.h"
#include "net/access.h"
#include "net/origin.h"

#include <stdbool.h>
#include <strings.h>

enum { HEAD_MAX = 4096, LINES_MAX = 3000 };

static struct access *make(const char *const *proxies, const char *const *origins)
{
    struct access *a = NULL;
    char *error = NULL;

    FUZZ_CHECK(access_create(&(struct access_lists){.proxies = proxies, .origins = origins}, &a, &error) == 0);
    return a;
}

/* A request with the lines of `data`, their line breaks made right, and then `last`. Its length, 0 when it is none. */
static size_t read_request(char head[HEAD_MAX], const char *data, size_t size, const char *last, struct http_request *r)
{
    size_t n = (size_t)sprintf(head, "GET / HTTP/1.1\r\nHost: app.example\r\n"), scanned = 0;
    const char *reason;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\r')
            continue;
        if (data[i] == '\n' && n >= 2 && head[n - 1] != '\n')
            head[n++] = '\r';
        if (data[i] != '\n' || head[n - 1] == '\r')
            head[n++] = data[i];
        if (n > HEAD_MAX - 200)
            return 0;
    }
    n += (size_t)sprintf(head + n, "%s%s\r\n", n >= 2 && head[n - 1] == '\n' ? "" : "\r\n", last);
    return http_parse_head(head, n, HEAD_MAX, &scanned, r, &reason) == (long)n ? n : 0;
}

/* Nobody is believed but a proxy; and what a proxy has added at the end cannot be talked away by what came before. */
static void check_client(const struct access *a, const char *data, size_t size)
{
    static struct http_request r;
    static char head[HEAD_MAX];
    struct ip proxy, stranger, client, out;

    ip_parse(SLICE("10.0.0.2"), &proxy);
    ip_parse(SLICE("192.0.2.1"), &stranger);
    ip_parse(SLICE("203.0.113.9"), &client);
    if (read_request(head, data, size, "", &r)) {
        FUZZ_CHECK(access_client(a, &stranger, &r, &out) == ACCESS_SILENT);
        FUZZ_CHECK(!access_is_secure(a, &stranger, &r, false) && access_is_secure(a, &stranger, &r, true));
        access_client(a, &proxy, &r, &out);
        access_is_secure(a, &proxy, &r, false);
    }
    if (read_request(head, data, size, "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.3\r\nX-Forwarded-Proto: http\r\n", &r)) {
        enum access_said said = access_client(a, &proxy, &r, &out);
        FUZZ_CHECK(said == ACCESS_CLIENT ? memcmp(&out, &client, sizeof out) == 0 : said == ACCESS_NO_ADDRESS);
        FUZZ_CHECK(said == ACCESS_CLIENT || http_find(&r, SLICE("X-Real-IP")).data); /* only that can make it doubtful */
        FUZZ_CHECK(!access_is_secure(a, &proxy, &r, true));
    }
}

static bool is_one_of(struct slice s, const char *const *list)
{
    for (; *list; list++)
        if (slice_is_nocase(s, slice_of(*list)))
            return true;
    return false;
}

/* Without a list only the server's own pages get in, and those have few names. */
static void check_origin(const struct access *closed, const struct access *open, const char *data, size_t size)
{
    static const char *const own[] = {"https://app.example", "https://app.example:443", "http://app.example", "http://app.example:80",
                                      NULL};
    static struct http_request r;
    static char head[HEAD_MAX];

    if (!read_request(head, data, size, "", &r))
        return;
    struct slice origin = http_find(&r, SLICE("Origin"));
    for (int secure = 0; secure < 2; secure++) {
        bool admitted = access_origin(closed, &r, secure);
        FUZZ_CHECK(!admitted || !origin.data || is_one_of(origin, secure ? (const char *const[]){own[0], own[1], NULL} : own));
        FUZZ_CHECK(!admitted || access_origin(open, &r, secure)); /* a list only adds */
        FUZZ_CHECK(!admitted || !origin.data || origin_is_own(&r, secure));
    }
    if (origin.data && access_origin(open, &r, true) && !origin_is_own(&r, true))
        FUZZ_CHECK(origin.len > 8 && strncasecmp(origin.data, "https://", 8) == 0 &&
                   (memchr(origin.data, '.', origin.len) || memchr(origin.data, '[', origin.len)));
}

static void check_items(const char *data, size_t size)
{
    struct slice item = {data, size};
    struct origin_set s = {0};
    char near[300], text[CIDR_TEXT_SIZE];
    struct cidr network, again;

    int rc = origin_set_add(&s, item);
    FUZZ_CHECK(rc == 0 || rc == MT_EINVALID);
    if (rc && origin_nearest(item, near, sizeof near))
        FUZZ_CHECK(origin_set_add(&s, slice_of(near)) == 0);
    origin_set_fini(&s);
    if (!cidr_parse(item, &network))
        return;
    cidr_text(&network, text);
    FUZZ_CHECK(cidr_parse(slice_of(text), &again) && memcmp(&network, &again, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct access *closed, *open;

    if (!closed) {
        static const char *const proxies[] = {"10.0.0.0/24", "2001:db8::/64", NULL};
        static const char *const origins[] = {"https://other.example", "https://*.wild.example", "https://[2001:db8::1]", NULL};
        closed = make(proxies, NULL);
        open = make(proxies, origins);
    }
    if (size > LINES_MAX)
        return 0;
    char *copy = fuzz_copy(data, size);
    check_client(closed, copy, size);
    check_origin(closed, open, copy, size);
    check_items(copy, size);
    free(copy);
    return 0;
}
