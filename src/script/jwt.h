/* jwt.h - JSON Web Tokens: RFC 7519 in the compact form of RFC 7515, with the advice of RFC 8725.
 *
 * Verifying has three steps, so that keys can be fetched between the first two: jwt_open takes a token apart and reads its header,
 * jwt_choose looks for a key, jwt_verify checks the signature and then, not before, reads the claims. No step believes what the
 * token says of itself: the algorithm must be one that the key is for, and keys or addresses of keys in the header ("jwk",
 * "jku", "x5c", "x5u") are not looked at.
 *
 * All calls work in any Lua state, also one without a script. Those that return an int push what went wrong (nil, message,
 * name) and return 3, or return 0.
 */
#ifndef MT_SCRIPT_JWT_H
#define MT_SCRIPT_JWT_H
#include "base/buf.h"
#include "script/jwt_keys.h"

enum {
    JWT_MAX = 16 << 10,       /* bytes of a token */
    JWT_HEADER_MAX = 4 << 10, /* of its header, encoded */
    JWT_SECRET_MIN = 32,      /* bytes of a secret that nobody can find by trying (RFC 7518, 3.2) */
    JWT_IAT_AHEAD = 60,       /* seconds that an "iat" may be in the future, on top of the leeway: clocks differ */
};

struct jwt {
    struct slice signed_part, payload, signature; /* of the token's text */
    enum jwa alg;
    struct slice kid; /* data NULL: none. In the header's table */
};

/* What a token must have. Values of Lua are at these places of the stack; 0: not asked for. */
struct jwt_rules {
    unsigned algorithms; /* 1 << enum jwa; 0: those that the key is for */
    double now, leeway;  /* seconds */
    int issuer, audience, require; /* a string, or a list of strings */
};

/* Take `token` apart (stack: +1, its header, which keeps t->kid). `scratch` is used between. */
int jwt_open(struct lua_State *L, struct slice token, struct buf *scratch, struct jwt *t);
/* Whether the token can mean one of the keys, by its kid. */
bool jwt_knows(const struct jwt_keys *keys, const struct jwt *t);
/* Check the signature, then the claims, and push them (stack: +1). */
int jwt_verify(struct lua_State *L, const struct jwt *t, const struct jwt_keys *keys, const struct jwt_rules *rules,
               struct buf *scratch);
/* Pushes a token with the claims of the table at `index` (stack: +1), signed by the one key of `keys`; alg -1: the usual one.
 * `expires_in`: seconds from `now`, NaN: no "exp" but what the claims have. Raises the author's mistakes. */
void jwt_sign(struct lua_State *L, int index, const struct jwt_keys *keys, int alg, double now, double expires_in,
              struct buf *scratch);
/* The algorithms that a key does where nobody says which: of HMAC those whose hash is no longer than the secret, and HS256. */
unsigned jwt_usual_algorithms(const struct jwt_key *k);
#endif
