/* fake_hub.c - sessions, a loop and hooks for the tests of the hub. */
#include "fake_hub.h"

#include "base/err.h"
#include "base/mem.h"
#include "fake_inbox.h"
#include "hub/hub_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- net/session.h ---- */

static int take(struct session *s, const void *data, size_t len, const struct outbox_opts *opts)
{
    if (s->closed)
        return MT_ECLOSED;
    s->messages++;
    s->opts = opts ? *opts : (struct outbox_opts){0};
    if (s->heard)
        s->heard(s, data, len);
    if (s->len + len + 2 <= sizeof(s->sent)) {
        memcpy(s->sent + s->len, data, len);
        s->len += len;
        s->sent[s->len++] = ' ';
        s->sent[s->len] = '\0';
    }
    return 0;
}

int session_send(struct session *s, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts)
{
    return take(s, data, len, opts);
}

int session_send_packet(struct session *s, struct packet *p, const struct outbox_opts *opts)
{
    return take(s, p->plain->data + p->head, p->plain->len - p->head, opts);
}

void session_send_many(struct session *const *list, size_t count, struct packet *p, const struct outbox_opts *opts)
{
    for (size_t i = 0; i < count; i++)
        if (list[i])
            (void)session_send_packet(list[i], p, opts);
}

bool session_is_open(const struct session *s)
{
    return !s->closed;
}

int session_close(struct session *s, unsigned code, struct slice reason)
{
    if (s->closed)
        return MT_ECLOSED;
    s->closed = true;
    s->close_code = code;
    return 0;
}

/* ---- inboxes ---- */

bool fake_open_letters(struct fake_world *w)
{
    return fake_inbox_open(w->inbox, true);
}

void fake_set_inbox_limit(struct fake_world *w, size_t letters)
{
    w->inbox->limit = letters;
}

void fake_settle(struct fake_world *crew)
{
    for (int quiet = 0, i = 0; quiet < FAKE_CREW; i = (i + 1) % FAKE_CREW)
        quiet = fake_open_letters(&crew[i]) ? 0 : quiet + 1;
}

/* ---- loop/loop.h ---- */

struct loop {
    uint64_t now;
    struct list_node timers; /* by due */
};

void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn)
{
    list_init(&t->node);
    t->fn = fn;
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t ms)
{
    struct list_node *before = l->timers.next;

    list_remove(&t->node);
    t->due = l->now + ms;
    for (before = l->timers.next; before != &l->timers; before = before->next)
        if (list_entry(before, struct loop_timer, node)->due > t->due)
            break;
    list_add_tail(before, &t->node);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    list_remove(&t->node);
}

uint64_t loop_now(const struct loop *l)
{
    return l->now;
}

bool loop_timer_active(const struct loop_timer *t)
{
    return !list_empty(&t->node);
}

void fake_advance(struct fake_world *w, uint64_t ms)
{
    struct loop *l = w->loop;
    uint64_t until = l->now + ms;

    while (!list_empty(&l->timers) && list_entry(l->timers.next, struct loop_timer, node)->due <= until) {
        struct loop_timer *t = list_entry(l->timers.next, struct loop_timer, node);
        l->now = t->due;
        list_remove(&t->node);
        t->fn(t);
    }
    l->now = until;
}

/* ---- struct hub_events ---- */

static void write_log(struct fake_world *w, char sign, struct slice what, const char *sep, const char *who, struct slice more)
{
    int len = snprintf(w->log + w->log_len, sizeof(w->log) - w->log_len, "%c%.*s/%s%s%.*s ", sign, (int)what.len, what.data, who,
                       more.data ? sep : "", (int)more.len, more.data ? more.data : "");
    if (w->log_len + (size_t)len < sizeof(w->log))
        w->log_len += (size_t)len;
    else
        w->log[w->log_len] = '\0'; /* full */
}

static void note(struct fake_world *w, bool join, struct slice room, const struct person *p)
{
    char who[HUB_NAME_MAX + 2] = "#?";
    int n = 0;

    while (n < 64 && w->ids[n] != p->conn)
        n++;
    if (p->user.len)
        snprintf(who, sizeof(who), "%.*s", (int)p->user.len, p->user.data);
    else if (n < 64)
        snprintf(who, sizeof(who), "#%d", n);
    write_log(w, join ? '+' : '-', room, "=", who, p->info);
    w->joins += join;
    w->leaves += !join;
    if (w->hook)
        w->hook(w, join, room, p);
}

static void on_join(void *arg, struct slice room, const struct person *p)
{
    note(arg, true, room, p);
}

static void on_leave(void *arg, struct slice room, const struct person *p)
{
    note(arg, false, room, p);
}

static uint64_t grace(void *arg, struct slice room)
{
    return ((struct fake_world *)arg)->grace;
}

static bool current(void *arg, struct slice room)
{
    return ((struct fake_world *)arg)->current;
}

static void on_signal(void *arg, struct slice name, struct blob *value)
{
    write_log(arg, '!', name, "", "", (struct slice){(const char *)value->data, value->len});
}

static void on_asked(void *arg, struct conn *c)
{
    ((struct fake_world *)arg)->asked++;
}

static void on_dropped(void *arg, unsigned worker, uint64_t count)
{
    struct fake_world *w = arg;

    w->dropped_calls++;
    w->dropped += count;
}

/* ---- the world ---- */

static void make_world(struct fake_world *w, struct hub_crew *crew, unsigned worker)
{
    static const struct hub_events events = {on_join, on_leave, grace, current, on_signal, on_asked, on_dropped};

    w->loop = calloc(1, sizeof(*w->loop));
    list_init(&w->loop->timers);
    w->hub = hub_create(w->loop, &events, w, crew, worker);
    if (crew) {
        w->inbox = fake_inbox_create();
        hub_crew_set_inbox(crew, worker, w->inbox);
    }
}

static void end_world(struct fake_world *w)
{
    uint32_t at = 0;

    w->hook = NULL;
    for (struct conn *c; (c = conn_next(w->hub, &at));)
        conn_close(c);
    hub_destroy(w->hub);
    assert_true(list_empty(&w->loop->timers));
    for (size_t i = 0; i < w->session_count; i++)
        free(w->sessions[i]);
    free(w->loop);
    if (w->inbox) {
        fake_inbox_destroy(w->inbox);
    }
}

int fake_setup(void **state)
{
    struct fake_world *w = calloc(1, sizeof(*w));

    make_world(w, NULL, 1);
    *state = w;
    return w->hub ? 0 : -1;
}

int fake_teardown(void **state)
{
    end_world(*state);
    free(*state);
    return 0;
}

static struct hub_crew *crew;

int fake_crew_setup(void **state)
{
    struct fake_world *w = calloc(FAKE_CREW, sizeof(*w));

    crew = hub_crew_create(FAKE_CREW);
    for (unsigned i = 0; i < FAKE_CREW; i++)
        make_world(&w[i], crew, i + 1);
    *state = w;
    return 0;
}

int fake_crew_teardown(void **state)
{
    struct fake_world *w = *state;

    for (int i = 0; i < FAKE_CREW; i++)
        end_world(&w[i]);
    hub_crew_destroy(crew);
    free(w);
    return 0;
}

struct fake_world *fake_home(struct fake_world *w, const char *room)
{
    struct place *p = place_get(crew, slice_of(room));
    unsigned home = p->home;

    place_unref(p, 0);
    return &w[home - 1];
}

void fake_people(struct fake_world *w, const char *room, char *text, size_t size)
{
    struct buf list = {0};
    struct person p;
    size_t len = 0;

    text[0] = '\0';
    assert_true(room_members(w->hub, slice_of(room), &list) >= 0);
    for (struct slice left = buf_slice(&list); person_next(&left, &p);)
        len += (size_t)snprintf(text + len, size - len, "%.*s%s%.*s ", p.user.len ? (int)p.user.len : 1,
                                p.user.len ? p.user.data : "#", p.info.data ? "=" : "", (int)p.info.len,
                                p.info.data ? p.info.data : "");
    buf_fini(&list);
}

struct conn *fake_open(struct fake_world *w, const char *user)
{
    struct session *s = calloc(1, sizeof(*s));
    size_t n = w->session_count++;

    assert_true(n < 64);
    w->sessions[n] = s;
    assert_int_equal(conn_open(w->hub, s, slice_of(user), &w->conns[n]), 0);
    w->ids[n] = w->conns[n]->id;
    return w->conns[n];
}

void fake_close(struct fake_world *w, int n)
{
    struct conn *c = w->conns[n];
    w->conns[n] = NULL;
    conn_close(c);
}

int fake_join(struct fake_world *w, int n, const char *room)
{
    return room_join(w->conns[n], slice_of(room), NULL);
}

void fake_expect_log(struct fake_world *w, const char *expected)
{
    assert_string_equal(w->log, expected);
    w->log_len = 0;
    w->log[0] = '\0';
}

void fake_expect_sent(struct fake_world *w, int n, const char *expected)
{
    struct session *s = w->sessions[n];
    assert_string_equal(s->sent, expected);
    s->len = s->messages = 0;
    s->sent[0] = '\0';
}

struct packet *fake_packet(const char *text)
{
    struct packet *p = packet_create(FRAME_TEXT, text, strlen(text));
    assert_non_null(p);
    return p;
}

void fake_room_send(struct fake_world *w, const char *room, const char *text, const struct hub_except *except)
{
    struct packet *p = fake_packet(text);
    assert_int_equal(room_send(w->hub, slice_of(room), p, SLICE(""), false, except), 0);
    packet_unref(p);
}
