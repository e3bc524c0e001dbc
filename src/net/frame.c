/* frame.c - the RFC 6455 frame decoder, and the printer of our own headers.
 *
 * Most of what a server reads is short, whole, masked messages, many of them in one read. frame_next looks for exactly that
 * first; everything else takes the careful way through parse_head. A header is parsed again when its bytes come in pieces, which
 * keeps the decoder's state small and costs little: a header has at most 14 bytes.
 */
#include "net/frame.h"

#include <assert.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    BIT_FIN = 0x80,
    BITS_RSV = 0x70,
    BIT_RSV1 = 0x40,
    BITS_OP = 0x0f,
    BIT_MASK = 0x80,
    LEN_16 = 126, /* two bytes of length follow */
    LEN_64 = 127, /* eight bytes of length follow */
    MASK_SIZE = 4,
    VIOLATION = -1002
};

/* A header that was checked whole. */
struct frame_head {
    uint64_t len;  /* of the payload */
    uint32_t mask; /* as in memory */
    size_t size;   /* of the header itself */
};

/* ---- masking ---- */

static uint32_t rotate_mask(uint32_t mask, size_t bytes)
{
    unsigned bits = (unsigned)(bytes & 3) * 8;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return bits ? mask >> bits | mask << (32 - bits) : mask;
#else
    return bits ? mask << bits | mask >> (32 - bits) : mask;
#endif
}

/* The last 0 to 7 bytes. */
static inline void mask_tail(unsigned char *data, size_t len, uint32_t mask)
{
    unsigned char key[4];

    if (len & 4) {
        uint32_t word;
        memcpy(&word, data, 4);
        word ^= mask;
        memcpy(data, &word, 4);
        data += 4;
    }
    memcpy(key, &mask, 4);
    if (len & 2) {
        data[0] ^= key[0];
        data[1] ^= key[1];
        if (len & 1)
            data[2] ^= key[2];
    } else if (len & 1) {
        data[0] ^= key[0];
    }
}

/* Steps of 64, 16 and 8 bytes are all multiples of 4, so the mask only has to be rotated at the very end. */
static inline void mask_bytes(unsigned char *data, size_t len, uint32_t mask)
{
    uint64_t mask8 = (uint64_t)mask << 32 | mask;

#if defined(__SSE2__)
    const __m128i mask16 = _mm_set1_epi32((int)mask);
    for (; len >= 64; data += 64, len -= 64) {
        __m128i *at = (__m128i *)(void *)data;
        _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), mask16));
        _mm_storeu_si128(at + 1, _mm_xor_si128(_mm_loadu_si128(at + 1), mask16));
        _mm_storeu_si128(at + 2, _mm_xor_si128(_mm_loadu_si128(at + 2), mask16));
        _mm_storeu_si128(at + 3, _mm_xor_si128(_mm_loadu_si128(at + 3), mask16));
    }
    for (; len >= 16; data += 16, len -= 16) {
        __m128i *at = (__m128i *)(void *)data;
        _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), mask16));
    }
#endif
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= mask8;
        memcpy(data, &word, 8);
    }
    mask_tail(data, len, mask);
}

uint32_t frame_mask(unsigned char *data, size_t len, uint32_t mask)
{
    mask_bytes(data, len, mask);
    return rotate_mask(mask, len);
}

/* ---- headers ---- */

/* Whether the first byte of a frame may come now. */
static bool first_byte_ok(const struct frame_decoder *d, unsigned char byte)
{
    unsigned op = byte & BITS_OP, rsv = byte & BITS_RSV;

    if (op >= FRAME_CLOSE)
        return op <= FRAME_PONG && !rsv && (byte & BIT_FIN);
    if (op == FRAME_CONTINUATION)
        return d->message_op != 0 && !rsv;
    return op <= FRAME_BINARY && d->message_op == 0 && (!rsv || (rsv == BIT_RSV1 && d->allow_rsv1));
}

/* Big-endian length of `n` bytes (2 or 8) of which `have` are there. 1 when it is known, 0 when it is not yet, or VIOLATION: its
 * first byte has bit 63, or it would have fitted a shorter form, which eight bytes show once the first six of them are zero. */
static int parse_length(const unsigned char *data, size_t have, size_t n, uint64_t *out)
{
    uint64_t value = 0;
    uint64_t least = n == 2 ? LEN_16 : 0x10000;

    for (size_t i = 0; i < n; i++) {
        if (i == have)
            return 0;
        value = value << 8 | data[i];
        if (n == 8 && i == 0 && (value & 0x80))
            return VIOLATION;
        if (n == 8 && i == 5 && value == 0)
            return VIOLATION;
    }
    *out = value;
    return value < least ? VIOLATION : 1;
}

/* 1 with *h filled, 0 when bytes are missing, or VIOLATION. */
static int parse_head(const struct frame_decoder *d, const unsigned char *data, size_t len, struct frame_head *h)
{
    if (len == 0)
        return 0;
    if (!first_byte_ok(d, data[0]))
        return VIOLATION;
    if (len == 1)
        return 0;

    size_t wide = 0; /* bytes of extended length */
    h->len = data[1] & (BIT_MASK - 1);
    if (!(data[1] & BIT_MASK) || ((data[0] & BITS_OP) >= FRAME_CLOSE && h->len > FRAME_CONTROL_MAX))
        return VIOLATION;
    if (h->len >= LEN_16) {
        wide = h->len == LEN_16 ? 2 : 8;
        int known = parse_length(data + 2, len - 2, wide, &h->len);
        if (known <= 0)
            return known;
    }
    h->size = 2 + wide + MASK_SIZE;
    if (len < h->size)
        return 0;
    memcpy(&h->mask, data + 2 + wide, MASK_SIZE);
    return 1;
}

/* ---- parts ---- */

/* Hand out payload of the current data frame, at least one byte or an empty frame's nothing. */
static void take_payload(struct frame_decoder *d, unsigned char *data, size_t len, struct frame_part *part)
{
    size_t n = d->left < len ? (size_t)d->left : len;

    d->mask = frame_mask(data, n, d->mask);
    d->left -= n;
    d->in_frame = d->left > 0;
    part->op = (enum frame_op)d->message_op;
    part->deflated = d->message_deflated;
    part->data = data;
    part->len = n;
    part->left = d->left;
    part->last = d->fin && !d->in_frame;
    if (part->last)
        d->message_op = 0;
}

static int take_control(const struct frame_head *h, unsigned char *data, size_t len, size_t *used, struct frame_part *part)
{
    if (len - h->size < h->len)
        return 0;
    mask_bytes(data + h->size, (size_t)h->len, h->mask);
    *part = (struct frame_part){
        .op = (enum frame_op)(data[0] & BITS_OP),
        .first = true,
        .last = true,
        .data = data + h->size,
        .len = (size_t)h->len,
    };
    *used = h->size + (size_t)h->len;
    return 1;
}

static int take_frame(struct frame_decoder *d, unsigned char *data, size_t len, size_t *used, struct frame_part *part)
{
    struct frame_head h;
    int known = parse_head(d, data, len, &h);

    if (known <= 0)
        return known;
    if ((data[0] & BITS_OP) >= FRAME_CLOSE)
        return take_control(&h, data, len, used, part);
    if (len == h.size && h.len > 0)
        return 0;

    part->first = (data[0] & BITS_OP) != FRAME_CONTINUATION;
    if (part->first) {
        d->message_op = data[0] & BITS_OP;
        d->message_deflated = data[0] & BIT_RSV1;
    }
    d->fin = data[0] & BIT_FIN;
    d->left = h.len;
    d->mask = h.mask;
    take_payload(d, data + h.size, len - h.size, part);
    *used = h.size + part->len;
    return 1;
}

/* A short, whole, uncompressed message in one frame: what nearly every call is about. False: not that, or not all there. */
static inline bool take_short(unsigned char *data, size_t len, size_t *used, struct frame_part *part)
{
    enum { HEAD = 2 + MASK_SIZE };

    if (len < HEAD)
        return false;
    unsigned op = data[0] ^ BIT_FIN; /* above 15 without FIN or with a reserved bit */
    size_t n = data[1] ^ BIT_MASK;   /* above 127 without a mask */
    if (op - FRAME_TEXT > FRAME_BINARY - FRAME_TEXT || n >= LEN_16 || len - HEAD < n)
        return false;

    uint32_t mask;
    memcpy(&mask, data + 2, MASK_SIZE);
    mask_bytes(data + HEAD, n, mask);
    part->op = (enum frame_op)op;
    part->first = part->last = true;
    part->deflated = false;
    part->data = data + HEAD;
    part->len = n;
    part->left = 0;
    *used = HEAD + n;
    return true;
}

int frame_next(struct frame_decoder *d, unsigned char *data, size_t len, size_t *used, struct frame_part *part)
{
    *used = 0;
    if (d->message_op == 0) {
        assert(!d->in_frame);
        if (take_short(data, len, used, part))
            return 1;
    } else if (d->in_frame) {
        if (len == 0)
            return 0;
        part->first = false;
        take_payload(d, data, len, part);
        *used = part->len;
        return 1;
    }
    return take_frame(d, data, len, used, part);
}

/* ---- what we send ---- */

size_t frame_put_head(unsigned char *out, enum frame_op op, bool deflated, uint64_t len)
{
    size_t wide = len < LEN_16 ? 0 : len <= UINT16_MAX ? 2 : 8;

    out[0] = (unsigned char)(BIT_FIN | (deflated ? BIT_RSV1 : 0) | op);
    out[1] = (unsigned char)(wide == 0 ? len : wide == 2 ? LEN_16 : LEN_64);
    for (size_t i = wide; i > 0; i--, len >>= 8)
        out[1 + i] = (unsigned char)len;
    return 2 + wide;
}

bool frame_close_code_ok(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
