/* outbox_flush.c - the way out: one frame goes as it is, several are merged, and equal queues are merged once.
 *
 * In a room of a thousand with ten publishers a turn ends with a thousand queues of the same ten frames. The first one flushed
 * leaves its bytes in a group of the pool; the others are recognised by comparing their rings and cost one write each. Their
 * references are not given back one by one: the group counts the queues and gives back all of a frame's references in one step.
 */
#include "net/outbox_pool.h"

#include "base/mem.h"
#include <assert.h>
#include <string.h>

/* ---- after a write ---- */

/* The first byte is about to leave: from now on the frame can be neither replaced nor dropped. */
static void pin(struct outbox *o, struct outbox_entry *e)
{
    if (e->tag & ENTRY_CHUNK)
        return; /* has no key, and is never volatile */
    if (e->tag & ENTRY_VOLATILE)
        o->droppable -= (uint32_t)e->frame->len;
    e->tag &= ENTRY_CONTROL;
}

/* `n` bytes from the front have left. */
static void advance(struct outbox *o, struct outbox_pool *p, size_t n)
{
    assert(n <= o->bytes);
    o->bytes -= n;
    while (n > 0) {
        struct outbox_entry *e = outbox_at(o, o->head);
        size_t left = e->frame->len - o->offset;
        size_t taken = left < n ? left : n;

        pin(o, e);
        if (e->tag & ENTRY_CONTROL)
            o->control -= taken;
        n -= taken;
        if (taken < left) {
            o->offset += (uint32_t)taken;
            return;
        }
        pool_release(p, e);
        o->offset = 0;
        o->head++;
        o->count--;
        outbox_trim(o);
    }
    if (!o->count)
        outbox_settle(o, p);
}

/* ---- equal queues ---- */

/* The entries in one piece, or NULL when they go round the end of the ring (only with slow readers) or the first has begun to
 * leave. */
static const struct outbox_entry *whole_queue(const struct outbox *o)
{
    uint32_t start = o->head & (o->cap - 1);
    return o->offset == 0 && start + o->count <= o->cap ? o->entries + start : NULL;
}

static uint64_t queue_hash(const struct outbox_entry *entries, uint32_t count)
{
    uint64_t hash = (uint64_t)(uintptr_t)entries[0].frame * 0x9e3779b97f4a7c15u;
    hash ^= (uint64_t)(uintptr_t)entries[count - 1].frame;
    return (hash * 0x9e3779b97f4a7c15u + count) >> 32;
}

/* A frame with one reference is in no other queue, so no queue can be equal to one that has it. */
static bool is_worth_sharing(const struct outbox *o, const struct outbox_entry *entries)
{
    if (o->bytes > GROUP_BYTES)
        return false;
    for (uint32_t i = 0; i < o->count; i++) {
        const struct blob *frame = entries[i].frame;
        if (!frame)
            continue;
        if (entries[i].tag & ENTRY_CHUNK || frame->len > PIECE_LARGE ||
            atomic_load_explicit(&frame->refs, memory_order_relaxed) < 2)
            return false;
    }
    return true;
}

/* Room for `count` entries and `len` bytes; false when memory runs out. */
static bool group_reserve(struct outbox_group *g, uint32_t count, size_t len)
{
    if (count > g->entry_cap) {
        uint32_t cap = g->entry_cap ? g->entry_cap : RING_BASE;
        while (cap < count)
            cap *= 2;
        struct outbox_entry *entries = mem_resize(g->entries, cap * sizeof(*entries));
        if (!entries)
            return false;
        g->entries = entries;
        g->entry_cap = cap;
    }
    if (len > g->size) {
        size_t size = g->size ? g->size : 1024;
        while (size < len)
            size *= 2;
        unsigned char *data = mem_resize(g->data, size);
        if (!data)
            return false;
        g->data = data;
        g->size = size;
    }
    return true;
}

static bool group_fill(struct outbox_group *g, const struct outbox *o, const struct outbox_entry *entries)
{
    if (g->owners)
        pool_group_release(g);
    if (!group_reserve(g, o->count, o->bytes))
        return false;
    memcpy(g->entries, entries, o->count * sizeof(*entries));
    g->count = o->count;
    g->owners = 1;
    g->len = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        struct blob *frame = entries[i].frame;
        if (!frame)
            continue;
        memcpy(g->data + g->len, blob_ref(frame)->data, frame->len);
        g->len += frame->len;
    }
    assert(g->len == o->bytes);
    return true;
}

/* The group of queues equal to this one, made when it is the first of its kind; NULL when the queue cannot be shared. */
static struct outbox_group *group_find(const struct outbox *o, struct outbox_pool *p)
{
    const struct outbox_entry *entries = whole_queue(o);
    if (!entries)
        return NULL;
    struct outbox_group *g = pool_group_at(p, queue_hash(entries, o->count));
    if (g->owners && g->count == o->count && memcmp(g->entries, entries, o->count * sizeof(*entries)) == 0)
        return g;
    return is_worth_sharing(o, entries) && group_fill(g, o, entries) ? g : NULL;
}

static ssize_t write_group(struct outbox *o, struct outbox_pool *p, struct outbox_group *g, outbox_write_fn *write, void *arg)
{
    struct iovec iov = {g->data, g->len};
    ssize_t n = write(arg, &iov, 1);
    if (n > 0 && (size_t)n == g->len) {
        g->owners++; /* the references of all entries */
        outbox_settle(o, p);
    } else if (n > 0) {
        advance(o, p, (size_t)n);
    }
    return n;
}

/* ---- everything else ---- */

/* Add a piece to iov, behind the bytes already merged where it is small. False when no more fit into this call. */
static bool gather(struct outbox_pool *p, struct iovec *iov, int *n, size_t *merged, unsigned char *data, size_t len)
{
    bool merge = p->scratch && len <= PIECE_LARGE;
    bool extends = merge && *n && (unsigned char *)iov[*n - 1].iov_base + iov[*n - 1].iov_len == p->scratch + *merged;

    if ((merge && *merged + len > SCRATCH_BYTES) || (!extends && *n == IOV_COUNT))
        return false;
    if (merge) {
        memcpy(p->scratch + *merged, data, len);
        data = p->scratch + *merged;
        *merged += len;
    }
    if (extends)
        iov[*n - 1].iov_len += len;
    else
        iov[(*n)++] = (struct iovec){data, len};
    return true;
}

static ssize_t write_gathered(struct outbox *o, struct outbox_pool *p, outbox_write_fn *write, void *arg)
{
    struct iovec iov[IOV_COUNT];
    size_t merged = 0, offset = o->offset;
    int pieces = 0;

    if (!p->scratch)
        p->scratch = mem_alloc(SCRATCH_BYTES); /* without it every frame is a piece */
    for (uint32_t i = 0; i < o->count; i++) {
        struct blob *frame = outbox_at(o, o->head + i)->frame;
        if (!frame)
            continue;
        if (!gather(p, iov, &pieces, &merged, frame->data + offset, frame->len - offset))
            break;
        offset = 0;
    }
    ssize_t n = write(arg, iov, pieces);
    if (n > 0)
        advance(o, p, (size_t)n);
    return n;
}

static ssize_t write_first(struct outbox *o, struct outbox_pool *p, outbox_write_fn *write, void *arg)
{
    struct blob *frame = outbox_at(o, o->head)->frame;
    struct iovec iov = {frame->data + o->offset, frame->len - o->offset};
    ssize_t n = write(arg, &iov, 1);
    if (n > 0)
        advance(o, p, (size_t)n);
    return n;
}

int outbox_flush(struct outbox *o, struct outbox_pool *p, outbox_write_fn *write, void *arg)
{
    while (o->count) {
        struct outbox_group *g = NULL;
        ssize_t n;

        if (o->count == 1)
            n = write_first(o, p, write, arg);
        else if ((g = group_find(o, p)))
            n = write_group(o, p, g, write, arg);
        else
            n = write_gathered(o, p, write, arg);
        if (n <= 0)
            return n < 0 ? -1 : 0;
    }
    return 1;
}
