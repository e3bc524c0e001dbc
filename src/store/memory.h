/* memory.h - a key-value store in memory: what tide.store:open(name, { memory = true }) keeps.
 *
 * Values are bytes, JSON text or integers, copied in and out, so nobody holds a pointer into the store. It knows no Lua.
 * Thread-safe: keys are spread over stripes with a mutex each. Bounded: all keys and values together stay below the limit given
 * at creation; expired ones are dropped when they are met and a few at every write.
 */
#ifndef MT_STORE_MEMORY_H
#define MT_STORE_MEMORY_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct memory_store;

enum memory_kind { MEMORY_BYTES, MEMORY_JSON, MEMORY_INTEGER };

struct memory_value {
    enum memory_kind kind;
    int64_t integer;   /* of MEMORY_INTEGER */
    struct slice data; /* of the others; borrowed */
    uint64_t version;  /* set by memory_store_get: changes with every write of the key */
};

/* `ttl`: milliseconds that a value lives. */
#define MEMORY_TTL_NONE 0          /* for ever */
#define MEMORY_TTL_KEEP UINT64_MAX /* as long as the value that is replaced; for ever when there was none */

/* `limit` is in bytes; `now` gives milliseconds that only go forward (clock_ms). NULL when memory runs out. */
struct memory_store *memory_store_create(size_t limit, uint64_t (*now)(void));
void memory_store_destroy(struct memory_store *m); /* NULL is allowed */
/* Copies the bytes of the value to the end of `copy`, where out->data then points. 0, MT_ENOT_FOUND, MT_ENOMEM. */
int memory_store_get(struct memory_store *m, struct slice key, struct memory_value *out, struct buf *copy);
/* 0, MT_EFULL (the limit), MT_ENOMEM: then the old value is still there. */
int memory_store_set(struct memory_store *m, struct slice key, const struct memory_value *value, uint64_t ttl);
/* Set, but only if the key still has this version (0: it is not there). As set, or MT_EBUSY when somebody else was faster. */
int memory_store_replace(struct memory_store *m, struct slice key, const struct memory_value *value, uint64_t ttl,
                         uint64_t version);
/* The same for deleting: 0, MT_EBUSY. */
int memory_store_remove(struct memory_store *m, struct slice key, uint64_t version);
bool memory_store_delete(struct memory_store *m, struct slice key); /* false when it was not there */
/* Add to an integer; a key that is not there counts as 0 and gets `ttl` (which an existing one does not). 0 with *result,
 * MT_EINVALID (no integer, or the sum would not be one), MT_EFULL, MT_ENOMEM. */
int memory_store_incr(struct memory_store *m, struct slice key, int64_t by, uint64_t ttl, int64_t *result);
/* Add the keys that begin with `prefix`, sorted, at most `limit` of them, each as a uint32_t length and its bytes. Looks at every
 * key. *count of them. 0 or MT_ENOMEM (nothing was added). */
int memory_store_scan(struct memory_store *m, struct slice prefix, size_t limit, struct buf *keys, size_t *count);
/* Bytes that count against the limit. */
size_t memory_store_size(const struct memory_store *m);
#endif
