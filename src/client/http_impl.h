/* http_impl.h - what the files http*.c share. No other file includes it.
 *
 * http_client.c  the multi handle on the loop: sockets, timers, connections that are kept, who is told of an end
 * http_call.c    one request from the start to the end, over its redirects
 * http_answer.c  what libcurl brings of the answer
 * http_error.c   results of libcurl as codes and sentences
 */
#ifndef MT_CLIENT_HTTP_IMPL_H
#define MT_CLIENT_HTTP_IMPL_H
#include "base/buf.h"
#include "base/list.h"
#include "client/http.h"

#include <curl/curl.h>

enum { HTTP_SPARE_MAX = 64 }; /* easy handles kept for the next call */

struct http_client {
    struct loop *loop;
    const struct http_settings *settings; /* borrowed */
    CURLM *multi;                         /* NULL while no connection is kept */
    bool broken;                          /* a socket is not watched: all calls are about to end */
    struct loop_timer timer;              /* libcurl wants to be called */
    struct loop_timer idle;               /* runs while there are no calls: then the connections are closed */
    struct list_node calls;               /* under way */
    size_t count;                         /* of them */
    CURL *spare[HTTP_SPARE_MAX];          /* owned */
    size_t spares;
};

enum http_state { HTTP_MADE, HTTP_SENT, HTTP_ENDED };

struct http_call {
    struct list_node node; /* in client->calls; linked to itself before the start and after the end */
    struct http_client *client;
    void (*changed)(void *arg);
    void *arg;
    enum http_state state;

    /* the request */
    CURL *easy;               /* while it is with libcurl; owned */
    CURLU *url;               /* owned */
    struct curl_slist *lines; /* of the head, as easy holds them; owned */
    char *method;             /* owned */
    struct buf headers;       /* name NUL value NUL ..., as the owner gave them */
    struct buf body;
    bool has_body;
    size_t limit;
    uint64_t patience_ms;
    bool stream, secure, guarded;
    bool turned;        /* into a GET by a redirect: what belongs to a body is not sent */
    bool foreign;       /* it was redirected to another host: no credentials */
    unsigned redirects; /* so far */

    /* the answer */
    int status;
    size_t head_bytes, head_lines; /* so far, of all heads of this answer */
    bool head_done;                /* what else comes to the header function is a trailer */
    bool has_head;                 /* it is final, and fit to be given out */
    struct buf head;               /* name NUL value NUL ... */
    char *location;                /* owned: it is a redirect, and its body is of no interest. NULL otherwise */
    size_t skipped;                /* bytes of that body; past a bound it is cut */
    struct buf data;               /* of the body */
    size_t at;                     /* so many bytes of data were taken */
    size_t room;                   /* a stream is paused where more than this would wait */
    bool paused;

    /* how it went */
    int open_error; /* errno of the last socket that could not be opened; EACCES: the guard did not want it */
    int code;
    char text[CURL_ERROR_SIZE + 64]; /* a sentence for the code */
    char why[CURL_ERROR_SIZE];       /* libcurl's own words */
};

/* ---- http_client.c ---- */
/* An easy handle with default options; NULL when memory runs out. */
CURL *client_take_easy(struct http_client *c);
void client_give_easy(struct http_client *c, CURL *easy);
/* Hand the call's easy handle to libcurl, and take it back. 0 or MT_ENOMEM. */
int client_add(struct http_client *c, struct http_call *call);
void client_remove(struct http_client *c, struct http_call *call);
/* Whether one more call fits into the line; then it counts as under way until client_leave. */
bool client_enter(struct http_client *c, struct http_call *call);
void client_leave(struct http_client *c, struct http_call *call);

/* ---- http_call.c ---- */
/* libcurl is done with it. */
void call_finish(struct http_call *call, CURLcode result);
/* The end, as code and text of the call say. */
void call_end(struct http_call *call);

/* ---- http_answer.c ---- */
/* Set the functions that take the answer. CURLE_OK or another code. */
CURLcode answer_set_options(struct http_call *call);
/* Before another request: forget the answer to the one before. */
void answer_clear(struct http_call *call);

/* ---- http_error.c ---- */
/* Set code and text, unless there are some. Returns the code. */
int call_fail(struct http_call *call, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same from a result of libcurl and what its handle tells. */
void call_fail_with(struct http_call *call, CURLcode result);
#endif
