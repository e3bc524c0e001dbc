/* pace.c - see pace.h. */
#include "script/pace.h"

#include "script/dispatch.h"

#include <stdio.h>

enum {
    RETRY_AFTER = 5, /* seconds: nobody knows when one of the others goes */
    LOOK_MS = 1000,  /* a pause that is longer ends within this time when the setting or the user becomes another */
};

/* ---- telling ---- */

static void tell(struct script *s, struct seldom *when, const struct log_about *about, const char *what, struct slice user)
{
    uint64_t count = seldom_count(when, loop_now(s->loop));
    char times[24];

    if (!count)
        return;
    snprintf(times, sizeof(times), "%llu", (unsigned long long)count);
    const struct log_field fields[] = {{SLICE("user"), user, false}, {SLICE("times"), slice_of(times), true}};
    log_write_fields(s->log, LOG_LEVEL_WARN, about, slice_of(what), fields, 2);
}

static void tell_of(const struct peer *p, struct seldom *when, const char *what, struct slice user)
{
    struct script_about about = {0};

    peer_fill_about(p->script, p->conn->id, &about);
    tell(p->script, when, &about.about, what, user);
}

/* ---- messages ---- */

static void wait_on(struct peer *p, uint64_t now)
{
    uint64_t left = p->slow_until - now;

    loop_timer_start(p->script->loop, &p->slow_timer, left < LOOK_MS ? left : LOOK_MS);
}

static void slow_down(struct peer *p, uint64_t wait_us)
{
    uint64_t now = loop_now(p->script->loop);

    p->slow_until = now + (wait_us + 999) / 1000;
    wait_on(p, now);
    if (!p->slow)
        session_pause(p->session);
    p->slow = true;
}

void pace_on_timer(struct loop_timer *timer)
{
    struct peer *p = list_entry(timer, struct peer, slow_timer);
    uint64_t now = loop_now(p->script->loop);

    if (p->script->paced && now < p->slow_until && conn_message_debt(p->conn, now * 1000) > 0) {
        wait_on(p, now);
        return;
    }
    p->slow = false;
    if (p->session)
        session_resume(p->session);
}

bool pace_message(struct peer *p)
{
    struct script *s = p->script;
    uint64_t wait = conn_charge_message(p->conn, loop_now(s->loop) * 1000);

    if (!wait)
        return true;
    if (s->config.user_limits.refuse) {
        s->stats.user_closes++;
        tell_of(p, &s->told.closes, "limits.rate.user_messages: the connection is closed", conn_user(p->conn));
        session_close(p->session, 1008, SLICE("too many messages"));
        return false;
    }
    s->stats.user_delays++;
    tell_of(p, &s->told.delays, "limits.rate.user_messages: the user is read more slowly", conn_user(p->conn));
    slow_down(p, wait);
    return true;
}

/* ---- connections ---- */

void pace_refuse_handshake(struct script *s, struct session *session, struct slice user, struct slice path)
{
    char head[32];
    struct log_about about = {.peer = session_peer(session), .path = path};
    int len = snprintf(head, sizeof(head), "Retry-After: %d\r\n", RETRY_AFTER);

    s->stats.user_connections++;
    tell(s, &s->told.handshakes, &about, "limits.user_connections: the handshake was refused", user);
    serve_status(session, 429, (struct slice){head, (size_t)len}, SLICE("too many connections"));
}

void pace_refuse_user(struct peer *p, struct slice user)
{
    struct script *s = p->script;

    s->stats.user_connections++;
    tell_of(p, &s->told.logins, "limits.user_connections: conn.user was not set, the connection is closed", user);
    session_close(p->session, 1008, SLICE("too many connections"));
}
