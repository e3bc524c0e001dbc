/* value.h - what a key of a store can hold, in memory, in a file and in Redis. */
#ifndef MT_STORE_VALUE_H
#define MT_STORE_VALUE_H
#include "base/slice.h"
#include <stdint.h>

enum store_kind { STORE_NOTHING, STORE_BYTES, STORE_JSON, STORE_INTEGER };

struct store_value {
    enum store_kind kind; /* STORE_NOTHING: the key is not there */
    int64_t integer;      /* of STORE_INTEGER */
    struct slice data;    /* of STORE_BYTES and STORE_JSON; borrowed */
};

/* `ttl`: milliseconds that a value lives. */
#define STORE_TTL_NONE 0          /* for ever */
#define STORE_TTL_KEEP UINT64_MAX /* as long as the value that is replaced; for ever when there was none */

static inline bool store_value_equal(const struct store_value *a, const struct store_value *b)
{
    if (a->kind != b->kind || (a->kind == STORE_INTEGER && a->integer != b->integer))
        return false;
    return a->kind == STORE_NOTHING || a->kind == STORE_INTEGER || slice_is(a->data, b->data);
}
#endif
