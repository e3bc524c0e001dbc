/* jwt_keys.h - the keys of JSON Web Tokens as scripts and files give them: a secret, a PEM text, a JWK, a JWK set (RFC 7517).
 *
 * What a key may do is settled when it is read: by what it is (crypt/jwa.h), and by what a JWK says of itself ("alg", "use",
 * "key_ops"). Keys do not change afterwards. All calls work in any Lua state, also one without a script.
 */
#ifndef MT_SCRIPT_JWT_KEYS_H
#define MT_SCRIPT_JWT_KEYS_H
#include "base/slice.h"
#include "crypt/jwa.h"

struct lua_State;

enum { JWT_KEYS_MAX = 64, JWT_KID_MAX = 256, JWT_SET_BYTES_MAX = 256 << 10 };

struct jwt_key {
    struct jwa_key *key;      /* owned */
    char *kid;                /* owned; NULL: it has none */
    size_t kid_len;
    unsigned algorithms;      /* 1 << enum jwa: what it is for */
    bool verifies, signs;     /* what its owner lets it do */
};

/* Counted; on one thread. */
struct jwt_keys {
    unsigned refs;
    bool set;                 /* it was a JWK set; else there is one key, which is for any "kid" */
    size_t count;
    struct jwt_key items[JWT_KEYS_MAX];
};

/* Pushes a value that owns the keys which `text` holds (stack: +1). 0; or MT_EINVALID with nothing pushed and static text in *why.
 * A text that looks like a key of any asymmetric kind, or like JSON, is never taken for a secret. Of a set, keys that are not
 * understood or not for signatures are passed over; there must be one at least that is. Raises when memory runs out. */
int jwt_keys_push(struct lua_State *L, struct slice text, const char **why);
/* The same for a set that everybody can read, and which therefore has no secrets: such keys are passed over. */
int jwt_keys_push_public(struct lua_State *L, struct slice text, const char **why);
/* What the value at `index` owns; borrowed, while it is there. */
struct jwt_keys *jwt_keys_at(struct lua_State *L, int index);
struct jwt_keys *jwt_keys_ref(struct jwt_keys *k);
void jwt_keys_unref(struct jwt_keys *k); /* NULL is allowed */
#endif
