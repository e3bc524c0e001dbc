/* password.h - passwords as they are kept: scrypt (RFC 7914) with a salt, as text in the PHC string format
 *
 *     $scrypt$ln=15,r=8,p=1$<salt>$<hash>         base64 without padding; ln is the logarithm of N
 *
 * Pure functions, any thread. password_hash and password_verify take about a tenth of a second and 32 MiB, and are for threads
 * that serve no connections.
 */
#ifndef MT_CRYPT_PASSWORD_H
#define MT_CRYPT_PASSWORD_H
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    PASSWORD_MAX = 1024,     /* bytes of a password */
    PASSWORD_HASH_MAX = 192, /* bytes of the text, with its NUL */
    PASSWORD_BYTES_MAX = 64, /* of the salt and of the hash in it */
};

struct scrypt_cost {
    uint64_t n; /* a power of two */
    uint32_t r, p;
};

/* scrypt itself: `len` bytes to `out`. 0, MT_EINVALID (no such cost), MT_ENOMEM. */
int password_scrypt(struct slice text, struct slice salt, const struct scrypt_cost *cost, unsigned char *out, size_t len);

/* A stored hash, taken apart. */
struct password_parts {
    struct scrypt_cost cost;
    unsigned char salt[PASSWORD_BYTES_MAX], hash[PASSWORD_BYTES_MAX];
    size_t salt_len, hash_len;
};
/* 0; MT_EMALFORMED (it is no hash of this kind); MT_ETOO_LARGE (it would cost more than 128 MiB, or more than sixteen times what
 * password_hash does). Quick. */
int password_parse(struct slice text, struct password_parts *out);

/* Hash `text` with a salt of its own; NUL-terminated. 0, MT_ENOMEM, MT_EIO (no random bytes). */
int password_hash(struct slice text, char out[PASSWORD_HASH_MAX]);
/* *same: whether `text` is the password of `hash`, told in a time that does not depend on where they differ. 0 or MT_ENOMEM. */
int password_verify(struct slice text, const struct password_parts *hash, bool *same);
/* A hash of the usual cost that no text has. */
void password_unknown(struct password_parts *out);
#endif
