/* outbox.c - the queue: what goes in, what replaces what, and what has to go when the reader is slow.
 *
 * Positions count on for as long as the queue is not empty, so they stay good while the head moves; only resize() gives new ones.
 * A dropped frame leaves a hole, so that dropping is O(1) as well; a full ring gets rid of its holes before it grows.
 */
#include "net/outbox_pool.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

enum {
    SCAN_MAX = 32,   /* longer queues are searched by index */
    CHUNK_FREE = 4,  /* this many entries may be chunks whatever is in them */
    INDEX_MIN = 128, /* slots */
};

/* An empty slot. A frame at this very position is not found by its key, only queued behind. */
static const uint32_t NO_POSITION = UINT32_MAX;
static const size_t LIMIT_MAX = (size_t)2 << 30;

/* Key to position. A slot counts only while the entry at its position has the key that is looked for, so entries need not be
 * taken out; what they leave is used again or gone with the next rebuild. */
struct outbox_index {
    uint32_t mask;    /* slots - 1 */
    uint32_t used;    /* slots that are not empty */
    uint32_t slots[]; /* positions */
};

/* ---- tags and keys ---- */

static uint64_t tag_of(const struct outbox_opts *opts)
{
    if (!opts)
        return 0;
    if (opts->control)
        return ENTRY_CONTROL;
    return opts->key << ENTRY_SHIFT | (opts->is_volatile ? ENTRY_VOLATILE : 0);
}

static uint64_t tag_key(uint64_t tag)
{
    return tag & ENTRY_CHUNK ? 0 : tag >> ENTRY_SHIFT;
}

/* The owner's keys are hashes, but one that counts them upwards should do well, too. */
static uint64_t key_hash(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

static uint64_t key_bit(uint64_t key)
{
    return (uint64_t)1 << (key_hash(key) >> 40 & 63);
}

/* Positions wrap: true when a came before b. */
static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static bool in_queue(const struct outbox *o, uint32_t position)
{
    return position - o->head < o->count;
}

/* ---- the index ---- */

static void index_drop(struct outbox *o)
{
    mem_free(o->index);
    o->index = NULL;
}

static bool slot_is_stale(const struct outbox *o, uint32_t position)
{
    return !in_queue(o, position) || !tag_key(outbox_at(o, position)->tag);
}

static bool index_find(const struct outbox *o, uint64_t key, uint32_t *position)
{
    const struct outbox_index *x = o->index;
    for (uint32_t i = (uint32_t)key_hash(key) & x->mask; x->slots[i] != NO_POSITION; i = (i + 1) & x->mask) {
        *position = x->slots[i];
        if (in_queue(o, *position) && tag_key(outbox_at(o, *position)->tag) == key)
            return true;
    }
    return false;
}

/* The caller made sure of an empty slot. */
static void index_add(const struct outbox *o, uint64_t key, uint32_t position)
{
    struct outbox_index *x = o->index;
    uint32_t i = (uint32_t)key_hash(key) & x->mask;
    while (x->slots[i] != NO_POSITION && !slot_is_stale(o, x->slots[i]))
        i = (i + 1) & x->mask;
    if (x->slots[i] == NO_POSITION)
        x->used++;
    x->slots[i] = position;
}

/* A new index of all keyed entries, with room for as many again. Without memory there is none, and searches are slow. */
static void index_build(struct outbox *o)
{
    uint32_t keyed = 0, cap = INDEX_MIN;

    index_drop(o);
    for (uint32_t i = 0; i < o->count; i++)
        keyed += tag_key(outbox_at(o, o->head + i)->tag) != 0;
    while (cap / 4 < keyed)
        cap *= 2;
    o->index = mem_alloc(sizeof(*o->index) + cap * sizeof(o->index->slots[0]));
    if (!o->index)
        return;
    o->index->mask = cap - 1;
    o->index->used = 0;
    memset(o->index->slots, 0xff, cap * sizeof(o->index->slots[0])); /* NO_POSITION */
    for (uint32_t i = 0; i < o->count; i++) {
        uint64_t key = tag_key(outbox_at(o, o->head + i)->tag);
        if (key)
            index_add(o, key, o->head + i);
    }
}

/* A keyed frame went to `position`. */
static void index_note(struct outbox *o, uint64_t key, uint32_t position)
{
    if (!o->index)
        return;
    if (o->index->used > o->index->mask / 2)
        index_build(o); /* takes the new one in */
    else
        index_add(o, key, position);
}

/* The queued frame of `key` that may be replaced. A frame that has begun to leave has lost its key (outbox_flush.c). */
static bool find_key(struct outbox *o, uint64_t key, uint32_t *position)
{
    if (!key || !(o->key_filter & key_bit(key)))
        return false;
    if (o->count > SCAN_MAX && !o->index)
        index_build(o);
    if (o->index)
        return index_find(o, key, position);
    for (uint32_t i = o->count; i > 0; i--) {
        *position = o->head + i - 1;
        if (tag_key(outbox_at(o, *position)->tag) == key)
            return true;
    }
    return false;
}

/* ---- the ring ---- */

static uint32_t count_holes(const struct outbox *o)
{
    uint32_t holes = 0;
    for (uint32_t i = 0; i < o->count; i++)
        holes += !outbox_at(o, o->head + i)->frame;
    return holes;
}

/* Move the live entries to `ring` (which may be the old one: they only move towards the head), from position `head`. */
static void resize(struct outbox *o, struct outbox_entry *ring, uint32_t cap, uint32_t head)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        struct outbox_entry e = *outbox_at(o, o->head + i);
        if (e.frame)
            ring[(head + live++) & (cap - 1)] = e;
    }
    o->entries = ring;
    o->cap = cap;
    o->head = o->first_volatile = head;
    o->count = live;
    index_drop(o);
}

/* Room for one more entry. Looking for holes costs as much as moving, and comes once per quarter of a ring at most. */
static int reserve(struct outbox *o, struct outbox_pool *p)
{
    if (o->count < o->cap)
        return 0;
    if (o->cap && count_holes(o) >= o->cap / 4) {
        resize(o, o->entries, o->cap, o->head);
        return 0;
    }
    uint32_t old_cap = o->cap, cap = old_cap ? old_cap * 2 : RING_BASE;
    struct outbox_entry *old = o->entries, *ring = pool_ring_get(p, cap);
    if (!ring)
        return MT_ENOMEM;
    resize(o, ring, cap, 0);
    if (old)
        pool_ring_put(p, old, old_cap);
    return 0;
}

static void append(struct outbox *o, struct blob *frame, uint64_t tag)
{
    uint32_t position = o->head + o->count++;
    uint64_t key = tag_key(tag);

    *outbox_at(o, position) = (struct outbox_entry){frame, tag};
    if (key) {
        o->key_filter |= key_bit(key);
        index_note(o, key, position);
    }
}

void outbox_trim(struct outbox *o)
{
    while (o->count && !outbox_at(o, o->head)->frame) {
        o->head++;
        o->count--;
    }
    if (is_before(o->first_volatile, o->head))
        o->first_volatile = o->head; /* never so far behind that positions wrap between the two */
}

void outbox_settle(struct outbox *o, struct outbox_pool *p)
{
    if (o->entries)
        pool_ring_put(p, o->entries, o->cap);
    index_drop(o);
    *o = (struct outbox){.dropped = o->dropped};
}

/* ---- limits ---- */

/* May `len` more bytes with `tag` come in, where `replaced` (or NULL) goes? Tells how many bytes of volatile frames must be
 * dropped for it; changes nothing but the count of dropped frames. One frame alone may be longer than the limit: how long
 * messages are is the sender's matter, a slow reader is who has others waiting. */
static int admit(struct outbox *o, size_t len, uint64_t tag, size_t limit, const struct outbox_entry *replaced, size_t *excess)
{
    *excess = 0;
    if (tag & ENTRY_CONTROL)
        return len > LIMIT_MAX ? MT_EOVERFLOW : 0;

    size_t going = replaced ? replaced->frame->len : 0;
    size_t droppable = o->droppable - (replaced && replaced->tag & ENTRY_VOLATILE ? going : 0);
    size_t staying = o->bytes - o->control - going;
    if (limit > LIMIT_MAX)
        limit = LIMIT_MAX;
    size_t room = len < limit ? limit - len : 0; /* for the others */
    if (len > LIMIT_MAX || staying - droppable > room) {
        o->dropped += tag & ENTRY_VOLATILE ? 1 : 0;
        return tag & ENTRY_VOLATILE ? MT_EDROPPED : MT_EOVERFLOW;
    }
    if (staying > room)
        *excess = staying - room;
    return 0;
}

/* Drop volatile frames, the oldest first, until `excess` bytes are gone; admit() saw that they are there. `spared` is the entry
 * about to be replaced: should that be by a volatile frame, first_volatile goes back to it. */
static void drop_volatile(struct outbox *o, struct outbox_pool *p, size_t excess, const struct outbox_entry *spared)
{
    for (; excess; o->first_volatile++) {
        assert(in_queue(o, o->first_volatile));
        struct outbox_entry *e = outbox_at(o, o->first_volatile);
        if (!(e->tag & ENTRY_VOLATILE) || e == spared)
            continue;
        size_t len = e->frame->len;
        pool_release(p, e);
        *e = (struct outbox_entry){NULL, 0};
        o->bytes -= len;
        o->droppable -= (uint32_t)len;
        o->dropped++;
        excess = excess > len ? excess - len : 0;
    }
    outbox_trim(o);
}

/* The frame that leaves next, control frames apart; NULL when there is none. */
static const struct outbox_entry *first_counted(const struct outbox *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct outbox_entry *e = outbox_at(o, o->head + i);
        if (e->frame && !(e->tag & ENTRY_CONTROL))
            return e;
    }
    return NULL;
}

bool outbox_is_over(const struct outbox *o, size_t limit)
{
    size_t counted = o->bytes - o->control;
    if (counted <= (limit < LIMIT_MAX ? limit : LIMIT_MAX))
        return false;
    const struct outbox_entry *first = first_counted(o);
    return counted > first->frame->len - (first == outbox_at(o, o->head) ? o->offset : 0);
}

bool outbox_shrink(struct outbox *o, struct outbox_pool *p, size_t limit)
{
    if (!outbox_is_over(o, limit))
        return true;
    size_t excess = o->bytes - o->control - (limit < LIMIT_MAX ? limit : LIMIT_MAX);
    drop_volatile(o, p, excess < o->droppable ? excess : o->droppable, NULL);
    if (!o->count)
        outbox_settle(o, p);
    return !outbox_is_over(o, limit);
}

/* ---- pushing ---- */

static void note_volatile(struct outbox *o, size_t len, uint32_t position)
{
    o->droppable += (uint32_t)len;
    if (is_before(position, o->first_volatile))
        o->first_volatile = position;
}

static void replace(struct outbox *o, struct outbox_pool *p, uint32_t position, struct blob *frame, uint64_t tag)
{
    struct outbox_entry *e = outbox_at(o, position);
    size_t old_len = e->frame->len;

    if (e->tag & ENTRY_VOLATILE)
        o->droppable -= (uint32_t)old_len;
    o->bytes = o->bytes - old_len + frame->len;
    pool_release(p, e);
    *e = (struct outbox_entry){frame, tag};
    if (tag & ENTRY_VOLATILE)
        note_volatile(o, frame->len, position);
}

/* Takes the caller's reference when it returns 0. */
static int enqueue(struct outbox *o, struct outbox_pool *p, struct blob *frame, uint64_t tag, size_t limit)
{
    uint32_t position = 0;
    size_t excess = 0;
    bool found = find_key(o, tag_key(tag), &position);
    struct outbox_entry *replaced = found ? outbox_at(o, position) : NULL;
    int rc = admit(o, frame->len, tag, limit, replaced, &excess);

    if (rc == 0 && !found)
        rc = reserve(o, p);
    if (rc < 0)
        return rc;
    if (excess)
        drop_volatile(o, p, excess, replaced);
    if (found) {
        replace(o, p, position, frame, tag);
        return 0;
    }
    append(o, frame, tag);
    o->bytes += frame->len;
    if (tag & ENTRY_CONTROL)
        o->control += frame->len;
    if (tag & ENTRY_VOLATILE)
        note_volatile(o, frame->len, o->head + o->count - 1);
    return 0;
}

int outbox_push_take(struct outbox *o, struct outbox_pool *p, struct blob *frame, size_t limit, const struct outbox_opts *opts)
{
    if (frame->len == 0) {
        /* No bytes would ever pop it. */
        pool_release(p, &(struct outbox_entry){frame, 0});
        return 0;
    }
    return enqueue(o, p, frame, tag_of(opts), limit);
}

int outbox_push(struct outbox *o, struct outbox_pool *p, struct blob *frame, size_t limit, const struct outbox_opts *opts)
{
    int rc = outbox_push_take(o, p, blob_ref(frame), limit, opts);
    if (rc < 0)
        blob_unref(frame);
    return rc;
}

static void copy_parts(unsigned char *to, const void *head, size_t head_len, const void *data, size_t len)
{
    if (head_len)
        memcpy(to, head, head_len);
    if (len)
        memcpy(to + head_len, data, len);
}

/* The chunk at the end of the queue when `len` bytes of this kind fit in. Control frames have chunks of their own, so that their
 * bytes can be told from the others'. */
static struct outbox_entry *open_chunk(const struct outbox *o, uint64_t tag, size_t len)
{
    if (!o->count)
        return NULL;
    struct outbox_entry *last = outbox_at(o, o->head + o->count - 1);
    bool same_kind = (last->tag & ENTRY_FLAGS) == (tag | ENTRY_CHUNK); /* false where tag has a key */
    return same_kind && last->frame->len + len <= CHUNK_SIZE ? last : NULL;
}

/* A chunk is a page for one frame that may stay alone in it: long queues get one only while theirs are well filled. */
static bool may_use_chunk(const struct outbox *o, uint64_t tag, size_t len)
{
    return !tag_key(tag) && !(tag & ENTRY_VOLATILE) && len <= CHUNK_SIZE &&
           (o->count < CHUNK_FREE || o->bytes / o->count >= CHUNK_SIZE / 4);
}

/* Room for `len` more bytes at the end of a chunk: 0, or as admit(). */
static int extend_chunk(struct outbox *o, struct outbox_pool *p, struct outbox_entry *chunk, size_t limit, size_t len)
{
    size_t excess;
    int rc = admit(o, len, chunk->tag & ENTRY_CONTROL, limit, NULL, &excess);
    if (rc < 0)
        return rc;
    if (excess)
        drop_volatile(o, p, excess, NULL);
    chunk->frame->len += len;
    chunk->tag += 1 << ENTRY_SHIFT;
    o->bytes += len;
    if (chunk->tag & ENTRY_CONTROL)
        o->control += len;
    return 0;
}

int outbox_push_copy(struct outbox *o, struct outbox_pool *p, const void *head, size_t head_len, const void *data, size_t len,
                     size_t limit, const struct outbox_opts *opts)
{
    size_t total = head_len + len;
    uint64_t tag = tag_of(opts);
    struct outbox_entry *chunk = open_chunk(o, tag, total);
    struct blob *frame = NULL;

    if (total == 0)
        return 0;
    if (chunk) {
        int rc = extend_chunk(o, p, chunk, limit, total);
        if (rc == 0)
            copy_parts(chunk->frame->data + chunk->frame->len - total, head, head_len, data, len);
        return rc;
    }
    if (may_use_chunk(o, tag, total)) {
        frame = pool_chunk_get(p);
        tag |= ENTRY_CHUNK | 1 << ENTRY_SHIFT;
    } else {
        frame = blob_create(total);
    }
    if (!frame)
        return MT_ENOMEM;
    frame->len = total;
    copy_parts(frame->data, head, head_len, data, len);
    int rc = enqueue(o, p, frame, tag, limit);
    if (rc < 0)
        pool_release(p, &(struct outbox_entry){frame, tag});
    return rc;
}

static uint32_t frames_lost(const struct outbox_entry *e)
{
    if (!e->frame || e->tag & ENTRY_CONTROL)
        return 0;
    return e->tag & ENTRY_CHUNK ? (uint32_t)(e->tag >> ENTRY_SHIFT) : 1;
}

uint32_t outbox_drop_unsent(struct outbox *o, struct outbox_pool *p)
{
    uint32_t kept = o->offset ? 1 : 0, lost = 0;

    for (uint32_t i = kept; i < o->count; i++) {
        struct outbox_entry *e = outbox_at(o, o->head + i);
        lost += frames_lost(e);
        pool_release(p, e);
    }
    if (!kept) {
        outbox_settle(o, p);
        return lost;
    }
    const struct outbox_entry *first = outbox_at(o, o->head);
    o->count = 1;
    o->bytes = first->frame->len - o->offset;
    o->control = first->tag & ENTRY_CONTROL ? o->bytes : 0;
    o->droppable = 0;
    return lost;
}

void outbox_clear(struct outbox *o, struct outbox_pool *p)
{
    for (uint32_t i = 0; i < o->count; i++)
        pool_release(p, outbox_at(o, o->head + i));
    outbox_settle(o, p);
}

uint32_t outbox_take_dropped(struct outbox *o)
{
    uint32_t dropped = o->dropped;
    o->dropped = 0;
    return dropped;
}
