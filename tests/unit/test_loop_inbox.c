/* test_loop_inbox.c - letters from several threads to a real loop: all of them, in order per sender, bounded, and none lost at
 * the end. Each test ends with the letter it waits for; a guard timer ends a loop that would hang.
 */
#include "base/mem.h"
#include "loop/inbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct loop *l;
static struct inbox *box;
static struct loop_timer guard;
static bool hung;
static unsigned turns;

struct note {
    struct letter letter;
    unsigned sender, number;
    void (*then)(struct note *n); /* on the loop, before it is freed; may be NULL */
};

static unsigned opened, undelivered; /* letters */
static unsigned expected[8];         /* number of the next letter, by sender */

static void on_open(struct letter *letter, bool delivered)
{
    struct note *n = list_entry(letter, struct note, letter);

    opened += delivered;
    undelivered += !delivered;
    assert_int_equal(n->number, expected[n->sender]++);
    if (delivered && n->then)
        n->then(n);
    free(n);
}

static struct letter *note(unsigned sender, unsigned number, void (*then)(struct note *n))
{
    struct note *n = calloc(1, sizeof(*n));

    n->letter.open = on_open;
    n->sender = sender;
    n->number = number;
    n->then = then;
    return &n->letter;
}

static void on_guard(struct loop_timer *t)
{
    hung = true;
    loop_stop(l);
}

static void on_turn(void *arg)
{
    turns++;
}

static int setup(void **state)
{
    opened = undelivered = turns = 0;
    memset(expected, 0, sizeof(expected));
    l = loop_create();
    box = inbox_create(l);
    hung = false;
    loop_timer_init(&guard, on_guard);
    loop_timer_start(l, &guard, 20000);
    return l && box && loop_add_flush(l, on_turn, NULL) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    loop_timer_stop(l, &guard);
    loop_remove_flush(l, on_turn, NULL);
    inbox_destroy(box);
    loop_destroy(l);
    return hung ? -1 : 0;
}

static void stop(struct note *n)
{
    loop_stop(l);
}

/* ---- order ---- */

enum { SENDERS = 3, EACH = 20000 };

static void stop_after_all(struct note *n)
{
    if (opened == SENDERS * EACH)
        loop_stop(l);
}

static void send_many(void *arg)
{
    unsigned sender = *(const unsigned *)arg;

    for (unsigned i = 0; i < EACH; i++)
        if (i % 2)
            inbox_post(box, note(sender, i, stop_after_all));
        else if (!inbox_offer(box, note(sender, i, stop_after_all), 1))
            abort(); /* cmocka's own checks are for the main thread */
}

static void each_sender_is_heard_in_order(void **state)
{
    struct loop_thread *threads[SENDERS];
    unsigned ids[SENDERS];

    for (unsigned i = 0; i < SENDERS; i++) {
        ids[i] = i;
        threads[i] = loop_thread_start(send_many, &ids[i]);
        assert_non_null(threads[i]);
    }
    loop_run(l);
    for (unsigned i = 0; i < SENDERS; i++)
        loop_thread_join(threads[i]);
    assert_int_equal(opened, SENDERS * EACH);
}

/* A burst costs one turn of the loop, however long it is. */
static void a_burst_is_opened_in_one_turn(void **state)
{
    for (unsigned i = 0; i < 1000; i++)
        inbox_post(box, note(0, i, i == 999 ? stop : NULL));
    loop_run(l);
    assert_int_equal(opened, 1000);
    assert_true(turns <= 2); /* libuv may find the wake-up in the second one */
}

/* ---- letters that cause letters ---- */

static unsigned timer_calls;

static void post_again(struct note *n)
{
    if (timer_calls < 3)
        inbox_post(box, note(0, n->number + 1, post_again));
    else
        loop_stop(l);
}

static void on_timer(struct loop_timer *t)
{
    timer_calls++;
    loop_timer_start(l, t, 1);
}

static void letters_that_cause_letters_leave_the_loop_its_turns(void **state)
{
    struct loop_timer timer;

    timer_calls = 0;
    loop_timer_init(&timer, on_timer);
    loop_timer_start(l, &timer, 1);
    inbox_post(box, note(0, 0, post_again));
    loop_run(l);
    loop_timer_stop(l, &timer);
    assert_int_equal(timer_calls, 3);
}

static void post_one_more(struct note *n)
{
    if (n->number < 5)
        inbox_post(box, note(0, n->number + 1, post_one_more));
}

static void a_drain_opens_also_what_comes_meanwhile(void **state)
{
    inbox_drain(box); /* nothing there */
    inbox_post(box, note(0, 0, post_one_more));
    inbox_drain(box);
    assert_int_equal(opened, 6);
}

/* ---- the bound ---- */

static void letters_past_the_bound_are_refused(void **state)
{
    struct letter *extra = note(0, 3, NULL);

    assert_true(inbox_offer(box, note(0, 0, NULL), INBOX_BYTES - 10));
    assert_true(inbox_offer(box, note(0, 1, NULL), 10));
    assert_false(inbox_offer(box, extra, 1));
    inbox_post(box, note(0, 2, NULL)); /* must arrive */
    inbox_drain(box);
    assert_int_equal(opened, 3);
    assert_true(inbox_offer(box, extra, INBOX_BYTES)); /* it is empty again */
    inbox_drain(box);
    assert_int_equal(opened, 4);
    extra = note(0, 4, NULL);
    assert_false(inbox_offer(box, extra, (size_t)INBOX_BYTES + 1));
    free(extra);
}

/* ---- the end ---- */

static void what_waits_at_the_end_is_freed(void **state)
{
    for (unsigned i = 0; i < 10; i++)
        inbox_post(box, note(0, i, stop));
    inbox_destroy(box);
    box = NULL; /* which is allowed */
    assert_int_equal(opened, 0);
    assert_int_equal(undelivered, 10);
}

static void memory_may_run_out(void **state)
{
    for (unsigned long n = 1; n <= 2; n++) { /* the inbox, its wake-up */
        mem_fail_at(n);
        assert_null(inbox_create(l));
    }
    mem_fail_at(0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_sender_is_heard_in_order),
        TEST(a_burst_is_opened_in_one_turn),
        TEST(letters_that_cause_letters_leave_the_loop_its_turns),
        TEST(a_drain_opens_also_what_comes_meanwhile),
        TEST(letters_past_the_bound_are_refused),
        TEST(what_waits_at_the_end_is_freed),
        TEST(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
