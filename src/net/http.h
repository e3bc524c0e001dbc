/* http.h - HTTP/1.1 as bytes (RFC 9112, 9110): strict parser for request heads and chunked bodies, printer for responses.
 *
 * Pure functions, no I/O. Everything parsed is a slice into the bytes given, so the head must outlive the request.
 */
#ifndef MT_NET_HTTP_H
#define MT_NET_HTTP_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 16384, HTTP_HEADERS_MAX = 100 };

struct http_header {
    struct slice name, value; /* value without the blanks around it */
};

struct http_request {
    struct slice method;    /* "GET" */
    struct slice target;    /* as sent; origin-form, or "*" for OPTIONS. absolute-form is cut to its path and query */
    struct slice path;      /* of target, still percent-encoded, starts with /; "/" for "*" */
    struct slice query;     /* of target, without the ?, empty when there is none */
    struct slice host;      /* Host header, or the host of an absolute-form target, which goes before it; data NULL: none (1.0) */
    int minor;              /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;        /* the connection may carry another request after this one */
    bool chunked;           /* body comes in chunks */
    bool has_length;        /* Content-Length was given */
    bool expect_continue;   /* Expect: 100-continue */
    bool upgrade_websocket; /* Connection has upgrade and Upgrade names websocket */
    uint64_t length;        /* Content-Length */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

/* Parse a request head. Returns its length in bytes to the end of the empty line (one empty line in front of it is let through
 * and counted), 0 when more bytes are needed, or minus an HTTP status: -400 bad syntax, at once for a byte that no head may have,
 * -431 head over `limit` or too many headers, -414 target over 8 KiB or a request line over `limit`, -501 a transfer coding other
 * than chunked, -505 not HTTP/1.x. `*scanned` (0 at first) remembers how far the search for the end went, so that bytes that
 * dribble in are looked at once. *reason is a static sentence for the response body. Refused as 400: bare CR or LF, obs-fold,
 * blanks before the colon, empty names, control characters, repeated or contradicting Content-Length, Content-Length beside
 * Transfer-Encoding, missing or repeated Host in 1.1, CONNECT, chunked not last, a list of codings with empty elements,
 * Transfer-Encoding in 1.0, a target with blanks, quotes, <, >, # or bytes above ASCII. */
long http_parse_head(const char *data, size_t len, size_t limit, size_t *scanned, struct http_request *out, const char **reason);

/* First header of that name (case folded); empty slice with data NULL when absent. */
struct slice http_find(const struct http_request *r, struct slice name);
/* Whether any header of that name lists `token` between commas (case folded). */
bool http_has_token(const struct http_request *r, struct slice name, struct slice token);

/* Whether `s` is a token (RFC 9110 5.6.2): not empty, no blanks, no separators. */
bool http_is_token(struct slice s);
/* Whether `s` can be a field value: no control characters but tabs. */
bool http_is_value(struct slice s);

/* Chunked body decoder. Zeroed memory is the start. */
struct http_chunks {
    uint64_t left;  /* bytes left of the current chunk */
    uint32_t state; /* private */
    uint32_t extra; /* bytes of extensions and trailers seen; more than 16 KiB are refused */
};
/* Appends body bytes to `out`, which holds nothing but the body and at most `limit` bytes of it. 1 at the end of the body (*used
 * tells where), 0 wants more, or minus an HTTP status: -400, -413; MT_ENOMEM is -500. */
int http_chunks_feed(struct http_chunks *c, const char *data, size_t len, size_t *used, struct buf *out, size_t limit);

/* Next `name=value` of a query or form, raw (decode with text_unpercent); false at the end. */
bool http_next_arg(struct slice *rest, struct slice *name, struct slice *value);
/* Next `name=value` of a Cookie header, quotes around the value removed; false at the end. */
bool http_next_cookie(struct slice *rest, struct slice *name, struct slice *value);

const char *http_status_text(int status); /* "Not Found"; "Status" for unknown ones */
/* Status line plus Date. 0 or MT_ENOMEM. Then http_put_header for each, then http_put_end. */
int http_put_status(struct buf *out, int status);
/* Refuses names and values that could split the response: MT_EINVALID. */
int http_put_header(struct buf *out, struct slice name, struct slice value);
/* Lines that the server writes by itself: with a second one of these, two readers could see two different answers. */
bool http_is_own_header(struct slice name);
int http_put_end(struct buf *out);
/* IMF-fixdate of `when` (RFC 9110 5.6.7) into 30 bytes with the NUL. */
void http_date(char out[30], int64_t when);
/* Seconds since 1970 of a date in any of RFC 9110's three forms; -1 when it is none, or before 1970. */
int64_t http_parse_date(struct slice text);
#endif
