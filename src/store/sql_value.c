/* sql_value.c - a byte for the type, then the value or the length and the bytes. Nothing is aligned. */
#include "store/sql_value.h"

#include "base/err.h"
#include <assert.h>

static struct slice fixed_part(const struct sql_value *v, uint32_t *len)
{
    *len = (uint32_t)v->bytes.len;
    switch (v->type) {
    case SQL_NULL:
        return (struct slice){NULL, 0};
    case SQL_INTEGER:
        return (struct slice){(const char *)&v->integer, sizeof(v->integer)};
    case SQL_REAL:
        return (struct slice){(const char *)&v->real, sizeof(v->real)};
    default:
        return (struct slice){(const char *)len, sizeof(*len)};
    }
}

int sql_value_put(struct buf *b, const struct sql_value *v)
{
    uint32_t len;
    struct slice fixed = fixed_part(v, &len);
    bool has_bytes = v->type == SQL_TEXT || v->type == SQL_BLOB;

    assert(!has_bytes || v->bytes.len <= UINT32_MAX);
    if (buf_reserve(b, 1 + fixed.len + (has_bytes ? v->bytes.len : 0)) != 0)
        return MT_ENOMEM;
    buf_add_byte(b, (unsigned char)v->type);
    if (fixed.len > 0)
        buf_add(b, fixed.data, fixed.len);
    if (has_bytes && v->bytes.len > 0)
        buf_add(b, v->bytes.data, v->bytes.len);
    return 0;
}

static void cut(struct slice *rest, void *out, size_t size)
{
    assert(rest->len >= size);
    memcpy(out, rest->data, size);
    rest->data += size;
    rest->len -= size;
}

void sql_value_take(struct slice *rest, struct sql_value *out)
{
    unsigned char type;
    uint32_t len = 0;

    cut(rest, &type, 1);
    *out = (struct sql_value){.type = type, .bytes = {"", 0}};
    if (type == SQL_INTEGER)
        cut(rest, &out->integer, sizeof(out->integer));
    else if (type == SQL_REAL)
        cut(rest, &out->real, sizeof(out->real));
    else if (type != SQL_NULL)
        cut(rest, &len, sizeof(len));
    if (type == SQL_TEXT || type == SQL_BLOB) {
        assert(rest->len >= len);
        out->bytes = (struct slice){rest->data, len};
        rest->data += len;
        rest->len -= len;
    }
}
