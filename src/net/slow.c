/* slow.c - the records of slow readers, and the timer that ends their grace. */
#include "net/slow.h"

#include "base/mem.h"
#include "net/net_impl.h"

struct slow {
    struct list_node node;     /* in net->slow.over; linked to itself while it is not over */
    struct session *session;
    uint64_t since;            /* loop time at which it went over */
    bool has_ping;
    uint8_t ping_len;
    unsigned char ping[FRAME_CONTROL_MAX]; /* of the newest ping that waits for its pong */
};

static void slow_timer(struct loop_timer *t);

void slow_init(struct net *n)
{
    list_init(&n->slow.over);
    loop_timer_init(&n->slow.timer, slow_timer);
}

void slow_fini(struct net *n)
{
    loop_timer_stop(n->loop, &n->slow.timer);
}

size_t slow_count(const struct net *n)
{
    size_t count = 0;

    list_each(node, (struct list_node *)&n->slow.over) count++;
    return count;
}

/* NULL when memory runs out. */
static struct slow *record_of(struct session *s)
{
    if (!s->slow && (s->slow = mem_zalloc(1, sizeof *s->slow))) {
        s->slow->session = s;
        list_init(&s->slow->node);
    }
    return s->slow;
}

/* ---- the grace ---- */

void slow_note_over(struct session *s, size_t before)
{
    struct net *n = s->net;
    struct slow *r;

    if (s->grace_spent || !outbox_is_over(&s->outbox, n->options.outbox_limit) || !(r = record_of(s)))
        return; /* without memory for a record the next push tries again, and twice the limit holds in any case */
    if (!list_empty(&r->node) && before > n->options.outbox_limit)
        return;
    list_remove(&r->node); /* where it was below the limit in between, time begins anew */
    r->since = loop_now(n->loop);
    list_add_tail(&n->slow.over, &r->node);
    if (!loop_timer_active(&n->slow.timer))
        loop_timer_start(n->loop, &n->slow.timer, n->options.outbox_grace);
}

static void end_grace(struct slow *r)
{
    struct session *s = r->session;
    size_t limit = s->net->options.outbox_limit;
    uint32_t dropped = s->outbox.dropped;

    list_remove(&r->node);
    if (s->state != SESSION_OPEN || !outbox_is_over(&s->outbox, limit))
        return;
    s->grace_spent = true;
    bool fits = outbox_shrink(&s->outbox, s->net->pool, limit);
    session_ws_missed(s, s->outbox.dropped - dropped);
    if (!fits)
        session_ws_overflow(s);
}

static void slow_timer(struct loop_timer *t)
{
    struct net *n = list_entry(t, struct net, slow.timer);
    uint64_t now = loop_now(n->loop), grace = n->options.outbox_grace;

    while (!list_empty(&n->slow.over)) {
        struct slow *r = list_entry(n->slow.over.next, struct slow, node);
        if (now - r->since < grace) {
            loop_timer_start(n->loop, &n->slow.timer, grace - (now - r->since));
            return;
        }
        end_grace(r);
    }
}

void slow_options_changed(struct net *n)
{
    if (!list_empty(&n->slow.over))
        loop_timer_start(n->loop, &n->slow.timer, 1);
}

/* ---- pings ---- */

void slow_keep_ping(struct session *s, const void *data, size_t len)
{
    struct slow *r = record_of(s);

    if (!r)
        return; /* as a ping that the network lost */
    r->has_ping = true;
    r->ping_len = (uint8_t)len;
    memcpy(r->ping, data, len);
}

/* ---- the end ---- */

void slow_caught_up(struct session *s)
{
    struct slow *r = s->slow;

    s->slow = NULL;
    s->grace_spent = false;
    list_remove(&r->node);
    if (r->has_ping)
        session_ws_pong(s, r->ping, r->ping_len);
    mem_free(r);
}

void slow_free(struct session *s)
{
    if (!s->slow)
        return;
    list_remove(&s->slow->node);
    mem_free(s->slow);
    s->slow = NULL;
}
