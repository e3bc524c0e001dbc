/* store.h - the keys and values behind tide.store that outlive the server: one interface over a file (SQLite) and Redis.
 *
 * A store is one per server. Any thread sends it requests; each request comes back as a letter to the inbox that it names, once,
 * with its answer inside. What one thread writes to the same key is written in the order in which it was sent, and a get sees
 * what the same thread sent before it. A write that came back with 0 is durable: it survives the end of the process, however that
 * comes (Redis: as far as the server is told to). It knows no Lua.
 *
 * Keys are bytes: a store's name, a zero byte and the key; the store of tide.store itself has the empty name.
 */
#ifndef MT_STORE_STORE_H
#define MT_STORE_STORE_H
#include "base/buf.h"
#include "base/log.h"
#include "base/slice.h"
#include "loop/inbox.h"
#include "store/value.h"
#include <stdatomic.h>

struct store;

/* What the letter says. `key` and what `value` and `expected` point to are the sender's, and stay until it is back. */
enum store_op {
    STORE_GET,     /* -> answer */
    STORE_SET,     /* key = value */
    STORE_DELETE,  /* -> found: whether it was there */
    STORE_INCR,    /* key = its integer (0 where there is none) + value.integer -> answer; ttl counts only for a new key.
                      MT_EINVALID: no integer, or the sum would not be one */
    STORE_REPLACE, /* key = value, or away with it where value.kind is STORE_NOTHING; but only if it is `expected` now, else
                      MT_EBUSY */
    STORE_SCAN,    /* -> rows: the first keys after `after` that begin with `key`, sorted by their bytes; at most `limit`, and
                      fewer where they are large. found: there may be more behind them */
};

struct store_request {
    struct letter letter; /* first; `open` is the sender's: the way back */
    struct inbox *inbox;  /* where it comes back */
    enum store_op op;
    struct slice key;            /* of STORE_SCAN: the prefix */
    struct slice after;          /* of STORE_SCAN: where the page before ended; empty for the first */
    size_t limit;                /* of STORE_SCAN: rows at most, from 1 */
    struct store_value value;    /* what is written */
    struct store_value expected; /* of STORE_REPLACE */
    uint64_t ttl;                /* of the writes, see value.h */
    struct store_request *next;  /* the store's own, until it is back */
    int64_t ends;                /* the same */
    /* What comes back: */
    int code; /* 0, MT_E* */
    bool found;
    struct store_value answer; /* its bytes are in `bytes` */
    struct buf bytes;          /* owned by the request. Rows: each a struct store_row, key, value */
    size_t rows;
    char why[200]; /* more than the code says, for people: "database or disk is full"; empty for none */
};

/* One row of a scan in request->bytes; the key and the value's bytes are behind it. Rows are not aligned: copy it out. */
struct store_row {
    uint32_t key, data; /* bytes */
    int64_t integer;
    enum store_kind kind;
};

enum { STORE_KEY_MAX = 64 + 1 + 1024, STORE_VALUE_MAX = 1 << 20 }; /* bytes */

/* Send it. Any thread. 0; or MT_EBUSY (too much is under way), MT_ECLOSED (the store has ended): then it is the caller's still.
 */
int store_send(struct store *s, struct store_request *r);
/* What a get would answer, where that is known without waiting: true with the value in *out, its bytes appended to *copy. False:
 * ask by store_send. Any thread. */
bool store_peek(struct store *s, struct slice key, struct store_value *out, struct buf *copy);
size_t store_pending(const struct store *s); /* requests that are not back yet. Any thread */
/* Carries out what was sent, waits for its threads and frees it; what comes back is in the inboxes then. NULL is allowed. All
 * inboxes must still be there. */
void store_destroy(struct store *s);

/* ---- the two that there are ---- */
struct store_file_config {
    const char *path; /* of the SQLite file, made when it is not there */
    size_t cache;     /* bytes of the cache */
    struct log *log;
    int64_t (*now)(void); /* wall clock in milliseconds, for tests; NULL: the machine's */
};
/* 0; or MT_EIO, MT_EFULL, MT_EBUSY (another process has it), MT_EMALFORMED (damaged, or something else), MT_ENOMEM with a
 * sentence in *error. */
int store_open_file(const struct store_file_config *c, struct store **out, char **error);

/* Whether that would go well, but for a server that has the file now. Changes nothing, makes nothing. Same results. */
int store_check_file(const char *path, char **error);

struct store_redis_config {
    const char *url; /* redis://[[user]:password@]host[:port][/database], unix:///path[?db=N] */
    struct log *log;
};
/* Does not wait for the server: requests fail with MT_EREFUSED and the like while it is away. 0, MT_EINVALID (the URL) with a
 * sentence in *error, MT_ENOMEM. */
int store_open_redis(const struct store_redis_config *c, struct store **out, char **error);

/* ---- for the files behind it ---- */
/* Puts a sentence into *error (NULL when memory runs out) and returns `code`. */
/* The store's name and its own key in a full key. */
void store_split_key(struct slice full, struct slice *name, struct slice *key);
void store_answer(struct store *s, struct store_request *r); /* back with it */
int store_refuse(int code, char **error, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct store_ops {
    int (*send)(struct store *s, struct store_request *r);
    bool (*peek)(struct store *s, struct slice key, struct store_value *out, struct buf *copy); /* NULL: never */
    void (*destroy)(struct store *s);
};
struct store {
    const struct store_ops *ops; /* first member of what the files make */
    atomic_size_t pending;       /* requests that were sent and are not back */
};
#endif
