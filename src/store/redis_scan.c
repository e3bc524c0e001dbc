/* redis_scan.c */
#include "store/redis_scan.h"

#include "base/err.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_MAX = 1000,      /* of a page */
    READ_KEYS = 32,       /* of one MGET: values have up to 1 MiB */
    PAGE_BYTES = 4 << 20, /* of values: a page ends when it has more */
};

struct redis_scan {
    char cursor[24];     /* of SCAN */
    bool reading;        /* all keys were seen: values are read */
    bool cut;            /* there are more keys than were kept */
    struct slice *keys;  /* owned, each with its bytes: as they are in Redis */
    size_t count, limit; /* of keys; how many of them are wanted. There is room for twice as many */
    size_t at;           /* the first whose value is not read yet */
    size_t asked;        /* how many the MGET under way is for */
    struct buf front;    /* with which they begin */
    size_t name;         /* bytes before the store's own key in each */
    struct buf from;     /* the one behind which the page begins; empty for all */
};

static void drop_keys(struct redis_scan *s)
{
    for (size_t i = 0; i < s->count; i++)
        mem_free((char *)s->keys[i].data);
    s->count = 0;
}

void redis_scan_destroy(struct redis_scan *s)
{
    if (!s)
        return;
    drop_keys(s);
    mem_free(s->keys);
    buf_fini(&s->front);
    buf_fini(&s->from);
    mem_free(s);
}

/* ---- which keys ---- */

static int compare(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* Sorted, each once (SCAN may give a key twice), and no more than are wanted. */
static void tidy(struct redis_scan *s)
{
    size_t kept = 0;

    qsort(s->keys, s->count, sizeof(*s->keys), compare);
    for (size_t i = 0; i < s->count; i++) {
        bool again = kept && slice_is(s->keys[kept - 1], s->keys[i]);
        if (!again && kept == s->limit)
            s->cut = true;
        if (again || kept == s->limit)
            mem_free((char *)s->keys[i].data);
        else
            s->keys[kept++] = s->keys[i];
    }
    s->count = kept;
}

static int keep_key(struct redis_scan *s, struct slice key)
{
    struct slice from = buf_slice(&s->from);

    if (key.len < s->front.len || memcmp(key.data, s->front.data, s->front.len) != 0)
        return 0; /* nothing that was asked for */
    if (key.len - s->name > STORE_KEY_MAX || (from.len && compare(&key, &from) <= 0))
        return 0;
    char *copy = mem_strdup(key.data, key.len);
    if (!copy)
        return MT_ENOMEM;
    s->keys[s->count++] = (struct slice){copy, key.len};
    if (s->count == 2 * s->limit)
        tidy(s);
    return 0;
}

static int begin(struct slice prefix, struct redis_call *c)
{
    const struct store_request *r = c->request;
    struct redis_scan *s = mem_zalloc(1, sizeof(*s));
    const char *zero = memchr(r->key.data, '\0', r->key.len);
    size_t own = r->key.len - (size_t)(zero - r->key.data) - 1;

    if (!s)
        return MT_ENOMEM;
    c->scan = s;
    strcpy(s->cursor, "0");
    s->limit = r->limit < ROWS_MAX ? r->limit : ROWS_MAX;
    s->keys = mem_zalloc(2 * s->limit, sizeof(*s->keys));
    int rc = s->keys ? redis_op_key(prefix, r->key, &s->front) : MT_ENOMEM;
    s->name = rc == 0 ? s->front.len - own : 0;
    if (rc == 0 && r->after.len)
        rc = redis_op_key(prefix, r->after, &s->from);
    return rc;
}

/* ---- commands ---- */

/* MATCH takes a glob pattern. */
static int add_pattern(struct slice front, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < front.len; i++) {
        if (memchr("*?[]\\^-", front.data[i], 7))
            rc = buf_add_byte(out, '\\');
        if (rc == 0)
            rc = buf_add_byte(out, (unsigned char)front.data[i]);
    }
    return rc == 0 ? buf_add_byte(out, '*') : rc;
}

static int send_scan(struct redis_scan *s, struct buf *out)
{
    struct buf pattern = {0};
    int rc = add_pattern(buf_slice(&s->front), &pattern);
    struct slice words[] = {SLICE("SCAN"),  slice_of(s->cursor), SLICE("MATCH"), buf_slice(&pattern),
                            SLICE("COUNT"), SLICE("1000"),       SLICE("TYPE"),  SLICE("string")};

    if (rc == 0)
        rc = redis_op_add(out, words, 8);
    buf_fini(&pattern);
    return rc;
}

static int send_read(struct redis_scan *s, struct buf *out)
{
    struct slice words[1 + READ_KEYS] = {SLICE("MGET")};

    s->asked = s->count - s->at < READ_KEYS ? s->count - s->at : READ_KEYS;
    memcpy(words + 1, s->keys + s->at, s->asked * sizeof(*words));
    return redis_op_add(out, words, 1 + s->asked);
}

int redis_scan_send(struct slice prefix, struct redis_call *c, struct buf *out)
{
    int rc = c->scan ? 0 : begin(prefix, c);

    if (rc != 0)
        return rc;
    return c->scan->reading ? send_read(c->scan, out) : send_scan(c->scan, out);
}

/* ---- replies ---- */

/* [cursor, [key, ...]]. 1: go on; 0: there is nothing. */
static int reply_scan(struct redis_scan *s, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY || reply->element[0]->len >= (int)sizeof(s->cursor))
        return MT_EMALFORMED;
    const redisReply *keys = reply->element[1];
    strcpy(s->cursor, reply->element[0]->str);
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *key = keys->element[i];
        if (key->type != REDIS_REPLY_STRING)
            return MT_EMALFORMED;
        int rc = keep_key(s, (struct slice){key->str, (size_t)key->len});
        if (rc != 0)
            return rc;
    }
    if (strcmp(s->cursor, "0") != 0)
        return 1;
    tidy(s);
    s->reading = true;
    return s->count > 0;
}

static int add_row(struct store_request *r, struct slice key, struct slice text)
{
    struct store_value v;

    redis_op_decode(text, &v);
    if (v.kind == STORE_INTEGER)
        v.data.len = 0;
    struct store_row row = {(uint32_t)key.len, (uint32_t)v.data.len, v.integer, v.kind};
    int rc = buf_add(&r->bytes, &row, sizeof(row));
    if (rc == 0)
        rc = buf_add(&r->bytes, key.data, key.len);
    if (rc == 0 && v.data.len)
        rc = buf_add(&r->bytes, v.data.data, v.data.len);
    r->rows += rc == 0;
    return rc;
}

/* The key as the sender knows it: the store's name and a zero byte in front. */
static int add_named_row(struct store_request *r, struct slice own, struct slice text)
{
    const char *zero = memchr(r->key.data, '\0', r->key.len);
    size_t name = (size_t)(zero - r->key.data) + 1;
    char key[STORE_KEY_MAX];

    if (name + own.len > sizeof(key))
        return 0; /* longer than any of ours: another program's */
    memcpy(key, r->key.data, name);
    memcpy(key + name, own.data, own.len);
    return add_row(r, (struct slice){key, name + own.len}, text);
}

/* All keys of the page were gone before they were read, and there are more behind them: a page without rows would be the end. */
static int begin_again(struct redis_scan *s)
{
    struct slice last = s->keys[s->count - 1];

    buf_clear(&s->from);
    int rc = buf_add(&s->from, last.data, last.len);
    drop_keys(s);
    strcpy(s->cursor, "0");
    s->at = 0;
    s->reading = s->cut = false;
    return rc == 0 ? 1 : rc;
}

/* A value for each key, nil for those that are gone, or are no strings. */
static int reply_read(struct redis_call *c, const redisReply *reply)
{
    struct redis_scan *s = c->scan;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != s->asked)
        return MT_EMALFORMED;
    for (size_t i = 0; i < s->asked; i++, s->at++) {
        const redisReply *value = reply->element[i];
        struct slice own = {s->keys[s->at].data + s->name, s->keys[s->at].len - s->name};
        if (value->type != REDIS_REPLY_STRING)
            continue;
        int rc = add_named_row(c->request, own, (struct slice){value->str, (size_t)value->len});
        if (rc != 0)
            return rc;
    }
    if (s->at < s->count && c->request->bytes.len < PAGE_BYTES)
        return 1;
    if (s->cut && c->request->rows == 0)
        return begin_again(s);
    c->request->found = s->at < s->count || s->cut;
    return 0;
}

int redis_scan_reply(struct redis_call *c, const redisReply *reply)
{
    return c->scan->reading ? reply_read(c, reply) : reply_scan(c->scan, reply);
}
