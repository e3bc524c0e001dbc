/* test_loop_loop.c - turns, timers, descriptors, wake-ups, signals, work and threads on real loops.
 *
 * Nothing here sleeps: each test ends with the event it waits for. A guard timer ends a loop that would hang.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/loop.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop *l;
static struct loop_timer guard;
static bool hung;

static void on_guard(struct loop_timer *t)
{
    hung = true;
    loop_stop(l);
}

static int setup(void **state)
{
    l = loop_create();
    hung = false;
    loop_timer_init(&guard, on_guard);
    loop_timer_start(l, &guard, 20000);
    return l ? 0 : -1;
}

static int teardown(void **state)
{
    loop_timer_stop(l, &guard);
    loop_destroy(l);
    return hung ? -1 : 0;
}

/* ---- log of what happened in which order ---- */

static char story[200];

static void tell(const char *word)
{
    strncat(story, word, sizeof(story) - strlen(story) - 1);
}

static void begin_story(void)
{
    story[0] = '\0';
}

/* ---- turns ---- */

static int pair[2];

static void on_story_timer(struct loop_timer *t)
{
    tell("timer ");
}

static void on_story_flush(void *arg)
{
    tell("flush ");
}

static void on_story_read(struct loop_fd *w, int events, void *arg)
{
    char c;
    assert_int_equal(read(loop_fd_fileno(w), &c, 1), 1);
    tell("read ");
    loop_stop(l);
}

/* What timers and events queue must leave before the loop blocks: once per turn, behind both. */
static void flush_comes_after_timers_and_events(void **state)
{
    struct loop_timer t;

    begin_story();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    struct loop_fd *w = loop_fd_open(l, pair[0], on_story_read, NULL);
    assert_int_equal(loop_fd_want(w, LOOP_READ), 0);
    loop_timer_init(&t, on_story_timer);
    loop_timer_start(l, &t, 0);
    assert_int_equal(loop_add_flush(l, on_story_flush, NULL), 0);
    loop_run(l);
    assert_string_equal(story, "timer flush read flush ");
    loop_remove_flush(l, on_story_flush, NULL);
    loop_fd_close(w);
    close(pair[0]);
    close(pair[1]);
}

static int turns;

static void flush_again(void *arg)
{
    if (++turns < 100)
        loop_again(l);
    else
        loop_stop(l);
}

static void again_does_not_block(void **state)
{
    turns = 0;
    assert_int_equal(loop_add_flush(l, flush_again, NULL), 0);
    loop_run(l);
    assert_false(hung);
    assert_true(turns >= 100);
    loop_remove_flush(l, flush_again, NULL);
}

static int hook_runs[3];

static void on_hook(void *arg)
{
    int i = *(int *)arg;
    hook_runs[i]++;
    if (i == 0 && hook_runs[0] == 2)
        loop_remove_flush(l, on_hook, arg); /* itself */
    if (i == 1 && hook_runs[1] == 3) {
        static int two = 2;
        loop_add_flush(l, on_hook, &two); /* runs in the same turn: what it has leaves too */
    }
    if (i == 1 && hook_runs[1] == 5)
        loop_stop(l);
    loop_again(l);
}

static void hooks_come_and_go(void **state)
{
    static int ids[2] = {0, 1};
    memset(hook_runs, 0, sizeof(hook_runs));
    assert_int_equal(loop_add_flush(l, on_hook, &ids[0]), 0);
    assert_int_equal(loop_add_flush(l, on_hook, &ids[1]), 0);
    loop_run(l); /* runs the hooks once more when it is stopped */
    assert_int_equal(hook_runs[0], 2);
    assert_int_equal(hook_runs[1], 6);
    assert_int_equal(hook_runs[2], 4);
}

static void stop_before_run_returns_at_once(void **state)
{
    turns = 0;
    loop_stop(l);
    loop_run(l);
    assert_false(hung);
}

/* ---- timers ---- */

static int fired;

static void on_zero(struct loop_timer *t)
{
    if (++fired == 50)
        loop_stop(l);
    loop_timer_start(l, t, 0);
}

static void on_read_once(struct loop_fd *w, int events, void *arg)
{
    char c;
    assert_int_equal(read(loop_fd_fileno(w), &c, 1), 1);
    *(int *)arg = fired;
}

/* A timer that starts itself with 0 ms waits for the next turn and starves nobody. */
static void zero_timers_take_turns(void **state)
{
    struct loop_timer t;
    int fired_at_read = -1;

    fired = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    struct loop_fd *w = loop_fd_open(l, pair[0], on_read_once, &fired_at_read);
    loop_fd_want(w, LOOP_READ);
    loop_timer_init(&t, on_zero);
    loop_timer_start(l, &t, 0);
    loop_run(l);
    assert_int_equal(fired, 50);
    assert_in_range(fired_at_read, 0, 2);
    loop_timer_stop(l, &t);
    loop_fd_close(w);
    close(pair[0]);
    close(pair[1]);
}

static struct loop_timer due_together[4];
static struct loop_timer *on_heap;

static void on_meddler(struct loop_timer *t)
{
    tell("0");
    loop_timer_stop(l, &due_together[1]);     /* due now as well */
    loop_timer_start(l, &due_together[2], 5); /* moves */
    loop_timer_stop(l, on_heap);
    free(on_heap);
    assert_false(loop_timer_active(t));
}

static void on_named(struct loop_timer *t)
{
    tell(t == &due_together[1] ? "1" : t == &due_together[2] ? "2" : t == &due_together[3] ? "3" : "heap");
    if (t == &due_together[2])
        loop_stop(l);
}

static void callbacks_may_meddle_with_what_is_due(void **state)
{
    begin_story();
    on_heap = malloc(sizeof(*on_heap));
    loop_timer_init(&due_together[0], on_meddler);
    for (int i = 1; i < 4; i++)
        loop_timer_init(&due_together[i], on_named);
    loop_timer_init(on_heap, on_named);
    for (int i = 0; i < 4; i++)
        loop_timer_start(l, &due_together[i], 2);
    loop_timer_start(l, on_heap, 2);
    assert_true(loop_timer_active(&due_together[3]));
    loop_run(l);
    assert_string_equal(story, "032");
    assert_false(loop_timer_active(&due_together[3]));
}

struct freed_timer {
    struct loop_timer timer;
    int *count;
};

static void on_free_itself(struct loop_timer *t)
{
    struct freed_timer *f = (struct freed_timer *)t;
    int *count = f->count;
    free(f);
    if (++*count == 10)
        loop_stop(l);
}

static void callbacks_may_free_their_timer(void **state)
{
    int count = 0;
    for (int i = 0; i < 10; i++) {
        struct freed_timer *f = malloc(sizeof(*f));
        f->count = &count;
        loop_timer_init(&f->timer, on_free_itself);
        loop_timer_start(l, &f->timer, (uint64_t)i % 3);
    }
    loop_run(l);
    assert_int_equal(count, 10);
}

static uint64_t fired_at[3];

static void on_note_time(struct loop_timer *t)
{
    fired_at[t - due_together] = loop_now(l);
    if (t == &due_together[2])
        loop_stop(l);
}

/* A shorter timer started later must move the alarm; a stopped one must not keep the others. */
static void timers_fire_in_time(void **state)
{
    static const uint64_t delays[3] = {40, 15, 60};
    for (int i = 0; i < 3; i++) {
        loop_timer_init(&due_together[i], on_note_time);
        loop_timer_start(l, &due_together[i], delays[i]);
    }
    loop_timer_init(&due_together[3], on_note_time);
    loop_timer_start(l, &due_together[3], 1);
    loop_timer_stop(l, &due_together[3]);
    uint64_t due[3] = {due_together[0].due, due_together[1].due, due_together[2].due};
    loop_run(l);
    for (int i = 0; i < 3; i++)
        assert_in_range(fired_at[i], due[i], due[i] + 5000); /* late on a busy machine, early never */
    assert_true(fired_at[1] <= fired_at[0] && fired_at[0] <= fired_at[2]);
}

static struct loop_timer after_work;
static uint64_t work_ended;

static void on_after_work(struct loop_timer *t)
{
    assert_true(clock_ms() >= work_ended + 20);
    loop_stop(l);
}

static void on_long_work(void *arg)
{
    uint64_t until = clock_ms() + 30;

    while (clock_ms() < until)
        ;
    work_ended = clock_ms();
    loop_timer_start(l, &after_work, 20);
}

/* The time of the turn is from before the work; a wait of 20 ms behind it is 20 ms all the same. */
static void timers_started_late_in_a_turn_do_not_fire_early(void **state)
{
    struct loop_wake *wake = loop_wake_open(l, on_long_work, NULL);

    loop_timer_init(&after_work, on_after_work);
    loop_wake_send(wake);
    loop_run(l);
    loop_wake_close(wake);
}

static void far_away_timers_do_not_overflow(void **state)
{
    struct loop_timer t;
    loop_timer_init(&t, on_note_time);
    loop_timer_start(l, &t, UINT64_MAX);
    assert_true(t.due > loop_now(l));
    assert_true(loop_timer_active(&t));
    loop_timer_start(l, &t, UINT64_MAX / 2);
    loop_timer_stop(l, &t);
    loop_timer_stop(l, &t);
    assert_false(loop_timer_active(&t));
}

/* ---- descriptors ---- */

static int seen_events;
static int calls;

static void on_events(struct loop_fd *w, int events, void *arg)
{
    seen_events = events;
    calls++;
    loop_fd_want(w, 0);
    loop_stop(l);
}

static struct loop_fd *watch_pair(void)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct loop_fd *w = loop_fd_open(l, pair[0], on_events, NULL);
    assert_non_null(w);
    assert_int_equal(loop_fd_fileno(w), pair[0]);
    calls = 0;
    return w;
}

static void fd_events_are_told_apart(void **state)
{
    struct loop_fd *w = watch_pair();
    loop_fd_want(w, LOOP_READ | LOOP_WRITE | LOOP_HANGUP);
    loop_run(l);
    assert_int_equal(seen_events, LOOP_WRITE);
    assert_int_equal(write(pair[1], "x", 1), 1);
    loop_fd_want(w, LOOP_READ | LOOP_HANGUP);
    loop_run(l);
    assert_int_equal(seen_events, LOOP_READ);
    loop_fd_want(w, LOOP_READ | LOOP_WRITE);
    loop_run(l);
    assert_int_equal(seen_events, LOOP_READ | LOOP_WRITE);
    shutdown(pair[1], SHUT_WR);
    loop_fd_want(w, LOOP_HANGUP); /* as while reading is paused: the byte is still unread */
    loop_run(l);
    assert_int_equal(seen_events, LOOP_HANGUP);
    close(pair[1]);
    loop_fd_want(w, LOOP_READ | LOOP_HANGUP);
    loop_run(l);
    assert_int_equal(seen_events, LOOP_READ | LOOP_HANGUP);
    assert_int_equal(calls, 5);
    loop_fd_close(w);
    close(pair[0]);
}

static void on_other(struct loop_fd *w, int events, void *arg)
{
    *(int *)arg = events;
    loop_stop(l);
}

static void fd_callback_can_be_exchanged(void **state)
{
    struct loop_fd *w = watch_pair();
    int other = 0;
    loop_fd_want(w, LOOP_WRITE);
    loop_fd_set(w, on_other, &other);
    loop_run(l);
    assert_int_equal(other, LOOP_WRITE);
    assert_int_equal(calls, 0);
    loop_fd_close(w);
    close(pair[0]);
    close(pair[1]);
}

/* A connection over TCP: only that can be reset. */
static void connect_pair(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&a, sizeof(a)), 0);
    pair[0] = accept(listener, NULL, NULL);
    assert_true(pair[0] >= 0);
    close(listener);
}

static void reset_pair(void)
{
    struct linger hard = {1, 0};
    assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(pair[1]);
}

static void on_reset(struct loop_fd *w, int events, void *arg)
{
    char c;
    calls++;
    assert_int_equal(events, LOOP_READ | LOOP_HANGUP);
    assert_true(read(loop_fd_fileno(w), &c, 1) <= 0); /* ECONNRESET, then the end */
    if (calls == 2) {
        loop_stop(l);
        loop_fd_want(w, 0);
        return;
    }
    /* The watcher has stopped: wanting the same again must arm it again. */
    assert_int_equal(loop_fd_want(w, LOOP_READ | LOOP_HANGUP), 0);
}

/* uv_poll reports a reset as UV_EBADF and stops; callers see READ | HANGUP and may go on. */
static void a_reset_is_read_to_the_end(void **state)
{
    calls = 0;
    connect_pair();
    struct loop_fd *w = loop_fd_open(l, pair[0], on_reset, NULL);
    loop_fd_want(w, LOOP_READ | LOOP_HANGUP);
    reset_pair();
    loop_run(l);
    assert_int_equal(calls, 2);
    loop_fd_close(w);
    close(pair[0]);
}

static struct loop_fd *doomed[2];
static int doomed_fds[2];

static void on_first_closes_all(struct loop_fd *w, int events, void *arg)
{
    calls++;
    for (int i = 0; i < 2; i++) {
        loop_fd_close(doomed[i]);
        close(doomed_fds[i]);
    }
    loop_stop(l);
}

/* Both have an event in one batch; the second must not hear of its own any more. */
static void closed_watchers_are_silent(void **state)
{
    int ends[2];
    calls = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_int_equal(write(pair[1], "x", 1), 1);
        doomed_fds[i] = pair[0];
        ends[i] = pair[1];
        doomed[i] = loop_fd_open(l, pair[0], on_first_closes_all, NULL);
        loop_fd_want(doomed[i], LOOP_READ);
    }
    loop_run(l);
    assert_int_equal(calls, 1);
    close(ends[0]);
    close(ends[1]);
}

/* The number of a closed descriptor comes back at once: the old watcher must not be in the way. */
static void a_reused_descriptor_can_be_watched(void **state)
{
    struct loop_fd *w = watch_pair();
    int fd = pair[0];
    loop_fd_want(w, LOOP_READ);
    loop_fd_close(w);
    close(pair[0]);
    close(pair[1]);
    w = watch_pair();
    assert_int_equal(pair[0], fd);
    assert_int_equal(loop_fd_want(w, LOOP_WRITE), 0);
    loop_run(l);
    assert_int_equal(seen_events, LOOP_WRITE);
    loop_fd_close(w);
    close(pair[0]);
    close(pair[1]);
}

static void what_cannot_be_polled_is_refused(void **state)
{
    char name[] = "/tmp/moontide-test-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    assert_null(loop_fd_open(l, file, on_events, NULL));
    close(file);
    assert_null(loop_fd_open(l, -1, on_events, NULL));
}

/* ---- wake-ups, work, threads, signals ---- */

enum { SENDERS = 3, SENDS = 1000 };

static struct loop_wake *wake;
static atomic_int sent;
static int woken;

static void send_many(void *arg)
{
    for (int i = 0; i < SENDS; i++) {
        atomic_fetch_add(&sent, 1);
        loop_wake_send(wake);
    }
}

static void on_woken(void *arg)
{
    woken++;
    assert_ptr_equal(arg, &woken);
    if (atomic_load(&sent) == SENDERS * SENDS)
        loop_stop(l);
}

/* Bursts become one call, but a call always follows the last send. */
static void no_wake_up_is_lost(void **state)
{
    struct loop_thread *threads[SENDERS];
    woken = 0;
    atomic_store(&sent, 0);
    wake = loop_wake_open(l, on_woken, &woken);
    for (int i = 0; i < SENDERS; i++)
        threads[i] = loop_thread_start(send_many, NULL);
    loop_run(l);
    assert_false(hung);
    assert_in_range(woken, 1, SENDERS * SENDS);
    for (int i = 0; i < SENDERS; i++)
        loop_thread_join(threads[i]);
    loop_wake_close(wake);
}

static void on_usr1(int sig)
{
    loop_wake_send(wake);
}

static void on_wake_stop(void *arg)
{
    loop_stop(l);
}

static void wake_works_from_a_signal_handler(void **state)
{
    struct sigaction sa = {.sa_handler = on_usr1}, old;
    wake = loop_wake_open(l, on_wake_stop, NULL);
    sigaction(SIGUSR1, &sa, &old);
    raise(SIGUSR1);
    loop_run(l);
    assert_false(hung);
    sigaction(SIGUSR1, &old, NULL);
    loop_wake_close(wake);
}

static int seen_signal;

static void on_signal(int signum, void *arg)
{
    seen_signal = signum;
    loop_stop(l);
}

static void signals_arrive(void **state)
{
    struct loop_signal *s = loop_signal_open(l, SIGUSR2, on_signal, NULL);
    assert_non_null(s);
    raise(SIGUSR2);
    loop_run(l);
    assert_int_equal(seen_signal, SIGUSR2);
    loop_signal_close(s);
    assert_null(loop_signal_open(l, SIGKILL, on_signal, NULL));
}

struct job {
    pthread_t ran_on;
    bool ran, done, cancelled;
};

static void on_work(void *arg)
{
    struct job *j = arg;
    j->ran_on = pthread_self();
    j->ran = true;
}

static void on_work_done(void *arg, bool cancelled)
{
    struct job *j = arg;
    assert_false(j->done);
    j->done = true;
    j->cancelled = cancelled;
    loop_stop(l);
}

static void work_leaves_the_loop(void **state)
{
    struct job job = {0};
    assert_int_equal(loop_work(l, on_work, on_work_done, &job), 0);
    loop_run(l);
    assert_true(job.ran && job.done && !job.cancelled);
    assert_false(pthread_equal(job.ran_on, pthread_self()));
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void wait_at_gate(void *arg)
{
    on_work(arg);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void open_gate(void *arg, bool cancelled)
{
    struct job *j = arg;
    j->done = true;
    j->cancelled = cancelled;
    if (cancelled)
        pthread_mutex_unlock(&gate);
}

/* More jobs than the pool has threads, all held up: the destroyed loop drops the one that waits and lets the others end. */
static void destroy_ends_all_work(void **state)
{
    enum { JOBS = 200 };
    static struct job jobs[JOBS];
    struct loop *other = loop_create();

    memset(jobs, 0, sizeof(jobs));
    pthread_mutex_lock(&gate);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(loop_work(other, wait_at_gate, i == JOBS - 1 ? open_gate : on_work_done, &jobs[i]), 0);
    loop_destroy(other);
    for (int i = 0; i < JOBS; i++) {
        assert_true(jobs[i].done);
        assert_int_equal(jobs[i].cancelled, !jobs[i].ran);
    }
    assert_true(jobs[JOBS - 1].cancelled);
}

/* ---- several loops, memory ---- */

static void stop_the_loop(void *arg)
{
    loop_stop(arg);
}

struct runner {
    struct loop *loop;
    struct loop_wake *wake;
};

static void run_loop(void *arg)
{
    loop_run(((struct runner *)arg)->loop);
}

static void several_loops_run_and_end(void **state)
{
    for (int round = 0; round < 3; round++) {
        struct runner runners[3];
        struct loop_thread *threads[3];
        for (int i = 0; i < 3; i++) {
            runners[i].loop = loop_create();
            runners[i].wake = loop_wake_open(runners[i].loop, stop_the_loop, runners[i].loop);
            threads[i] = loop_thread_start(run_loop, &runners[i]);
        }
        for (int i = 0; i < 3; i++) {
            loop_wake_send(runners[i].wake);
            loop_thread_join(threads[i]);
            loop_wake_close(runners[i].wake);
            loop_destroy(runners[i].loop);
        }
    }
}

static void a_pending_stop_does_not_stop_destroy(void **state)
{
    struct loop *other = loop_create();
    struct job job = {0};
    struct loop_wake *w = loop_wake_open(other, on_wake_stop, NULL);
    assert_int_equal(loop_work(other, on_work, on_work_done, &job), 0);
    loop_wake_close(w);
    loop_stop(other);
    loop_destroy(other);
    assert_true(job.done);
}

static void no_memory_opens_nothing(void **state)
{
    mem_fail_at(1);
    assert_null(loop_create());
    mem_fail_at(1);
    assert_int_equal(loop_add_flush(l, on_story_flush, NULL), MT_ENOMEM);
    mem_fail_at(1);
    assert_null(loop_fd_open(l, 0, on_events, NULL));
    mem_fail_at(1);
    assert_null(loop_wake_open(l, on_wake_stop, NULL));
    mem_fail_at(1);
    assert_null(loop_signal_open(l, SIGUSR2, on_signal, NULL));
    mem_fail_at(1);
    assert_int_equal(loop_work(l, on_work, on_work_done, NULL), MT_ENOMEM);
    mem_fail_at(1);
    assert_null(loop_thread_start(send_many, NULL));
    mem_fail_at(0);
    loop_destroy(NULL);
    loop_fd_close(NULL);
    loop_wake_close(NULL);
    loop_signal_close(NULL);
    loop_thread_join(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flush_comes_after_timers_and_events),
        TEST(again_does_not_block),
        TEST(hooks_come_and_go),
        TEST(stop_before_run_returns_at_once),
        TEST(zero_timers_take_turns),
        TEST(callbacks_may_meddle_with_what_is_due),
        TEST(callbacks_may_free_their_timer),
        TEST(timers_fire_in_time),
        TEST(timers_started_late_in_a_turn_do_not_fire_early),
        TEST(far_away_timers_do_not_overflow),
        TEST(fd_events_are_told_apart),
        TEST(fd_callback_can_be_exchanged),
        TEST(a_reset_is_read_to_the_end),
        TEST(closed_watchers_are_silent),
        TEST(a_reused_descriptor_can_be_watched),
        TEST(what_cannot_be_polled_is_refused),
        TEST(no_wake_up_is_lost),
        TEST(wake_works_from_a_signal_handler),
        TEST(signals_arrive),
        TEST(work_leaves_the_loop),
        TEST(destroy_ends_all_work),
        TEST(several_loops_run_and_end),
        TEST(a_pending_stop_does_not_stop_destroy),
        TEST(no_memory_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
