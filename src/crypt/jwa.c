/* jwa.c - signing and verifying. */
#include "crypt/jwa_key.h"

#include "base/err.h"
#include "base/mem.h"
#include "crypt/crypt.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

const char *const jwa_names[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
                                 "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", NULL};

enum family { HMAC, RSA_PKCS1, RSA_PSS, ECDSA, EDDSA };

static const struct algorithm {
    enum family family;
    const char *digest;
    size_t bytes; /* of the digest */
} algorithms[JWA_COUNT] = {
    [JWA_HS256] = {HMAC, "sha256", 32},      [JWA_HS384] = {HMAC, "sha384", 48},      [JWA_HS512] = {HMAC, "sha512", 64},
    [JWA_RS256] = {RSA_PKCS1, "sha256", 32}, [JWA_RS384] = {RSA_PKCS1, "sha384", 48}, [JWA_RS512] = {RSA_PKCS1, "sha512", 64},
    [JWA_PS256] = {RSA_PSS, "sha256", 32},   [JWA_PS384] = {RSA_PSS, "sha384", 48},   [JWA_PS512] = {RSA_PSS, "sha512", 64},
    [JWA_ES256] = {ECDSA, "sha256", 32},     [JWA_ES384] = {ECDSA, "sha384", 48},     [JWA_ES512] = {ECDSA, "sha512", 64},
    [JWA_EDDSA] = {EDDSA, NULL, 64},
};

int jwa_find(struct slice name)
{
    for (int i = 0; i < JWA_COUNT; i++)
        if (slice_is(name, slice_of(jwa_names[i])))
            return i;
    return -1;
}

size_t jwa_hash_bytes(enum jwa alg)
{
    return algorithms[alg].bytes;
}

/* ---- HMAC ---- */

static int make_mac(const struct jwa_key *k, enum jwa alg, struct slice data, unsigned char *mac, size_t *len)
{
    return crypt_hmac(slice_of(algorithms[alg].digest), buf_slice(&k->secret), data.data, data.len, mac, len);
}

static int verify_mac(const struct jwa_key *k, enum jwa alg, struct slice data, struct slice signature)
{
    unsigned char mac[CRYPT_DIGEST_MAX];
    size_t len;
    int rc = make_mac(k, alg, data, mac, &len);

    if (rc == 0 && !crypt_equal((struct slice){(const char *)mac, len}, signature))
        rc = MT_EINVALID;
    return rc;
}

static int sign_mac(const struct jwa_key *k, enum jwa alg, struct slice data, struct buf *out)
{
    unsigned char mac[CRYPT_DIGEST_MAX];
    size_t len;
    int rc = make_mac(k, alg, data, mac, &len);

    return rc == 0 ? buf_add(out, mac, len) : rc;
}

/* ---- ECDSA: tokens have r and s, one behind the other, OpenSSL has them in DER ---- */

/* *der is to be freed by OPENSSL_free. Its length, 0 when memory runs out. */
static int join_signature(struct slice raw, unsigned char **der)
{
    const unsigned char *bytes = (const unsigned char *)raw.data;
    int half = (int)raw.len / 2, len = 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, half, NULL), *s = BN_bin2bn(bytes + half, half, NULL);

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* they are the signature's */
        len = i2d_ECDSA_SIG(sig, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0 ? len : 0;
}

static bool split_signature(const unsigned char *der, size_t len, unsigned char *raw, int half)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool fine = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, half) == half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, half) == half;

    ECDSA_SIG_free(sig);
    return fine;
}

/* ---- EVP ---- */

static bool set_padding(EVP_PKEY_CTX *ctx, enum family family)
{
    if (family == RSA_PKCS1)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    if (family == RSA_PSS) /* RFC 7518, 3.5: the salt is as long as the hash, which MGF1 uses too */
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    return true;
}

/* A context that is set up for the key; NULL when memory runs out. */
static EVP_MD_CTX *begin(const struct jwa_key *k, enum jwa alg, bool sign)
{
    const struct algorithm *a = &algorithms[alg];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner; /* the context's */

    if (!ctx)
        return NULL;
    int rc = sign ? EVP_DigestSignInit_ex(ctx, &inner, a->digest, NULL, NULL, k->pkey, NULL)
                  : EVP_DigestVerifyInit_ex(ctx, &inner, a->digest, NULL, NULL, k->pkey, NULL);
    if (rc == 1 && set_padding(inner, a->family))
        return ctx;
    EVP_MD_CTX_free(ctx);
    return NULL;
}

bool jwa_begins(const struct jwa_key *k, enum jwa alg)
{
    EVP_MD_CTX *ctx = begin(k, alg, false);

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ctx != NULL;
}

static int verify_evp(const struct jwa_key *k, enum jwa alg, struct slice data, const unsigned char *signature, size_t len)
{
    EVP_MD_CTX *ctx = begin(k, alg, false);

    if (!ctx)
        return MT_ENOMEM;
    int fits = EVP_DigestVerify(ctx, signature, len, (const unsigned char *)data.data, data.len);
    EVP_MD_CTX_free(ctx);
    return fits == 1 ? 0 : MT_EINVALID;
}

static int verify_ecdsa(const struct jwa_key *k, enum jwa alg, struct slice data, struct slice signature)
{
    unsigned char *der = NULL;

    if (signature.len != 2 * jwa_curve_of(alg)->bytes)
        return MT_EINVALID;
    int len = join_signature(signature, &der);
    int rc = len ? verify_evp(k, alg, data, der, (size_t)len) : MT_ENOMEM;
    OPENSSL_free(der);
    return rc;
}

static int add_signature(enum jwa alg, const unsigned char *bytes, size_t len, struct buf *out)
{
    const struct jwa_curve *curve = jwa_curve_of(alg);
    unsigned char raw[2 * JWA_EC_BYTES_MAX];

    if (!curve)
        return buf_add(out, bytes, len);
    return split_signature(bytes, len, raw, (int)curve->bytes) ? buf_add(out, raw, 2 * curve->bytes) : MT_ENOMEM;
}

static int sign_evp(const struct jwa_key *k, enum jwa alg, struct slice data, struct buf *out)
{
    unsigned char bytes[JWA_SIGNATURE_MAX];
    size_t len = sizeof(bytes);
    EVP_MD_CTX *ctx = begin(k, alg, true);

    if (!ctx)
        return MT_ENOMEM;
    bool fine = EVP_DigestSign(ctx, bytes, &len, (const unsigned char *)data.data, data.len) == 1;
    EVP_MD_CTX_free(ctx);
    return fine ? add_signature(alg, bytes, len, out) : MT_ENOMEM;
}

/* ---- both ---- */

int jwa_sign(const struct jwa_key *k, enum jwa alg, struct slice data, struct buf *out)
{
    if (!(k->algorithms & 1u << alg) || !k->signs)
        return MT_EDENIED;
    ERR_clear_error();
    int rc = k->pkey ? sign_evp(k, alg, data, out) : sign_mac(k, alg, data, out);
    ERR_clear_error();
    return rc;
}

int jwa_verify(const struct jwa_key *k, enum jwa alg, struct slice data, struct slice signature)
{
    int rc;

    if (!(k->algorithms & 1u << alg))
        return MT_EDENIED;
    if (signature.len == 0 || signature.len > JWA_SIGNATURE_MAX)
        return MT_EINVALID;
    ERR_clear_error();
    if (!k->pkey)
        rc = verify_mac(k, alg, data, signature);
    else if (jwa_curve_of(alg))
        rc = verify_ecdsa(k, alg, data, signature);
    else
        rc = verify_evp(k, alg, data, (const unsigned char *)signature.data, signature.len);
    ERR_clear_error();
    return rc;
}
