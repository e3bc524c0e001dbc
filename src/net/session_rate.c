/* session_rate.c - how much a WebSocket session may send: messages and bytes a second, as net_options and its route allow.
 *
 * What it sends too much is left unread (its receive window closes, and the client has to wait), or ends it with 1008. Frames are
 * charged when they are taken from what was read: bytes as they came, before inflating, and one message for each whole message
 * and for each ping and pong, our own pings' answers apart. Whether there is room is asked only while more bytes are there, so
 * nobody waits who sends no more than is allowed.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <string.h>

struct session_rates {
    struct session *session;
    struct rate own_messages, own_bytes; /* of its route; zero: none */
    struct rate messages, bytes;         /* the lower of those and of net_options */
    struct bucket message_bucket, byte_bucket;
    struct loop_timer timer; /* runs while the session is paused for this */
};

static uint64_t now_us(const struct session *s)
{
    return loop_now(s->net->loop) * 1000; /* no call of the system: a turn's messages count as one moment */
}

/* Both at once hold for a session. */
static struct rate lower(const struct rate *a, const struct rate *b)
{
    if (a->per_second <= 0 || b->per_second <= 0)
        return a->per_second > 0 ? *a : *b;
    return (struct rate){a->per_second < b->per_second ? a->per_second : b->per_second,
                         a->burst < b->burst ? a->burst : b->burst};
}

static void delay_over(struct loop_timer *t)
{
    session_resume(list_entry(t, struct session_rates, timer)->session);
}

/* What is missing in a bucket is kept as a time, which would mean something else under another rate: it starts full. */
static void change(struct rate *r, const struct rate *next, struct bucket *b)
{
    if (r->per_second != next->per_second || r->burst != next->burst)
        *b = (struct bucket){0};
    *r = *next;
}

/* Not delayed any more; what was kept is looked at again at the end of this turn. */
static void go_on(struct session_rates *r)
{
    if (!loop_timer_active(&r->timer))
        return;
    loop_timer_stop(r->session->net->loop, &r->timer);
    session_resume(r->session);
}

int session_rate_set(struct session *s, const struct rate *messages, const struct rate *bytes)
{
    const struct net_options *o = &s->net->options;
    struct session_rates *r = s->rates;
    struct rate both[] = {lower(messages, &o->messages), lower(bytes, &o->bytes)};

    if (both[0].per_second <= 0 && both[1].per_second <= 0) {
        session_rate_free(s);
        return 0;
    }
    if (!r) {
        if (!(r = mem_zalloc(1, sizeof *r)))
            return MT_ENOMEM;
        r->session = s;
        loop_timer_init(&r->timer, delay_over);
        s->rates = r;
    }
    r->own_messages = *messages;
    r->own_bytes = *bytes;
    change(&r->messages, &both[0], &r->message_bucket);
    change(&r->bytes, &both[1], &r->byte_bucket);
    return 0;
}

void session_rate_update(struct session *s)
{
    static const struct rate none;
    struct session_rates *r = s->rates;
    struct rate messages = r ? r->own_messages : none, bytes = r ? r->own_bytes : none;

    if (r)
        go_on(r);
    session_rate_set(s, &messages, &bytes); /* where memory runs out, it goes on as it was */
}

void session_rate_free(struct session *s)
{
    if (!s->rates)
        return;
    go_on(s->rates);
    mem_free(s->rates);
    s->rates = NULL;
}

/* Microseconds until there is room for one more; takes nothing. */
static uint64_t wait_for_one(const struct bucket *b, const struct rate *r, uint64_t now)
{
    struct bucket trial = *b;

    return bucket_take(&trial, r, now, 1);
}

bool session_rate_ready(struct session *s)
{
    struct session_rates *r = s->rates;
    uint64_t now = now_us(s);

    if (s->net->options.exceeded_closes)
        return true;
    uint64_t messages = wait_for_one(&r->message_bucket, &r->messages, now);
    uint64_t bytes = wait_for_one(&r->byte_bucket, &r->bytes, now);
    uint64_t wait = messages > bytes ? messages : bytes;
    if (wait == 0)
        return true;
    s->net->stats.delayed++;
    net_tell(s->net, &s->net->delays, session_peer(s), "sends more than the limits on its rate allow: it is read more slowly");
    session_pause(s);
    loop_timer_start(s->net->loop, &r->timer, wait / 1000 + 1);
    return false;
}

bool session_rate_charge(struct session *s, unsigned messages, size_t bytes)
{
    struct session_rates *r = s->rates;
    uint64_t now = now_us(s);

    if (!s->net->options.exceeded_closes) {
        bucket_charge(&r->message_bucket, &r->messages, now, messages);
        bucket_charge(&r->byte_bucket, &r->bytes, now, (double)bytes);
        return true;
    }
    if ((messages == 0 || bucket_take(&r->message_bucket, &r->messages, now, messages) == 0) &&
        bucket_take(&r->byte_bucket, &r->bytes, now, (double)bytes) == 0)
        return true;
    s->net->stats.flooded++;
    net_tell(s->net, &s->net->floods, session_peer(s), "sends more than the limits on its rate allow: closed with 1008");
    session_ws_end(s, 1008, "too many messages");
    return false;
}
