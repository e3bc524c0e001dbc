/* test_hub_threads.c - three workers on three threads do everything at once, at random; meant to run under ThreadSanitizer too.
 *
 * While they run: hooks alternate per person, all in the home of the room; what a worker sends to a room comes in order, and to
 * those who stay in a room, complete. In pauses, when all letters are opened: the directory says who is where exactly as the
 * connections do. At the end nothing is left.
 */
#include "base/err.h"
#include "base/mem.h"
#include "fake_hub.h"
#include "hub/hub_impl.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    ROUNDS = 20,  /* pauses */
    STEPS = 1500, /* of each worker between two pauses */
    CONNS = 8,    /* of each worker, at most */
    USERS = 4,    /* user 0: nobody logged in */
    ROOMS = 6,    /* the first two are never emptied, and one connection per worker stays in them */
    STEADY = 2,
    GRACE = 20,
};

static const char *const user_names[USERS] = {"", "ann", "bob", "cid"};

/* cmocka's checks are for the main thread. */
#define CHECK(condition)                                                                                                         \
    do {                                                                                                                         \
        if (!(condition)) {                                                                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                      \
            abort();                                                                                                             \
        }                                                                                                                        \
    } while (0)

struct client {
    struct session session;
    struct conn *conn;                /* NULL: closed */
    bool steady;                      /* in the first rooms, from the start to the end */
    unsigned heard[FAKE_CREW][ROOMS]; /* the last number, by sender and room */
};

struct worker {
    struct fake_world *world;
    unsigned seed;          /* of its own randomness */
    unsigned sent[ROOMS];   /* the last number */
    struct client *clients; /* CONNS */
};

static struct worker workers[FAKE_CREW];
static struct fake_world *crew;
static atomic_bool over; /* little_is_kept_and_stays has seen enough */
static pthread_barrier_t pause_begins, pause_ends;
/* Users who have been announced, by room; touched by the home of the room only. */
static bool announced[ROOMS][USERS];
static int strangers[ROOMS];

static char room_names[ROOMS][8];

static int pick(struct worker *w, int n)
{
    return rand_r(&w->seed) % n;
}

/* ---- what is heard ---- */

/* "sender room number" */
static void on_heard(struct session *s, const char *data, size_t len)
{
    struct client *c = s->heard_arg;
    unsigned sender, room, number;
    char text[64];

    CHECK(len < sizeof(text));
    memcpy(text, data, len);
    text[len] = '\0';
    s->len = 0; /* nobody looks at it */
    if (sscanf(text, "%u %u %u", &sender, &room, &number) != 3)
        return; /* to a user or to all */
    unsigned *last = &c->heard[sender][room];
    if (c->steady && room < STEADY)
        CHECK(number == *last + 1);
    else
        CHECK(number > *last);
    *last = number;
}

static void on_hook(struct fake_world *w, bool join, struct slice room, const struct person *p)
{
    int r = room.data[0] - 'a';

    w->log_len = 0; /* nobody reads it */
    if (!p->user.len) {
        strangers[r] += join ? 1 : -1;
        CHECK(strangers[r] >= 0);
        return;
    }
    for (int u = 1; u < USERS; u++)
        if (slice_is(p->user, slice_of(user_names[u]))) {
            CHECK(announced[r][u] != join);
            announced[r][u] = join;
        }
}

/* ---- steps ---- */

static void open_client(struct worker *w, struct client *c)
{
    int user = pick(w, USERS);

    memset(c, 0, sizeof(*c));
    c->session.heard = on_heard;
    c->session.heard_arg = c;
    CHECK(conn_open(w->world->hub, &c->session, slice_of(user_names[user]), &c->conn) == 0);
}

static void close_client(struct worker *w, struct client *c)
{
    if (pick(w, 2))
        conn_detach(c->conn);
    conn_close(c->conn);
    c->conn = NULL;
}

static struct packet *make_packet(const char *text)
{
    struct packet *p = packet_create(FRAME_TEXT, text, strlen(text));
    CHECK(p);
    return p;
}

static void send_to_room(struct worker *w, int room)
{
    static const struct slice users[] = {{"ann", 3}};
    struct hub_except except = {NULL, 0, users, 1};
    bool some_out = room >= STEADY && pick(w, 4) == 0;
    char text[64];

    snprintf(text, sizeof(text), "%d %d %u", (int)(w - workers), room, ++w->sent[room]);
    struct packet *p = make_packet(text);
    CHECK(room_send(w->world->hub, slice_of(room_names[room]), p, SLICE(""), false, some_out ? &except : NULL) == 0);
    packet_unref(p);
}

static void do_something_to_somebody(struct worker *w, int room)
{
    struct hub *h = w->world->hub;
    struct whom whom = {0, slice_of(user_names[pick(w, USERS)])};
    struct packet *p = make_packet("x");

    switch (pick(w, 5)) {
    case 0:
        (void)whom_send(h, &whom, p, NULL, NULL);
        break;
    case 1:
        (void)whom_join(h, &whom, slice_of(room_names[room]), NULL);
        break;
    case 2:
        if (room >= STEADY) /* the steady ones are users, too */
            (void)whom_leave(h, &whom, slice_of(room_names[room]));
        break;
    case 3:
        CHECK(hub_broadcast(h, p, NULL, NULL) == 0);
        break;
    default:
        /* kept, with a key: not numbered */
        CHECK(room_send(h, slice_of(room_names[room]), p, SLICE("k"), false, NULL) == 0);
    }
    packet_unref(p);
}

static void look(struct worker *w, const struct client *c, int room)
{
    struct hub *h = w->world->hub;
    struct slice name = slice_of(room_names[room]), left;
    struct buf list = {0};
    struct person p;
    int n = 0;

    int count = room_members(h, name, &list);
    for (left = buf_slice(&list); person_next(&left, &p);)
        n++;
    CHECK(n == count);
    buf_clear(&list);
    CHECK(room_list(h, SLICE(""), &list) <= ROOMS);
    buf_fini(&list);
    (void)room_count(h, name);
    (void)room_has_user(h, name, SLICE("ann"));
    if (c->conn && room_has_conn(h, name, c->conn) && conn_user(c->conn).len && c->steady && room < STEADY)
        CHECK(room_has_user(h, name, conn_user(c->conn)));
}

static void step(struct worker *w)
{
    struct client *c = &w->clients[pick(w, CONNS)];
    int room = pick(w, ROOMS), what = pick(w, 24);

    if (what == 0)
        fake_advance(w->world, (uint64_t)pick(w, 5));
    else if (what < 4)
        fake_open_letters(w->world);
    else if (what < 8)
        send_to_room(w, room);
    else if (what < 10)
        do_something_to_somebody(w, room);
    else if (what == 10)
        look(w, c, room);
    else if (what == 11 && room >= STEADY && pick(w, 4) == 0)
        room_empty(w->world->hub, slice_of(room_names[room]));
    else if (c->steady)
        return;
    else if (!c->conn)
        open_client(w, c);
    else if (what == 12)
        close_client(w, c);
    else if (what == 13)
        CHECK(conn_set_user(c->conn, slice_of(user_names[pick(w, USERS)])) == 0);
    else if (what < 20)
        CHECK(room_join(c->conn, slice_of(room_names[room]), NULL) == 0);
    else
        (void)room_leave(c->conn, slice_of(room_names[room]));
}

/* ---- pauses ---- */

/* The people of a room as the connections tell it: bits of users, and how many strangers. */
static unsigned see_room(int room, int *lonely)
{
    unsigned users = 0;

    *lonely = 0;
    for (int i = 0; i < FAKE_CREW; i++)
        for (int n = 0; n < CONNS; n++) {
            const struct conn *c = workers[i].clients[n].conn;
            if (!c || !room_has_conn(crew[i].hub, slice_of(room_names[room]), c))
                continue;
            *lonely += conn_user(c).len == 0;
            for (int u = 1; u < USERS; u++)
                users |= slice_is(conn_user(c), slice_of(user_names[u])) ? 1u << u : 0;
        }
    return users;
}

static void check_room(int room)
{
    struct slice name = slice_of(room_names[room]);
    size_t people = 0;
    int lonely;
    unsigned users = see_room(room, &lonely);

    for (int u = 1; u < USERS; u++) {
        bool here = room_has_user(crew[0].hub, name, slice_of(user_names[u]));
        CHECK(here == ((users >> u & 1) != 0));
        CHECK(announced[room][u] == here);
        people += here;
    }
    CHECK(strangers[room] == lonely);
    CHECK(room_count(crew[1].hub, name) == people + (size_t)lonely);
}

static void check_users(void)
{
    size_t conns[USERS] = {0}, people = 0;

    for (int i = 0; i < FAKE_CREW; i++)
        for (int n = 0; n < CONNS; n++)
            for (int u = 0; u < USERS; u++) {
                const struct conn *c = workers[i].clients[n].conn;
                conns[u] += c && slice_is(conn_user(c), slice_of(user_names[u]));
            }
    for (int u = 1; u < USERS; u++) {
        CHECK(user_count(crew[2].hub, slice_of(user_names[u])) == conns[u]);
        people += conns[u] > 0;
    }
    CHECK(hub_people(crew[0].hub) == people + conns[0]);
}

/* All threads wait; this one has the world for itself. */
static void check_all(void)
{
    fake_settle(crew);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], GRACE); /* nobody is in grace any more */
    fake_settle(crew);
    for (int r = 0; r < ROOMS; r++)
        check_room(r);
    check_users();
    for (int i = 0; i < FAKE_CREW; i++)
        for (int r = 0; r < STEADY; r++)
            for (int sender = 0; sender < FAKE_CREW; sender++)
                CHECK(workers[i].clients[0].heard[sender][r] == workers[sender].sent[r]);
}

static void *work(void *arg)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < STEPS; i++)
            step(arg);
        pthread_barrier_wait(&pause_begins);
        pthread_barrier_wait(&pause_ends);
    }
    return NULL;
}

static void begin(struct fake_world *w, struct worker *worker, unsigned seed)
{
    worker->world = w;
    worker->seed = seed;
    worker->clients = calloc(CONNS, sizeof(*worker->clients));
    w->grace = GRACE;
    w->current = true;
    w->hook = on_hook;
    open_client(worker, &worker->clients[0]);
    worker->clients[0].steady = true;
    for (int r = 0; r < STEADY; r++)
        assert_int_equal(room_join(worker->clients[0].conn, slice_of(room_names[r]), NULL), 0);
}

static void end(struct worker *w)
{
    for (int n = 0; n < CONNS; n++)
        if (w->clients[n].conn)
            conn_close(w->clients[n].conn);
}

static void everything_at_once(void **state)
{
    pthread_t threads[FAKE_CREW];

    crew = *state;
    for (int r = 0; r < ROOMS; r++)
        snprintf(room_names[r], sizeof(room_names[r]), "%c", 'a' + r);
    pthread_barrier_init(&pause_begins, NULL, FAKE_CREW + 1);
    pthread_barrier_init(&pause_ends, NULL, FAKE_CREW + 1);
    for (int i = 0; i < FAKE_CREW; i++)
        begin(&crew[i], &workers[i], (unsigned)i + 1);
    for (int i = 0; i < FAKE_CREW; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&pause_begins);
        check_all();
        pthread_barrier_wait(&pause_ends);
    }
    for (int i = 0; i < FAKE_CREW; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < FAKE_CREW; i++)
        end(&workers[i]);
    for (int i = 0; i < FAKE_CREW; i++)
        fake_advance(&crew[i], GRACE);
    fake_settle(crew);
    for (int r = 0; r < ROOMS; r++) {
        for (int u = 1; u < USERS; u++)
            assert_false(announced[r][u]);
        assert_int_equal(strangers[r], 0);
    }
    assert_int_equal(hub_rooms(crew[0].hub), 0);
    assert_int_equal(hub_people(crew[0].hub), 0);
    for (int i = 0; i < FAKE_CREW; i++)
        free(workers[i].clients);
    pthread_barrier_destroy(&pause_begins);
    pthread_barrier_destroy(&pause_ends);
}

/* ---- current messages ---- */

enum { FORGETS = 20000 };

/* Forgets what another worker keeps, as soon as it is there. */
static void *forget(void *arg)
{
    struct fake_world *w = arg;

    while (!atomic_load(&over))
        (void)room_forget(w->hub, SLICE("a"), SLICE("k"));
    return NULL;
}

/* What others keep and forget must not push out a message that has room enough. */
static void little_is_kept_and_stays(void **state)
{
    static char large[4096];
    struct fake_world *w = *state;
    struct packet *small = make_packet("x"), *p = packet_create(FRAME_TEXT, memset(large, 'y', sizeof(large)), sizeof(large));
    pthread_t threads[2];

    for (int i = 0; i < FAKE_CREW; i++)
        w[i].current = true;
    assert_int_equal(room_send(w[0].hub, SLICE("b"), small, SLICE("k"), false, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, forget, &w[i + 1]), 0);
    for (int i = 0; i < FORGETS; i++)
        assert_int_equal(room_send(w[0].hub, SLICE("a"), p, SLICE("k"), false, NULL), 0);
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(room_forget(w[0].hub, SLICE("b"), SLICE("k")));
    packet_unref(small);
    packet_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_at_once, fake_crew_setup, fake_crew_teardown),
        cmocka_unit_test_setup_teardown(little_is_kept_and_stays, fake_crew_setup, fake_crew_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
