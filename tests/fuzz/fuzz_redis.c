/* fuzz_redis.c - any URL of a Redis, and any bytes as its replies: what comes out of them is whole and sorted.
 *
 * Input: a byte that chooses the request, or a URL; then the URL, or what the server says. */
#include "base/err.h"
#include "fuzz.h"
#include "store/redis_op.h"
#include "store/redis_url.h"

#define KEY(text) ((struct slice){"\0" text, sizeof(text)})
#define PREFIX SLICE("moontide:")

static void check_url(const uint8_t *data, size_t size)
{
    struct redis_url u;
    const char *why = NULL;
    char *text = fuzz_copy(data, size);
    int rc = redis_url_parse((struct slice){text, size}, &u, &why);

    FUZZ_CHECK(rc == 0 || (rc == MT_EINVALID && why));
    if (rc == 0) {
        FUZZ_CHECK((u.host.len > 0) != (u.path.len > 0));
        FUZZ_CHECK(strlen((char *)u.shown.data) == u.shown.len || memchr(u.shown.data, '\0', u.shown.len + 1));
        FUZZ_CHECK(u.path.len > 0 || strlen((char *)u.host.data) == u.host.len);
    }
    redis_url_fini(&u);
    free(text);
}

/* Each key behind the one before, all of the store and the prefix that was asked for, and nothing over the end. */
static void check_rows(const struct store_request *r)
{
    const char *at = r->bytes.len ? (const char *)r->bytes.data : "", *end = at + r->bytes.len;
    struct slice last = r->after;
    struct store_row row;

    for (size_t i = 0; i < r->rows; i++) {
        FUZZ_CHECK((size_t)(end - at) >= sizeof(row));
        memcpy(&row, at, sizeof(row));
        at += sizeof(row);
        FUZZ_CHECK((size_t)(end - at) >= (size_t)row.key + row.data);
        FUZZ_CHECK(row.key >= r->key.len && memcmp(at, r->key.data, r->key.len) == 0);
        size_t shorter = row.key < last.len ? row.key : last.len;
        int order = shorter ? memcmp(last.data, at, shorter) : 0;
        FUZZ_CHECK(order < 0 || (order == 0 && last.len < row.key));
        last = (struct slice){at, row.key};
        at += row.key + row.data;
    }
    FUZZ_CHECK(at == end && r->rows <= r->limit);
    FUZZ_CHECK(!r->found || r->rows > 0);
}

static void check_answer(const struct store_request *r)
{
    const struct slice data = r->answer.data;

    FUZZ_CHECK(r->op == STORE_SCAN || r->rows == 0);
    if (r->op == STORE_SCAN)
        check_rows(r);
    else if (r->op == STORE_GET && data.len > 0)
        FUZZ_CHECK(data.data == (const char *)r->bytes.data && data.len <= r->bytes.len);
    else if (r->op == STORE_INCR)
        FUZZ_CHECK(r->answer.kind == STORE_INTEGER);
}

/* One command after the other, each with the reply that comes next, until the request has its answer. */
static void converse(struct redis_call *c, redisReader *reader)
{
    struct buf out = {0};
    void *reply = NULL;
    int rc = redis_op_send(PREFIX, c, &out);

    FUZZ_CHECK(rc == 0);
    for (rc = 1; rc == 1 && redisReaderGetReply(reader, &reply) == REDIS_OK && reply;) {
        rc = redis_op_reply(c, reply);
        freeReplyObject(reply);
        buf_clear(&out);
        FUZZ_CHECK(rc != 1 || (redis_op_send(PREFIX, c, &out) == 0 && out.len > 0));
    }
    FUZZ_CHECK(rc == 0 || rc == 1 || rc == MT_EMALFORMED);
    if (rc == 0 && c->request->code == 0)
        check_answer(c->request);
    buf_fini(&out);
}

/* Room for an array is taken when its length is read: what hiredis allows is not what is tried here. */
static bool announces_much(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 5 < size; i++)
        if (data[i] == '*' && data[i + 1] != '-' && !memchr(data + i + 1, '\r', 5))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned choice = fuzz_byte(&data, &size) % 16;
    struct store_request r = {.op = choice % 8, .key = KEY("k"), .limit = 1 + choice / 8};
    struct redis_call c = {.request = &r};

    if (choice % 8 > STORE_SCAN) {
        check_url(data, size);
        return 0;
    }
    if (announces_much(data, size))
        return 0;
    redisReader *reader = redisReaderCreate();
    FUZZ_CHECK(reader && redisReaderFeed(reader, (const char *)data, size) == REDIS_OK);
    converse(&c, reader);
    redisReaderFree(reader);
    redis_op_fini(&c);
    buf_fini(&r.bytes);
    return 0;
}
