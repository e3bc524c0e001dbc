/* http_client.c - libcurl's multi interface on the loop.
 *
 * libcurl says which sockets it wants to hear about, and always takes a socket back (CURL_POLL_REMOVE) before it closes it, so a
 * watcher never outlives its descriptor. Connections that are kept have no watcher: libcurl looks at them when it needs one. What
 * is not used for a while is closed all at once, because there is no call to close a few.
 */
#include "client/http_impl.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <pthread.h>

enum {
    LINE_MAX_CALLS = 4096, /* calls that may wait for a connection */
    IDLE_MS = 60 * 1000,
    BODY_DEFAULT = 8 << 20,
};

/* ---- once per process ---- */

static void init_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void http_settings_default(struct http_settings *s)
{
    *s = (struct http_settings){
        .allow_private = true, .body = BODY_DEFAULT, .connections = 256, .per_host = 64, .idle_ms = IDLE_MS};
}

/* ---- what has ended ---- */

static void close_multi(struct http_client *c)
{
    if (c->multi)
        curl_multi_cleanup(c->multi);
    c->multi = NULL;
    c->broken = false;
    loop_timer_stop(c->loop, &c->timer);
}

/* A socket is not watched: nobody knows which call waits for it, and it would wait for ever. */
static void end_all(struct http_client *c)
{
    while (!list_empty(&c->calls)) {
        struct http_call *call = list_entry(c->calls.next, struct http_call, node);

        call_fail(call, MT_ENOMEM, "a socket could not be watched");
        call_end(call);
    }
    close_multi(c);
}

static void tell_ends(struct http_client *c)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct http_call *call = NULL;
        CURLcode result = message->data.result; /* the message is gone once the handle is removed */

        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call_finish(call, result);
    }
    if (c->broken)
        end_all(c);
}

/* ---- sockets and timers ---- */

static void on_ready(struct loop_fd *w, int events, void *arg)
{
    struct http_client *c = arg;
    int running, mask = 0;

    mask |= events & (LOOP_READ | LOOP_HANGUP) ? CURL_CSELECT_IN : 0;
    mask |= events & LOOP_WRITE ? CURL_CSELECT_OUT : 0;
    curl_multi_socket_action(c->multi, loop_fd_fileno(w), mask, &running);
    tell_ends(c);
}

static void on_time(struct loop_timer *t)
{
    struct http_client *c = list_entry(t, struct http_client, timer);
    int running;

    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_ends(c);
}

static int on_timer_wish(CURLM *multi, long ms, void *arg)
{
    struct http_client *c = arg;

    if (c->broken)
        return 0; /* the timer is set */
    if (ms < 0)
        loop_timer_stop(c->loop, &c->timer);
    else
        loop_timer_start(c->loop, &c->timer, (uint64_t)ms);
    return 0;
}

/* Watch a socket; libcurl may not hear of a failure here, or it refuses to do anything any more. 0 or an error code. */
static int watch(struct http_client *c, curl_socket_t fd, struct loop_fd *w, int events)
{
    if (w == NULL) {
        if ((w = loop_fd_open(c->loop, fd, on_ready, c)) == NULL)
            return MT_ENOMEM;
        curl_multi_assign(c->multi, fd, w);
    }
    return loop_fd_want(w, events);
}

/* `watcher` is what curl_multi_assign has put to this socket. */
static int on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *arg, void *watcher)
{
    struct http_client *c = arg;
    int events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);

    if (what == CURL_POLL_REMOVE) {
        loop_fd_close(watcher);
    } else if (watch(c, fd, watcher, events) != 0) {
        c->broken = true;
        loop_timer_start(c->loop, &c->timer, 0);
    }
    return 0;
}

/* ---- the multi handle ---- */

static bool set_options(struct http_client *c)
{
    CURLM *m = c->multi;
    CURLMcode rc = curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket_wish);

    rc |= curl_multi_setopt(m, CURLMOPT_SOCKETDATA, c);
    rc |= curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    rc |= curl_multi_setopt(m, CURLMOPT_TIMERDATA, c);
    rc |= curl_multi_setopt(m, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)c->settings->connections);
    rc |= curl_multi_setopt(m, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->settings->per_host);
    rc |= curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)c->settings->connections);
    return rc == CURLM_OK;
}

static int open_multi(struct http_client *c)
{
    c->multi = curl_multi_init();
    if (c->multi && set_options(c))
        return 0;
    close_multi(c);
    return MT_ENOMEM;
}

static void on_idle(struct loop_timer *t)
{
    close_multi(list_entry(t, struct http_client, idle));
}

/* ---- life ---- */

struct http_client *http_client_create(struct loop *l, const struct http_settings *settings)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_client *c = mem_zalloc(1, sizeof(*c));

    if (!c)
        return NULL;
    pthread_once(&once, init_library);
    c->loop = l;
    c->settings = settings;
    list_init(&c->calls);
    loop_timer_init(&c->timer, on_time);
    loop_timer_init(&c->idle, on_idle);
    return c;
}

size_t http_client_count(const struct http_client *c)
{
    return c->count;
}

void http_client_destroy(struct http_client *c)
{
    if (!c)
        return;
    assert(list_empty(&c->calls));
    close_multi(c);
    loop_timer_stop(c->loop, &c->idle);
    while (c->spares > 0)
        curl_easy_cleanup(c->spare[--c->spares]);
    mem_free(c);
}

/* ---- for calls ---- */

CURL *client_take_easy(struct http_client *c)
{
    return c->spares > 0 ? c->spare[--c->spares] : curl_easy_init();
}

void client_give_easy(struct http_client *c, CURL *easy)
{
    if (c->spares == HTTP_SPARE_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    c->spare[c->spares++] = easy;
}

int client_add(struct http_client *c, struct http_call *call)
{
    int rc = c->multi ? 0 : open_multi(c);

    if (rc == 0 && curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
        rc = MT_ENOMEM;
    return rc;
}

void client_remove(struct http_client *c, struct http_call *call)
{
    curl_multi_remove_handle(c->multi, call->easy);
}

bool client_enter(struct http_client *c, struct http_call *call)
{
    if (c->count >= c->settings->connections + LINE_MAX_CALLS)
        return false;
    list_add_tail(&c->calls, &call->node);
    c->count++;
    loop_timer_stop(c->loop, &c->idle);
    return true;
}

void client_leave(struct http_client *c, struct http_call *call)
{
    if (list_empty(&call->node))
        return;
    list_remove(&call->node);
    if (--c->count == 0)
        loop_timer_start(c->loop, &c->idle, c->settings->idle_ms);
}
