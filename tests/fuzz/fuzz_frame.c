/* fuzz_frame.c - any bytes through the frame decoder, cut anywhere, against a slow decoder that is written from the RFC's text.
 *
 * Input: one byte of options (bit 0: deflate was negotiated), one byte that chooses the cuts, then what the client sends. */
#include "base/buf.h"
#include "fuzz.h"
#include "net/frame.h"

enum { SIZE_MAX_TRIED = 100000 };

/* What was heard, in a form that does not depend on cuts: '[' op and flag at the start of a message, its bytes, ']' at its end;
 * controls in round brackets; '!' for a violation. Lengths go in front of bytes where the bytes could be mistaken. */
static void hear_start(struct buf *out, unsigned op, bool deflated)
{
    FUZZ_CHECK(buf_addf(out, "[%u%c", op, deflated ? 'z' : ' ') == 0);
}

static void hear_control(struct buf *out, unsigned op, const unsigned char *data, size_t len)
{
    FUZZ_CHECK(buf_addf(out, "(%u:%zu:", op, len) == 0 && buf_add(out, data, len) == 0 && buf_add_text(out, ")") == 0);
}

static void hear_part(struct buf *out, const struct frame_part *p)
{
    if (p->op >= FRAME_CLOSE) {
        FUZZ_CHECK(p->first && p->last && !p->deflated && p->left == 0);
        hear_control(out, p->op, p->data, p->len);
        return;
    }
    FUZZ_CHECK(p->op == FRAME_TEXT || p->op == FRAME_BINARY);
    FUZZ_CHECK(!(p->last && p->left > 0));
    if (p->first)
        hear_start(out, p->op, p->deflated);
    FUZZ_CHECK(buf_add(out, p->data, p->len) == 0);
    if (p->last)
        FUZZ_CHECK(buf_add_text(out, "]") == 0);
}

/* Our decoder, as a session drives it: `kept` holds what was not taken. */
static void decode(const uint8_t *data, size_t size, bool rsv1, uint32_t seed, struct buf *out)
{
    struct frame_decoder d = {.allow_rsv1 = rsv1};
    struct buf kept = {0};
    int got = 0;

    while (size > 0 && got >= 0) {
        size_t n = fuzz_piece(&seed, size), at = 0, used;
        FUZZ_CHECK(buf_add(&kept, data, n) == 0);
        unsigned char *bytes = fuzz_copy(kept.data, kept.len);
        struct frame_part part;
        while ((got = frame_next(&d, bytes + at, kept.len - at, &used, &part)) == 1) {
            FUZZ_CHECK(used > 0 && used <= kept.len - at && part.data + part.len == bytes + at + used);
            hear_part(out, &part);
            at += used;
        }
        FUZZ_CHECK(got == -1002 || (got == 0 && used == 0 && kept.len - at < 131));
        buf_drop(&kept, at);
        free(bytes);
        data += n;
        size -= n;
    }
    if (got < 0)
        FUZZ_CHECK(buf_add_text(out, "!") == 0);
    buf_fini(&kept);
}

/* RFC 6455 5.2, slowly. True when the first `have` bytes of a header prove a violation; *head and *len are set when it is whole.
 */
static bool violates(const uint8_t *p, size_t have, bool in_message, bool rsv1, size_t *head, uint64_t *len)
{
    *head = 0;
    if (have < 1)
        return false;
    unsigned op = p[0] & 15, fin = p[0] >> 7, rsv = p[0] >> 4 & 7;
    bool control = op >= 8, start = op == 1 || op == 2;
    if ((op > 2 && op < 8) || op > 10 || (control && !fin) || (op == 0 && !in_message) || (start && in_message))
        return true;
    if (rsv != 0 && !(rsv == 4 && start && rsv1))
        return true;
    if (have < 2)
        return false;
    *len = p[1] & 127;
    if (!(p[1] >> 7) || (control && *len > 125))
        return true;
    size_t wide = *len == 126 ? 2 : *len == 127 ? 8 : 0;
    size_t there = have - 2 < wide ? have - 2 : wide;
    if (wide)
        *len = 0;
    for (size_t i = 0; i < there; i++)
        *len = *len << 8 | p[2 + i];
    if (wide == 8 && there >= 1 && p[2] >> 7)
        return true;
    if (wide == 8 && there >= 6 && *len >> (8 * (there - 6)) == 0)
        return true;
    if (wide == 2 && there == 2 && *len < 126)
        return true;
    if (have >= 2 + wide + 4)
        *head = 2 + wide + 4;
    return false;
}

static void decode_slowly(const uint8_t *data, size_t size, bool rsv1, struct buf *out)
{
    bool in_message = false;

    while (size > 0) {
        uint64_t len;
        size_t head;
        if (violates(data, size, in_message, rsv1, &head, &len)) {
            FUZZ_CHECK(buf_add_text(out, "!") == 0);
            return;
        }
        if (head == 0)
            return;
        unsigned op = data[0] & 15;
        bool fin = data[0] >> 7, whole = size - head >= len;
        size_t n = whole ? (size_t)len : size - head;
        static unsigned char payload[SIZE_MAX_TRIED];
        for (size_t i = 0; i < n; i++)
            payload[i] = data[head + i] ^ data[head - 4 + i % 4];
        if (op >= 8) {
            if (!whole)
                return;
            hear_control(out, op, payload, n);
        } else if (n > 0 || len == 0) {
            if (op != 0)
                hear_start(out, op, data[0] >> 6 & 1);
            FUZZ_CHECK(buf_add(out, payload, n) == 0);
            if (fin && whole)
                FUZZ_CHECK(buf_add_text(out, "]") == 0);
        }
        in_message = op >= 8 ? in_message : !fin;
        if (!whole)
            return;
        data += head + n;
        size -= head + n;
    }
}

static void check_same(const struct buf *a, const struct buf *b)
{
    FUZZ_CHECK(slice_is(buf_slice(a), buf_slice(b)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool rsv1 = fuzz_byte(&data, &size) & 1;
    uint32_t seed = fuzz_byte(&data, &size);
    struct buf slow = {0}, whole = {0}, cut = {0};

    if (size > SIZE_MAX_TRIED)
        return 0;
    decode_slowly(data, size, rsv1, &slow);
    decode(data, size, rsv1, 0, &whole);
    decode(data, size, rsv1, seed * 2 + 1, &cut);
    check_same(&slow, &whole);
    check_same(&slow, &cut);
    buf_fini(&slow);
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
