/* test_net_outbox.c - the queue of a connection: order, limits, replacing, dropping, merging, and what memory it takes. */
#include "base/err.h"
#include "base/mem.h"
#include "net/outbox_pool.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 1 << 20, ALL = INT32_MAX };

/* A socket that takes so many bytes per call, and so many in all. */
struct sink {
    char *data; /* what came, owned */
    size_t len, cap;
    size_t per_call;   /* bytes that one call takes */
    size_t budget;     /* bytes until it blocks */
    bool dead;         /* the peer is gone */
    int calls, pieces; /* calls that took something; pieces offered in the last call */
    size_t offered;    /* bytes offered in the last call */
    const void *first; /* address of the first byte of the last call */
};

static ssize_t sink_write(void *arg, const struct iovec *iov, int n)
{
    struct sink *s = arg;
    size_t took = 0, room = s->per_call < s->budget ? s->per_call : s->budget;

    if (s->dead)
        return -1;
    s->pieces = n;
    s->offered = 0;
    s->first = iov[0].iov_base;
    for (int i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        size_t take = iov[i].iov_len < room - took ? iov[i].iov_len : room - took;
        s->offered += iov[i].iov_len;
        while (s->len + take > s->cap)
            assert_non_null(s->data = realloc(s->data, s->cap = s->cap ? s->cap * 2 : 256));
        if (take)
            memcpy(s->data + s->len, iov[i].iov_base, take);
        s->len += take;
        took += take;
    }
    s->calls += took > 0;
    s->budget -= took;
    return (ssize_t)took;
}

static struct sink sink_open(void)
{
    return (struct sink){.per_call = ALL, .budget = ALL};
}

static void sink_expect(struct sink *s, const char *text)
{
    assert_int_equal(s->len, strlen(text));
    if (s->len)
        assert_memory_equal(s->data, text, s->len);
    free(s->data);
    *s = sink_open();
}

struct world {
    struct outbox_pool *pool;
    struct outbox o;
    struct sink sink;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    w->pool = outbox_pool_create();
    w->sink = sink_open();
    *state = w;
    return w->pool ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *w = *state;
    outbox_clear(&w->o, w->pool);
    outbox_pool_destroy(w->pool);
    free(w->sink.data);
    free(w);
    return 0;
}

static struct blob *blob_text(const char *text)
{
    struct blob *b = blob_copy(text, strlen(text));
    assert_non_null(b);
    return b;
}

static int push_limit(struct world *w, const char *text, size_t limit, const struct outbox_opts *opts)
{
    struct blob *b = blob_text(text);
    int rc = outbox_push(&w->o, w->pool, b, limit, opts);
    blob_unref(b);
    return rc;
}

static int push(struct world *w, const char *text, const struct outbox_opts *opts)
{
    return push_limit(w, text, LIMIT, opts);
}

static int push_copy(struct world *w, const char *head, const char *text, const struct outbox_opts *opts)
{
    return outbox_push_copy(&w->o, w->pool, head, strlen(head), text, strlen(text), LIMIT, opts);
}

static int flush(struct world *w)
{
    return outbox_flush(&w->o, w->pool, sink_write, &w->sink);
}

static const struct outbox_opts VOLATILE = {.is_volatile = true}, CONTROL = {.control = true};
static struct outbox_opts keyed(uint64_t key)
{
    return (struct outbox_opts){.key = key};
}

/* ---- order and bytes ---- */

static void frames_leave_in_order_with_one_write(void **state)
{
    struct world *w = *state;
    assert_int_equal(push(w, "one ", NULL), 0);
    assert_int_equal(push_copy(w, "tw", "o ", NULL), 0);
    assert_int_equal(push_copy(w, "", "three ", NULL), 0);
    assert_int_equal(push(w, "four", &VOLATILE), 0);
    assert_int_equal(w->o.bytes, 18);
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.calls, 1);
    assert_int_equal(w->sink.pieces, 1);
    sink_expect(&w->sink, "one two three four");
    assert_true(outbox_empty(&w->o));
    assert_int_equal(w->o.bytes, 0);
    assert_null(w->o.entries);
}

static void empty_outbox_writes_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(push(w, "", NULL), 0);
    assert_int_equal(push_copy(w, "", "", NULL), 0);
    assert_true(outbox_empty(&w->o));
    w->sink.dead = true;
    assert_int_equal(flush(w), 1);
}

static void single_frame_goes_without_a_copy(void **state)
{
    struct world *w = *state;
    struct blob *b = blob_text("as it is");
    assert_int_equal(outbox_push(&w->o, w->pool, b, LIMIT, NULL), 0);
    assert_int_equal(flush(w), 1);
    assert_ptr_equal(w->sink.first, b->data);
    sink_expect(&w->sink, "as it is");
    outbox_pool_turn_end(w->pool);
    assert_int_equal(b->refs, 1);
    blob_unref(b);
}

static void small_copies_share_one_entry(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 16; i++)
        assert_int_equal(push_copy(w, "h", "payload ", NULL), 0);
    assert_int_equal(w->o.count, 1);
    assert_int_equal(w->o.bytes, 16 * 9);
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.calls, 1);
    assert_int_equal(w->sink.len, 16 * 9);
}

static void keyed_and_volatile_copies_have_entries_of_their_own(void **state)
{
    struct world *w = *state;
    struct outbox_opts k = keyed(1);
    push_copy(w, "", "a", NULL);
    push_copy(w, "", "b", &k);
    push_copy(w, "", "c", &VOLATILE);
    push_copy(w, "", "d", NULL);
    assert_int_equal(w->o.count, 4);
    flush(w);
    sink_expect(&w->sink, "abcd");
}

/* A queue of small frames must not cost a page for each: only well filled chunks are followed by another. */
static void chunks_are_not_wasted_on_slow_readers(void **state)
{
    struct world *w = *state;
    static char large[4000];
    struct blob *shared = blob_text("x");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(push_copy(w, "", "tiny", NULL), 0);
        assert_int_equal(outbox_push(&w->o, w->pool, shared, LIMIT, NULL), 0);
    }
    assert_int_equal(w->o.count, 200);
    int chunks = 0;
    for (uint32_t i = 0; i < 200; i++)
        chunks += (outbox_at(&w->o, i)->tag & ENTRY_CHUNK) != 0;
    assert_in_range(chunks, 1, 4);
    memset(large, 'L', sizeof(large));
    for (int i = 0; i < 60; i++)
        assert_int_equal(outbox_push_copy(&w->o, w->pool, NULL, 0, large, sizeof(large), LIMIT, NULL), 0);
    assert_int_equal(w->o.bytes, 500 + 60 * sizeof(large));
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.len, 500 + 60 * sizeof(large));
    blob_unref(shared);
}

static void large_frames_are_pieces_of_a_writev(void **state)
{
    struct world *w = *state;
    struct blob *large = blob_create(100000);
    memset(large->data, 'L', large->len);
    push(w, "before ", NULL);
    push(w, "it ", NULL);
    assert_int_equal(outbox_push(&w->o, w->pool, large, LIMIT, NULL), 0);
    push(w, " behind", NULL);
    push(w, " it", NULL);
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.calls, 1);
    assert_int_equal(w->sink.pieces, 3);
    assert_int_equal(w->sink.len, 100000 + 20);
    assert_memory_equal(w->sink.data, "before it L", 11);
    assert_memory_equal(w->sink.data + 100009, "L behind it", 11);
    blob_unref(large);
}

/* Also where it is shared: copying it would cost more than a piece does. */
static void large_frames_are_not_merged_for_a_group(void **state)
{
    struct world *w = *state;
    struct outbox readers[2] = {0};
    struct blob *large = blob_create(20000), *small = blob_text("small");
    memset(large->data, 'L', large->len);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(outbox_push(&readers[r], w->pool, large, LIMIT, NULL), 0);
        assert_int_equal(outbox_push(&readers[r], w->pool, small, LIMIT, NULL), 0);
    }
    for (int r = 0; r < 2; r++) {
        assert_int_equal(outbox_flush(&readers[r], w->pool, sink_write, &w->sink), 1);
        assert_int_equal(w->sink.pieces, 2);
        assert_ptr_equal(w->sink.first, large->data);
    }
    blob_unref(large);
    blob_unref(small);
}

static void more_pieces_than_one_call_takes(void **state)
{
    struct world *w = *state;
    struct blob *large = blob_create(20000);
    memset(large->data, 'L', large->len);
    for (int i = 0; i < 100; i++)
        assert_int_equal(outbox_push(&w->o, w->pool, large, 100 * 20000, NULL), 0);
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.calls, 2);
    assert_int_equal(w->sink.len, 100 * 20000);
    blob_unref(large);
}

/* ---- partial writes ---- */

static void partial_writes_go_on_where_they_stopped(void **state)
{
    struct world *w = *state;
    push(w, "first ", NULL);
    push_copy(w, "", "second ", NULL);
    push(w, "third", NULL);
    w->sink.per_call = 4;
    w->sink.budget = 9;
    assert_int_equal(flush(w), 0);
    assert_int_equal(w->o.bytes, 18 - 9);
    assert_int_equal(w->o.offset, 3);
    assert_int_equal(push_copy(w, "", " fourth", NULL), 0);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "first second third fourth");
}

static void a_dead_writer_ends_the_flush(void **state)
{
    struct world *w = *state;
    push(w, "a", NULL);
    push(w, "b", NULL);
    w->sink.dead = true;
    assert_true(flush(w) < 0);
    assert_int_equal(w->o.bytes, 2);
    outbox_clear(&w->o, w->pool);
    assert_true(outbox_empty(&w->o));
    assert_null(w->o.entries);
}

/* ---- keys ---- */

static void key_replaces_in_place(void **state)
{
    struct world *w = *state;
    struct outbox_opts one = keyed(1), two = keyed(2);
    push(w, "a1 ", &one);
    push(w, "b1 ", &two);
    push(w, "plain ", NULL);
    assert_int_equal(push(w, "a2, longer ", &one), 0);
    assert_int_equal(push_copy(w, "b", "2 ", &two), 0);
    assert_int_equal(w->o.bytes, 11 + 3 + 6);
    flush(w);
    sink_expect(&w->sink, "a2, longer b2 plain ");
    assert_int_equal(outbox_take_dropped(&w->o), 0);
    /* what has left is not there to be replaced */
    push(w, "a3", &one);
    flush(w);
    sink_expect(&w->sink, "a3");
}

static void half_sent_frame_is_not_replaced(void **state)
{
    struct world *w = *state;
    struct outbox_opts k = keyed(7);
    push(w, "old", &k);
    w->sink.budget = 1;
    assert_int_equal(flush(w), 0);
    push(w, "new1", &k);
    push(w, "new2", &k);
    assert_int_equal(w->o.bytes, 2 + 4);
    w->sink.budget = ALL;
    flush(w);
    sink_expect(&w->sink, "oldnew2");
}

/* Thousands of keys: the index has to find each of them, also when frames leave in between. */
static void many_keys_are_found(void **state)
{
    struct world *w = *state;
    enum { KEYS = 3000 };
    char text[16];
    for (int round = 0; round < 3; round++)
        for (unsigned key = 1; key <= KEYS; key++) {
            struct outbox_opts k = keyed(key);
            snprintf(text, sizeof(text), "%d:%04u ", round, key);
            assert_int_equal(push(w, text, &k), 0);
        }
    assert_int_equal(w->o.count, KEYS);
    assert_int_equal(w->o.bytes, KEYS * 7);
    w->sink.budget = 1000 * 7 + 1; /* the 1001st has begun to leave */
    assert_int_equal(flush(w), 0);
    for (unsigned key = 1; key <= KEYS; key++) {
        struct outbox_opts k = keyed(key);
        snprintf(text, sizeof(text), "3:%04u ", key);
        assert_int_equal(push(w, text, &k), 0);
    }
    assert_int_equal(w->o.bytes, KEYS * 7 + 6);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.len, (1000 + KEYS + 1) * 7);
    assert_memory_equal(w->sink.data + 1000 * 7, "2:1001 3:1002 ", 14);
    assert_memory_equal(w->sink.data + KEYS * 7, "3:0001 3:0002 ", 14);
    assert_null(w->o.index);
}

static int push_numbered(struct world *w, uint64_t key, int round)
{
    struct outbox_opts k = keyed(key);
    char text[16];
    snprintf(text, sizeof(text), "%d:%03u ", round, (unsigned)key);
    return push(w, text, &k);
}

/* The ring grows, and with it go the positions that the index knows. */
static void keys_are_found_after_the_ring_has_grown(void **state)
{
    struct world *w = *state;
    for (uint64_t key = 1; key <= 40; key++)
        assert_int_equal(push_numbered(w, key, 0), 0);
    assert_int_equal(push_numbered(w, 40, 1), 0);
    assert_non_null(w->o.index);
    w->sink.budget = 20 * 6;
    assert_int_equal(flush(w), 0);
    for (int i = 0; i < 60; i++)
        assert_int_equal(push(w, "plain ", NULL), 0);
    assert_int_equal(w->o.count, 80);
    for (uint64_t key = 21; key <= 40; key++)
        assert_int_equal(push_numbered(w, key, 2), 0);
    assert_int_equal(w->o.count, 80);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.len, 100 * 6);
    assert_memory_equal(w->sink.data + 20 * 6, "2:021 2:022 ", 12);
    assert_memory_equal(w->sink.data + 39 * 6, "2:040 plain ", 12);
}

/* ---- limits ---- */

static void the_limit_counts_queued_bytes(void **state)
{
    struct world *w = *state;
    assert_int_equal(push_limit(w, "12345678", 10, NULL), 0);
    assert_int_equal(push_limit(w, "123", 10, NULL), MT_EOVERFLOW);
    assert_int_equal(push_limit(w, "12", 10, NULL), 0);
    assert_int_equal(w->o.bytes, 10);
    w->sink.budget = 4;
    assert_int_equal(flush(w), 0);
    assert_int_equal(push_limit(w, "12345", 10, NULL), MT_EOVERFLOW);
    assert_int_equal(outbox_push_copy(&w->o, w->pool, "12", 2, "34", 2, 10, NULL), 0);
    assert_int_equal(outbox_push_copy(&w->o, w->pool, "", 0, "1", 1, 10, NULL), MT_EOVERFLOW);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "12345678121234");
}

/* The audit of the first milestone: a message longer than the limit closed readers that had nothing queued. */
static void a_frame_over_the_whole_limit_may_wait_alone(void **state)
{
    struct world *w = *state;
    struct outbox_opts k = keyed(1);
    assert_int_equal(push_limit(w, "pong", 10, &CONTROL), 0);
    assert_int_equal(push_limit(w, "vv", 10, &VOLATILE), 0);
    assert_int_equal(push_limit(w, "12345678901", 10, &k), 0); /* the volatile one makes room */
    assert_int_equal(outbox_take_dropped(&w->o), 1);
    assert_int_equal(push_limit(w, "1", 10, NULL), MT_EOVERFLOW);
    assert_int_equal(push_limit(w, "12345678901", 10, &VOLATILE), MT_EDROPPED);
    assert_int_equal(outbox_take_dropped(&w->o), 1);
    assert_int_equal(push_limit(w, "abcdefghijkl", 10, &k), 0); /* alone as well, in the place of the old one */
    w->sink.budget = 5;
    assert_int_equal(flush(w), 0);
    assert_int_equal(push_limit(w, "12345678901", 10, &k), MT_EOVERFLOW); /* the rest of the first still waits */
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    assert_int_equal(push_limit(w, "12345678901", 10, &VOLATILE), 0);
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "pongabcdefghijkl12345678901");
}

static void control_frames_do_not_count(void **state)
{
    struct world *w = *state;
    assert_int_equal(push_limit(w, "1234567890", 10, NULL), 0);
    assert_int_equal(push_limit(w, "pong", 10, &CONTROL), 0);
    assert_int_equal(outbox_push_copy(&w->o, w->pool, "p", 1, "ong", 3, 10, &CONTROL), 0);
    assert_int_equal(outbox_push_copy(&w->o, w->pool, "p", 1, "ong", 3, 10, &CONTROL), 0);
    assert_int_equal(w->o.bytes, 22);
    assert_int_equal(w->o.control, 12);
    assert_int_equal(w->o.count, 3);
    w->sink.budget = 16; /* into the chunk of pongs */
    assert_int_equal(flush(w), 0);
    assert_int_equal(w->o.control, 6);
    assert_int_equal(push_limit(w, "1234567890", 10, NULL), 0);
    assert_int_equal(push_limit(w, "x", 10, NULL), MT_EOVERFLOW);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "1234567890pongpongpong1234567890");
}

static void volatile_frames_go_first(void **state)
{
    struct world *w = *state;
    push_limit(w, "AA", 10, NULL);
    push_limit(w, "vv", 10, &VOLATILE);
    push_limit(w, "BB", 10, NULL);
    push_limit(w, "ww", 10, &VOLATILE);
    push_limit(w, "CC", 10, NULL);
    assert_int_equal(push_limit(w, "D", 10, NULL), 0); /* the oldest volatile one goes */
    assert_int_equal(w->o.bytes, 9);
    assert_int_equal(w->o.dropped, 1);
    assert_int_equal(push_limit(w, "EEEE", 10, NULL), MT_EOVERFLOW); /* would not fit anyway: nothing is dropped for it */
    assert_int_equal(w->o.bytes, 9);
    assert_int_equal(push_limit(w, "xxx", 10, &VOLATILE), 0); /* a newer volatile one takes the place of an older */
    assert_int_equal(w->o.bytes, 10);
    assert_int_equal(push_limit(w, "yyyy", 10, &VOLATILE), MT_EDROPPED);
    assert_int_equal(outbox_take_dropped(&w->o), 3);
    flush(w);
    sink_expect(&w->sink, "AABBCCDxxx");
}

static void half_sent_volatile_frame_stays(void **state)
{
    struct world *w = *state;
    push_limit(w, "12345", 10, &VOLATILE);
    push_limit(w, "67890", 10, &VOLATILE);
    w->sink.budget = 1;
    assert_int_equal(flush(w), 0);
    assert_int_equal(push_limit(w, "ABCDEFG", 10, NULL), MT_EOVERFLOW);
    assert_int_equal(push_limit(w, "ABCDEF", 10, NULL), 0);
    assert_int_equal(outbox_take_dropped(&w->o), 1);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "12345ABCDEF");
}

static void a_replacement_spares_what_it_replaces(void **state)
{
    struct world *w = *state;
    struct outbox_opts kv = {.key = 5, .is_volatile = true};
    push_limit(w, "kk", 10, &kv);
    push_limit(w, "vv", 10, &VOLATILE);
    push_limit(w, "AAAAAA", 10, NULL);
    assert_int_equal(push_limit(w, "KKK", 10, &kv), 0); /* drops vv, not kk */
    assert_int_equal(outbox_take_dropped(&w->o), 1);
    assert_int_equal(push_limit(w, "KKKKK", 10, &kv), MT_EDROPPED); /* too long even so: the old one stays */
    assert_int_equal(push_limit(w, "B", 10, NULL), 0);
    assert_int_equal(push_limit(w, "C", 10, NULL), 0); /* now the replaced one has to go */
    assert_int_equal(outbox_take_dropped(&w->o), 2);
    flush(w);
    sink_expect(&w->sink, "AAAAAABC");
}

static void dropping_the_unsent_keeps_the_stream_in_order(void **state)
{
    struct world *w = *state;
    push_copy(w, "", "half", NULL);
    push_copy(w, "", "chunk", NULL);
    push(w, "shared", NULL);
    push(w, "pong", &CONTROL);
    push_limit(w, "volatile", LIMIT, &VOLATILE);
    for (int i = 0; i < 3; i++)
        push_copy(w, "", "x", NULL);
    w->sink.budget = 2;
    assert_int_equal(flush(w), 0);
    assert_int_equal(outbox_drop_unsent(&w->o, w->pool), 5); /* the chunk that has begun to leave stays, a pong is no message */
    assert_int_equal(w->o.bytes, 7);
    assert_int_equal(w->o.droppable, 0);
    push(w, "!", &CONTROL);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    sink_expect(&w->sink, "halfchunk!");
    push(w, "a", NULL);
    push_copy(w, "", "b", NULL);
    push_copy(w, "", "c", NULL);
    assert_int_equal(outbox_drop_unsent(&w->o, w->pool), 3);
    assert_true(outbox_empty(&w->o));
    assert_null(w->o.entries);
    assert_int_equal(outbox_drop_unsent(&w->o, w->pool), 0);
}

static void shrinking_drops_the_oldest_volatile_frames(void **state)
{
    struct world *w = *state;
    push_limit(w, "AAA", 20, NULL);
    push_limit(w, "bbb", 20, &VOLATILE);
    push_limit(w, "ccc", 20, &VOLATILE);
    push_limit(w, "DDD", 20, NULL);
    push(w, "pong pong pong", &CONTROL);
    assert_false(outbox_is_over(&w->o, 12));
    assert_true(outbox_shrink(&w->o, w->pool, 12));
    assert_int_equal(w->o.dropped, 0);
    assert_true(outbox_is_over(&w->o, 11));
    assert_true(outbox_shrink(&w->o, w->pool, 10));
    assert_int_equal(w->o.dropped, 1);
    assert_false(outbox_shrink(&w->o, w->pool, 5)); /* what is left may not be dropped */
    assert_int_equal(outbox_take_dropped(&w->o), 2);
    flush(w);
    sink_expect(&w->sink, "AAADDDpong pong pong");
}

static void one_frame_alone_is_not_over(void **state)
{
    struct world *w = *state;
    push(w, "ping", &CONTROL);
    push_limit(w, "longer than ten", 10, NULL);
    assert_false(outbox_is_over(&w->o, 10));
    assert_true(outbox_shrink(&w->o, w->pool, 10));
    push_limit(w, "b", 20, &VOLATILE);
    assert_true(outbox_is_over(&w->o, 10));
    w->sink.budget = 4 + 9; /* seven bytes wait */
    assert_int_equal(flush(w), 0);
    assert_false(outbox_is_over(&w->o, 7));
    assert_true(outbox_is_over(&w->o, 6));
    assert_true(outbox_shrink(&w->o, w->pool, 5)); /* a rest of six bytes, alone */
    assert_int_equal(w->o.dropped, 1);
    w->sink.budget = ALL;
    flush(w);
    sink_expect(&w->sink, "pinglonger than ten");
    push_limit(w, "a", 30, &VOLATILE);
    push_limit(w, "longer than ten", 30, &VOLATILE);
    assert_true(outbox_shrink(&w->o, w->pool, 2)); /* nothing stays */
    assert_true(outbox_empty(&w->o));
    assert_null(w->o.entries);
    assert_int_equal(outbox_take_dropped(&w->o), 3);
}

/* Holes of dropped frames must not pile up in front of a reader that is stuck. */
static void holes_are_reclaimed(void **state)
{
    struct world *w = *state;
    assert_int_equal(push_limit(w, "begun", 100, NULL), 0);
    w->sink.budget = 1;
    assert_int_equal(flush(w), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(push_limit(w, "volatile", 100, &VOLATILE), 0);
    assert_int_equal(w->o.bytes, 4 + 96);
    assert_true(w->o.cap <= 64);
    assert_int_equal(w->o.dropped, 100000 - 12);
    w->sink.budget = ALL;
    assert_int_equal(flush(w), 1);
    assert_int_equal(w->sink.len, 5 + 96);
}

/* ---- fan-out ---- */

enum { READERS = 50, FRAMES = 10 };

static void equal_queues_share_merged_bytes(void **state)
{
    struct world *w = *state;
    struct outbox readers[READERS] = {0};
    struct blob *frames[FRAMES];
    const void *merged = NULL;
    char expected[128] = "";

    for (int f = 0; f < FRAMES; f++) {
        char text[16];
        snprintf(text, sizeof(text), "frame %d ", f);
        strcat(expected, text);
        frames[f] = blob_text(text);
        for (int r = 0; r < READERS; r++)
            assert_int_equal(outbox_push_take(&readers[r], w->pool, frames[f], LIMIT, NULL), 0);
        blob_ref_n(frames[f], READERS);
    }
    for (int r = 0; r < READERS; r++) {
        w->sink.budget = r == 7 ? 20 : ALL; /* one that takes a part */
        assert_int_equal(outbox_flush(&readers[r], w->pool, sink_write, &w->sink), r == 7 ? 0 : 1);
        if (r == 0)
            merged = w->sink.first;
        if (r != 7)
            assert_ptr_equal(w->sink.first, merged);
        assert_int_equal(w->sink.pieces, 1);
        w->sink.budget = ALL;
        assert_int_equal(outbox_flush(&readers[r], w->pool, sink_write, &w->sink), 1);
        assert_int_equal(readers[r].bytes, 0);
        sink_expect(&w->sink, expected);
    }
    outbox_pool_turn_end(w->pool);
    for (int f = 0; f < FRAMES; f++) {
        assert_int_equal(frames[f]->refs, 1);
        blob_unref(frames[f]);
    }
}

/* Two kinds of readers that take turns (with and without compression, say) must not undo each other's merging. */
static void different_queues_are_merged_side_by_side(void **state)
{
    struct world *w = *state;
    struct outbox readers[READERS] = {0};
    struct blob *frames[2][2] = {{blob_text("plain 1 "), blob_text("plain 2 ")}, {blob_text("small1 "), blob_text("small2 ")}};
    const void *merged[2] = {NULL, NULL};

    for (int f = 0; f < 2; f++)
        for (int r = 0; r < READERS; r++)
            assert_int_equal(outbox_push(&readers[r], w->pool, frames[r % 2][f], LIMIT, NULL), 0);
    for (int r = 0; r < READERS; r++) {
        assert_int_equal(outbox_flush(&readers[r], w->pool, sink_write, &w->sink), 1);
        if (r < 2)
            merged[r] = w->sink.first;
        assert_ptr_equal(w->sink.first, merged[r % 2]);
        sink_expect(&w->sink, r % 2 ? "small1 small2 " : "plain 1 plain 2 ");
    }
    outbox_pool_turn_end(w->pool);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(frames[i / 2][i % 2]->refs, 1);
        blob_unref(frames[i / 2][i % 2]);
    }
}

/* A new frame may get the address of a freed one; the queue with it must not be taken for the old queue. */
static void merged_bytes_are_never_stale(void **state)
{
    struct world *w = *state;
    for (int round = 0; round < 200; round++) {
        struct outbox readers[2] = {0};
        char text[2][32], both[64];
        struct blob *frames[2];
        for (int f = 0; f < 2; f++) {
            snprintf(text[f], sizeof(text[f]), "%d/%03d ", f, round);
            frames[f] = blob_text(text[f]);
            for (int r = 0; r < 2; r++)
                assert_int_equal(outbox_push(&readers[r], w->pool, frames[f], LIMIT, NULL), 0);
            blob_unref(frames[f]);
        }
        snprintf(both, sizeof(both), "%s%s", text[0], text[1]);
        for (int r = 0; r < 2; r++) {
            assert_int_equal(outbox_flush(&readers[r], w->pool, sink_write, &w->sink), 1);
            sink_expect(&w->sink, both);
        }
        if (round % 3 == 0)
            outbox_pool_turn_end(w->pool);
    }
}

static void idle_memory_goes_back_to_the_heap(void **state)
{
    struct world *w = *state;
    struct outbox readers[READERS] = {0};
    for (int r = 0; r < READERS; r++)
        assert_int_equal(outbox_push_copy(&readers[r], w->pool, NULL, 0, "x", 1, LIMIT, NULL), 0);
    for (int r = 0; r < READERS; r++)
        outbox_clear(&readers[r], w->pool);
    for (int turn = 0; turn < 20 * 1024; turn++)
        outbox_pool_turn_end(w->pool);
    mem_fail_at(1); /* so nothing is left to be taken without an allocation */
    assert_int_equal(outbox_push_copy(&w->o, w->pool, NULL, 0, "x", 1, LIMIT, NULL), MT_ENOMEM);
    mem_fail_at(0);
}

/* ---- running out of memory ---- */

/* Everything once, with the n-th allocation failing. True when none failed. */
static bool run_with_failure(unsigned long n)
{
    struct outbox_pool *pool = outbox_pool_create();
    struct outbox readers[3] = {0};
    struct sink sinks[3] = {sink_open(), sink_open(), sink_open()};
    struct blob *shared = blob_text("shared frame"), *large = blob_create(40000);
    size_t expected[3] = {0};
    bool failed = false;

    memset(large->data, 'L', large->len);
    mem_fail_at(n);
    for (int i = 0; i < 80; i++) {
        for (int r = 0; r < 3; r++) {
            struct outbox_opts k = keyed((uint64_t)i % 50 + 1);
            size_t before = readers[r].bytes;
            int rc = i % 20 == 19 ? outbox_push(&readers[r], pool, large, 4 * LIMIT, NULL)
                     : i % 3 == 0 ? outbox_push(&readers[r], pool, shared, 4 * LIMIT, &k)
                     : i % 3 == 1 ? outbox_push_copy(&readers[r], pool, "h", 1, "own frame", 9, 4 * LIMIT, NULL)
                                  : outbox_push(&readers[r], pool, shared, 4 * LIMIT, NULL);
            assert_true(rc == 0 || rc == MT_ENOMEM);
            if (rc == MT_ENOMEM)
                assert_int_equal(readers[r].bytes, before);
            failed |= rc == MT_ENOMEM;
            expected[r] += readers[r].bytes - before;
        }
    }
    for (int r = 0; r < 3; r++) {
        assert_int_equal(outbox_flush(&readers[r], pool, sink_write, &sinks[r]), 1);
        assert_int_equal(sinks[r].len, expected[r]);
        free(sinks[r].data);
    }
    for (int r = 0; r < 3; r++) { /* equal queues */
        sinks[r] = sink_open();
        failed |= outbox_push(&readers[r], pool, shared, LIMIT, NULL) < 0;
        failed |= outbox_push(&readers[r], pool, shared, LIMIT, NULL) < 0;
        expected[r] = readers[r].bytes;
    }
    for (int r = 0; r < 3; r++) {
        assert_int_equal(outbox_flush(&readers[r], pool, sink_write, &sinks[r]), 1);
        assert_int_equal(sinks[r].len, expected[r]);
        free(sinks[r].data);
    }
    outbox_pool_turn_end(pool);
    mem_fail_at(0);
    outbox_pool_destroy(pool);
    assert_int_equal(shared->refs, 1);
    blob_unref(shared);
    blob_unref(large);
    return !failed;
}

static void every_allocation_may_fail(void **state)
{
    unsigned long clean = 0;
    for (unsigned long n = 1; n < 200; n++)
        clean += run_with_failure(n);
    assert_true(clean > 50);  /* past the last allocation, and where merging is done without */
    assert_true(clean < 190); /* the sweep hit something */
}

/* ---- against a simple model ---- */

enum { BOXES = 5, MODEL_MAX = 4096, MODEL_LIMIT = 6000 };

struct model_frame {
    size_t len;
    uint64_t key;
    uint32_t seed; /* of its bytes */
    bool is_volatile, control, begun;
};

struct model {
    struct model_frame frames[MODEL_MAX];
    int count;
    size_t offset;
    uint32_t dropped;
};

static uint64_t random_state;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static unsigned char frame_byte(uint32_t seed, size_t i)
{
    return (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}

static void model_remove(struct model *m, int at)
{
    memmove(&m->frames[at], &m->frames[at + 1], (size_t)(m->count - at - 1) * sizeof(m->frames[0]));
    m->count--;
}

static size_t model_bytes(const struct model *m, bool with_control)
{
    size_t sum = 0;
    for (int i = 0; i < m->count; i++)
        if (with_control || !m->frames[i].control)
            sum += m->frames[i].len - (i == 0 ? m->offset : 0);
    return sum;
}

static int model_find(const struct model *m, uint64_t key)
{
    for (int i = 0; key && i < m->count; i++)
        if (m->frames[i].key == key && !m->frames[i].begun)
            return i;
    return -1;
}

static int model_push(struct model *m, struct model_frame f)
{
    int at = f.control ? -1 : model_find(m, f.key);
    size_t going = at >= 0 ? m->frames[at].len : 0, droppable = 0;

    for (int i = 0; i < m->count; i++)
        if (i != at && m->frames[i].is_volatile && !m->frames[i].begun)
            droppable += m->frames[i].len;
    size_t staying = model_bytes(m, false) - going - droppable;
    if (!f.control && staying > 0 && staying + f.len > MODEL_LIMIT) {
        m->dropped += f.is_volatile;
        return f.is_volatile ? MT_EDROPPED : MT_EOVERFLOW;
    }
    for (int i = 0; !f.control && model_bytes(m, false) > going && model_bytes(m, false) - going + f.len > MODEL_LIMIT;) {
        assert_true(i < m->count);
        if (i == at || !m->frames[i].is_volatile || m->frames[i].begun) {
            i++;
            continue;
        }
        model_remove(m, i);
        m->dropped++;
        at -= i < at;
    }
    assert_true(m->count < MODEL_MAX);
    m->frames[at >= 0 ? at : m->count++] = f;
    return 0;
}

static void model_shrink(struct model *m, size_t limit)
{
    int counted = 0;

    for (int i = 0; i < m->count; i++)
        counted += !m->frames[i].control;
    for (int i = 0; counted > 1 && i < m->count && model_bytes(m, false) > limit;)
        if (m->frames[i].is_volatile && !m->frames[i].begun) {
            model_remove(m, i);
            m->dropped++;
        } else {
            i++;
        }
}

/* The writer of the model test: checks every byte against the model, which then loses it. */
struct model_sink {
    struct model *m;
    size_t budget;
};

static ssize_t model_write(void *arg, const struct iovec *iov, int n)
{
    struct model_sink *s = arg;
    size_t took = 0, call = random_below(3) ? SIZE_MAX : 1 + random_below(300);

    assert_true(n > 0 && n <= 64);
    for (int i = 0; i < n; i++)
        for (size_t j = 0; j < iov[i].iov_len && s->budget && took < call; j++) {
            struct model *m = s->m;
            assert_true(m->count > 0);
            struct model_frame *f = &m->frames[0];
            assert_int_equal(((unsigned char *)iov[i].iov_base)[j], frame_byte(f->seed, m->offset));
            f->begun = true;
            s->budget--;
            took++;
            if (++m->offset == f->len) {
                model_remove(m, 0);
                m->offset = 0;
            }
        }
    return (ssize_t)took;
}

static struct model_frame random_frame(uint32_t seed)
{
    struct model_frame f = {.seed = seed};
    uint32_t kind = random_below(30);
    f.len = kind == 0 ? 1 + random_below(20000) : 1 + random_below(kind < 3 ? 600 : 40);
    f.control = random_below(12) == 0;
    if (f.control && f.len > 125)
        f.len = 125;
    if (!f.control) {
        f.key = random_below(3) ? 0 : 1 + random_below(random_below(2) ? 400 : 20);
        f.is_volatile = random_below(4) == 0;
    }
    return f;
}

static struct blob *frame_blob(const struct model_frame *f)
{
    struct blob *b = blob_create(f->len);
    for (size_t i = 0; i < f->len; i++)
        b->data[i] = frame_byte(f->seed, i);
    return b;
}

static void check_equal(const struct outbox *o, const struct model *m)
{
    assert_int_equal(o->bytes, model_bytes(m, true));
    assert_int_equal(o->bytes - o->control, model_bytes(m, false));
    assert_int_equal(o->dropped, m->dropped);
    assert_int_equal(outbox_empty(o), m->count == 0);
    assert_int_equal(o->entries == NULL, m->count == 0);
}

static void push_to_model(struct outbox *o, struct outbox_pool *pool, struct model *m, const struct model_frame *f,
                          struct blob *b)
{
    struct outbox_opts opts = {.key = f->key, .is_volatile = f->is_volatile, .control = f->control};
    int expected = model_push(m, *f), rc;

    if (random_below(2)) {
        rc = outbox_push(o, pool, b, MODEL_LIMIT, &opts);
    } else {
        size_t cut = random_below((uint32_t)f->len + 1);
        rc = outbox_push_copy(o, pool, b->data, cut, b->data + cut, f->len - cut, MODEL_LIMIT, &opts);
    }
    assert_int_equal(rc, expected);
    check_equal(o, m);
}

/* One frame to all, as room_send does it. */
static void push_to_all(struct outbox *boxes, struct outbox_pool *pool, struct model *models, const struct model_frame *f,
                        struct blob *b)
{
    struct outbox_opts opts = {.key = f->key, .is_volatile = f->is_volatile, .control = f->control};
    uint32_t taken = 0;

    for (int i = 0; i < BOXES; i++) {
        int expected = model_push(&models[i], *f);
        int rc = outbox_push_take(&boxes[i], pool, b, MODEL_LIMIT, &opts);
        assert_int_equal(rc, expected);
        taken += rc == 0;
        check_equal(&boxes[i], &models[i]);
    }
    blob_ref_n(b, taken);
}

static void flush_with_model(struct outbox *o, struct outbox_pool *pool, struct model *m, size_t budget)
{
    struct model_sink s = {m, budget};
    int rc = outbox_flush(o, pool, model_write, &s);
    assert_int_equal(rc, m->count == 0);
    check_equal(o, m);
}

static void model_run(uint64_t seed)
{
    struct outbox_pool *pool = outbox_pool_create();
    struct outbox boxes[BOXES] = {0};
    struct model *models = calloc(BOXES, sizeof(*models));
    uint32_t slow = 0;

    random_state = seed;
    for (uint32_t step = 0; step < 4000; step++) {
        int i = (int)random_below(BOXES);
        uint32_t what = random_below(20);
        if (step % 500 == 0)
            slow = random_below(3); /* phases with readers that keep up, and with such that do not */
        if (what < 12) {
            struct model_frame f = random_frame(step);
            struct blob *b = frame_blob(&f);
            if (what < 6)
                push_to_all(boxes, pool, models, &f, b);
            else
                push_to_model(&boxes[i], pool, &models[i], &f, b);
            blob_unref(b);
        } else if (what < 16) {
            flush_with_model(&boxes[i], pool, &models[i], slow ? random_below(slow == 1 ? 400 : 60) : SIZE_MAX);
        } else if (what < 19) {
            for (int r = 0; r < BOXES; r++)
                flush_with_model(&boxes[r], pool, &models[r], slow ? random_below(3000 / slow) : SIZE_MAX);
            outbox_pool_turn_end(pool);
        } else if (random_below(4) == 0) {
            size_t limit = random_below(MODEL_LIMIT);
            model_shrink(&models[i], limit);
            bool fits = outbox_shrink(&boxes[i], pool, limit);
            assert_int_equal(fits, !outbox_is_over(&boxes[i], limit));
            check_equal(&boxes[i], &models[i]);
        } else if (random_below(20) == 0) {
            outbox_clear(&boxes[i], pool);
            models[i].count = 0;
            models[i].offset = 0;
            check_equal(&boxes[i], &models[i]);
        }
    }
    for (int i = 0; i < BOXES; i++)
        outbox_clear(&boxes[i], pool);
    outbox_pool_destroy(pool);
    free(models);
}

static void behaves_as_the_model(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        model_run(seed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(frames_leave_in_order_with_one_write),
        TEST(empty_outbox_writes_nothing),
        TEST(single_frame_goes_without_a_copy),
        TEST(small_copies_share_one_entry),
        TEST(keyed_and_volatile_copies_have_entries_of_their_own),
        TEST(chunks_are_not_wasted_on_slow_readers),
        TEST(large_frames_are_pieces_of_a_writev),
        TEST(large_frames_are_not_merged_for_a_group),
        TEST(more_pieces_than_one_call_takes),
        TEST(partial_writes_go_on_where_they_stopped),
        TEST(a_dead_writer_ends_the_flush),
        TEST(key_replaces_in_place),
        TEST(half_sent_frame_is_not_replaced),
        TEST(many_keys_are_found),
        TEST(keys_are_found_after_the_ring_has_grown),
        TEST(the_limit_counts_queued_bytes),
        TEST(a_frame_over_the_whole_limit_may_wait_alone),
        TEST(control_frames_do_not_count),
        TEST(dropping_the_unsent_keeps_the_stream_in_order),
        TEST(volatile_frames_go_first),
        TEST(half_sent_volatile_frame_stays),
        TEST(a_replacement_spares_what_it_replaces),
        TEST(shrinking_drops_the_oldest_volatile_frames),
        TEST(one_frame_alone_is_not_over),
        TEST(holes_are_reclaimed),
        TEST(equal_queues_share_merged_bytes),
        TEST(different_queues_are_merged_side_by_side),
        TEST(merged_bytes_are_never_stale),
        TEST(idle_memory_goes_back_to_the_heap),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(behaves_as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
