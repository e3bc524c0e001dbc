/* redis.c - a store in Redis: a thread with a loop and one connection, over which requests of all workers are pipelined.
 *
 * Requests that find no connection wait for the attempt that is under way, and fail with its failure. After a failed attempt they
 * fail at once until the next one begins. A connection on which nothing comes back for ANSWER_MS is dropped: a late reply can
 * then not be taken for another one's. Nothing is sent twice: whether a write that was under way when the connection went was
 * carried out, nobody knows, and its sender is told so.
 */
#include "store/redis_link.h"
#include "store/redis_op.h"

#include "base/err.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    ANSWER_MS = 5000,
    LEAVE_MS = 1000,    /* for what is under way at the end */
    RETRY_MIN_MS = 100, /* between two attempts; doubled each time */
    RETRY_MAX_MS = 2000,
    REQUESTS_MAX = 65536,         /* under way at once */
    REQUEST_BYTES_MAX = 64 << 20, /* of their values */
};

struct calls {
    struct redis_call *first, **last;
};

struct redis {
    struct store store; /* first */
    struct redis_url url;
    struct log *log;
    struct loop *loop;
    struct loop_wake *wake;
    struct loop_thread *thread;
    pthread_mutex_t lock;
    struct calls posted; /* by other threads; under the lock */
    size_t count, bytes; /* of requests that are not answered; under the lock */
    bool closing;        /* under the lock */
    /* From here on the store's own thread: */
    struct redis_link *link;
    struct calls waiting;    /* for the connection */
    struct calls sent;       /* in the order of their replies */
    struct loop_timer timer; /* the next attempt, or a look at the oldest reply, or the end */
    uint64_t answered;       /* when the last reply came; loop time */
    unsigned retry;          /* ms until the next attempt after this one; 0: none has failed */
    bool trying;             /* an attempt is under way */
    bool told;               /* that the server is away */
    bool leaving;            /* store_destroy waits */
    int code;                /* of the last failed attempt */
    char why[120];           /* the same, in words */
};

/* ---- lists ---- */

static void append(struct calls *list, struct redis_call *c)
{
    c->next = NULL;
    *list->last = c;
    list->last = &c->next;
}

static struct redis_call *take_first(struct calls *list)
{
    struct redis_call *c = list->first;

    if (c && !(list->first = c->next))
        list->last = &list->first;
    return c;
}

static void move_all(struct calls *to, struct calls *from)
{
    if (!from->first)
        return;
    *to->last = from->first;
    to->last = from->last;
    *from = (struct calls){NULL, &from->first};
}

/* ---- answers ---- */

static size_t size_of(const struct store_request *r)
{
    return sizeof(*r) + r->key.len + r->value.data.len + r->expected.data.len;
}

static void answer(struct redis *s, struct redis_call *c)
{
    struct store_request *r = c->request;

    pthread_mutex_lock(&s->lock);
    s->count--;
    s->bytes -= size_of(r);
    pthread_mutex_unlock(&s->lock);
    redis_op_fini(c);
    mem_free(c);
    store_answer(&s->store, r);
}

static void fail(struct redis *s, struct redis_call *c, int code, const char *why)
{
    c->request->code = code;
    snprintf(c->request->why, sizeof(c->request->why), "Redis: %s", why);
    answer(s, c);
}

static void fail_all(struct redis *s, struct calls *list, int code, const char *why)
{
    struct redis_call *c;

    while ((c = take_first(list)) != NULL)
        fail(s, c, code, why);
}

/* ---- sending ---- */

static void leave_if_done(struct redis *s)
{
    if (s->leaving && !s->sent.first && !s->waiting.first)
        loop_stop(s->loop);
}

static void watch_answers(struct redis *s)
{
    if (s->sent.first && !s->leaving && !loop_timer_active(&s->timer))
        loop_timer_start(s->loop, &s->timer, ANSWER_MS);
}

static void send_one(struct redis *s, struct redis_call *c)
{
    int rc = redis_op_send(buf_slice(&s->url.prefix), c, redis_link_out(s->link));

    c->sent = loop_now(s->loop);
    if (rc == 0)
        append(&s->sent, c);
    else
        fail(s, c, rc, err_text(rc));
}

static void send_waiting(struct redis *s)
{
    struct redis_call *c;

    while ((c = take_first(&s->waiting)) != NULL)
        send_one(s, c);
    watch_answers(s);
    redis_link_flush(s->link);
    leave_if_done(s);
}

static void try_now(struct redis *s)
{
    s->trying = true;
    loop_timer_stop(s->loop, &s->timer);
    redis_link_connect(s->link);
}

/* What was posted goes out, waits for the attempt under way, or fails with what the last one found. */
static void look_at_waiting(struct redis *s)
{
    if (redis_link_is_ready(s->link))
        send_waiting(s);
    else if (!s->trying)
        fail_all(s, &s->waiting, s->code, s->why);
}

/* ---- the connection ---- */

static void on_ready(void *arg)
{
    struct redis *s = arg;

    if (s->told)
        log_info(s->log, NULL, "store: Redis at %s is there again", (char *)s->url.shown.data);
    s->trying = s->told = false;
    s->retry = 0;
    send_waiting(s);
}

/* Attempts of many servers do not fall together. */
static unsigned next_delay(struct redis *s)
{
    unsigned chance = 0;

    getrandom(&chance, sizeof(chance), 0);
    s->retry = s->retry == 0 ? RETRY_MIN_MS : s->retry * 2 < RETRY_MAX_MS ? s->retry * 2 : RETRY_MAX_MS;
    return s->retry / 2 + chance % (s->retry / 2);
}

static void on_lost(void *arg, int code, const char *why)
{
    struct redis *s = arg;

    s->trying = false;
    s->code = code == MT_ECLOSED ? MT_EREFUSED : code; /* for those who come while it is away */
    snprintf(s->why, sizeof(s->why), "%s", why);
    if (!s->told && !s->leaving)
        log_warn(s->log, NULL, "store: Redis at %s: %s; trying again", (char *)s->url.shown.data, s->why);
    s->told = true;
    char text[180];
    snprintf(text, sizeof(text), "%s; a write may have been carried out or not", s->why);
    fail_all(s, &s->sent, code, text);
    fail_all(s, &s->waiting, s->code, s->why);
    loop_timer_stop(s->loop, &s->timer);
    if (s->leaving)
        loop_stop(s->loop);
    else
        loop_timer_start(s->loop, &s->timer, next_delay(s));
}

static bool on_reply(void *arg, const redisReply *reply)
{
    struct redis *s = arg;
    struct redis_call *c = take_first(&s->sent);

    s->answered = loop_now(s->loop);
    if (!c)
        return false;
    int rc = redis_op_reply(c, reply);
    if (rc == 1) {
        send_one(s, c);
        redis_link_flush(s->link);
        return true;
    }
    if (rc == 0)
        answer(s, c);
    else
        fail(s, c, rc, "a reply that does not fit");
    leave_if_done(s);
    return rc == 0;
}

static void on_timer(struct loop_timer *timer)
{
    struct redis *s = list_entry(timer, struct redis, timer);

    if (s->leaving) {
        loop_stop(s->loop);
    } else if (!redis_link_is_ready(s->link)) {
        try_now(s);
    } else if (s->sent.first) {
        /* While replies come the oldest request only waits for its turn. */
        uint64_t since = s->sent.first->sent > s->answered ? s->sent.first->sent : s->answered;
        uint64_t silent = loop_now(s->loop) - since;
        if (silent >= ANSWER_MS)
            redis_link_drop(s->link, MT_ETIMEOUT, "the server does not answer");
        else
            loop_timer_start(s->loop, &s->timer, ANSWER_MS - silent);
    }
}

static const struct redis_link_events link_events = {on_ready, on_lost, on_reply};

/* ---- the thread ---- */

static void on_wake(void *arg)
{
    struct redis *s = arg;

    pthread_mutex_lock(&s->lock);
    move_all(&s->waiting, &s->posted);
    bool closing = s->closing;
    pthread_mutex_unlock(&s->lock);
    look_at_waiting(s);
    if (!closing || s->leaving)
        return;
    s->leaving = true;
    loop_timer_stop(s->loop, &s->timer);
    loop_timer_start(s->loop, &s->timer, LEAVE_MS);
    leave_if_done(s);
}

static void run(void *arg)
{
    struct redis *s = arg;

    try_now(s);
    loop_run(s->loop);
    loop_timer_stop(s->loop, &s->timer);
    redis_link_destroy(s->link);
    s->link = NULL;
    fail_all(s, &s->sent, MT_ECLOSED, "the server is stopping");
    fail_all(s, &s->waiting, MT_ECLOSED, "the server is stopping");
    loop_wake_close(s->wake);
    loop_destroy(s->loop);
}

/* ---- any thread ---- */

static int redis_send(struct store *store, struct store_request *r)
{
    struct redis *s = (struct redis *)store;
    struct redis_call *c = mem_zalloc(1, sizeof(*c));
    int rc = 0;

    if (!c)
        return MT_ENOMEM;
    c->request = r;
    pthread_mutex_lock(&s->lock);
    if (s->closing)
        rc = MT_ECLOSED;
    else if (s->count >= REQUESTS_MAX || s->bytes + size_of(r) > REQUEST_BYTES_MAX)
        rc = MT_EBUSY;
    bool tell = rc == 0 && s->posted.first == NULL;
    if (rc == 0) {
        s->count++;
        s->bytes += size_of(r);
        append(&s->posted, c);
    }
    if (tell)
        loop_wake_send(s->wake);
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        mem_free(c);
    return rc;
}

static void free_redis(struct redis *s)
{
    redis_url_fini(&s->url);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static void redis_destroy(struct store *store)
{
    struct redis *s = (struct redis *)store;

    pthread_mutex_lock(&s->lock);
    s->closing = true;
    loop_wake_send(s->wake);
    pthread_mutex_unlock(&s->lock);
    loop_thread_join(s->thread);
    free_redis(s);
}

static const struct store_ops ops = {redis_send, NULL, redis_destroy};

static int open_loop(struct redis *s)
{
    if (!(s->loop = loop_create()))
        return MT_ENOMEM;
    s->wake = loop_wake_open(s->loop, on_wake, s);
    s->link = redis_link_create(s->loop, &s->url, &link_events, s);
    if (s->wake && s->link && (s->thread = loop_thread_start(run, s)) != NULL)
        return 0;
    redis_link_destroy(s->link);
    if (s->wake)
        loop_wake_close(s->wake);
    loop_destroy(s->loop);
    return MT_ENOMEM;
}

int store_open_redis(const struct store_redis_config *c, struct store **out, char **error)
{
    struct redis *s = mem_zalloc(1, sizeof(*s));
    const char *why;

    *error = NULL;
    if (!s)
        return MT_ENOMEM;
    s->store.ops = &ops;
    s->log = c->log;
    pthread_mutex_init(&s->lock, NULL);
    s->posted.last = &s->posted.first;
    s->waiting.last = &s->waiting.first;
    s->sent.last = &s->sent.first;
    loop_timer_init(&s->timer, on_timer);
    int rc = redis_url_parse(slice_of(c->url), &s->url, &why);
    if (rc == MT_EINVALID)
        *error = mem_strdup(why, strlen(why));
    if (rc == 0)
        rc = open_loop(s);
    if (rc != 0) {
        free_redis(s);
        return rc;
    }
    *out = &s->store;
    return 0;
}
