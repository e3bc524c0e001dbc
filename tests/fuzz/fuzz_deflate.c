/* fuzz_deflate.c - any bytes inflated with exact limits, and any message compressed and inflated again.
 *
 * Input: one byte of options (below 128: inflate, above: compress with a window from its low bits), then the bytes. */
#include "base/err.h"
#include "fuzz.h"
#include "net/deflate.h"

enum { LIMIT = 20000 };

static void run_unpack(struct deflate *d, const uint8_t *data, size_t size)
{
    void *copy = fuzz_copy(data, size);
    struct buf out = {0}, again = {0};
    int got = deflate_unpack(d, copy, size, LIMIT, &out);

    FUZZ_CHECK(got == 0 || got == MT_ETOO_LARGE || got == MT_EMALFORMED);
    FUZZ_CHECK(out.len <= LIMIT && (got == 0 || out.len == 0));
    if (got == 0) {
        FUZZ_CHECK(deflate_unpack(d, copy, size, out.len, &again) == 0);
        FUZZ_CHECK(slice_is(buf_slice(&out), buf_slice(&again)));
        if (out.len > 0)
            FUZZ_CHECK(deflate_unpack(d, copy, size, out.len - 1, &again) == MT_ETOO_LARGE && again.len == out.len);
    }
    buf_fini(&out);
    buf_fini(&again);
    free(copy);
}

static void run_round_trip(struct deflate *d, int bits, const uint8_t *data, size_t size)
{
    void *copy = fuzz_copy(data, size);
    struct buf packed = {0}, out = {0};

    FUZZ_CHECK(deflate_pack(d, bits, copy, size, &packed) == 0 && packed.len > 0);
    FUZZ_CHECK(deflate_unpack(d, packed.data, packed.len, size, &out) == 0);
    FUZZ_CHECK(slice_is(buf_slice(&out), (struct slice){copy, size}));
    buf_fini(&packed);
    buf_fini(&out);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct deflate *d; /* one for all inputs, as a worker has one for all connections */
    uint8_t options = fuzz_byte(&data, &size);

    if (!d)
        FUZZ_CHECK((d = deflate_create(6)));
    if (options < 128)
        run_unpack(d, data, size);
    else
        run_round_trip(d, 9 + options % 7, data, size);
    return 0;
}
