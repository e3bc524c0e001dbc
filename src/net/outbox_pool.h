/* outbox_pool.h - what outboxes share: rings and chunks that wait for use, and merged bytes. For net/outbox*.c only. */
#ifndef MT_NET_OUTBOX_POOL_H
#define MT_NET_OUTBOX_POOL_H
#include "net/outbox.h"

enum { ENTRY_VOLATILE = 1, ENTRY_CONTROL = 2, ENTRY_CHUNK = 4, ENTRY_FLAGS = 7, ENTRY_SHIFT = 3 };

/* 16 bytes and nothing else: queues are compared with memcmp. */
struct outbox_entry {
    struct blob *frame; /* one reference; NULL: a hole where a volatile frame was dropped */
    uint64_t tag; /* ENTRY_* flags; above them the key without its top bits (it is a hash), or in chunks the number of frames */
};

enum {
    RING_BASE = 16,            /* entries of a ring from the pool; longer ones come from the heap */
    CHUNK_SIZE = 4096 - 64,    /* bytes of frames in a chunk: with its head and malloc's it stays below a page */
    GROUP_COUNT = 8,           /* different queues of which the pool remembers the merged bytes during a turn */
    GROUP_BYTES = 64 * 1024,   /* longest queue that is remembered */
    SCRATCH_BYTES = 64 * 1024, /* merge buffer for queues that nobody shares */
    PIECE_LARGE = 16 * 1024,   /* frames above this are never copied to be merged */
    IOV_COUNT = 64,            /* pieces per call of the writer */
};

/* Things of one size that wait to be used again. */
struct stash {
    void **items; /* owned, also what it points to */
    uint32_t count, cap;
    uint32_t low; /* smallest count since the last trim: that many were not needed */
};

/* A queue of shared frames, and its bytes in one piece. While it is in use the group holds references to its frames, so no new
 * blob can have the address of one of them. */
struct outbox_group {
    struct outbox_entry *entries; /* owned */
    unsigned char *data;          /* owned; the frames behind each other */
    uint32_t count, entry_cap;    /* entries in use, allocated */
    uint32_t owners;              /* queues whose references ended up here, and the group's own; 0: not in use */
    size_t len, size;             /* bytes in use, allocated */
};

struct outbox_pool {
    struct stash rings, chunks;
    struct outbox_group groups[GROUP_COUNT];
    unsigned char *scratch; /* owned; SCRATCH_BYTES, made on first use */
    struct blob *released;  /* frame whose references are being given back in one go */
    uint32_t released_refs; /* how many */
    uint32_t turns;         /* since the last trim */
};

/* A ring of `cap` entries (a power of two, at least RING_BASE); NULL when memory runs out. */
struct outbox_entry *pool_ring_get(struct outbox_pool *p, uint32_t cap);
void pool_ring_put(struct outbox_pool *p, struct outbox_entry *ring, uint32_t cap);
/* An empty chunk: a blob with room for CHUNK_SIZE bytes whose len is what was filled. NULL when memory runs out. */
struct blob *pool_chunk_get(struct outbox_pool *p);
/* Give back the reference of an entry; NULL frames are fine. References to one frame in a row are counted and go in one step. */
void pool_release(struct outbox_pool *p, const struct outbox_entry *e);
/* The place where the group of a queue with this hash is or will be. */
static inline struct outbox_group *pool_group_at(struct outbox_pool *p, uint64_t hash)
{
    return &p->groups[hash % GROUP_COUNT];
}
/* Ends the use of a group: gives back the references of all its owners. */
void pool_group_release(struct outbox_group *g);

/* Entry at a position, which counts on from head. */
static inline struct outbox_entry *outbox_at(const struct outbox *o, uint32_t position)
{
    return &o->entries[position & (o->cap - 1)];
}
/* Skip holes at the front, so that the first entry of a queue is always a frame. */
void outbox_trim(struct outbox *o);
/* The empty outbox gives everything back but `dropped`. */
void outbox_settle(struct outbox *o, struct outbox_pool *p);
#endif
