/* packet.h - an outgoing message, framed once and compressed at most once per window size, for any number of readers on any number
 * of threads. What it holds never changes; compressed frames are added as they are needed, and stay.
 */
#ifndef MT_NET_PACKET_H
#define MT_NET_PACKET_H
#include "base/blob.h"
#include "net/frame.h"

struct deflate;
enum { PACKET_BITS_MIN = 9, PACKET_BITS_MAX = 15 };

struct packet {
    atomic_uint_least32_t refs; /* owners; freed at zero */
    enum frame_op op;           /* TEXT or BINARY */
    size_t head;                /* bytes of frame header in plain */
    struct blob *plain;         /* whole frame, always there */
    /* Made on demand, each set once; may be plain where that is shorter. */
    _Atomic(struct blob *) deflated[PACKET_BITS_MAX - PACKET_BITS_MIN + 1];
};

struct packet *packet_create(enum frame_op op, const void *data, size_t len); /* one reference; NULL when memory runs out */
struct packet *packet_ref(struct packet *p);
void packet_unref(struct packet *p); /* NULL is allowed */
/* The frame for a reader: bits 0 = no deflate negotiated. Below `threshold` payload bytes, or where compression does not help
 * or fails, the plain frame. `d` is the calling thread's own. Borrowed from the packet; the reader takes its own blob_ref. */
struct blob *packet_frame(struct packet *p, int bits, size_t threshold, struct deflate *d);
#endif
