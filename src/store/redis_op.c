/* redis_op.c */
#include "store/redis_op.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/redis_scan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What incr does with a time to live, which counts only where the key is new. INCRBY's result would be a double in there. */
#define INCR_SCRIPT                                                                                                              \
    "local new = redis.call('EXISTS', KEYS[1]) == 0 "                                                                            \
    "redis.call('INCRBY', KEYS[1], ARGV[1]) "                                                                                    \
    "if new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end "                                                                   \
    "return redis.call('GET', KEYS[1])"

/* ARGV: "0" the key is not expected, "1" it is, "2" it is and may have a byte 1 in front that it does not need; as what; "del"
 * "keep" "none" or milliseconds; the value. */
#define REPLACE_SCRIPT                                                                                                           \
    "local is = redis.call('GET', KEYS[1]) "                                                                                     \
    "if ARGV[1] == '0' then if is then return 0 end elseif is ~= ARGV[2] and not (ARGV[1] == '2' and is == '\\1' .. ARGV[2]) "   \
    "then return 0 end "                                                                                                         \
    "if ARGV[3] == 'del' then redis.call('DEL', KEYS[1]) "                                                                       \
    "elseif ARGV[3] == 'none' then redis.call('SET', KEYS[1], ARGV[4]) "                                                         \
    "elseif ARGV[3] == 'keep' then redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL') "                                              \
    "else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) end return 1"

enum { TAG_BYTES = 1, TAG_JSON = 2 };

/* ---- commands ---- */

int redis_op_add(struct buf *out, const struct slice *words, size_t count)
{
    size_t before = out->len;
    int rc = buf_addf(out, "*%zu\r\n", count);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_addf(out, "$%zu\r\n", words[i].len);
        if (rc == 0 && words[i].len)
            rc = buf_add(out, words[i].data, words[i].len);
        if (rc == 0)
            rc = buf_add(out, "\r\n", 2);
    }
    if (rc != 0)
        out->len = before;
    return rc;
}

/* ---- values ---- */

/* The number that `text` is, if it is written as we write it. */
static bool is_integer(struct slice text, int64_t *out)
{
    char copy[24], again[24], *end;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    long long n = strtoll(copy, &end, 10);
    snprintf(again, sizeof(again), "%lld", n);
    *out = n;
    return strlen(again) == text.len && memcmp(copy, again, text.len) == 0; /* "12\0" is none */
}

/* The value as it is in Redis: borrowed, or built in `scratch`. */
static int encode(const struct store_value *v, struct buf *scratch, struct slice *out)
{
    int64_t ignored;
    int rc;

    scratch->len = 0;
    *out = v->data;
    if (v->kind == STORE_NOTHING)
        return 0;
    if (v->kind == STORE_INTEGER) {
        rc = buf_addf(scratch, "%lld", (long long)v->integer);
    } else {
        bool plain = v->kind == STORE_BYTES && !is_integer(v->data, &ignored) &&
                     (v->data.len == 0 || (v->data.data[0] != TAG_BYTES && v->data.data[0] != TAG_JSON));
        if (plain)
            return 0;
        rc = buf_add_byte(scratch, v->kind == STORE_BYTES ? TAG_BYTES : TAG_JSON);
        if (rc == 0 && v->data.len)
            rc = buf_add(scratch, v->data.data, v->data.len);
    }
    *out = buf_slice(scratch);
    return rc;
}

void redis_op_decode(struct slice text, struct store_value *out)
{
    *out = (struct store_value){STORE_BYTES, 0, text};
    if (is_integer(text, &out->integer)) {
        out->kind = STORE_INTEGER;
    } else if (text.len && (text.data[0] == TAG_BYTES || text.data[0] == TAG_JSON)) {
        out->kind = text.data[0] == TAG_JSON ? STORE_JSON : STORE_BYTES;
        out->data.data++;
        out->data.len--;
    }
}

/* ---- keys ---- */

int redis_op_key(struct slice prefix, struct slice key, struct buf *out)
{
    struct slice name, own;
    int rc = buf_add(out, prefix.data, prefix.len);

    store_split_key(key, &name, &own);
    for (size_t i = 0; rc == 0 && i < name.len; i++) {
        char c = name.data[i];
        rc = c == ':' || c == '%' ? buf_addf(out, "%%%02X", c) : buf_add_byte(out, (unsigned char)c);
    }
    if (rc == 0)
        rc = buf_add_byte(out, ':');
    return rc == 0 && own.len ? buf_add(out, own.data, own.len) : rc;
}

/* ---- requests ---- */

struct parts {
    struct buf key, value, expected; /* encoded */
    char number[24], ttl[24];        /* as texts */
};

static struct slice ttl_word(const struct store_request *r, struct parts *p)
{
    snprintf(p->ttl, sizeof(p->ttl), "%llu", (unsigned long long)r->ttl);
    return slice_of(p->ttl);
}

static int send_set(const struct store_request *r, struct parts *p, struct slice key, struct buf *out)
{
    struct slice value;
    int rc = encode(&r->value, &p->value, &value);

    if (rc != 0)
        return rc;
    if (r->ttl == STORE_TTL_NONE)
        return redis_op_add(out, (struct slice[]){SLICE("SET"), key, value}, 3);
    if (r->ttl == STORE_TTL_KEEP)
        return redis_op_add(out, (struct slice[]){SLICE("SET"), key, value, SLICE("KEEPTTL")}, 4);
    return redis_op_add(out, (struct slice[]){SLICE("SET"), key, value, SLICE("PX"), ttl_word(r, p)}, 5);
}

static int send_incr(const struct store_request *r, struct parts *p, struct slice key, struct buf *out)
{
    snprintf(p->number, sizeof(p->number), "%lld", (long long)r->value.integer);
    struct slice number = slice_of(p->number);
    if (r->ttl == STORE_TTL_NONE || r->ttl == STORE_TTL_KEEP)
        return redis_op_add(out, (struct slice[]){SLICE("INCRBY"), key, number}, 3);
    return redis_op_add(out, (struct slice[]){SLICE("EVAL"), SLICE(INCR_SCRIPT), SLICE("1"), key, number, ttl_word(r, p)}, 6);
}

static int send_replace(const struct store_request *r, struct parts *p, struct slice key, struct buf *out)
{
    struct slice value, expected, how = SLICE("keep");
    int rc = encode(&r->value, &p->value, &value);

    if (rc == 0)
        rc = encode(&r->expected, &p->expected, &expected);
    if (rc != 0)
        return rc;
    if (r->value.kind == STORE_NOTHING)
        how = SLICE("del");
    else if (r->ttl == STORE_TTL_NONE)
        how = SLICE("none");
    else if (r->ttl != STORE_TTL_KEEP)
        how = ttl_word(r, p);
    struct slice expects = r->expected.kind == STORE_NOTHING ? SLICE("0") : SLICE("1");
    if (r->expected.kind == STORE_BYTES && expected.data == r->expected.data.data)
        expects = SLICE("2"); /* it was borrowed: it needs no byte 1 */
    return redis_op_add(
        out, (struct slice[]){SLICE("EVAL"), SLICE(REPLACE_SCRIPT), SLICE("1"), key, expects, expected, how, value}, 8);
}

static int send_for_key(struct slice prefix, const struct store_request *r, struct parts *p, struct buf *out)
{
    int rc = redis_op_key(prefix, r->key, &p->key);
    struct slice key = buf_slice(&p->key);

    if (rc != 0)
        return rc;
    switch (r->op) {
    case STORE_GET:
        return redis_op_add(out, (struct slice[]){SLICE("GET"), key}, 2);
    case STORE_DELETE:
        return redis_op_add(out, (struct slice[]){SLICE("DEL"), key}, 2);
    case STORE_SET:
        return send_set(r, p, key, out);
    case STORE_INCR:
        return send_incr(r, p, key, out);
    default:
        return send_replace(r, p, key, out);
    }
}

int redis_op_send(struct slice prefix, struct redis_call *c, struct buf *out)
{
    struct parts p = {0};
    int rc;

    if (c->request->op == STORE_SCAN)
        return redis_scan_send(prefix, c, out);
    rc = send_for_key(prefix, c->request, &p, out);
    buf_fini(&p.key);
    buf_fini(&p.value);
    buf_fini(&p.expected);
    return rc;
}

/* ---- replies ---- */

/* Before Redis 7, what a command inside of a script failed with stands behind words about the script: "ERR Error running script
 * (call to f_...): @user_script:1: @user_script: 1: -OOM command not allowed". */
static struct slice cause_of(struct slice text)
{
    static const struct slice front = SLICE("ERR Error running script"), mark = SLICE(": -");
    const char *at = NULL;

    if (text.len > front.len && memcmp(text.data, front.data, front.len) == 0)
        at = memmem(text.data, text.len, mark.data, mark.len);
    return at ? (struct slice){at + mark.len, text.len - (size_t)(at + mark.len - text.data)} : text;
}

int redis_op_error(struct slice text)
{
    static const struct {
        struct slice word;
        int code;
    } known[] = {
        {SLICE("NOAUTH"), MT_EDENIED},   {SLICE("WRONGPASS"), MT_EDENIED},   {SLICE("NOPERM"), MT_EDENIED},
        {SLICE("READONLY"), MT_EDENIED}, {SLICE("OOM"), MT_EFULL},           {SLICE("MISCONF"), MT_EIO},
        {SLICE("LOADING"), MT_EREFUSED}, {SLICE("MASTERDOWN"), MT_EREFUSED}, {SLICE("CLUSTERDOWN"), MT_EREFUSED},
        {SLICE("BUSY"), MT_EBUSY},       {SLICE("TRYAGAIN"), MT_EBUSY},      {SLICE("NOREPLICAS"), MT_EREFUSED},
        {SLICE("DENIED"), MT_EDENIED},
    };

    text = cause_of(text);
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (text.len > known[i].word.len && memcmp(text.data, known[i].word.data, known[i].word.len) == 0)
            return known[i].code;
    return MT_EINVALID;
}

/* Bytes that came back are copied into the request, where they are for whoever gets it. */
static int take_value(struct store_request *r, struct slice text)
{
    struct store_value v;

    redis_op_decode(text, &v);
    r->bytes.len = 0;
    int rc = v.data.len ? buf_add(&r->bytes, v.data.data, v.data.len) : 0;
    r->answer = (struct store_value){v.kind, v.integer, buf_slice(&r->bytes)};
    return rc;
}

static struct slice text_of(const redisReply *reply)
{
    return (struct slice){reply->str, (size_t)reply->len};
}

static int reply_get(struct store_request *r, const redisReply *reply)
{
    r->answer.kind = STORE_NOTHING;
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    return reply->type == REDIS_REPLY_STRING ? take_value(r, text_of(reply)) : MT_EMALFORMED;
}

static int reply_incr(struct store_request *r, const redisReply *reply)
{
    int64_t n = reply->integer;

    if (reply->type == REDIS_REPLY_STRING ? !is_integer(text_of(reply), &n) : reply->type != REDIS_REPLY_INTEGER)
        return MT_EMALFORMED;
    r->answer = (struct store_value){STORE_INTEGER, n, {NULL, 0}};
    return 0;
}

static int reply_for_key(struct store_request *r, const redisReply *reply)
{
    switch (r->op) {
    case STORE_GET:
        return reply_get(r, reply);
    case STORE_SET:
        return reply->type == REDIS_REPLY_STATUS ? 0 : MT_EMALFORMED;
    case STORE_INCR:
        return reply_incr(r, reply);
    case STORE_DELETE:
        r->found = reply->integer > 0;
        return reply->type == REDIS_REPLY_INTEGER ? 0 : MT_EMALFORMED;
    default:
        r->code = reply->integer == 1 ? 0 : MT_EBUSY;
        return reply->type == REDIS_REPLY_INTEGER ? 0 : MT_EMALFORMED;
    }
}

int redis_op_reply(struct redis_call *c, const redisReply *reply)
{
    struct store_request *r = c->request;

    r->code = 0;
    if (reply->type == REDIS_REPLY_ERROR) {
        r->code = redis_op_error(text_of(reply));
        snprintf(r->why, sizeof(r->why), "Redis: %.*s", (int)reply->len, reply->str);
        return 0;
    }
    int rc = r->op == STORE_SCAN ? redis_scan_reply(c, reply) : reply_for_key(r, reply);
    if (rc >= 0 || rc == MT_EMALFORMED)
        return rc;
    r->code = rc;
    return 0;
}

void redis_op_fini(struct redis_call *c)
{
    redis_scan_destroy(c->scan);
    c->scan = NULL;
}
