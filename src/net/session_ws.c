/* session_ws.c - a session after the 101: messages from frames, pings, the closing handshake (RFC 6455 sections 5 to 7). */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/net_impl.h"

#include <stdio.h>

enum { WS_REASON_MAX = 123, WS_OVERFLOW_MS = 1000, WS_DEFLATE_ROOM = 4096, WS_PONGS_MAX = 64 * 1024 };

static const struct outbox_opts control_frame = {.control = true};

/* A control frame behind what is queued. */
static void push_control(struct session *s, enum frame_op op, const void *data, size_t len)
{
    unsigned char head[FRAME_HEAD_MAX];
    size_t head_len = frame_put_head(head, op, false, len);

    if (outbox_push_copy(&s->outbox, s->net->pool, head, head_len, data, len, SIZE_MAX, &control_frame))
        session_kill(s);
    else
        session_mark_dirty(s);
}

static void push_close(struct session *s, unsigned code, struct slice reason)
{
    unsigned char body[2 + WS_REASON_MAX];

    body[0] = (unsigned char)(code >> 8);
    body[1] = (unsigned char)code;
    memcpy(body + 2, reason.data ? reason.data : "", reason.len);
    push_control(s, FRAME_CLOSE, body, code ? 2 + reason.len : 0);
}

/* ---- pings: one timer of the wheel per session, looked at once per interval ---- */

void session_ws_opened(struct session *s)
{
    session_set_timer(s, s->net->options.ping_interval);
}

void session_ws_timer(struct session *s)
{
    const struct net_options *o = &s->net->options;

    if (!s->ping_at) {
        s->ping_at = clock_us();
        s->ping_waits = true;
        push_control(s, FRAME_PING, &s->ping_at, sizeof s->ping_at);
        session_set_timer(s, o->ping_timeout);
    } else if (s->ping_waits && s->pauses == 0) {
        s->net->events->on_silent(s->net->events_arg, s);
        session_timed_out(s);
    } else if (s->ping_waits) {
        session_set_timer(s, o->ping_timeout); /* reading is paused: the answer may be waiting in the socket */
    } else {
        s->ping_at = 0; /* other bytes came: alive, though without a pong */
        session_set_timer(s, o->ping_interval);
    }
}

/* The answer to the ping that is out? Others are unsolicited: heartbeats of the peer's. */
static bool is_answer(const struct session *s, const struct frame_part *p)
{
    return s->ping_at && p->len == sizeof s->ping_at && memcmp(p->data, &s->ping_at, sizeof s->ping_at) == 0;
}

static void take_pong(struct session *s, const struct frame_part *p)
{
    if (!is_answer(s, p))
        return;
    s->latency = (float)((double)(clock_us() - s->ping_at) / 1e6);
    s->ping_at = 0;
    if (s->state == SESSION_OPEN)
        session_set_timer(s, s->net->options.ping_interval);
}

static void take_ping(struct session *s, const struct frame_part *p)
{
    if (s->state != SESSION_OPEN)
        return;
    if (s->outbox.control > WS_PONGS_MAX || s->outbox.bytes > s->net->options.outbox_limit)
        slow_keep_ping(s, p->data, p->len); /* it does not read: no queue of pongs without end */
    else
        session_ws_pong(s, p->data, p->len);
}

void session_ws_pong(struct session *s, const void *data, size_t len)
{
    push_control(s, FRAME_PONG, data, len);
}

/* ---- closing ---- */

void session_ws_end(struct session *s, unsigned code, const char *reason)
{
    if (s->state == SESSION_OPEN) {
        push_close(s, code, slice_of(reason));
        session_owe_closed(s, code, slice_of(reason));
    }
    if (s->state == SESSION_DEAD)
        return;
    s->state = SESSION_LINGER; /* what it sends from here on cannot be understood */
    session_set_timer(s, s->net->options.close_timeout);
    session_finish(s);
}

void session_ws_fail(struct session *s, unsigned code, const char *reason)
{
    s->net->stats.malformed++;
    session_ws_end(s, code, reason);
}

/* The peer's close frame: our answer, or the answer to ours. */
static void take_close(struct session *s, const struct frame_part *p)
{
    unsigned code = p->len >= 2 ? (unsigned)p->data[0] << 8 | p->data[1] : 0;
    struct slice reason = {(const char *)p->data + 2, p->len >= 2 ? p->len - 2 : 0};

    if (p->len == 1 || (p->len >= 2 && !frame_close_code_ok(code))) {
        session_ws_fail(s, 1002, "bad close code");
        return;
    }
    if (!utf8_valid(reason.data, reason.len)) {
        session_ws_fail(s, 1007, "the close reason is not UTF-8");
        return;
    }
    if (s->state == SESSION_OPEN) {
        push_close(s, code, (struct slice){NULL, 0});
        session_owe_closed(s, code ? code : 1005, reason);
    }
    if (s->state == SESSION_DEAD)
        return;
    s->state = SESSION_LINGER;
    session_set_timer(s, s->net->options.close_timeout);
    session_finish(s);
}

int session_close(struct session *s, unsigned code, struct slice reason)
{
    if (s->state != SESSION_OPEN)
        return MT_ECLOSED;
    if (!frame_close_code_ok(code) || reason.len > WS_REASON_MAX || !utf8_valid(reason.data, reason.len))
        return MT_EINVALID;
    push_close(s, code, reason);
    if (s->state == SESSION_DEAD)
        return 0;
    s->state = SESSION_CLOSING;
    session_owe_closed(s, code, reason);
    session_set_timer(s, s->net->options.close_timeout);
    session_update_poll(s); /* a paused session reads again, to find the answer */
    session_wake(s);
    return 0;
}

/* What is queued is counted, and the close frame gets one second. */
void session_ws_overflow(struct session *s)
{
    static const struct slice reason = SLICE("too slow: reconnect and resume");

    s->net->stats.overflowed++;
    session_ws_missed(s, outbox_drop_unsent(&s->outbox, s->net->pool));
    push_close(s, 1013, reason);
    if (s->state == SESSION_DEAD)
        return;
    s->state = SESSION_CLOSING;
    session_owe_closed(s, 1013, reason);
    session_set_timer(s, WS_OVERFLOW_MS);
    session_update_poll(s);
    session_wake(s);
}

/* ---- messages in ---- */

static void deliver(struct session *s, enum frame_op op, const void *data, size_t len)
{
    if (s->state != SESSION_OPEN)
        return; /* behind our close frame: nobody listens any more */
    s->net->stats.messages_in++;
    s->net->events->on_message(s->net->events_arg, s, op, data, len);
}

static void deliver_deflated(struct session *s, enum frame_op op, const void *data, size_t len)
{
    struct net *n = s->net;

    buf_clear(&n->inflated);
    int rc = deflate_unpack(n->deflate, data, len, s->message_limit, &n->inflated);
    if (rc == MT_ETOO_LARGE)
        session_ws_fail(s, 1009, "the message is too big");
    else if (rc == MT_ENOMEM)
        session_kill(s);
    else if (rc)
        session_ws_fail(s, 1007, "the message cannot be inflated");
    else if (op == FRAME_TEXT && !utf8_valid(n->inflated.data, n->inflated.len))
        session_ws_fail(s, 1007, "the text is not UTF-8");
    else
        deliver(s, op, n->inflated.data ? (char *)n->inflated.data : "", n->inflated.len);
}

/* Bytes on the wire that a legal message may have: what does not compress grows, by up to an eighth in zlib's worst case (nine
 * bits per byte), and empty blocks come on top. Inflating counts exactly. */
static uint64_t wire_limit(const struct session *s, const struct frame_part *p)
{
    uint64_t limit = s->message_limit;

    return p->deflated ? limit + limit / 4 + WS_DEFLATE_ROOM : limit;
}

/* Too long? Counted over fragments, and for what this frame has announced. */
static bool over_limit(const struct session *s, const struct frame_part *p)
{
    uint64_t limit = wire_limit(s, p);

    return p->left > limit || s->message.len + p->len > limit - p->left;
}

static void take_data(struct session *s, const struct frame_part *p)
{
    if (over_limit(s, p)) {
        session_ws_fail(s, 1009, "the message is too big");
        return;
    }
    if (p->op == FRAME_TEXT && !p->deflated) {
        s->utf8 = utf8_feed(p->first ? UTF8_ACCEPT : s->utf8, p->data, p->len);
        if (s->utf8 == UTF8_REJECT || (p->last && s->utf8 != UTF8_ACCEPT)) {
            session_ws_fail(s, 1007, "the text is not UTF-8");
            return;
        }
    }
    const void *data = p->data;
    size_t len = p->len;
    bool whole = p->first && p->last;
    if (!whole) {
        if (buf_add(&s->message, p->data, p->len)) {
            session_kill(s);
            return;
        }
        if (!p->last)
            return;
        data = s->message.data ? (char *)s->message.data : "";
        len = s->message.len;
    }
    if (p->deflated)
        deliver_deflated(s, p->op, data, len);
    else
        deliver(s, p->op, data, len);
    if (!whole)
        buf_fini(&s->message);
}

/* Messages that a part counts for where their rate is limited. Fragments are bytes; the answer to our ping we have asked for. */
static unsigned messages_of(const struct session *s, const struct frame_part *p)
{
    switch (p->op) {
    case FRAME_TEXT:
    case FRAME_BINARY:
        return p->last;
    case FRAME_PONG:
        return !is_answer(s, p);
    default:
        return p->op == FRAME_PING;
    }
}

/* Whether the bytes at hand are a whole frame that answers our ping, still masked: it need not wait for room. */
static bool answers_ping(const struct session *s, const unsigned char *data, size_t len)
{
    unsigned char stamp[sizeof s->ping_at];

    if (!s->ping_at || s->decoder.in_frame || len < 6 + sizeof stamp || data[0] != 0x8a || data[1] != (0x80 | sizeof stamp))
        return false;
    for (size_t i = 0; i < sizeof stamp; i++)
        stamp[i] = data[6 + i] ^ data[2 + i % 4];
    return memcmp(stamp, &s->ping_at, sizeof stamp) == 0;
}

size_t session_ws_consume(struct session *s, unsigned char *data, size_t len)
{
    size_t at = 0;

    while ((s->state == SESSION_OPEN && s->pauses == 0) || s->state == SESSION_CLOSING) {
        struct frame_part part;
        size_t used = 0;
        bool limited = s->rates && s->state == SESSION_OPEN;
        if (limited && at < len && !answers_ping(s, data + at, len - at) && !session_rate_ready(s))
            break;
        int rc = frame_next(&s->decoder, data + at, len - at, &used, &part);
        at += used;
        if (rc < 0) {
            session_ws_fail(s, (unsigned)-rc, "protocol error");
            return len;
        }
        if (rc == 0)
            break;
        if (limited && !session_rate_charge(s, messages_of(s, &part), used))
            return len;
        switch (part.op) {
        case FRAME_TEXT:
        case FRAME_BINARY:
            if (s->state == SESSION_OPEN)
                take_data(s, &part);
            break;
        case FRAME_PING:
            take_ping(s, &part);
            break;
        case FRAME_PONG:
            take_pong(s, &part);
            break;
        default:
            take_close(s, &part);
        }
    }
    return at;
}

/* ---- messages out ---- */

/* Volatile messages were dropped while it did not read: now it hears how many. */
void session_ws_sent(struct session *s)
{
    uint32_t dropped = outbox_take_dropped(&s->outbox);
    char text[64];

    if (s->slow)
        slow_caught_up(s);
    if (dropped == 0)
        return;
    int len = snprintf(text, sizeof text, "{\"type\":\"dropped\",\"count\":%u}", dropped);
    session_send(s, FRAME_TEXT, text, (size_t)len, NULL);
}

void session_ws_missed(struct session *s, uint32_t count)
{
    s->net->stats.dropped += count;
    s->missed += count;
}

/* What the outbox may hold now (slow.h). */
static size_t outbox_room(const struct session *s)
{
    const struct net_options *o = &s->net->options;

    return o->outbox_grace && !s->grace_spent ? 2 * o->outbox_limit : o->outbox_limit;
}

/* Of an outbox, from before a push. */
struct before {
    uint32_t dropped; /* which the push may raise although it succeeds: older volatile frames made room for it */
    size_t bytes;
};

static struct before before_push(const struct session *s)
{
    return (struct before){s->outbox.dropped, s->outbox.bytes};
}

/* What a push to the outbox came to. */
static int pushed(struct session *s, struct before before, int rc)
{
    if (s->outbox.dropped != before.dropped)
        session_ws_missed(s, s->outbox.dropped - before.dropped);
    if (rc == 0) {
        s->net->stats.messages_out++;
        session_mark_dirty(s);
        if (s->outbox.bytes > s->net->options.outbox_limit)
            slow_note_over(s, before.bytes);
    } else if (rc == MT_EOVERFLOW) {
        session_ws_overflow(s);
    }
    return rc;
}

int session_send(struct session *s, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts)
{
    struct net *n = s->net;
    unsigned char head[FRAME_HEAD_MAX];
    struct before before = before_push(s);

    if (s->state != SESSION_OPEN)
        return MT_ECLOSED;
    bool packed = false;
    if (s->deflate_bits && len >= n->options.deflate_threshold) {
        buf_clear(&n->deflated);
        packed = deflate_pack(n->deflate, s->deflate_bits, data, len, &n->deflated) == 0 && n->deflated.len < len;
    }
    const void *body = packed ? n->deflated.data : data;
    size_t body_len = packed ? n->deflated.len : len;
    size_t head_len = frame_put_head(head, op, packed, body_len);
    int rc = outbox_push_copy(&s->outbox, n->pool, head, head_len, body, body_len, outbox_room(s), opts);
    return pushed(s, before, rc);
}

int session_send_packet(struct session *s, struct packet *p, const struct outbox_opts *opts)
{
    struct net *n = s->net;
    struct before before = before_push(s);

    if (s->state != SESSION_OPEN)
        return MT_ECLOSED;
    struct blob *frame = packet_frame(p, s->deflate_bits, n->options.deflate_threshold, n->deflate);
    int rc = outbox_push(&s->outbox, n->pool, frame, outbox_room(s), opts);
    return pushed(s, before, rc);
}

/* What the members of one room get, by the window they negotiated: looked up once, its references counted once. */
struct shared_frame {
    struct blob *frame; /* borrowed from the packet */
    uint32_t taken;     /* references that outboxes were given */
};

static void send_shared(struct session *s, struct packet *p, const struct outbox_opts *opts, struct shared_frame *f)
{
    struct net *n = s->net;

    if (!f->frame)
        f->frame = packet_frame(p, s->deflate_bits, n->options.deflate_threshold, n->deflate);
    struct before before = before_push(s);
    int rc = outbox_push_take(&s->outbox, n->pool, f->frame, outbox_room(s), opts);
    f->taken += rc == 0;
    pushed(s, before, rc);
}

void session_send_many(struct session *const *list, size_t count, struct packet *p, const struct outbox_opts *opts)
{
    enum { AHEAD = 8 }; /* sessions are big and lie anywhere: have the next ones fetched while this one is served */
    struct shared_frame frames[PACKET_BITS_MAX + 1] = {0};

    for (size_t i = 0; i < count; i++) {
        struct session *s = list[i], *next = i + AHEAD < count ? list[i + AHEAD] : NULL;
        if (next) {
            __builtin_prefetch(&next->outbox, 1);
            __builtin_prefetch(&next->state, 1);
        }
        if (s && s->state == SESSION_OPEN)
            send_shared(s, p, opts, &frames[s->deflate_bits]);
    }
    for (int bits = 0; bits <= PACKET_BITS_MAX; bits++)
        if (frames[bits].taken)
            blob_ref_n(frames[bits].frame, frames[bits].taken);
}

/* ---- pacing ---- */

void session_pause(struct session *s)
{
    s->pauses++;
    session_update_poll(s);
}

void session_resume(struct session *s)
{
    if (s->pauses == 0 || --s->pauses > 0)
        return;
    if (s->ping_waits && s->state == SESSION_OPEN)
        session_set_timer(s, s->net->options.ping_timeout); /* the clock stood still: the answer may be in what comes now */
    session_wake(s);
}

bool session_is_open(const struct session *s)
{
    return s->state == SESSION_OPEN;
}
