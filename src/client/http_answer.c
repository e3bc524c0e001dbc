/* http_answer.c - head and body as libcurl brings them: counted, bounded, and kept for the owner. */
#include "client/http_impl.h"

#include "base/err.h"
#include "base/mem.h"
#include <string.h>

enum {
    HEAD_BYTES_MAX = 64 << 10, /* of one answer, with the heads before it (100 Continue) and trailers */
    HEAD_LINES_MAX = 256,      /* libcurl's walk over headers is quadratic */
    SKIP_MAX = 64 << 10,       /* bytes of a redirect's body worth reading to keep the connection */
    ROOM = 128 << 10,          /* bytes of a stream that wait for its reader */
};

/* ---- the head ---- */

/* libcurl leaves a piece of the line break in a value that is empty. */
static struct slice value_of(const struct curl_header *h)
{
    return (struct slice){h->value, strcspn(h->value, "\r\n")};
}

static struct slice find_header(const struct http_call *call, const char *name)
{
    struct curl_header *h;

    if (curl_easy_header(call->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return (struct slice){NULL, 0};
    return value_of(h);
}

static int keep_headers(struct http_call *call)
{
    struct curl_header *h = NULL;
    int rc = 0;

    while (rc == 0 && (h = curl_easy_nextheader(call->easy, CURLH_HEADER, -1, h)) != NULL) {
        rc = buf_add(&call->head, h->name, strlen(h->name) + 1);
        if (rc == 0)
            rc = buf_add(&call->head, h->value, value_of(h).len);
        if (rc == 0)
            rc = buf_add_byte(&call->head, '\0');
    }
    return rc;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* What was read at once, 16 KiB, is held inflated while a stream is paused: 16 MiB at most by one of these. Several on top of
 * each other, and those that were not asked for, have no such bound. */
static bool is_streamable(struct slice coding)
{
    return coding.data == NULL || slice_is_nocase(coding, SLICE("gzip")) || slice_is_nocase(coding, SLICE("x-gzip")) ||
           slice_is_nocase(coding, SLICE("deflate")) || slice_is_nocase(coding, SLICE("identity"));
}

/* Whether its Content-Length says that the body is over the limit. */
static bool announces_too_much(const struct http_call *call)
{
    unsigned long long length;

    return strcmp(call->method, "HEAD") != 0 && call->status != 304 &&
           slice_to_uint(slice_trim(find_header(call, "content-length")), ~0ULL, &length) && length > call->limit;
}

static int fail_too_large(struct http_call *call)
{
    return call_fail(call, MT_ETOO_LARGE, "an answer of more than %zu bytes", call->limit);
}

/* The head of a final answer is complete. */
static int take_head(struct http_call *call)
{
    struct slice location = is_redirect(call->status) ? find_header(call, "location") : (struct slice){NULL, 0};

    if (call->status < 200)
        return call_fail(call, MT_EMALFORMED, "an answer with status %d", call->status);
    if (location.len > 0) {
        call->location = mem_strdup(location.data, location.len);
        return call->location ? 0 : call_fail(call, MT_ENOMEM, "out of memory");
    }
    if (keep_headers(call) != 0)
        return call_fail(call, MT_ENOMEM, "out of memory");
    if (!call->stream && announces_too_much(call))
        return fail_too_large(call);
    if (call->stream && !is_streamable(slice_trim(find_header(call, "content-encoding"))))
        return call_fail(call, MT_EMALFORMED, "a stream in a content coding that was not asked for");
    call->has_head = true;
    if (call->stream)
        call->changed(call->arg);
    return 0;
}

static int take_head_end(struct http_call *call)
{
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->head_done || (status >= 100 && status < 200 && status != 101))
        return 0;
    call->head_done = true;
    call->status = (int)status;
    return take_head(call);
}

/* Each line of each head, with its line break. */
static size_t on_head_line(char *line, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;

    call->head_bytes += n;
    if (call->head_bytes > HEAD_BYTES_MAX || ++call->head_lines > HEAD_LINES_MAX) {
        call_fail(call, MT_ETOO_LARGE, "the head of the answer has more than 64 KiB or %d lines", HEAD_LINES_MAX);
        return 0;
    }
    if ((line[0] == '\r' || line[0] == '\n') && take_head_end(call) != 0)
        return 0;
    return n;
}

/* ---- the body ---- */

static size_t skip_body(struct http_call *call, size_t n)
{
    call->skipped += n;
    return call->skipped <= SKIP_MAX ? n : 0;
}

static size_t add_body(struct http_call *call, const char *data, size_t n)
{
    if (buf_add(&call->data, data, n) == 0)
        return n;
    call_fail(call, MT_ENOMEM, "out of memory");
    return 0;
}

static size_t stream_body(struct http_call *call, const char *data, size_t n)
{
    size_t waiting = call->data.len - call->at;

    if (waiting > 0 && waiting + n > call->room) {
        call->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    n = add_body(call, data, n);
    if (n > 0)
        call->changed(call->arg);
    return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;

    if (call->location)
        return skip_body(call, n);
    if (call->stream)
        return stream_body(call, data, n);
    if (n > call->limit - call->data.len) {
        fail_too_large(call);
        return 0;
    }
    return add_body(call, data, n);
}

CURLcode answer_set_options(struct http_call *call)
{
    CURLcode rc = curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_head_line);

    rc |= curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
    rc |= curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);
    rc |= curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
    rc |= curl_easy_setopt(call->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return rc;
}

void answer_clear(struct http_call *call)
{
    call->head_bytes = call->head_lines = call->skipped = 0;
    call->head_done = false;
    mem_free(call->location);
    call->location = NULL;
}

/* ---- for the owner ---- */

bool http_call_has_head(const struct http_call *call)
{
    return call->has_head;
}

int http_call_status(const struct http_call *call)
{
    return call->status;
}

bool http_call_next_header(const struct http_call *call, size_t *at, struct slice *name, struct slice *value)
{
    const char *head = (const char *)call->head.data;

    if (*at >= call->head.len)
        return false;
    *name = slice_of(head + *at);
    *at += name->len + 1;
    *value = slice_of(head + *at);
    *at += value->len + 1;
    return true;
}

struct slice http_call_data(const struct http_call *call)
{
    if (call->at == call->data.len)
        return SLICE("");
    return (struct slice){(const char *)call->data.data + call->at, call->data.len - call->at};
}

/* libcurl may call on_body from in here, which may pause it again. */
static void resume(struct http_call *call)
{
    call->paused = false;
    CURLcode result = curl_easy_pause(call->easy, CURLPAUSE_CONT);
    if (result != CURLE_OK)
        call_finish(call, result);
}

void http_call_take(struct http_call *call, size_t n)
{
    call->at += n;
    if (call->at == call->data.len || call->at >= ROOM) { /* moving what is left costs no more than what was taken */
        buf_drop(&call->data, call->at);
        call->at = 0;
    }
    if (call->paused && call->data.len - call->at <= call->room / 2)
        resume(call);
}

void http_call_need(struct http_call *call, size_t bytes)
{
    call->room = bytes < SIZE_MAX - ROOM ? bytes + ROOM : SIZE_MAX;
    if (call->paused && call->data.len - call->at <= call->room / 2)
        resume(call);
}
