/* test_script_crew.c - scripts of three workers of one server, in one thread: what they see of each other. */
#include "fake_script.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKERS = 3 };

struct crew {
    struct hub_crew *shared;
    struct fake *worker[WORKERS];
    struct inbox *inbox[WORKERS];
    atomic_bool over; /* the test has seen enough */
};

static int setup(void **state)
{
    struct crew *c = calloc(1, sizeof(*c));

    c->shared = hub_crew_create(WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(fake_setup((void **)&c->worker[i]), 0);
        c->inbox[i] = fake_inbox();
        c->worker[i]->config.crew = c->shared;
        c->worker[i]->config.worker = (int)i + 1;
        c->worker[i]->config.workers = WORKERS;
        hub_crew_set_inbox(c->shared, i + 1, c->inbox[i]);
    }
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct crew *c = *state;

    for (int i = 0; i < WORKERS; i++)
        fake_teardown((void **)&c->worker[i]);
    for (int i = 0; i < WORKERS; i++)
        fake_inbox_free(c->inbox[i]);
    hub_crew_destroy(c->shared);
    free(c);
    return 0;
}

static void load(struct crew *c, const char *text)
{
    for (int i = 0; i < WORKERS; i++)
        fake_load(c->worker[i], text);
}

/* Letters of all, until none is left. */
static void settle(struct crew *c)
{
    for (int quiet = 0, i = 0; quiet < WORKERS; i = (i + 1) % WORKERS) {
        quiet = fake_deliver(c->inbox[i]) ? 0 : quiet + 1;
        fake_turn(c->worker[i]);
    }
}

static void test_signals_reach_every_worker(void **state)
{
    struct crew *c = *state;
    struct session *s[WORKERS];

    load(c, "local app = {}\n"
            "function app.on_open(conn) tide.state.conn = conn end\n"
            "function app.on_message(conn, text) conn:send('before') assert(tide.signal('tea', { cups = tide.worker })) "
            "conn:send('after') end\n"
            "function app.on_signal(name, value) tide.state.conn:send(name .. value.cups .. ' in ' .. tide.worker) end\n"
            "return app");
    for (int i = 0; i < WORKERS; i++)
        s[i] = fake_open(c->worker[i], "/");
    fake_text(c->worker[1], s[1], "x");
    fake_expect(s[1], "before\nafter\ntea2 in 2\n");
    settle(c);
    fake_expect(s[0], "tea2 in 1\n");
    fake_expect(s[1], "");
    fake_expect(s[2], "tea2 in 3\n");
}

static const char *const chat =
    "local app = {}\n"
    "app.rooms = { ['*'] = { grace = 0,\n"
    "  on_join = function(room, who) room:send('+' .. who.user .. (who.info or '')) end,\n"
    "  on_leave = function(room, who) room:send('-' .. who.user) end } }\n"
    "function app.on_connect(req) return { user = req.query.user } end\n"
    "function app.on_message(conn, text) assert(load('local tide, conn = ... ' .. text))(tide, conn) end\n"
    "return app";

static void test_people_are_announced_once(void **state)
{
    struct crew *c = *state;
    struct session *ann, *tab, *bob;

    load(c, chat);
    bob = fake_open(c->worker[2], "/?user=bob");
    fake_text(c->worker[2], bob, "conn:join('r')");
    settle(c);
    fake_expect(bob, "+bob\n");
    ann = fake_open(c->worker[0], "/?user=ann");
    tab = fake_open(c->worker[1], "/?user=ann");
    fake_text(c->worker[0], ann, "conn:join('r', 'i') assert(tide.room('r'):count() == 2)");
    fake_text(c->worker[1], tab,
              "conn:join('r') assert(tide.room('r'):count() == 2 and tide.user('ann'):count() == 2)\n"
              "local m = tide.room('r'):members() assert(#m == 2 and m[1].user == 'bob' and m[2].info == 'i')\n"
              "assert(tide.rooms()[1].count == 2 and tide.room('r'):has('bob') and tide.room('r'):has(conn))");
    settle(c);
    fake_expect(bob, "+anni\n");
    fake_expect(ann, "+anni\n");
    fake_expect(tab, "+anni\n");
    fake_close(c->worker[0], ann, 1000);
    settle(c);
    fake_expect(bob, "");
    fake_close(c->worker[1], tab, 1000);
    settle(c);
    fake_expect(bob, "-ann\n");
    for (int i = 0; i < WORKERS; i++)
        fake_expect_no_log(c->worker[i]);
}

static void test_sends_reach_other_workers(void **state)
{
    struct crew *c = *state;
    struct session *ann, *bob;
    char text[256];

    load(c, chat);
    ann = fake_open(c->worker[0], "/?user=ann");
    bob = fake_open(c->worker[1], "/?user=bob");
    fake_text(c->worker[1], bob, "conn:send(conn.id)");
    snprintf(text, sizeof(text), "local far = tide.conn('%.*s') assert(far:send('1') and far:send_binary('2') and far:join('q'))",
             (int)(bob->len < 20 ? bob->len - 1 : 0), bob->sent);
    bob->sent[bob->len = 0] = '\0';
    fake_text(c->worker[0], ann, text);
    fake_text(c->worker[0], ann, "tide.room('q'):send('3') assert(tide.user('bob'):send { n = 4 }) assert(tide.broadcast('5'))");
    settle(c);
    fake_expect(ann, "5\n");
    fake_expect(bob, "1\n2\n3\n{\"n\":4}\n5\n+bob\n"); /* 3 was sent behind the join */
    fake_text(c->worker[0], ann,
              "conn:join('q') assert(tide.user('bob'):leave('q') == true) assert(tide.user('bob'):close(4001, 'bye'))");
    settle(c);
    fake_expect(ann, "+ann\n-bob\n");
    assert_int_equal(bob->close_code, 4001);
    fake_text(c->worker[0], ann,
              "assert(tide.room('q'):count() == 1) tide.room('q'):empty() assert(tide.room('q'):count() == 0)");
    for (int i = 0; i < WORKERS; i++)
        fake_expect_no_log(c->worker[i]);
}

/* Empties the rooms that worker 1's connection joins, again and again. */
static void *empty_rooms(void *arg)
{
    struct crew *c = arg;
    char name[8];

    for (int i = 0; i < 200000 && !atomic_load(&c->over); i++) {
        snprintf(name, sizeof(name), "x%d", i % 9);
        room_empty(script_hub_of(c->worker[1]->script), slice_of(name));
    }
    return NULL;
}

static void test_rooms_are_listed_while_others_empty_them(void **state)
{
    struct crew *c = *state;
    struct session *ann;
    pthread_t thread;

    load(c, chat);
    ann = fake_open(c->worker[0], "/?user=ann");
    assert_int_equal(pthread_create(&thread, NULL, empty_rooms, c), 0);
    for (int i = 0; i < 300; i++)
        fake_text(c->worker[0], ann,
                  "for i = 1, 90 do conn:join('x' .. i % 9) if i % 9 == 0 then assert(#conn:rooms() <= 9) end end");
    atomic_store(&c->over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    fake_expect_no_log(c->worker[0]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_signals_reach_every_worker),
        TEST(test_people_are_announced_once),
        TEST(test_sends_reach_other_workers),
        TEST(test_rooms_are_listed_while_others_empty_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
