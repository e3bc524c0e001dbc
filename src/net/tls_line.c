/* tls_line.c - who is served when, and for how long in a turn. The handshakes themselves are libwebsockets' (lws_host.c). */
#include "net/tls_line.h"

#include "base/clock.h"
#include "net/net_impl.h"

enum {
    LINE_BUDGET_US = 1000,     /* of a turn; one handshake is always served, so it may be longer by one */
    LINE_SHARE = 4,            /* a turn that was long without them may be longer by a fourth: else they would starve */
    LINE_BUDGET_MAX_US = 10000
};

static struct session *session_of(struct list_node *node)
{
    return list_entry(node, struct session, woken);
}

void tls_line_init(struct tls_line *l)
{
    list_init(&l->begun);
    list_init(&l->fresh);
    list_init(&l->refused);
}

static bool is_empty(const struct tls_line *l)
{
    return list_empty(&l->begun) && list_empty(&l->fresh) && list_empty(&l->refused);
}

/* ---- coming ---- */

/* While it waits, the level-triggered poll would report it again in every turn. */
static void stop_polling(struct session *s)
{
    if (loop_fd_want(s->fd, s->wsi ? 0 : LOOP_HANGUP))
        session_kill(s);
}

void tls_line_join(struct session *s, int events)
{
    struct tls_line *l = &s->net->tls_line;

    if (list_empty(&s->woken)) {
        list_add_tail(s->wsi ? &l->begun : s->refusal ? &l->refused : &l->fresh, &s->woken);
        s->line_since = loop_now(s->net->loop);
        if (l->stayed)
            stop_polling(s);
    } else if (events & LOOP_HANGUP && !s->wsi) {
        session_kill(s); /* who has said no more than hello cannot finish without its side of the stream */
    }
}

/* ---- being served ---- */

/* How long the oldest of the new ones has waited. */
static uint64_t longest_wait(const struct tls_line *l, uint64_t now)
{
    return list_empty(&l->fresh) ? 0 : now - session_of(l->fresh.next)->line_since;
}

static uint64_t patience(const struct net *n)
{
    return n->options.handshake_timeout / 2;
}

struct session *tls_line_next(struct tls_line *l, uint64_t now, uint64_t patience)
{
    struct list_node *node;

    if (!list_empty(&l->begun))
        node = l->begun.next;
    else if (!list_empty(&l->fresh))
        node = longest_wait(l, now) < patience ? l->fresh.next : l->fresh.prev;
    else if (!list_empty(&l->refused))
        node = l->refused.next;
    else
        return NULL;
    list_remove(node);
    return session_of(node);
}

static void tell_overload(struct net *n, uint64_t now)
{
    struct tls_line *l = &n->tls_line;
    uint64_t wait = longest_wait(l, now);

    if (wait >= patience(n) && seldom_count(&n->storms, now))
        log_warn(n->log, NULL, "TLS handshakes come faster than they can be served: %zu wait, one for %.1f s. The newest go first now",
                 tls_line_count(l), (double)wait / 1000);
}

/* Somebody stays for the next turn. */
static void wait_on(struct net *n)
{
    struct tls_line *l = &n->tls_line;

    if (!l->stayed) { /* so all of them came in this turn, and are still polled */
        l->stayed = true;
        list_each_safe(node, tmp, &l->begun) stop_polling(session_of(node));
        list_each_safe(node, tmp, &l->fresh) stop_polling(session_of(node));
        list_each_safe(node, tmp, &l->refused) stop_polling(session_of(node));
    }
    tell_overload(n, loop_now(n->loop));
    l->left_us = clock_us();
    loop_again(n->loop);
}

/* Behind a turn in which somebody stayed the loop does not block, so the time since then is other work. */
static uint64_t budget(const struct tls_line *l, uint64_t now_us)
{
    uint64_t share = l->stayed ? (now_us - l->left_us) / LINE_SHARE : 0;

    return share < LINE_BUDGET_US ? LINE_BUDGET_US : share < LINE_BUDGET_MAX_US ? share : LINE_BUDGET_MAX_US;
}

void tls_line_turn_end(void *net)
{
    struct net *n = net;
    struct tls_line *l = &n->tls_line;
    struct session *s;

    if (is_empty(l)) {
        l->stayed = false;
        return;
    }
    uint64_t begin = clock_us(), end = begin + budget(l, begin);
    while (clock_us() < end && (s = tls_line_next(l, loop_now(n->loop), patience(n))))
        if (s->state == SESSION_TLS)
            host_handshake(s);
    if (is_empty(l))
        l->stayed = false;
    else
        wait_on(n);
}

size_t tls_line_count(const struct tls_line *l)
{
    size_t count = 0;

    list_each(node, (struct list_node *)&l->begun) count++;
    list_each(node, (struct list_node *)&l->fresh) count++;
    list_each(node, (struct list_node *)&l->refused) count++;
    return count;
}
