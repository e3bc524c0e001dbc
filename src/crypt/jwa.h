/* jwa.h - signatures of JSON Web Tokens: the algorithms of RFC 7518 (section 3) and RFC 8037, and the keys that they take.
 *
 * A key knows which algorithms it is for, and nothing makes it do others: an RSA key never does HMAC, a P-256 key does ES256
 * alone. There is no "none". Keys do not change once they are made: any thread may use one. OpenSSL's error queue is empty after
 * each call.
 */
#ifndef MT_CRYPT_JWA_H
#define MT_CRYPT_JWA_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

enum jwa {
    JWA_HS256,
    JWA_HS384,
    JWA_HS512,
    JWA_RS256,
    JWA_RS384,
    JWA_RS512,
    JWA_PS256,
    JWA_PS384,
    JWA_PS512,
    JWA_ES256,
    JWA_ES384,
    JWA_ES512,
    JWA_EDDSA, /* with Ed25519 */
    JWA_COUNT
};

enum {
    JWA_RSA_BITS_MIN = 2048, /* RFC 7518, 3.3 */
    JWA_RSA_BITS_MAX = 8192, /* longer ones take too long */
    JWA_SIGNATURE_MAX = JWA_RSA_BITS_MAX / 8,
    JWA_PEM_MAX = 64 << 10, /* bytes of a PEM text */
};

extern const char *const jwa_names[];    /* "HS256", ...; as the header's "alg" has them, by enum jwa, NULL-terminated */
int jwa_find(struct slice name);         /* enum jwa, or -1. Capital letters count */
size_t jwa_hash_bytes(enum jwa alg);     /* of its hash: what a secret of HMAC should have at least (RFC 7518, 3.2) */

struct jwa_key;
/* A secret for HMAC, copied. 0, MT_EINVALID (it is empty), MT_ENOMEM. */
int jwa_key_from_secret(struct slice secret, struct jwa_key **out);
/* Whether a text is of a kind that holds asymmetric keys (PEM, also without its lines BEGIN and END, DER, either in base64, a line of
 * OpenSSH, a JWK in something else), so that it is no secret whatever it holds. */
bool jwa_is_key_text(struct slice text);
/* The first key of a PEM text: private, public, or that of a certificate (whose dates and issuer are not looked at). 0, MT_EINVALID
 * with static text in *why, MT_ENOMEM. */
int jwa_key_from_pem(struct slice text, struct jwa_key **out, const char **why);

/* Members of a JWK (RFC 7517) as they stand in its text, base64url; data NULL: it has none of that name. */
struct jwa_jwk {
    struct slice kty, crv, n, e, d, p, q, dp, dq, qi, x, y, k;
};
/* 0, MT_EINVALID with static text in *why, MT_ENOMEM. */
int jwa_key_from_jwk(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why);
void jwa_key_destroy(struct jwa_key *k); /* NULL is allowed. Secrets are wiped */

unsigned jwa_key_algorithms(const struct jwa_key *k);  /* those that it is for: a set of bits, 1 << enum jwa */
enum jwa jwa_key_usual(const struct jwa_key *k);       /* the one to sign with where nobody says: HS256, RS256, ES256, ... */
bool jwa_key_signs(const struct jwa_key *k);           /* it is a secret or has a private half */
size_t jwa_key_secret_bytes(const struct jwa_key *k);  /* 0 when it is not a secret */

/* Adds the signature of `data` to `out`: ECDSA as r and s (RFC 7518, 3.4). 0; MT_EDENIED (the key is not for this algorithm, or
 * does not sign), MT_ENOMEM. RSA takes a millisecond or more, the others less than a tenth of that. */
int jwa_sign(const struct jwa_key *k, enum jwa alg, struct slice data, struct buf *out);
/* 0 when `signature` is one of `data` by this key; else MT_EINVALID, MT_EDENIED (the key is not for this algorithm), MT_ENOMEM. */
int jwa_verify(const struct jwa_key *k, enum jwa alg, struct slice data, struct slice signature);
#endif
