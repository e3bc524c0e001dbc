/* http.h - HTTP requests to other servers, by libcurl's multi interface on a worker's loop. Hides libcurl.
 *
 * One client per worker, used on its thread only. It keeps connections open for the next request, and bounds how many there are:
 * what is over waits in a line, which is bounded too. A call is one request with its answer, redirects included. Its owner makes
 * it, is told when something has happened (`changed`), reads the answer from it and destroys it, at any time but inside of
 * `changed`. There are no limits of time here: who does not want to wait any longer destroys the call.
 *
 * An answer is taken whole, or as a stream: then its head is told first, and what is not taken is bounded: past that the socket
 * is not read.
 */
#ifndef MT_CLIENT_HTTP_H
#define MT_CLIENT_HTTP_H
#include "base/slice.h"
#include "loop/loop.h"
#include <stdint.h>

struct http_client;
struct http_call;

enum { HTTP_REDIRECTS_MAX = 5 };

struct http_settings {
    const char *ca;     /* PEM file of the authorities to trust; NULL: the system's */
    bool allow_private; /* addresses that are not public may be asked; see guard.h */
    size_t body;        /* bytes of an answer where the call does not say how many */
    size_t connections; /* open at once, of one client */
    size_t per_host;    /* to one host and port among them */
    uint64_t idle_ms;   /* without a call, until the connections that are kept are closed */
};
void http_settings_default(struct http_settings *s);

/* Nothing is opened before the first call. `settings` must live as long as the client. NULL when memory runs out. */
struct http_client *http_client_create(struct loop *l, const struct http_settings *settings);
/* All its calls must have been destroyed. Connections are closed. NULL is allowed. */
void http_client_destroy(struct http_client *c);
size_t http_client_count(const struct http_client *c); /* calls under way */

struct http_call_config {
    struct slice method; /* a token */
    struct slice url;
    struct slice body;    /* copied; data NULL: none */
    size_t limit;         /* bytes of an answer that is taken whole, after inflating */
    uint64_t patience_ms; /* how long the owner is going to wait: with several addresses, the first gets half of it */
    bool stream;
    bool secure;  /* redirects to another host or port lead to https only */
    bool guarded; /* addresses that are not public are refused; without allow_private they always are */
};

/* `changed` is called on the loop, at the end and, for a stream, when its head is there and when there is more to take. NULL when
 * memory runs out. */
struct http_call *http_call_create(struct http_client *c, void (*changed)(void *arg), void *arg);
/* Aborts what is under way, and closes its connection then. NULL is allowed. */
void http_call_destroy(struct http_call *call);
/* Before the start. Name and value must be fit for a header line. 0 or MT_ENOMEM. */
int http_call_add_header(struct http_call *call, struct slice name, struct slice value);
/* 0; or it did not begin, with http_call_text: MT_EINVALID (the URL), MT_EFULL (the line), MT_ENOMEM. */
int http_call_start(struct http_call *call, const struct http_call_config *config);

/* Nobody wants to know the rest: the connection is closed, and data that was not taken is dropped. `text` becomes the reason,
 * where it had not ended. `changed` is not called. */
void http_call_stop(struct http_call *call, int code, const char *text);
/* What it is doing, in words: "connecting". */
const char *http_call_stage(const struct http_call *call);
/* Whether the head of the answer is there. A redirect that is followed is none. */
bool http_call_has_head(const struct http_call *call);
int http_call_status(const struct http_call *call);
/* Walk over the headers: `*at` starts at 0. */
bool http_call_next_header(const struct http_call *call, size_t *at, struct slice *name, struct slice *value);

/* The end has come: http_call_code is 0 when the answer is complete. Of a stream there may be data left. */
bool http_call_ended(const struct http_call *call);
/* 0, MT_ECLOSED, MT_EREFUSED, MT_EDNS, MT_ETLS, MT_ETIMEOUT (the system's), MT_EMALFORMED, MT_ETOO_LARGE, MT_EDENIED, MT_ELIMITED
 * (too many redirects), MT_ENOMEM. */
int http_call_code(const struct http_call *call);
const char *http_call_text(const struct http_call *call); /* a sentence for the code */

/* The body so far; of a stream what has not been taken. Never NULL, valid until the next call of a function here. */
struct slice http_call_data(const struct http_call *call);
/* The first `n` bytes are done with. */
void http_call_take(struct http_call *call, size_t n);
/* The owner of a stream needs up to `bytes` at once: so many are held on top of the usual. */
void http_call_need(struct http_call *call, size_t bytes);
#endif
