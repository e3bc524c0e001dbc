/* crypt.h - digests, MACs and randomness from OpenSSL's libcrypto. The only header of the layer; hides OpenSSL.
 *
 * Pure functions, any thread. OpenSSL's error queue is cleared before each call and never leaks out.
 */
#ifndef MT_CRYPT_CRYPT_H
#define MT_CRYPT_CRYPT_H
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>

enum { CRYPT_DIGEST_MAX = 64 };

/* Names: md5 sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-512 blake2s256 blake2b512. NULL-terminated, for "nearest name". */
extern const char *const crypt_digest_names[];
/* Writes *len bytes (<= CRYPT_DIGEST_MAX). 0, MT_EINVALID (no such digest), MT_ENOMEM. */
int crypt_digest(struct slice name, const void *data, size_t data_len, unsigned char *out, size_t *len);
int crypt_hmac(struct slice name, struct slice key, const void *data, size_t data_len, unsigned char *out, size_t *len);
/* Random bytes of the CSPRNG. 0 or MT_EIO. */
int crypt_random(void *out, size_t len);
/* Takes the same time wherever two texts of the same length differ. */
bool crypt_equal(struct slice a, struct slice b);

/* A digest in pieces. */
struct crypt_hasher;
int crypt_hasher_create(struct slice name, struct crypt_hasher **out); /* 0, MT_EINVALID, MT_ENOMEM */
int crypt_hasher_update(struct crypt_hasher *h, const void *data, size_t len);
/* The digest so far; the hasher can go on. */
int crypt_hasher_digest(const struct crypt_hasher *h, unsigned char *out, size_t *len);
void crypt_hasher_destroy(struct crypt_hasher *h);
#endif
