/* crypt.c - OpenSSL 3's EVP interface with everything looked up once.
 *
 * Looking an algorithm up by name costs more than hashing a short text, so all digests of the list are fetched at the first use
 * and kept until the process ends. For HMAC a context per digest is kept as a pattern; it is only ever copied, so threads share
 * it.
 */
#include "crypt/crypt.h"

#include "base/err.h"
#include "base/mem.h"
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

const char *const crypt_digest_names[] = {"md5",      "sha1",     "sha224",     "sha256",     "sha384", "sha512",
                                          "sha3-256", "sha3-512", "blake2s256", "blake2b512", NULL};

enum { DIGESTS = sizeof(crypt_digest_names) / sizeof(*crypt_digest_names) - 1 };

static struct digest {
    EVP_MD *md;        /* NULL when this OpenSSL does not have it (FIPS) */
    EVP_MAC_CTX *hmac; /* set up for this digest, with some key */
} digests[DIGESTS];
static pthread_once_t digests_once = PTHREAD_ONCE_INIT;

static EVP_MAC_CTX *make_hmac(EVP_MAC *mac, const char *name)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)name, 0), OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

    /* Without a key it could not be copied. */
    if (ctx && EVP_MAC_init(ctx, (const unsigned char *)"", 0, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static void fetch_digests(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    for (int i = 0; i < DIGESTS; i++) {
        digests[i].md = EVP_MD_fetch(NULL, crypt_digest_names[i], NULL);
        if (mac && digests[i].md)
            digests[i].hmac = make_hmac(mac, crypt_digest_names[i]);
    }
    EVP_MAC_free(mac); /* the contexts hold it */
}

/* NULL when there is no such digest. Clears the error queue for what follows. */
static const struct digest *find_digest(struct slice name)
{
    pthread_once(&digests_once, fetch_digests);
    ERR_clear_error();
    for (int i = 0; i < DIGESTS; i++)
        if (digests[i].md && slice_is(name, slice_of(crypt_digest_names[i])))
            return &digests[i];
    return NULL;
}

/* The queue must be empty for whoever calls OpenSSL next on this thread: TLS takes what it finds there for its own. */
static int result(bool fine, int err)
{
    ERR_clear_error();
    return fine ? 0 : err;
}

int crypt_digest(struct slice name, const void *data, size_t data_len, unsigned char *out, size_t *len)
{
    const struct digest *d = find_digest(name);
    unsigned int size = 0;

    if (!d)
        return result(false, MT_EINVALID);
    bool fine = EVP_Digest(data, data_len, out, &size, d->md, NULL) == 1;
    *len = size;
    return result(fine, MT_ENOMEM);
}

int crypt_hmac(struct slice name, struct slice key, const void *data, size_t data_len, unsigned char *out, size_t *len)
{
    const struct digest *d = find_digest(name);

    if (!d || !d->hmac)
        return result(false, MT_EINVALID);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(d->hmac);
    /* A key of no bytes is a key, NULL would mean "the one it has". */
    const unsigned char *key_data = key.len ? (const unsigned char *)key.data : (const unsigned char *)"";
    bool fine = ctx && EVP_MAC_init(ctx, key_data, key.len, NULL) == 1 && EVP_MAC_update(ctx, data, data_len) == 1 &&
                EVP_MAC_final(ctx, out, len, CRYPT_DIGEST_MAX) == 1;
    EVP_MAC_CTX_free(ctx);
    return result(fine, MT_ENOMEM);
}

int crypt_random(void *out, size_t len)
{
    unsigned char *p = out;

    ERR_clear_error();
    while (len) {
        int part = len > INT_MAX ? INT_MAX : (int)len;
        if (RAND_bytes(p, part) != 1)
            return result(false, MT_EIO);
        p += part;
        len -= (size_t)part;
    }
    return 0;
}

bool crypt_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

/* ---- in pieces ---- */

struct crypt_hasher {
    EVP_MD_CTX *ctx; /* owned */
};

int crypt_hasher_create(struct slice name, struct crypt_hasher **out)
{
    const struct digest *d = find_digest(name);
    struct crypt_hasher *h;

    if (!d)
        return result(false, MT_EINVALID);
    h = mem_zalloc(1, sizeof(*h));
    if (!h)
        return MT_ENOMEM;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex2(h->ctx, d->md, NULL) != 1) {
        crypt_hasher_destroy(h);
        return result(false, MT_ENOMEM);
    }
    *out = h;
    return 0;
}

int crypt_hasher_update(struct crypt_hasher *h, const void *data, size_t len)
{
    ERR_clear_error();
    return result(EVP_DigestUpdate(h->ctx, data, len) == 1, MT_ENOMEM);
}

int crypt_hasher_digest(const struct crypt_hasher *h, unsigned char *out, size_t *len)
{
    unsigned int size = 0;

    ERR_clear_error();
    /* Finishing ends a context: finish a copy. */
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool fine = copy && EVP_MD_CTX_copy_ex(copy, h->ctx) == 1 && EVP_DigestFinal_ex(copy, out, &size) == 1;
    EVP_MD_CTX_free(copy);
    *len = size;
    return result(fine, MT_ENOMEM);
}

void crypt_hasher_destroy(struct crypt_hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    mem_free(h);
}
