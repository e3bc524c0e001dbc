/* http.c - what clients send: HTTP/1.1 request heads, chunked bodies, lists of arguments and cookies.
 *
 * The parser is strict on purpose: where two servers could read the same bytes differently, a proxy in front of us and we would
 * disagree about where a request ends, and somebody could hide one request inside another. So whatever is not plainly legal is
 * refused, and the connection with it. A head is looked at twice: once byte by byte as it comes in, for its end and for bytes
 * that no head may have, and once when it is whole.
 */
#include "net/http.h"

#include "base/err.h"
#include <assert.h>
#include <string.h>

enum {
    TARGET_MAX = 8192,
    CHUNK_DIGITS_MAX = 16,   /* leading zeros included: a 64-bit size */
    CHUNK_EXTRA_MAX = 16384, /* bytes of extensions and trailers of one body */
    FAIL_SYNTAX = -400
};

/* What a byte may be part of. */
enum {
    C_TOKEN = 1,  /* token, RFC 9110 5.6.2 */
    C_TEXT = 2,   /* field value: VCHAR, obs-text, blank, tab */
    C_TARGET = 4, /* request target: what browsers send unescaped, too; never a blank, a fragment, or bytes above ASCII */
    C_HOST = 8,   /* a host's name */
    C_DIGIT = 16,
    C_HEX = 32
};

#define SYMBOL (C_TEXT | C_TARGET)
#define TOKEN (SYMBOL | C_TOKEN)
#define NAME (TOKEN | C_HOST)
#define HEX (NAME | C_HEX)

static const unsigned char classes[256] = {
    ['\t'] = C_TEXT,
    [' '] = C_TEXT,
    ['"'] = C_TEXT,
    ['<'] = C_TEXT,
    ['>'] = C_TEXT,
    ['#'] = C_TEXT | C_TOKEN,
    ['|'] = TOKEN,
    ['^'] = TOKEN,
    ['`'] = TOKEN,
    ['/'] = SYMBOL,
    ['?'] = SYMBOL,
    ['@'] = SYMBOL,
    ['{'] = SYMBOL,
    ['}'] = SYMBOL,
    ['\\'] = SYMBOL,
    [':'] = SYMBOL,
    ['['] = SYMBOL,
    [']'] = SYMBOL,
    ['('] = SYMBOL | C_HOST,
    [')'] = SYMBOL | C_HOST,
    [','] = SYMBOL | C_HOST,
    [';'] = SYMBOL | C_HOST,
    ['='] = SYMBOL | C_HOST,
    ['!'] = NAME,
    ['$'] = NAME,
    ['%'] = NAME,
    ['&'] = NAME,
    ['\''] = NAME,
    ['*'] = NAME,
    ['+'] = NAME,
    ['-'] = NAME,
    ['.'] = NAME,
    ['_'] = NAME,
    ['~'] = NAME,
    ['0' ... '9'] = HEX | C_DIGIT,
    ['A' ... 'F'] = HEX,
    ['G' ... 'Z'] = NAME,
    ['a' ... 'f'] = HEX,
    ['g' ... 'z'] = NAME,
    [0x80 ... 0xff] = C_TEXT,
};

static bool is_class(char c, unsigned char class)
{
    return classes[(unsigned char)c] & class;
}

/* Bytes at the start of `data` that are of that class. */
static size_t span(const char *data, size_t len, unsigned char class)
{
    size_t n = 0;

    while (n < len && is_class(data[n], class))
        n++;
    return n;
}

bool http_is_token(struct slice s)
{
    return s.len > 0 && span(s.data, s.len, C_TOKEN) == s.len;
}

bool http_is_value(struct slice s)
{
    return span(s.data, s.len, C_TEXT) == s.len;
}

static long fail(const char **reason, int status, const char *text)
{
    *reason = text;
    return -status;
}

/* ---- the end of the head ---- */

/* RFC 9112 2.2: one empty line before a request is let through, since old clients send it behind a body. */
static size_t leading_line(const char *data, size_t len)
{
    return len >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;
}

/* Look on from *scanned. Returns the length up to the end of the empty line, 0 when it has not come, or FAIL_SYNTAX for a byte
 * that no head may have: the bytes before *scanned were fine, so a CR among them is only open when it is the last. */
static long find_end(const char *data, size_t len, size_t *scanned)
{
    for (size_t i = *scanned; i < len; i++) {
        bool after_cr = i > 0 && data[i - 1] == '\r';
        if ((data[i] == '\n') != after_cr)
            return FAIL_SYNTAX;
        if (data[i] == '\n') {
            if (i >= 3 && data[i - 2] == '\n') /* "\r\n\r\n" */
                return (long)(i + 1);
        } else if (data[i] != '\r' && !is_class(data[i], C_TEXT)) {
            return FAIL_SYNTAX;
        }
    }
    *scanned = len;
    return 0;
}

/* ---- the request line ---- */

static bool all_digits(struct slice s)
{
    return span(s.data, s.len, C_DIGIT) == s.len;
}

/* Bytes of "[...]" with an IPv6 address at the start, 0 when there is none. */
static size_t span_bracketed(struct slice host)
{
    size_t n = 1;

    if (host.len == 0 || host.data[0] != '[')
        return 0;
    while (n < host.len && (is_class(host.data[n], C_HEX) || host.data[n] == ':' || host.data[n] == '.'))
        n++;
    return n > 2 && n < host.len && host.data[n] == ']' ? n + 1 : 0;
}

/* uri-host [ ":" port ], possibly empty (RFC 9112 3.2). */
static bool host_ok(struct slice host)
{
    size_t n = span_bracketed(host);

    if (n == 0)
        n = span(host.data, host.len, C_HOST);
    if (n == host.len)
        return true;
    return n > 0 && host.data[n] == ':' && all_digits((struct slice){host.data + n + 1, host.len - n - 1});
}

/* Skip "http://host" in front of the path: RFC 9112 3.2.2, the host in the target then counts instead of the header's. */
static bool cut_authority(struct slice *target, struct http_request *out)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct slice scheme = slice_of(schemes[i]);
        if (target->len <= scheme.len || !slice_is_nocase((struct slice){target->data, scheme.len}, scheme))
            continue;
        target->data += scheme.len;
        target->len -= scheme.len;
        size_t n = 0;
        while (n < target->len && target->data[n] != '/' && target->data[n] != '?')
            n++;
        out->host = (struct slice){target->data, n};
        target->data += n;
        target->len -= n;
        return n > 0 && host_ok(out->host);
    }
    return false;
}

static void split_target(struct slice target, struct http_request *out)
{
    const char *mark = target.len ? memchr(target.data, '?', target.len) : NULL;
    size_t path = mark ? (size_t)(mark - target.data) : target.len;

    out->target = target;
    out->path = (struct slice){target.data, path};
    if (mark)
        out->query = (struct slice){mark + 1, target.len - path - 1};
    if (path == 0) /* "http://host" and "http://host?query" mean the root */
        out->target = out->path = SLICE("/");
}

static long parse_target(struct slice target, struct http_request *out, const char **reason)
{
    if (target.len > TARGET_MAX)
        return fail(reason, 414, "the request target is longer than 8192 bytes");
    if (target.len == 0 || span(target.data, target.len, C_TARGET) != target.len)
        return fail(reason, 400, "the request target has a character that must be percent-encoded");
    if (slice_is(target, SLICE("*"))) {
        out->target = target;
        out->path = SLICE("/");
        return slice_is(out->method, SLICE("OPTIONS")) ? 0 : fail(reason, 400, "the target * is for OPTIONS only");
    }
    if (target.data[0] != '/' && !cut_authority(&target, out))
        return fail(reason, 400, "the request target must start with /");
    split_target(target, out);
    return 0;
}

/* "HTTP/" digit "." digit. A minor version above 1 is spoken as 1 (RFC 9110 2.5). */
static long parse_version(struct slice v, struct http_request *out, const char **reason)
{
    if (v.len != 8 || memcmp(v.data, "HTTP/", 5) != 0 || !is_class(v.data[5], C_DIGIT) || v.data[6] != '.' ||
        !is_class(v.data[7], C_DIGIT))
        return fail(reason, 400, "the request line must end with HTTP/1.1 or HTTP/1.0");
    if (v.data[5] != '1')
        return fail(reason, 505, "this server speaks HTTP/1.1");
    out->minor = v.data[7] != '0';
    return 0;
}

/* method SP target SP version: single blanks, nothing around them. */
static long parse_request_line(struct slice line, struct http_request *out, const char **reason)
{
    size_t method = span(line.data, line.len, C_TOKEN);
    const char *rest = line.data + method + 1;
    const char *end = line.data + line.len;

    if (method == 0 || method == line.len || line.data[method] != ' ')
        return fail(reason, 400, "the request line must start with a method");
    out->method = (struct slice){line.data, method};
    const char *blank = memchr(rest, ' ', (size_t)(end - rest));
    if (!blank)
        return fail(reason, 400, "the request line has no version");
    long failed = parse_version((struct slice){blank + 1, (size_t)(end - blank) - 1}, out, reason);
    if (failed)
        return failed;
    if (slice_is(out->method, SLICE("CONNECT")))
        return fail(reason, 400, "CONNECT is for proxies");
    return parse_target((struct slice){rest, (size_t)(blank - rest)}, out, reason);
}

/* ---- header lines ---- */

/* Blanks around the value go; bytes were checked by find_end. */
static bool parse_header(struct slice line, struct http_header *h)
{
    size_t name = span(line.data, line.len, C_TOKEN);

    if (name == 0 || name == line.len || line.data[name] != ':')
        return false;
    h->name = (struct slice){line.data, name};
    h->value = slice_trim((struct slice){line.data + name + 1, line.len - name - 1});
    return true;
}

/* The next line up to its CRLF, which find_end has made sure of. */
static struct slice next_line(const char **at, const char *end)
{
    const char *cr = memchr(*at, '\r', (size_t)(end - *at));
    assert(cr);
    struct slice line = {*at, (size_t)(cr - *at)};

    *at = cr + 2;
    return line;
}

static long parse_headers(const char *at, const char *end, struct http_request *out, const char **reason)
{
    for (;;) {
        struct slice line = next_line(&at, end);
        if (line.len == 0)
            return 0;
        if (out->header_count == HTTP_HEADERS_MAX)
            return fail(reason, 431, "more than 100 header lines");
        if (line.data[0] == ' ' || line.data[0] == '\t')
            return fail(reason, 400, "a header line must not start with a blank");
        if (!parse_header(line, &out->headers[out->header_count]))
            return fail(reason, 400, "a header line must be a name, a colon and a value");
        out->header_count++;
    }
}

/* ---- what the headers mean ---- */

/* The next element of a strict list: one that proxies and we could split differently (empty elements, quotes) is not a list of
 * tokens. 1 with *token, 0 at the end, -1 when it is none. */
static int next_token(struct slice *rest, bool *first, struct slice *token)
{
    if (!*first && rest->len == 0)
        return 0;
    *first = false;
    const char *comma = rest->len ? memchr(rest->data, ',', rest->len) : NULL;
    size_t n = comma ? (size_t)(comma - rest->data) : rest->len;
    *token = slice_trim((struct slice){rest->data, n});
    if (!http_is_token(*token))
        return -1;
    if (comma && n + 1 == rest->len)
        return -1;
    rest->data += comma ? n + 1 : n;
    rest->len -= comma ? n + 1 : n;
    return 1;
}

/* One Transfer-Encoding line. Codings over all lines are one list, so chunked must not have been seen before. */
static long add_codings(struct slice value, struct http_request *out, bool *other, const char **reason)
{
    bool first = true;
    struct slice token;
    int got;

    while ((got = next_token(&value, &first, &token)) > 0) {
        if (out->chunked)
            return fail(reason, 400, "chunked must be the last transfer coding, once");
        if (slice_is_nocase(token, SLICE("chunked")))
            out->chunked = true;
        else
            *other = true;
    }
    return got == 0 ? 0 : fail(reason, 400, "bad Transfer-Encoding");
}

static long add_length(struct slice value, struct http_request *out, const char **reason)
{
    unsigned long long length;

    if (out->has_length)
        return fail(reason, 400, "Content-Length is repeated");
    if (!slice_to_uint(value, INT64_MAX, &length))
        return fail(reason, 400, "bad Content-Length");
    out->has_length = true;
    out->length = length;
    return 0;
}

/* Where the body ends: the one question that must have one answer. */
static long check_framing(struct http_request *out, const char **reason)
{
    bool coded = false, other = false;

    for (size_t i = 0; i < out->header_count; i++) {
        const struct http_header *h = &out->headers[i];
        long failed = 0;
        if (slice_is_nocase(h->name, SLICE("Content-Length"))) {
            failed = add_length(h->value, out, reason);
        } else if (slice_is_nocase(h->name, SLICE("Transfer-Encoding"))) {
            coded = true;
            failed = add_codings(h->value, out, &other, reason);
        }
        if (failed)
            return failed;
    }
    if (!coded)
        return 0;
    if (out->has_length)
        return fail(reason, 400, "both Content-Length and Transfer-Encoding");
    if (out->minor == 0)
        return fail(reason, 400, "HTTP/1.0 has no Transfer-Encoding");
    return other ? fail(reason, 501, "the only transfer coding here is chunked") : 0;
}

static long check_host(struct http_request *out, const char **reason)
{
    bool seen = false;

    for (size_t i = 0; i < out->header_count; i++) {
        const struct http_header *h = &out->headers[i];
        if (!slice_is_nocase(h->name, SLICE("Host")))
            continue;
        if (seen)
            return fail(reason, 400, "Host is repeated");
        if (!host_ok(h->value))
            return fail(reason, 400, "bad Host");
        seen = true;
        if (!out->host.data)
            out->host = h->value;
    }
    if (!seen && out->minor > 0)
        return fail(reason, 400, "Host is missing");
    return 0;
}

static void read_connection(struct http_request *out)
{
    bool upgrade = http_has_token(out, SLICE("Connection"), SLICE("upgrade"));
    bool closing = http_has_token(out, SLICE("Connection"), SLICE("close"));
    bool kept = out->minor > 0 || http_has_token(out, SLICE("Connection"), SLICE("keep-alive"));

    out->keep_alive = kept && !closing;
    out->upgrade_websocket = upgrade && http_has_token(out, SLICE("Upgrade"), SLICE("websocket"));
    out->expect_continue = out->minor > 0 && http_has_token(out, SLICE("Expect"), SLICE("100-continue"));
}

static long parse_whole(const char *data, size_t len, struct http_request *out, const char **reason)
{
    const char *at = data + leading_line(data, len);
    long failed;

    memset(out, 0, offsetof(struct http_request, headers));
    failed = parse_request_line(next_line(&at, data + len), out, reason);
    if (!failed)
        failed = parse_headers(at, data + len, out, reason);
    if (!failed)
        failed = check_host(out, reason);
    if (!failed)
        failed = check_framing(out, reason);
    if (failed)
        return failed;
    read_connection(out);
    return (long)len;
}

long http_parse_head(const char *data, size_t len, size_t limit, size_t *scanned, struct http_request *out, const char **reason)
{
    size_t seen = len < limit ? len : limit;
    long end = find_end(data, seen, scanned);

    *reason = NULL;
    if (end < 0)
        return fail(reason, 400, "a byte that no request head may have");
    if (end > 0)
        return parse_whole(data, (size_t)end, out, reason);
    if (len < limit)
        return 0;
    size_t skip = leading_line(data, seen);
    if (!memchr(data + skip, '\n', seen - skip))
        return fail(reason, 414, "the request line is too long");
    return fail(reason, 431, "the request head is too large");
}

struct slice http_find(const struct http_request *r, struct slice name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (slice_is_nocase(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct slice){NULL, 0};
}

bool http_has_token(const struct http_request *r, struct slice name, struct slice token)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, name))
            continue;
        struct slice rest = r->headers[i].value, element;
        while (slice_next(&rest, ',', &element))
            if (slice_is_nocase(element, token))
                return true;
    }
    return false;
}

/* ---- chunked bodies ---- */

/* Where in the body the next byte is. The low byte of http_chunks.state; above it is the count of digits of the size. */
enum chunk_state {
    CHUNK_SIZE = 0,
    CHUNK_BLANK, /* after the size: blanks that only a ; may follow */
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_LINE, /* first byte of a trailer line or of the empty line */
    CHUNK_NAME,
    CHUNK_VALUE,
    CHUNK_LINE_LF,
    CHUNK_END_LF,
    CHUNK_DONE
};

static int hex_value(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* A byte of the size, or the one behind it. */
static int chunk_size(struct http_chunks *c, char byte)
{
    uint32_t digits = c->state >> 8;

    if (is_class(byte, C_HEX)) {
        if (digits == CHUNK_DIGITS_MAX)
            return FAIL_SYNTAX;
        c->left = c->left << 4 | (uint64_t)hex_value(byte);
        c->state += 1 << 8;
        return CHUNK_SIZE;
    }
    if (digits == 0)
        return FAIL_SYNTAX;
    switch (byte) {
    case '\r':
        return CHUNK_SIZE_LF;
    case ';':
        return CHUNK_EXTENSION;
    case ' ':
    case '\t':
        return CHUNK_BLANK;
    default:
        return FAIL_SYNTAX;
    }
}

/* What follows a size: an extension. Read over, but never past a bare CR or LF, which others may take for the line's end. */
static int chunk_extension(enum chunk_state state, char byte)
{
    if (state == CHUNK_BLANK)
        return byte == ';' ? CHUNK_EXTENSION : byte == ' ' || byte == '\t' ? CHUNK_BLANK : FAIL_SYNTAX;
    return byte == '\r' ? CHUNK_SIZE_LF : is_class(byte, C_TEXT) ? CHUNK_EXTENSION : FAIL_SYNTAX;
}

/* Trailers are checked like headers and dropped: what they say must not change how the request was understood. */
static int chunk_trailer(enum chunk_state state, char byte)
{
    if (state == CHUNK_LINE && byte == '\r')
        return CHUNK_END_LF;
    if (state == CHUNK_VALUE)
        return byte == '\r' ? CHUNK_LINE_LF : is_class(byte, C_TEXT) ? CHUNK_VALUE : FAIL_SYNTAX;
    if (state == CHUNK_NAME && byte == ':')
        return CHUNK_VALUE;
    return is_class(byte, C_TOKEN) ? CHUNK_NAME : FAIL_SYNTAX;
}

/* The state after one byte that is not body, or FAIL_SYNTAX. */
static int chunk_step(struct http_chunks *c, char byte)
{
    enum chunk_state state = c->state & 0xff;

    switch (state) {
    case CHUNK_SIZE:
        return chunk_size(c, byte);
    case CHUNK_BLANK:
    case CHUNK_EXTENSION:
        return ++c->extra > CHUNK_EXTRA_MAX ? FAIL_SYNTAX : chunk_extension(state, byte);
    case CHUNK_SIZE_LF:
        return byte != '\n' ? FAIL_SYNTAX : c->left > 0 ? CHUNK_DATA : CHUNK_LINE;
    case CHUNK_DATA_CR:
        return byte == '\r' ? CHUNK_DATA_LF : FAIL_SYNTAX;
    case CHUNK_DATA_LF:
        return byte == '\n' ? CHUNK_SIZE : FAIL_SYNTAX;
    case CHUNK_LINE:
    case CHUNK_NAME:
    case CHUNK_VALUE:
        return ++c->extra > CHUNK_EXTRA_MAX ? FAIL_SYNTAX : chunk_trailer(state, byte);
    case CHUNK_LINE_LF:
        return byte == '\n' ? CHUNK_LINE : FAIL_SYNTAX;
    case CHUNK_END_LF:
        return byte == '\n' ? CHUNK_DONE : FAIL_SYNTAX;
    case CHUNK_DATA:
    case CHUNK_DONE:
        break;
    }
    assert(!"a state that takes no single bytes");
    return FAIL_SYNTAX;
}

/* Body bytes of the current chunk. Returns how many were taken, or -500. */
static long chunk_data(struct http_chunks *c, const char *data, size_t len, struct buf *out)
{
    size_t n = c->left < len ? (size_t)c->left : len;

    if (buf_add(out, data, n) != 0)
        return -500;
    c->left -= n;
    if (c->left == 0)
        c->state = CHUNK_DATA_CR;
    return (long)n;
}

int http_chunks_feed(struct http_chunks *c, const char *data, size_t len, size_t *used, struct buf *out, size_t limit)
{
    size_t at = 0;

    *used = 0;
    while (at < len && c->state != CHUNK_DONE) {
        if (c->state == CHUNK_DATA) {
            long taken = chunk_data(c, data + at, len - at, out);
            if (taken < 0)
                return (int)taken;
            at += (size_t)taken;
            continue;
        }
        int next = chunk_step(c, data[at++]);
        if (next < 0)
            return next;
        if (next == CHUNK_SIZE && (c->state & 0xff) == CHUNK_SIZE)
            continue; /* the state holds the count of digits */
        c->state = (uint32_t)next;
        if (next == CHUNK_DATA && (out->len > limit || c->left > limit - out->len))
            return -413;
    }
    *used = at;
    return c->state == CHUNK_DONE;
}

/* ---- lists of name=value ---- */

static struct slice cut_until(struct slice *rest, char sep)
{
    const char *end = memchr(rest->data, sep, rest->len);
    struct slice piece = {rest->data, end ? (size_t)(end - rest->data) : rest->len};
    size_t gone = piece.len + (end ? 1 : 0);

    rest->data += gone;
    rest->len -= gone;
    return piece;
}

bool http_next_arg(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len > 0) {
        struct slice piece = cut_until(rest, '&');
        if (piece.len == 0)
            continue;
        *name = cut_until(&piece, '=');
        *value = piece;
        return true;
    }
    return false;
}

bool http_next_cookie(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len > 0) {
        struct slice piece = cut_until(rest, ';');
        if (!memchr(piece.data, '=', piece.len))
            continue; /* RFC 6265 has no cookies without a name */
        *name = slice_trim(cut_until(&piece, '='));
        *value = slice_trim(piece);
        if (value->len >= 2 && value->data[0] == '"' && value->data[value->len - 1] == '"')
            *value = (struct slice){value->data + 1, value->len - 2};
        if (name->len > 0)
            return true;
    }
    return false;
}
