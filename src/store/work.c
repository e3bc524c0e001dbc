/* work.c - get, set, delete, incr, replace, scan. */
#include "store/work.h"

#include "base/err.h"

enum { PAGE_BYTES = 256 << 10 }; /* of a scan: a page ends with the row that crosses it */

/* When a value expires that is written now, in place of `old`. */
static int64_t ends_of(const struct store_request *r, const struct row *old, int64_t now)
{
    if (r->ttl == STORE_TTL_KEEP)
        return old->ends;
    if (r->ttl == STORE_TTL_NONE || r->ttl > (uint64_t)(INT64_MAX - now))
        return 0;
    return now + (int64_t)r->ttl;
}

static int do_get(struct rows *rows, struct store_request *r, int64_t now)
{
    struct row row;
    int err = rows_get(rows, r->key, now, &row);

    if (err != 0)
        return err;
    r->answer = row.value;
    r->ends = row.ends;
    if (row.value.data.len == 0)
        return 0;
    err = buf_add(&r->bytes, row.value.data.data, row.value.data.len);
    r->answer.data = buf_slice(&r->bytes);
    return err;
}

static int do_set(struct rows *rows, struct store_request *r, int64_t now)
{
    struct row old = {.ends = 0};
    int err = r->ttl == STORE_TTL_KEEP ? rows_get(rows, r->key, now, &old) : 0;

    r->ends = ends_of(r, &old, now);
    return err != 0 ? err : rows_put(rows, r->key, &r->value, r->ends);
}

static int do_delete(struct rows *rows, struct store_request *r, int64_t now)
{
    struct row old;
    int err = rows_get(rows, r->key, now, &old);

    r->found = err == 0 && old.value.kind != STORE_NOTHING;
    return r->found ? rows_remove(rows, r->key) : err;
}

static int do_incr(struct rows *rows, struct store_request *r, int64_t now)
{
    struct row old;
    int64_t base = 0;
    int err = rows_get(rows, r->key, now, &old);

    if (err != 0)
        return err;
    if (old.value.kind == STORE_NOTHING)
        r->ends = ends_of(r, &old, now);
    else
        r->ends = old.ends;
    if (old.value.kind == STORE_INTEGER)
        base = old.value.integer;
    else if (old.value.kind != STORE_NOTHING)
        r->code = MT_EINVALID;
    r->answer = (struct store_value){STORE_INTEGER, 0, {NULL, 0}};
    if (r->code == 0 && __builtin_add_overflow(base, r->value.integer, &r->answer.integer))
        r->code = MT_EINVALID;
    return r->code == 0 ? rows_put(rows, r->key, &r->answer, r->ends) : 0;
}

static int do_replace(struct rows *rows, struct store_request *r, int64_t now)
{
    struct row old;
    int err = rows_get(rows, r->key, now, &old);

    if (err != 0)
        return err;
    if (!store_value_equal(&old.value, &r->expected)) {
        r->code = MT_EBUSY;
        return 0;
    }
    if (r->value.kind == STORE_NOTHING)
        return old.value.kind == STORE_NOTHING ? 0 : rows_remove(rows, r->key);
    r->ends = ends_of(r, &old, now);
    return rows_put(rows, r->key, &r->value, r->ends);
}

/* ---- scan ---- */

enum { PAGE_IS_FULL = 1 };

static int add_row(void *arg, struct slice key, const struct store_value *value)
{
    struct store_request *r = arg;
    struct store_row row = {.key = (uint32_t)key.len, .data = (uint32_t)value->data.len, .integer = value->integer};

    if (r->rows == r->limit || r->bytes.len >= PAGE_BYTES) {
        r->found = true;
        return PAGE_IS_FULL;
    }
    row.kind = value->kind;
    int err = buf_add(&r->bytes, &row, sizeof(row));
    if (err == 0)
        err = buf_add(&r->bytes, key.data, key.len);
    if (err == 0 && value->data.len)
        err = buf_add(&r->bytes, value->data.data, value->data.len);
    r->rows++;
    return err;
}

static int do_scan(struct rows *rows, struct store_request *r, int64_t now)
{
    int err = rows_scan(rows, r->key, r->after, now, add_row, r);

    return err == PAGE_IS_FULL ? 0 : err;
}

/* ---- all ---- */

int store_work(struct rows *rows, struct store_request *r, int64_t now)
{
    static int (*const work[])(struct rows *, struct store_request *, int64_t) = {
        [STORE_GET] = do_get,   [STORE_SET] = do_set,         [STORE_DELETE] = do_delete,
        [STORE_INCR] = do_incr, [STORE_REPLACE] = do_replace, [STORE_SCAN] = do_scan,
    };

    r->code = 0;
    r->found = false;
    r->answer = (struct store_value){STORE_NOTHING, 0, {NULL, 0}};
    r->ends = 0;
    r->rows = 0;
    buf_clear(&r->bytes);
    return work[r->op](rows, r, now);
}

const struct store_value *store_work_written(const struct store_request *r)
{
    static const struct store_value nothing = {STORE_NOTHING, 0, {NULL, 0}};

    if (r->code != 0 || r->op == STORE_GET || r->op == STORE_SCAN)
        return NULL;
    return r->op == STORE_INCR ? &r->answer : r->op == STORE_DELETE ? &nothing : &r->value;
}
