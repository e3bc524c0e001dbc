/* packet.c - outgoing messages that are framed once, whoever reads them.
 *
 * Two threads that need the same compressed frame at the same moment do not both make it: one waits for the other, which takes no
 * longer than making it. The locks are few and shared by all packets; they are taken only where a frame is not there yet.
 */
#include "net/packet.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/deflate.h"
#include <assert.h>
#include <pthread.h>
#include <string.h>

#define LOCK PTHREAD_MUTEX_INITIALIZER
static pthread_mutex_t making[] = {LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK};
#undef LOCK

/* One blob with a frame's header and payload; *head is the header's length. NULL when memory runs out. */
static struct blob *make_frame(enum frame_op op, bool deflated, const void *data, size_t len, size_t *head)
{
    unsigned char bytes[FRAME_HEAD_MAX];

    *head = frame_put_head(bytes, op, deflated, len);
    struct blob *b = blob_create(*head + len);
    if (!b)
        return NULL;
    memcpy(b->data, bytes, *head);
    if (len > 0)
        memcpy(b->data + *head, data, len);
    return b;
}

struct packet *packet_create(enum frame_op op, const void *data, size_t len)
{
    struct packet *p = mem_zalloc(1, sizeof(*p));

    assert(op == FRAME_TEXT || op == FRAME_BINARY);
    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    p->op = op;
    p->plain = make_frame(op, false, data, len, &p->head);
    if (!p->plain) {
        mem_free(p);
        return NULL;
    }
    return p;
}

struct packet *packet_ref(struct packet *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void packet_unref(struct packet *p)
{
    /* As in blob_unref_n: our reads come before the free, and the last owner sees everybody's. */
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    blob_unref(p->plain);
    for (size_t i = 0; i < sizeof(p->deflated) / sizeof(p->deflated[0]); i++)
        blob_unref(p->deflated[i]);
    mem_free(p);
}

/* A compressed frame of its own reference; another reference to the plain one where that is no longer, or memory ran out. */
static struct blob *make_deflated(struct packet *p, int bits, struct deflate *d)
{
    size_t len = p->plain->len - p->head, head;
    struct buf packed = {0};
    struct blob *frame = NULL;

    if (deflate_pack(d, bits, p->plain->data + p->head, len, &packed) == 0 && packed.len < len)
        frame = make_frame(p->op, true, packed.data, packed.len, &head);
    buf_fini(&packed);
    return frame ? frame : blob_ref(p->plain);
}

static pthread_mutex_t *lock_of(const struct packet *p)
{
    return &making[(uintptr_t)p / sizeof(*p) % (sizeof(making) / sizeof(making[0]))];
}

struct blob *packet_frame(struct packet *p, int bits, size_t threshold, struct deflate *d)
{
    if (bits == 0 || p->plain->len - p->head < threshold)
        return p->plain;
    assert(bits >= PACKET_BITS_MIN && bits <= PACKET_BITS_MAX && d);
    _Atomic(struct blob *) *place = &p->deflated[bits - PACKET_BITS_MIN];
    struct blob *frame = atomic_load_explicit(place, memory_order_acquire);
    if (frame)
        return frame;
    pthread_mutex_lock(lock_of(p));
    frame = atomic_load_explicit(place, memory_order_relaxed);
    if (!frame) {
        frame = make_deflated(p, bits, d);
        atomic_store_explicit(place, frame, memory_order_release);
    }
    pthread_mutex_unlock(lock_of(p));
    return frame;
}
