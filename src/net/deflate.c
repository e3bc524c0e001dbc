/* deflate.c - whole messages through raw zlib streams that are reset between messages.
 *
 * A message on the wire is a run of DEFLATE blocks without the last four bytes of the empty stored block that a sync flush ends
 * with. Those four bytes are fed to inflate behind the payload. A client may also end its data with a final block; what follows
 * it (RFC 7692 7.2.3.4 puts one byte there) is then read as a new stream.
 */
#include "net/deflate.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

enum {
    BITS_MIN = 9,
    BITS_MAX = 15,
    MEMORY_LEVEL = 8,
    TAIL_SIZE = 4,
    FLUSH_ROOM = 16,      /* a flush that finds at least six bytes of room is not repeated */
    INPUT_MAX = 1 << 30,  /* zlib counts in 32 bits */
    BLOCK_BOUNDARY = 128, /* in data_type: between two blocks */
    RATIO_GUESS = 4,      /* of text: what is reserved at first */
    STREAM_OVER = 1       /* a final block was read */
};

static const unsigned char tail[TAIL_SIZE] = {0x00, 0x00, 0xff, 0xff};

struct deflate {
    int level;
    bool packs[BITS_MAX - BITS_MIN + 1]; /* which of `pack` are made */
    bool unpacks;                        /* whether `unpack` is made */
    z_stream pack[BITS_MAX - BITS_MIN + 1];
    z_stream unpack;
};

static voidpf zlib_alloc(voidpf arg, uInt items, uInt size)
{
    return mem_zalloc(items, size);
}

static void zlib_free(voidpf arg, voidpf ptr)
{
    mem_free(ptr);
}

struct deflate *deflate_create(int level)
{
    struct deflate *d = mem_zalloc(1, sizeof(*d));

    if (d)
        d->level = level;
    return d;
}

void deflate_destroy(struct deflate *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < sizeof(d->packs) / sizeof(d->packs[0]); i++)
        if (d->packs[i])
            deflateEnd(&d->pack[i]);
    if (d->unpacks)
        inflateEnd(&d->unpack);
    mem_free(d);
}

/* ---- compressing ---- */

/* The stream of that window, fresh; NULL when memory runs out. */
static z_stream *fresh_pack(struct deflate *d, int bits)
{
    size_t i = (size_t)(bits - BITS_MIN);
    z_stream *z = &d->pack[i];

    assert(bits >= BITS_MIN && bits <= BITS_MAX);
    if (d->packs[i]) {
        deflateReset(z);
        return z;
    }
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    if (deflateInit2(z, d->level, Z_DEFLATED, -bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    d->packs[i] = true;
    return z;
}

/* Everything of `z`'s input, and what `flush` brings out. */
static int pack_some(z_stream *z, int flush, struct buf *out)
{
    do {
        if (buf_reserve(out, deflateBound(z, z->avail_in) + FLUSH_ROOM) != 0)
            return MT_ENOMEM;
        size_t room = out->cap - out->len;
        uInt given = room < INPUT_MAX ? (uInt)room : INPUT_MAX;
        z->next_out = out->data + out->len;
        z->avail_out = given;
        deflate(z, flush);
        out->len += given - z->avail_out;
    } while (z->avail_out == 0);
    assert(z->avail_in == 0);
    return 0;
}

int deflate_pack(struct deflate *d, int bits, const void *data, size_t len, struct buf *out)
{
    z_stream *z = fresh_pack(d, bits);
    size_t start = out->len;
    int failed = z ? 0 : MT_ENOMEM;

    for (bool last = false; !failed && !last;) {
        size_t n = len < INPUT_MAX ? len : INPUT_MAX;
        last = n == len;
        z->next_in = (z_const Bytef *)data;
        z->avail_in = (uInt)n;
        data = (const char *)data + n;
        len -= n;
        failed = pack_some(z, last ? Z_SYNC_FLUSH : Z_NO_FLUSH, out);
    }
    if (failed) {
        out->len = start;
        return failed;
    }
    out->len -= TAIL_SIZE;
    assert(out->len > start && memcmp(out->data + out->len, tail, TAIL_SIZE) == 0);
    return 0;
}

/* ---- inflating ---- */

static z_stream *fresh_unpack(struct deflate *d)
{
    z_stream *z = &d->unpack;

    if (d->unpacks) {
        inflateReset(z);
        return z;
    }
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    if (inflateInit2(z, -BITS_MAX) != Z_OK)
        return NULL;
    d->unpacks = true;
    return z;
}

/* One call of inflate with room for `left` more bytes; without any it gets one byte of its own, to tell a message that is exactly
 * as long as allowed from a longer one. 0 or STREAM_OVER, or an error. */
static int unpack_step(z_stream *z, struct buf *out, size_t left)
{
    unsigned char over;
    size_t room = 1;

    z->next_out = &over;
    if (left > 0) {
        if (out->cap - out->len == 0 && buf_reserve(out, 1) != 0)
            return MT_ENOMEM;
        room = out->cap - out->len;
        room = room < left ? room : left;
        room = room < INPUT_MAX ? room : INPUT_MAX;
        z->next_out = out->data + out->len;
    }
    z->avail_out = (uInt)room;
    int got = inflate(z, Z_SYNC_FLUSH);
    size_t made = room - z->avail_out;
    if (left == 0 && made > 0)
        return MT_ETOO_LARGE;
    out->len += made;
    if (got == Z_STREAM_END)
        return STREAM_OVER;
    if (got == Z_MEM_ERROR)
        return MT_ENOMEM;
    return got == Z_OK || got == Z_BUF_ERROR ? 0 : MT_EMALFORMED;
}

/* Feed `len` bytes. 0 when they are used up, STREAM_OVER when the last of them ended a stream, or an error. `end` is what
 * out->len may grow to. */
static int unpack_some(z_stream *z, const unsigned char *data, size_t len, struct buf *out, size_t end)
{
    int got = 0;

    while (len > 0) {
        size_t n = len < INPUT_MAX ? len : INPUT_MAX;
        if (got == STREAM_OVER)
            inflateReset(z);
        z->next_in = (z_const Bytef *)data;
        z->avail_in = (uInt)n;
        do {
            got = unpack_step(z, out, end - out->len);
        } while (got == 0 && (z->avail_in > 0 || z->avail_out == 0));
        if (got < 0)
            return got;
        data += n - z->avail_in;
        len -= n - z->avail_in;
    }
    return got;
}

/* The bytes that every sender cuts off. They belong to an empty block: where they bring out anything, or end inside a block, the
 * message was cut somewhere else. */
static int unpack_tail(z_stream *z, struct buf *out)
{
    int got = unpack_some(z, tail, TAIL_SIZE, out, out->len);

    if (got == MT_ETOO_LARGE || (got == 0 && !(z->data_type & BLOCK_BOUNDARY)))
        return MT_EMALFORMED;
    return got;
}

int deflate_unpack(struct deflate *d, const void *data, size_t len, size_t limit, struct buf *out)
{
    z_stream *z = fresh_unpack(d);
    size_t start = out->len;
    size_t end = limit < SIZE_MAX - start ? start + limit : SIZE_MAX;

    if (!z || buf_reserve(out, len < limit / RATIO_GUESS ? len * RATIO_GUESS : limit) != 0)
        return MT_ENOMEM;
    int got = unpack_some(z, data, len, out, end);
    if (got == 0 && len > 0)
        got = unpack_tail(z, out);
    if (got >= 0)
        return 0;
    out->len = start;
    return got;
}
