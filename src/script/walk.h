/* walk.h - what the walks through a script's values share: addresses that were seen, and the path to where the walk is.
 *
 * A walk reads only: no metamethod runs, nothing is changed, and no memory of the VM is needed but stack. Its caller bounds it.
 */
#ifndef MT_SCRIPT_WALK_H
#define MT_SCRIPT_WALK_H
#include "base/buf.h"
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- addresses, each with a number ---- */
struct walk_slot;
struct walk_set {
    struct walk_slot *slots; /* owned; NULL while empty */
    size_t count, cap;       /* cap: a power of two or 0 */
};
void walk_set_fini(struct walk_set *set);
/* 1: it is new and has the value now, 0: it was there and keeps its own, MT_ENOMEM. `ptr` is not NULL. */
int walk_set_add(struct walk_set *set, const void *ptr, uint64_t value);
/* The value of an address, NULL when it is not there; valid until the next add. */
uint64_t *walk_set_find(const struct walk_set *set, const void *ptr);

/* ---- where the walk is ---- */
struct walk_step {
    const struct walk_step *up; /* NULL: the first step below the root */
    int key;                    /* stack index of the key */
};
/* Add the keys from the root on: `.players[3]["a b"]`. Long ones that are no plain names are cut. 0 or MT_ENOMEM. */
int walk_add_path(struct buf *out, lua_State *L, const struct walk_step *step);

/* Key and value of one field of a table as a number, the same for equal texts and numbers; objects count by their address. */
uint64_t walk_hash_field(lua_State *L, int key, int value);
#endif
