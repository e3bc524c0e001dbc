/* store_call.h - what the methods of a store have in common: the handle, values on the Lua stack, and the way of a request, which
 * is carried out at once where the store lives in memory, and waited for where it does not.
 */
#ifndef MT_SCRIPT_STORE_CALL_H
#define MT_SCRIPT_STORE_CALL_H
#include "script/errand.h"
#include "store/store.h"

enum { STORE_NAME_MAX = 64, STORE_USER_KEY_MAX = 1024 }; /* bytes of a store's name, and of a key as scripts know it */

/* A store that a script holds is its name only, so it survives everything. */
struct store_handle {
    bool durable;                    /* not opened with { memory = true } */
    size_t len;                      /* of prefix */
    char prefix[STORE_NAME_MAX + 2]; /* zero byte, name, zero byte; the first one counts where a durable store lives in memory */
};

/* A key with its store's prefix, on the C stack. */
struct store_key {
    char bytes[STORE_NAME_MAX + 2 + STORE_USER_KEY_MAX];
    size_t len;
};

/* A request on its way, with copies of what the script gave. */
struct store_errand {
    struct errand errand; /* first */
    struct store_request request;
    int tries; /* of an update; the pages before the one that a scan asks for */
    char bytes[];
};

/* ---- handles and keys ---- */
extern const struct store_handle store_root; /* tide.store itself, which is a table for scripts */
/* Of a store that was checked. */
static inline const struct store_handle *store_handle_at(lua_State *L, int index)
{
    const struct store_handle *h = lua_touserdata(L, index);

    return h ? h : &store_root;
}
/* What all keys of the store begin with. */
struct slice store_prefix(lua_State *L, const struct store_handle *h);
/* In `out`, which the result points to. */
struct slice store_full_key(lua_State *L, const struct store_handle *h, struct slice key, struct store_key *out);
/* Whether its calls wait. */
bool store_waits(lua_State *L, const struct store_handle *h);
/* Durable stores are used where a call may wait, also where this one need not, so that a script works the same with every kind of
 * store and whatever the cache holds. Raises. */
void store_check_wait(lua_State *L, const struct store_handle *h);

/* ---- values ---- */
/* The value at `index` for the store; its bytes are Lua's or in the script's scratch buffer. 0 or MT_ETOO_LARGE. Raises for what
 * cannot be kept. */
int store_read_value(lua_State *L, int index, const char *function, struct store_value *out);
/* Pushes the value, nil for none, and returns 1; or nil, message, name and 3. */
int store_push_value(lua_State *L, const struct store_value *v);
/* Pushes nil, message, name of what came back with a code. Returns 3. */
int store_push_failure(lua_State *L, const struct store_handle *h, const struct store_request *r);

/* ---- requests ---- */
/* Carry out `draft`, of which the filled in parts are key, value, expected, ttl, op; push its results, return their count. */
int store_call(lua_State *L, const struct store_handle *h, struct store_request *draft);
/* The same without results, where it need not be waited for: else false, and nothing has happened. What was read is in the
 * script's scratch buffer. */
bool store_call_now(lua_State *L, const struct store_handle *h, struct store_request *r);
/* For calls that do more than that: a value on the stack owns a copy of the draft. ops->finish gets a struct store_errand, whose
 * request has a code in every case; ops->destroy is store_errand_destroy. Raises when memory runs out. */
struct store_errand *store_errand_push(lua_State *L, const struct store_request *draft, const struct errand_ops *ops);
void store_errand_destroy(struct errand *e);
/* Send it and wait: the owner is on top. Use as `return store_errand_wait(...)`. */
int store_errand_wait(lua_State *L, struct store_errand *e);

/* ---- methods in files of their own, with the checked arguments of the call on the stack from 1 ---- */
int store_update(lua_State *L, uint64_t ttl);
int store_scan(lua_State *L, const struct store_handle *h, struct slice prefix, size_t limit);
#endif
