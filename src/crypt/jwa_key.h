/* jwa_key.h - what jwa.c (signing, verifying) and jwa_key.c (making keys) share. No other file includes it. */
#ifndef MT_CRYPT_JWA_KEY_H
#define MT_CRYPT_JWA_KEY_H
#include "crypt/jwa.h"
#include <openssl/evp.h>

struct jwa_key {
    EVP_PKEY *pkey;      /* owned; NULL: it is a secret */
    struct buf secret;   /* of HMAC */
    unsigned algorithms; /* 1 << enum jwa */
    bool signs;
};

enum { JWA_EC_BYTES_MAX = 66 }; /* of a coordinate, and of r and s: P-521 */

struct jwa_curve {
    const char *name, *group; /* of JWK ("P-256") and of OpenSSL */
    size_t bytes;
    enum jwa alg;
};
const struct jwa_curve *jwa_curve_of(enum jwa alg); /* NULL when it is not ECDSA */
/* Whether OpenSSL can begin to verify with the key, which has a pkey: it cannot where parameters of the key forbid the algorithm. */
bool jwa_begins(const struct jwa_key *k, enum jwa alg);
#endif
