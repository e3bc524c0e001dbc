/* packet.c - outgoing messages that are framed once, whoever reads them. */
#include "net/packet.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/deflate.h"
#include <assert.h>
#include <string.h>

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
    p->refs = 1;
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
    p->refs++;
    return p;
}

void packet_unref(struct packet *p)
{
    if (!p || --p->refs > 0)
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

struct blob *packet_frame(struct packet *p, int bits, size_t threshold, struct deflate *d)
{
    if (bits == 0 || p->plain->len - p->head < threshold)
        return p->plain;
    assert(bits >= PACKET_BITS_MIN && bits <= PACKET_BITS_MAX && d);
    struct blob **frame = &p->deflated[bits - PACKET_BITS_MIN];
    if (!*frame)
        *frame = make_deflated(p, bits, d);
    return *frame;
}
