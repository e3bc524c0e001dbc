/* memory.h - a key-value store in memory: what tide.store:open(name, { memory = true }) keeps, and tide.store
 * itself where the server has no other place for it.
 *
 * Values are bytes, JSON text or integers, copied in and out, so nobody holds a pointer into the store. It knows no Lua.
 * Thread-safe: keys are spread over stripes with a mutex each. Bounded: all keys and values together stay below the limit given
 * at creation; expired ones are dropped when they are met and a few at every write.
 */
#ifndef MT_STORE_MEMORY_H
#define MT_STORE_MEMORY_H
#include "base/buf.h"
#include "store/value.h"

struct memory_store;
struct store_request;

/* `limit` is in bytes; `now` gives milliseconds that only go forward (clock_ms). NULL when memory runs out. */
struct memory_store *memory_store_create(size_t limit, uint64_t (*now)(void));
void memory_store_destroy(struct memory_store *m); /* NULL is allowed */
/* Copies the bytes of the value to the end of `copy`, where out->data then points. 0, MT_ENOT_FOUND, MT_ENOMEM. */
int memory_store_get(struct memory_store *m, struct slice key, struct store_value *out, struct buf *copy);
/* 0, MT_EFULL (the limit), MT_ENOMEM: then the old value is still there. */
int memory_store_set(struct memory_store *m, struct slice key, const struct store_value *value, uint64_t ttl);
/* The same, or away with the key where `value` is nothing; but only if it is `expected` now, else MT_EBUSY. */
int memory_store_replace(struct memory_store *m, struct slice key, const struct store_value *expected,
                         const struct store_value *value, uint64_t ttl);
bool memory_store_delete(struct memory_store *m, struct slice key); /* false when it was not there */
/* Add to an integer; a key that is not there counts as 0 and gets `ttl` (which an existing one does not). 0 with *result,
 * MT_EINVALID (no integer, or the sum would not be one), MT_EFULL, MT_ENOMEM. */
int memory_store_incr(struct memory_store *m, struct slice key, int64_t by, uint64_t ttl, int64_t *result);
/* Add the keys that begin with `prefix`, sorted, at most `limit` of them, each as a uint32_t length and its bytes. Looks at every
 * key. *count of them. 0 or MT_ENOMEM (nothing was added). */
int memory_store_scan(struct memory_store *m, struct slice prefix, size_t limit, struct buf *keys, size_t *count);
/* What a request to a durable store asks for (store.h), at once; all but STORE_SCAN. Its code is the result. */
void memory_store_run(struct memory_store *m, struct store_request *r);
/* Bytes that count against the limit. */
size_t memory_store_size(const struct memory_store *m);
#endif
