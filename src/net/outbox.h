/* outbox.h - what waits to leave on one connection: references to frames, in order, with a byte limit.
 *
 * Small frames for one reader are packed behind each other into a chunk of the worker's pool (no allocation per message); room
 * messages are references to shared blobs. The queue of references is borrowed from the pool too, so an idle outbox holds nothing
 * but this struct. Slow readers: `key` replaces a queued frame of that key in its place, `volatile` frames are dropped first (and
 * counted), all else past the limit is refused with MT_EOVERFLOW and the owner closes with 1013; one frame with nothing else
 * in the queue is always taken. A frame whose first byte has left is never replaced or dropped. Pure: bytes leave through
 * outbox_write_fn.
 *
 * Zeroed memory is an empty outbox. One thread: outboxes, their pool and the calls on them belong to one worker.
 */
#ifndef MT_NET_OUTBOX_H
#define MT_NET_OUTBOX_H
#include "base/blob.h"
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

struct outbox_pool; /* per worker: free chunks and queues, and the merged bytes of the last flushed queues */
struct outbox_entry;
struct outbox_index;

struct outbox {
    struct outbox_entry *entries; /* ring borrowed from the pool, NULL while empty */
    uint32_t head, count, cap;    /* of the ring; head counts on and is masked, holes of dropped frames are counted */
    uint32_t offset;              /* bytes of the first entry that have left */
    size_t bytes;                 /* queued and not yet taken by the writer */
    size_t control;               /* those of `bytes` that belong to control frames */
    uint64_t key_filter;          /* one bit per hash of the keys queued since it was empty: most searches end here */
    uint32_t droppable;           /* those of `bytes` that belong to volatile frames not begun */
    uint32_t first_volatile;      /* position: no volatile entry lies before it */
    uint32_t dropped;             /* volatile frames dropped since the last outbox_take_dropped */
    struct outbox_index *index;   /* owned: key -> position, made when a long queue is searched; NULL before */
};

struct outbox_opts {
    uint64_t key; /* 0 = none; equal keys replace (owner hashes room and key with map_hash) */
    bool is_volatile;
    bool control; /* pong, close: not counted against any limit: the owner bounds them; never keyed or volatile */
};

struct outbox_pool *outbox_pool_create(void); /* NULL when memory runs out */
/* Every outbox must be empty. */
void outbox_pool_destroy(struct outbox_pool *p);
/* Queue a reference (the outbox takes its own). opts NULL = none. 0, MT_EDROPPED (volatile, over the limit), MT_EOVERFLOW,
 * MT_ENOMEM. A limit above 2 GiB counts as 2 GiB, and longer frames are always MT_EOVERFLOW. */
int outbox_push(struct outbox *o, struct outbox_pool *p, struct blob *frame, size_t limit, const struct outbox_opts *opts);
/* As outbox_push, but when it returns 0 it has taken over one reference of the caller's: who sends to many counts once,
 * blob_ref_n(frame, number of zeros) after the loop. Until then the caller must hold one reference beyond those. */
int outbox_push_take(struct outbox *o, struct outbox_pool *p, struct blob *frame, size_t limit, const struct outbox_opts *opts);
/* Queue a copy of head + payload as one frame. opts NULL = none. Same results. */
int outbox_push_copy(struct outbox *o, struct outbox_pool *p, const void *head, size_t head_len, const void *data, size_t len,
                     size_t limit, const struct outbox_opts *opts);
/* The writer: takes up to all of iov; returns bytes taken (> 0), 0 when it would block, negative when the connection is dead.
 * Bytes that TLS has seen count as taken: what was not taken may be different bytes in the next call. */
typedef ssize_t outbox_write_fn(void *arg, const struct iovec *iov, int n);
/* Hand everything to the writer, one call per up to 64 pieces; many small pieces are merged first, and flushes of
 * equal queues in one turn share the merged bytes. 1 when all has left, 0 when the writer blocks, negative when dead. */
int outbox_flush(struct outbox *o, struct outbox_pool *p, outbox_write_fn *write, void *arg);
/* After a turn's flushes: release what the pool kept for merging. */
void outbox_pool_turn_end(struct outbox_pool *p);
void outbox_clear(struct outbox *o, struct outbox_pool *p); /* drops all, also a half-sent frame: only before a close */
/* Drops all but a frame that is half sent (or the chunk of small ones around it): the stream stays in order for one last frame.
 * Returns how many frames were lost, control frames apart. */
uint32_t outbox_drop_unsent(struct outbox *o, struct outbox_pool *p);
uint32_t outbox_take_dropped(struct outbox *o);
/* More than `limit` bytes wait, control frames apart, and they are more than one frame (or chunk of small ones): which may be longer. */
bool outbox_is_over(const struct outbox *o, size_t limit);
/* Drop volatile frames, the oldest first, until it is not over `limit`. False when that is not enough. */
bool outbox_shrink(struct outbox *o, struct outbox_pool *p, size_t limit);
static inline bool outbox_empty(const struct outbox *o)
{
    return o->count == 0;
}
#endif
