/* http_call.c - one call: its requests, one after the other where it is redirected.
 *
 * Redirects are followed here and not by libcurl, which would send the method of a PUT again without its body, and keeps what
 * belongs to a body in the head.
 */
#include "client/http_impl.h"

#include "base/err.h"
#include "base/mem.h"
#include "client/guard.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum {
    PATIENCE_MAX_MS = 1000 * 1000 * 1000, /* libcurl counts in an int */
    CONNECT_EXTRA_MS = 1000,              /* the owner gives up first, and says what it waited for */
};

/* ---- the guard ---- */

/* libcurl hands over each address that it is about to connect to: after the name was looked up, for every redirect. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *call = arg;
    int fd = -1;

    if (call->guarded && !guard_is_public(&address->addr))
        errno = EACCES;
    else
        fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    call->open_error = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Before each request, also on a connection that a call without guard has opened. */
static int on_before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct http_call *call = arg;

    if (!call->guarded || guard_is_public_text(ip))
        return CURL_PREREQFUNC_OK;
    call->open_error = EACCES;
    return CURL_PREREQFUNC_ABORT;
}

static CURLcode set_guard(struct http_call *call)
{
    CURLcode rc = curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);

    rc |= curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, call);
    rc |= curl_easy_setopt(call->easy, CURLOPT_PREREQFUNCTION, on_before_request);
    rc |= curl_easy_setopt(call->easy, CURLOPT_PREREQDATA, call);
    if (call->guarded) /* a proxy would look the name up itself */
        rc |= curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
    return rc;
}

/* ---- head and body of the request ---- */

static bool is_of_body(const char *name)
{
    return strncasecmp(name, "content-", 8) == 0;
}

static bool is_of_host(const char *name)
{
    return strcasecmp(name, "authorization") == 0 || strcasecmp(name, "cookie") == 0 || strcasecmp(name, "host") == 0;
}

static int add_line(struct http_call *call, const char *text)
{
    struct curl_slist *lines = curl_slist_append(call->lines, text);

    if (!lines)
        return MT_ENOMEM;
    call->lines = lines;
    return 0;
}

/* libcurl's forms: "Name: value"; "Name;" sends an empty one; "Name:", with or without blanks, leaves out what libcurl would
 * send. */
static int add_header_line(struct http_call *call, const char *name, const char *value)
{
    struct buf line = {0};
    int rc = value[strspn(value, " \t")] ? buf_addf(&line, "%s: %s", name, value) : buf_addf(&line, "%s;", name);

    if (rc == 0 && (rc = buf_add_byte(&line, '\0')) == 0)
        rc = add_line(call, (const char *)line.data);
    buf_fini(&line);
    return rc;
}

static int make_lines(struct http_call *call)
{
    const char *name = (const char *)call->headers.data, *end = name + call->headers.len;
    bool typed = false, named = false;
    int rc = add_line(call, "Expect:"); /* who sends a large body gets no second to wait first */

    while (rc == 0 && name < end) {
        const char *value = name + strlen(name) + 1;

        typed = typed || strcasecmp(name, "content-type") == 0;
        named = named || strcasecmp(name, "user-agent") == 0;
        if (!(call->foreign && is_of_host(name)) && !(call->turned && is_of_body(name)))
            rc = add_header_line(call, name, value);
        name = value + strlen(value) + 1;
    }
    if (rc == 0 && !typed) /* libcurl takes every body for a form */
        rc = add_line(call, "Content-Type:");
    if (rc == 0 && !named)
        rc = add_line(call, "User-Agent: moontide/" MT_VERSION);
    return rc;
}

static bool is_method(const struct http_call *call, const char *name)
{
    return strcmp(call->method, name) == 0;
}

/* A body that may be there and is not has the length 0. */
static CURLcode set_method(struct http_call *call)
{
    CURL *easy = call->easy;
    CURLcode rc;

    if (is_method(call, "HEAD"))
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (call->has_body || is_method(call, "POST") || is_method(call, "PUT") || is_method(call, "PATCH")) {
        rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.len ? (char *)call->body.data : "");
        rc |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    } else {
        rc = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    return rc | curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

/* ---- options ---- */

/* Streams speak HTTP/1.1: one that is paused must not hold up others on the same connection. libcurl then takes none of HTTP/2.
 */
static CURLcode set_transport(struct http_call *call)
{
    CURL *easy = call->easy;
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);

    rc |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a look-up that is given up is not waited for */
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    rc |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)(call->stream ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    rc |= curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    rc |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->patience_ms + CONNECT_EXTRA_MS);
    return rc;
}

/* One file of authorities is parsed once and kept by the multi handle; a folder beside it would be read for each connection. */
static CURLcode set_authorities(struct http_call *call)
{
    const char *own = call->client->settings->ca;
    CURLcode rc = CURLE_OK;

    if (own)
        rc = curl_easy_setopt(call->easy, CURLOPT_CAINFO, own);
    if (own || curl_version_info(CURLVERSION_NOW)->cainfo)
        rc |= curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL);
    return rc;
}

static CURLcode set_options(struct http_call *call)
{
    CURL *easy = call->easy;
    char *url = NULL;
    CURLcode rc = curl_url_get(call->url, CURLUPART_URL, &url, 0) == CURLUE_OK ? CURLE_OK : CURLE_OUT_OF_MEMORY;

    if (rc == CURLE_OK)
        rc = curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_free(url);
    rc |= curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    rc |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
    rc |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->lines);
    rc |= set_transport(call);
    rc |= set_authorities(call);
    rc |= set_method(call);
    rc |= set_guard(call);
    return rc | answer_set_options(call);
}

/* ---- under way ---- */

static void drop_easy(struct http_call *call)
{
    if (call->easy)
        client_give_easy(call->client, call->easy);
    call->easy = NULL;
    curl_slist_free_all(call->lines);
    call->lines = NULL;
}

/* One request. 0 or MT_ENOMEM. */
static int launch(struct http_call *call)
{
    int rc = make_lines(call);

    answer_clear(call);
    call->why[0] = '\0';
    call->open_error = 0;
    if (rc == 0 && ((call->easy = client_take_easy(call->client)) == NULL || set_options(call) != CURLE_OK))
        rc = MT_ENOMEM;
    if (rc == 0)
        rc = client_add(call->client, call);
    if (rc != 0)
        drop_easy(call);
    return rc;
}

static void recall(struct http_call *call)
{
    if (!call->easy)
        return;
    client_remove(call->client, call);
    drop_easy(call);
}

void call_end(struct http_call *call)
{
    recall(call);
    client_leave(call->client, call);
    call->state = HTTP_ENDED;
    call->paused = false;
    call->changed(call->arg);
}

/* ---- URLs ---- */

static bool has_scheme(CURLU *url, const char *name)
{
    char *scheme = NULL;
    bool is = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && strcmp(scheme, name) == 0;

    curl_free(scheme);
    return is;
}

static bool is_secure(CURLU *url)
{
    return has_scheme(url, "https");
}

static bool is_http(CURLU *url)
{
    return is_secure(url) || has_scheme(url, "http");
}

static int parse_url(struct http_call *call, struct slice text)
{
    char *copy = mem_strdup(text.data, text.len);
    CURLUcode rc = CURLUE_OUT_OF_MEMORY;

    if (copy && (call->url = curl_url()) != NULL)
        rc = memchr(text.data, '\0', text.len) ? CURLUE_MALFORMED_INPUT
                                               : curl_url_set(call->url, CURLUPART_URL, copy, CURLU_URLENCODE);
    mem_free(copy);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return call_fail(call, MT_ENOMEM, "out of memory");
    if (rc != CURLUE_OK)
        return call_fail(call, MT_EINVALID, "the URL is not valid: %s", curl_url_strerror(rc));
    return is_http(call->url) ? 0 : call_fail(call, MT_EINVALID, "the URL is not valid: only http and https are there");
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *left = NULL, *right = NULL;
    bool same = curl_url_get(a, part, &left, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &right, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(left, right) == 0;

    curl_free(left);
    curl_free(right);
    return same;
}

static bool same_origin(CURLU *a, CURLU *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
}

/* ---- redirects ---- */

/* Where `location` leads, seen from the URL of the request; what browsers let pass is let pass. */
static int move_url(struct http_call *call)
{
    CURLU *before = curl_url_dup(call->url);
    CURLUcode rc = before ? curl_url_set(call->url, CURLUPART_URL, call->location, CURLU_URLENCODE | CURLU_ALLOW_SPACE)
                          : CURLUE_OUT_OF_MEMORY;

    bool other = rc == CURLUE_OK && !same_origin(before, call->url);
    bool bared = other && call->secure && !is_secure(call->url);
    if (other)
        call->foreign = true;
    curl_url_cleanup(before);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return call_fail(call, MT_ENOMEM, "out of memory");
    if (rc == CURLUE_UNSUPPORTED_SCHEME || (rc == CURLUE_OK && !is_http(call->url)))
        return call_fail(call, MT_EDENIED, "redirected to something that is not http or https");
    if (bared)
        return call_fail(call, MT_EDENIED, "redirected to something that is not https");
    return rc == CURLUE_OK ? 0 : call_fail(call, MT_EMALFORMED, "redirected to what is no URL: %s", curl_url_strerror(rc));
}

/* As the Fetch standard has it: a POST becomes a GET by 301 and 302, all but GET and HEAD by 303. */
static int change_method(struct http_call *call)
{
    bool changes = call->status == 303 ? !is_method(call, "GET") && !is_method(call, "HEAD")
                                       : (call->status == 301 || call->status == 302) && is_method(call, "POST");

    if (!changes)
        return 0;
    char *get = mem_strdup("GET", 3);
    if (!get)
        return call_fail(call, MT_ENOMEM, "out of memory");
    mem_free(call->method);
    call->method = get;
    call->turned = true;
    call->has_body = false;
    buf_fini(&call->body);
    return 0;
}

/* 0 when the next request is under way. */
static int follow(struct http_call *call)
{
    if (++call->redirects > HTTP_REDIRECTS_MAX)
        return call_fail(call, MT_ELIMITED, "more than %d redirects", HTTP_REDIRECTS_MAX);
    int rc = move_url(call);
    if (rc == 0)
        rc = change_method(call);
    if (rc == 0 && (rc = launch(call)) != 0)
        call_fail(call, rc, "%s", err_text(rc));
    return rc;
}

void call_finish(struct http_call *call, CURLcode result)
{
    bool redirected = call->location && (result == CURLE_OK || result == CURLE_WRITE_ERROR);

    if (result != CURLE_OK && !redirected)
        call_fail_with(call, result);
    else if (!call->head_done) /* libcurl is content with half a head */
        call_fail(call, MT_ECLOSED, "the connection ended in the head of the answer");
    recall(call);
    if (call->code != 0 || !redirected || follow(call) != 0)
        call_end(call);
}

/* ---- for the owner ---- */

struct http_call *http_call_create(struct http_client *c, void (*changed)(void *arg), void *arg)
{
    struct http_call *call = mem_zalloc(1, sizeof(*call));

    if (!call)
        return NULL;
    list_init(&call->node);
    call->client = c;
    call->changed = changed;
    call->arg = arg;
    return call;
}

void http_call_destroy(struct http_call *call)
{
    if (!call)
        return;
    recall(call);
    client_leave(call->client, call);
    answer_clear(call);
    curl_url_cleanup(call->url);
    mem_free(call->method);
    buf_fini(&call->headers);
    buf_fini(&call->body);
    buf_fini(&call->head);
    buf_fini(&call->data);
    mem_free(call);
}

int http_call_add_header(struct http_call *call, struct slice name, struct slice value)
{
    static const char nul = '\0';
    size_t before = call->headers.len;
    int rc = buf_add(&call->headers, name.data, name.len);

    if (rc == 0)
        rc = buf_add(&call->headers, &nul, 1);
    if (rc == 0)
        rc = buf_add(&call->headers, value.data, value.len);
    if (rc == 0)
        rc = buf_add(&call->headers, &nul, 1);
    if (rc != 0)
        call->headers.len = before;
    return rc;
}

static int copy_request(struct http_call *call, const struct http_call_config *config)
{
    call->method = mem_strdup(config->method.data, config->method.len);
    call->has_body = config->body.data != NULL;
    call->limit = config->limit;
    call->patience_ms = config->patience_ms < PATIENCE_MAX_MS ? config->patience_ms : PATIENCE_MAX_MS;
    call->stream = config->stream;
    call->secure = config->secure;
    call->guarded = config->guarded || !call->client->settings->allow_private;
    if (!call->method || buf_add(&call->body, config->body.data, config->body.len) != 0)
        return call_fail(call, MT_ENOMEM, "out of memory");
    http_call_need(call, 0);
    return 0;
}

int http_call_start(struct http_call *call, const struct http_call_config *config)
{
    assert(call->state == HTTP_MADE);
    int rc = copy_request(call, config);
    if (rc == 0)
        rc = parse_url(call, config->url);
    if (rc == 0 && !client_enter(call->client, call))
        rc = call_fail(call, MT_EFULL, "too many requests wait for a connection");
    if (rc == 0 && (rc = launch(call)) != 0) {
        client_leave(call->client, call);
        call_fail(call, rc, "%s", err_text(rc));
    }
    call->state = rc == 0 ? HTTP_SENT : HTTP_ENDED;
    return rc;
}

void http_call_stop(struct http_call *call, int code, const char *text)
{
    if (call->state != HTTP_ENDED)
        call_fail(call, code, "%s", text);
    recall(call);
    client_leave(call->client, call);
    call->state = HTTP_ENDED;
    call->paused = false;
    call->at = 0;
    buf_fini(&call->body);
    buf_fini(&call->head);
    buf_fini(&call->data);
}

/* Each time of libcurl's is 0 until that step is over. */
const char *http_call_stage(const struct http_call *call)
{
    static const struct {
        CURLINFO info;
        const char *text;
    } steps[] = {
        {CURLINFO_NAMELOOKUP_TIME_T, "looking up the name, or waiting for a connection to be free"},
        {CURLINFO_PRETRANSFER_TIME_T, "connecting"}, /* TLS included */
        {CURLINFO_STARTTRANSFER_TIME_T, "waiting for the answer"},
    };

    for (size_t i = 0; call->easy && i < sizeof(steps) / sizeof(steps[0]); i++) {
        curl_off_t us = 0;

        curl_easy_getinfo(call->easy, steps[i].info, &us);
        if (us == 0)
            return steps[i].text;
    }
    return "reading the answer";
}

bool http_call_ended(const struct http_call *call)
{
    return call->state == HTTP_ENDED;
}

int http_call_code(const struct http_call *call)
{
    return call->code;
}

const char *http_call_text(const struct http_call *call)
{
    return call->text;
}
