/* deflate.h - permessage-deflate's two directions without context takeover (RFC 7692 section 7.2). One per worker, reused.
 *
 * Every message is compressed and inflated from fresh state, so the streams are shared by all connections of a worker. The zlib
 * state is made on first use (about 300 KiB in all).
 */
#ifndef MT_NET_DEFLATE_H
#define MT_NET_DEFLATE_H
#include "base/buf.h"

struct deflate;
struct deflate *deflate_create(int level); /* zlib level 1..9; NULL when memory runs out */
void deflate_destroy(struct deflate *d);
/* Compress a whole message with a window of `bits` (9..15), tail 00 00 ff ff cut off, appended to out. 0 or MT_ENOMEM. */
int deflate_pack(struct deflate *d, int bits, const void *data, size_t len, struct buf *out);
/* Inflate a whole message, appended to out, never more than `limit` bytes. 0, MT_ETOO_LARGE, MT_EMALFORMED, MT_ENOMEM. */
int deflate_unpack(struct deflate *d, const void *data, size_t len, size_t limit, struct buf *out);
#endif
