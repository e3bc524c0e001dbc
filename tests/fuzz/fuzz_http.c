/* fuzz_http.c - any bytes as request heads and bodies, cut anywhere: the same answer, and nothing in it that could be read in two
 * ways.
 *
 * Input: one byte that chooses what to do, one that chooses the cuts, then what the client sends. */
#include "fuzz.h"
#include "net/http.h"

#include <strings.h>

enum { LIMIT = 600, BODY_LIMIT = 300 };

static void check_inside(struct slice s, const char *data, long len)
{
    if (s.len > 0 && !slice_is(s, SLICE("/"))) /* the root of "http://host" is a constant */
        FUZZ_CHECK(s.data >= data && s.data + s.len <= data + len);
    FUZZ_CHECK(s.len == 0 || (!memchr(s.data, '\r', s.len) && !memchr(s.data, '\n', s.len) && !memchr(s.data, 0, s.len)));
}

static unsigned count_header(const struct http_request *r, const char *name)
{
    unsigned n = 0;

    for (size_t i = 0; i < r->header_count; i++)
        n += slice_is_nocase(r->headers[i].name, slice_of(name));
    return n;
}

/* What no head that was let through may be. */
static void check_request(const struct http_request *r, const char *data, long len)
{
    FUZZ_CHECK(len >= 4 && memcmp(data + len - 4, "\r\n\r\n", 4) == 0 && len <= LIMIT);
    FUZZ_CHECK(http_is_token(r->method) && !slice_is(r->method, SLICE("CONNECT")));
    FUZZ_CHECK(r->path.len > 0 && r->path.data[0] == '/' && !memchr(r->path.data, '?', r->path.len));
    check_inside(r->method, data, len);
    check_inside(r->target, data, len);
    check_inside(r->path, data, len);
    check_inside(r->query, data, len);
    check_inside(r->host, data, len);
    for (size_t i = 0; i < r->header_count; i++) {
        check_inside(r->headers[i].name, data, len);
        check_inside(r->headers[i].value, data, len);
        FUZZ_CHECK(http_is_token(r->headers[i].name) && http_is_value(r->headers[i].value));
        FUZZ_CHECK(r->headers[i].name.data[r->headers[i].name.len] == ':');
        FUZZ_CHECK(r->headers[i].name.data[-1] == '\n');
    }
    unsigned codings = count_header(r, "Transfer-Encoding"), lengths = count_header(r, "Content-Length");
    FUZZ_CHECK(codings + lengths <= 1 && r->chunked == (codings == 1) && r->has_length == (lengths == 1));
    FUZZ_CHECK(!r->chunked || r->minor == 1);
    FUZZ_CHECK(count_header(r, "Host") == 1 || (r->minor == 0 && count_header(r, "Host") == 0));
    FUZZ_CHECK(r->host.len == 0 || (!memchr(r->host.data, '@', r->host.len) && !memchr(r->host.data, '/', r->host.len)));
}

/* Parse as bytes come in. Returns the result; *r points into `data` when that is above 0. */
static long parse(const char *data, size_t size, uint32_t seed, struct http_request *r)
{
    const char *reason = NULL;
    size_t have = 0, scanned = 0;
    long got = 0;

    while (got == 0 && have < size) {
        have += fuzz_piece(&seed, size - have);
        char *copy = fuzz_copy(data, have);
        size_t before = scanned;
        got = http_parse_head(copy, have, LIMIT, &scanned, r, &reason);
        free(copy);
        FUZZ_CHECK((got < 0) == (reason != NULL) && (got != 0 || have < LIMIT));
        if (got > 0) {
            scanned = before;
            FUZZ_CHECK(http_parse_head(data, have, LIMIT, &scanned, r, &reason) == got && got <= (long)have);
        }
    }
    return got;
}

static void check_same_request(const struct http_request *a, const struct http_request *b)
{
    FUZZ_CHECK(slice_is(a->method, b->method) && slice_is(a->target, b->target) && slice_is(a->path, b->path) &&
               slice_is(a->query, b->query) && slice_is(a->host, b->host));
    FUZZ_CHECK(a->minor == b->minor && a->keep_alive == b->keep_alive && a->chunked == b->chunked &&
               a->has_length == b->has_length && a->expect_continue == b->expect_continue &&
               a->upgrade_websocket == b->upgrade_websocket && a->length == b->length);
    FUZZ_CHECK(a->header_count == b->header_count);
    for (size_t i = 0; i < a->header_count; i++)
        FUZZ_CHECK(a->headers[i].name.data == b->headers[i].name.data && slice_is(a->headers[i].value, b->headers[i].value));
}

/* Decode a chunked body as it comes in; *used is where it ended. */
static int unchunk(const char *data, size_t size, uint32_t seed, struct buf *out, size_t *used)
{
    struct http_chunks c = {0};
    int got = 0;

    *used = 0;
    while (got == 0 && *used < size) {
        size_t n = fuzz_piece(&seed, size - *used), took;
        char *copy = fuzz_copy(data + *used, n);
        got = http_chunks_feed(&c, copy, n, &took, out, BODY_LIMIT);
        free(copy);
        FUZZ_CHECK(got == 1 || got == 0 || got == -400 || got == -413);
        FUZZ_CHECK(out->len <= BODY_LIMIT && (got < 0 || (got == 0 ? took == n : took <= n)));
        *used += took;
    }
    return got;
}

static void run_chunks(const char *data, size_t size, uint32_t seed)
{
    struct buf whole = {0}, cut = {0};
    size_t end, cut_end;
    int got = unchunk(data, size, 0, &whole, &end);

    FUZZ_CHECK(unchunk(data, size, seed, &cut, &cut_end) == got);
    if (got >= 0)
        FUZZ_CHECK(end == cut_end && slice_is(buf_slice(&whole), buf_slice(&cut)));
    if (got == 1)
        FUZZ_CHECK(end >= 5 && data[end - 1] == '\n' && data[end - 2] == '\r');
    buf_fini(&whole);
    buf_fini(&cut);
}

static void run_head(const char *data, size_t size, uint32_t seed)
{
    static struct http_request whole, cut;
    long len = parse(data, size, 0, &whole);

    FUZZ_CHECK(parse(data, size, seed, &cut) == len);
    if (len <= 0)
        return;
    check_request(&whole, data, len);
    check_same_request(&whole, &cut);
    if (whole.chunked)
        run_chunks(data + len, size - (size_t)len, seed);
}

static void run_lists(struct slice text)
{
    struct slice rest = text, name, value;

    for (size_t left = rest.len; http_next_arg(&rest, &name, &value); left = rest.len)
        FUZZ_CHECK(rest.len < left && name.len + value.len <= left && (name.len == 0 || !memchr(name.data, '=', name.len)));
    rest = text;
    for (size_t left = rest.len; http_next_cookie(&rest, &name, &value); left = rest.len)
        FUZZ_CHECK(rest.len < left && name.len > 0 && name.len + value.len < left);
}

static void run_date(struct slice text)
{
    char printed[30];
    int64_t when = http_parse_date(text);

    FUZZ_CHECK(when >= -1);
    if (when < 0)
        return;
    http_date(printed, when);
    FUZZ_CHECK(http_parse_date(slice_of(printed)) == when);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t what = fuzz_byte(&bytes, &size);
    uint32_t seed = fuzz_byte(&bytes, &size) * 2u + 1;
    char *data = fuzz_copy(bytes, size);

    switch (what) {
    case 'c':
        run_chunks(data, size, seed);
        break;
    case 'l':
        run_lists((struct slice){data, size});
        break;
    case 'd':
        run_date((struct slice){data, size});
        break;
    default:
        run_head(data, size, seed);
    }
    free(data);
    return 0;
}
