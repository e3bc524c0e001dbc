/* dev.c - answers under /_moontide/, and keeps the list of the pages that listen. */
#include "app/dev.h"

#include "app/dev_js.h"
#include "base/blob.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/origin.h"
#include <pthread.h>

#define PREFIX "/_moontide/"

enum { MESSAGE_MAX = 1024 }; /* pages say nothing; this bounds what they may */

struct dev {
    const struct session_events *inner; /* borrowed */
    void *inner_arg;
    struct loop_wake *wake;               /* news has come */
    pthread_mutex_t lock;                 /* over news */
    struct blob *news;                    /* what was told last, one reference; NULL: nothing yet */
    struct session *pages[DEV_PAGES_MAX]; /* accepted and not gone */
    size_t page_count;                    /* of pages */
    bool retired;
};

/* ---- who may listen ---- */

static bool ends_with(struct slice s, const char *ending)
{
    size_t len = strlen(ending);
    return s.len > len && slice_is_nocase((struct slice){s.data + s.len - len, len}, slice_of(ending));
}

/* A browser that is led to http://evil.example, and finds this machine under that name, takes both for one origin. Addresses
 * cannot be had that way, nor names without a dot and under the domains that are for local use (RFC 6761, RFC 6762). */
bool dev_is_near(struct slice host)
{
    static const char *const domains[] = {".localhost", ".test", ".local"};
    if (host.len == 0 || host.data[0] == '[')
        return host.len > 0;
    const char *colon = memchr(host.data, ':', host.len);
    if (colon)
        host.len = (size_t)(colon - host.data);
    if (!memchr(host.data, '.', host.len))
        return host.len > 0;
    for (size_t i = 0; i < sizeof(domains) / sizeof(*domains); i++)
        if (ends_with(host, domains[i]))
            return true;
    size_t digits = 0;
    while (digits < host.len && (host.data[digits] == '.' || (host.data[digits] >= '0' && host.data[digits] <= '9')))
        digits++;
    return digits == host.len;
}

/* ---- pages ---- */

/* The place of a session in the list, page_count when it is none of ours. */
static size_t find_page(const struct dev *d, const struct session *s)
{
    size_t i = 0;
    while (i < d->page_count && d->pages[i] != s)
        i++;
    return i;
}

static bool is_page(const struct dev *d, const struct session *s)
{
    return find_page(d, s) < d->page_count;
}

/* One reference to what was told last, NULL when that is nothing. */
static struct blob *take_news(struct dev *d)
{
    pthread_mutex_lock(&d->lock);
    struct blob *news = d->news ? blob_ref(d->news) : NULL;
    pthread_mutex_unlock(&d->lock);
    return news;
}

/* A page that does not hear this is closing, or comes back and hears it then. */
static void tell_page(struct session *s, const struct blob *news)
{
    (void)session_send(s, FRAME_TEXT, news->data, news->len, NULL);
}

static void on_news(void *arg)
{
    struct dev *d = arg;
    struct blob *news = take_news(d);
    for (size_t i = 0; i < d->page_count; i++)
        tell_page(d->pages[i], news);
    blob_unref(news);
}

int dev_tell(struct dev *d, struct slice json)
{
    struct blob *news = blob_copy(json.data, json.len);
    if (!news)
        return MT_ENOMEM;
    pthread_mutex_lock(&d->lock);
    struct blob *old = d->news;
    d->news = news;
    pthread_mutex_unlock(&d->lock);
    blob_unref(old);
    loop_wake_send(d->wake);
    return 0;
}

void dev_retire(struct dev *d)
{
    d->retired = true;
    for (size_t i = 0; i < d->page_count; i++)
        (void)session_close(d->pages[i], 1001, SLICE("going away"));
}

/* ---- answers ---- */

/* `type` and `extra` are whole header lines. */
static void answer(struct session *s, int status, const char *type, const char *extra, struct slice body)
{
    struct buf head = {0};
    if (buf_addf(&head, "Content-Type: %s; charset=utf-8\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n%s",
                 type, extra) == 0)
        (void)session_respond(s, status, buf_slice(&head), body);
    else
        session_abort(s);
    buf_fini(&head);
}

static void refuse(struct session *s, int status, const char *extra, const char *why)
{
    answer(s, status, "text/plain", extra, slice_of(why));
}

static void serve_overlay(struct session *s, const struct http_request *r)
{
    if (!slice_is(r->method, SLICE("GET")) && !slice_is(r->method, SLICE("HEAD")))
        refuse(s, 405, "Allow: GET, HEAD\r\n", "only GET and HEAD");
    else
        answer(s, 200, "text/javascript", "", (struct slice){(const char *)dev_js, dev_js_size});
}

static void accept_page(struct dev *d, struct session *s)
{
    const struct session_accept a = {.message_limit = MESSAGE_MAX};
    if (session_accept(s, &a) != 0) {
        refuse(s, 500, "", "internal error");
        return;
    }
    d->pages[d->page_count++] = s;
    struct blob *news = take_news(d);
    if (news)
        tell_page(s, news);
    blob_unref(news);
}

static void serve_page(struct dev *d, struct session *s, const struct session_request *r)
{
    if (!r->upgrade)
        refuse(s, 426, "Upgrade: websocket\r\n", "a WebSocket for pages in dev mode");
    else if (!origin_is_own(r->http, false) || !dev_is_near(r->http->host)) /* also where origins lists others */
        refuse(s, 403, "", "only for pages of this server, under an address or a local name");
    else if (d->retired || d->page_count == DEV_PAGES_MAX)
        refuse(s, 503, "", d->retired ? "going away" : "too many pages");
    else
        accept_page(d, s);
}

/* ---- between the sockets and the script ---- */

static void on_request(void *arg, struct session *s, const struct session_request *r)
{
    struct dev *d = arg;
    struct slice path = r->http->path;
    if (path.len < sizeof(PREFIX) - 1 || memcmp(path.data, PREFIX, sizeof(PREFIX) - 1) != 0)
        d->inner->on_request(d->inner_arg, s, r);
    else if (slice_is(path, SLICE(PREFIX "dev")))
        serve_page(d, s, r);
    else if (slice_is(path, SLICE(PREFIX "dev.js")) && !r->upgrade)
        serve_overlay(s, r->http);
    else
        refuse(s, 404, "", "not found");
}

static void on_message(void *arg, struct session *s, enum frame_op op, const char *data, size_t len)
{
    struct dev *d = arg;
    if (!is_page(d, s))
        d->inner->on_message(d->inner_arg, s, op, data, len);
}

static void on_drain(void *arg, struct session *s)
{
    struct dev *d = arg;
    if (!is_page(d, s))
        d->inner->on_drain(d->inner_arg, s);
}

static void on_silent(void *arg, struct session *s)
{
    struct dev *d = arg;
    if (!is_page(d, s))
        d->inner->on_silent(d->inner_arg, s);
}

static void on_closed(void *arg, struct session *s, unsigned code, struct slice reason)
{
    struct dev *d = arg;
    if (!is_page(d, s))
        d->inner->on_closed(d->inner_arg, s, code, reason);
}

/* The inner ones also hear of sessions that had requests here only: such have no owner. */
static void on_gone(void *arg, struct session *s)
{
    struct dev *d = arg;
    size_t i = find_page(d, s);
    if (i == d->page_count)
        d->inner->on_gone(d->inner_arg, s);
    else
        d->pages[i] = d->pages[--d->page_count];
}

const struct session_events *dev_events(void)
{
    static const struct session_events events = {on_request, on_message, on_drain, on_silent, on_closed, on_gone};
    return &events;
}

/* ---- life ---- */

struct dev *dev_create(struct loop *loop, const struct session_events *inner, void *inner_arg)
{
    struct dev *d = mem_zalloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->inner = inner;
    d->inner_arg = inner_arg;
    d->wake = loop_wake_open(loop, on_news, d);
    if (!d->wake) {
        mem_free(d);
        return NULL;
    }
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void dev_destroy(struct dev *d)
{
    if (!d)
        return;
    loop_wake_close(d->wake);
    pthread_mutex_destroy(&d->lock);
    blob_unref(d->news);
    mem_free(d);
}
