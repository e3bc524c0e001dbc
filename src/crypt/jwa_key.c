/* jwa_key.c - keys from secrets, PEM texts and JWKs.
 *
 * What a key is for is decided here, once, from what it is: not from what a token says, and not from what its owner calls it.
 */
#include "crypt/jwa_key.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum {
    HMAC_SET = 1u << JWA_HS256 | 1u << JWA_HS384 | 1u << JWA_HS512,
    RS_SET = 1u << JWA_RS256 | 1u << JWA_RS384 | 1u << JWA_RS512,
    PS_SET = 1u << JWA_PS256 | 1u << JWA_PS384 | 1u << JWA_PS512,
    ED25519_BYTES = 32,
    RSA_EXPONENT_BITS_MAX = 64, /* what OpenSSL takes with a long modulus; a longer one makes verifying slow */
};

static const struct jwa_curve curves[] = {{"P-256", "prime256v1", 32, JWA_ES256},
                                          {"P-384", "secp384r1", 48, JWA_ES384},
                                          {"P-521", "secp521r1", 66, JWA_ES512}};
enum { CURVES = sizeof(curves) / sizeof(*curves) };

const struct jwa_curve *jwa_curve_of(enum jwa alg)
{
    for (size_t i = 0; i < CURVES; i++)
        if (curves[i].alg == alg)
            return &curves[i];
    return NULL;
}

/* ---- a key ---- */

void jwa_key_destroy(struct jwa_key *k)
{
    if (!k)
        return;
    if (k->secret.data)
        explicit_bzero(k->secret.data, k->secret.cap);
    buf_fini(&k->secret);
    EVP_PKEY_free(k->pkey);
    mem_free(k);
}

unsigned jwa_key_algorithms(const struct jwa_key *k)
{
    return k->algorithms;
}

enum jwa jwa_key_usual(const struct jwa_key *k)
{
    return (enum jwa)__builtin_ctz(k->algorithms); /* the first of each kind */
}

bool jwa_key_signs(const struct jwa_key *k)
{
    return k->signs;
}

size_t jwa_key_secret_bytes(const struct jwa_key *k)
{
    return k->secret.len;
}

int jwa_key_from_secret(struct slice secret, struct jwa_key **out)
{
    if (secret.len == 0)
        return MT_EINVALID;
    struct jwa_key *k = mem_zalloc(1, sizeof(*k));
    if (!k || buf_add(&k->secret, secret.data, secret.len) != 0) {
        jwa_key_destroy(k);
        return MT_ENOMEM;
    }
    k->algorithms = HMAC_SET;
    k->signs = true;
    *out = k;
    return 0;
}

/* ---- what an EVP_PKEY is for ---- */

static int refuse(const char *text, const char **why)
{
    *why = text;
    return MT_EINVALID;
}

static int ec_algorithms(const EVP_PKEY *pkey, unsigned *set, const char **why)
{
    char group[64];

    if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL) != 1)
        return refuse("a curve without a name", why);
    for (size_t i = 0; i < CURVES; i++)
        if (strcmp(group, curves[i].group) == 0) {
            *set = 1u << curves[i].alg;
            return 0;
        }
    return refuse("not a curve of ES256, ES384 or ES512", why);
}

/* With an exponent of 1 every text is its own signature, and none that is even has signatures at all. OpenSSL takes both. */
static int check_rsa_numbers(const EVP_PKEY *pkey, const char **why)
{
    BIGNUM *n = NULL, *e = NULL;
    int rc = 0;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 || EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        rc = MT_ENOMEM;
    else if (!BN_is_odd(n))
        rc = refuse("an RSA key whose modulus is even", why);
    else if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > RSA_EXPONENT_BITS_MAX)
        rc = refuse("an RSA key whose exponent is even, 1 or longer than 64 bits", why);
    BN_free(n);
    BN_free(e);
    return rc;
}

static int rsa_algorithms(const EVP_PKEY *pkey, bool pss, unsigned *set, const char **why)
{
    int bits = EVP_PKEY_get_bits(pkey);

    if (bits < JWA_RSA_BITS_MIN)
        return refuse("an RSA key of less than 2048 bits", why);
    if (bits > JWA_RSA_BITS_MAX)
        return refuse("an RSA key of more than 8192 bits", why);
    *set = pss ? PS_SET : RS_SET | PS_SET;
    return check_rsa_numbers(pkey, why);
}

static int algorithms_of(const EVP_PKEY *pkey, unsigned *set, const char **why)
{
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        return rsa_algorithms(pkey, false, set, why);
    case EVP_PKEY_RSA_PSS:
        return rsa_algorithms(pkey, true, set, why);
    case EVP_PKEY_EC:
        return ec_algorithms(pkey, set, why);
    case EVP_PKEY_ED25519:
        *set = 1u << JWA_EDDSA;
        return 0;
    default:
        return refuse("a key that no algorithm takes: RSA, P-256, P-384, P-521 and Ed25519 are there", why);
    }
}

/* RFC 4055, 3.1: a key for PSS alone may say which hash and how much salt, and then does no other. */
static int drop_barred(struct jwa_key *k, const char **why)
{
    for (int alg = JWA_PS256; alg <= JWA_PS512; alg++)
        if (!jwa_begins(k, (enum jwa)alg))
            k->algorithms &= ~(1u << alg);
    return k->algorithms ? 0 : refuse("an RSA-PSS key whose hash or salt is not that of PS256, PS384 or PS512", why);
}

/* Whether what the private half signs is good for the public one. OpenSSL's own check of RSA keys needs the factors, which a JWK
 * may leave out. */
static int check_pair(const struct jwa_key *k, const char **why)
{
    struct buf signature = {0};
    enum jwa alg = jwa_key_usual(k);
    int rc = jwa_sign(k, alg, SLICE("pair"), &signature);

    if (rc == 0)
        rc = jwa_verify(k, alg, SLICE("pair"), buf_slice(&signature));
    buf_fini(&signature);
    return rc == MT_EINVALID ? refuse("the halves do not belong together", why) : rc;
}

/* Takes `pkey`, also on a failure. NULL is one that could not be made: *why is set then. */
static int adopt(EVP_PKEY *pkey, bool signs, struct jwa_key **out, const char **why)
{
    unsigned set = 0;
    int rc = pkey ? algorithms_of(pkey, &set, why) : MT_EINVALID;
    struct jwa_key *k = rc == 0 ? mem_zalloc(1, sizeof(*k)) : NULL;

    if (rc == 0 && !k)
        rc = MT_ENOMEM;
    ERR_clear_error();
    if (rc != 0) {
        EVP_PKEY_free(pkey);
        return rc;
    }
    *k = (struct jwa_key){.pkey = pkey, .algorithms = set, .signs = signs};
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA_PSS)
        rc = drop_barred(k, why);
    if (rc == 0 && signs)
        rc = check_pair(k, why);
    if (rc != 0) {
        jwa_key_destroy(k);
        return rc;
    }
    *out = k;
    return 0;
}

/* ---- PEM ---- */

static bool begins(struct slice text, struct slice with)
{
    return text.len >= with.len && memcmp(text.data, with.data, with.len) == 0;
}

static bool contains(struct slice text, struct slice part)
{
    return text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL;
}

enum { BARE_HEAD = 6, BARE_MIN = 32, BARE_CUT = 2 /* line breaks, or what looks like one, that were cut off the end of a file */ };

/* Whether `len` bytes that begin with `head` are a key or certificate in DER: a sequence as long as all of it, and in it either the
 * sequence that names an algorithm or a version's number. One random secret in 2^28 is. */
static bool is_der(const unsigned char *head, size_t len)
{
    const unsigned char *inside;
    size_t size;

    if (len < BARE_MIN || head[0] != 0x30)
        return false;
    if (head[1] == 0x82) {
        size = 4 + ((size_t)head[2] << 8 | head[3]);
        inside = head + 4;
    } else if (head[1] == 0x81) {
        size = 3 + (size_t)head[2];
        inside = head + 3;
    } else {
        size = 2 + (size_t)head[1];
        inside = head + 2;
        if (!(inside[0] == 0x30 && inside[2] == 0x06) && !(inside[0] == 0x02 && inside[1] == 1 && inside[2] <= 1))
            return false;
    }
    return size >= len && size <= len + BARE_CUT && (inside[0] == 0x30 || inside[0] == 0x02);
}

/* The value of a digit of base64 in either alphabet; -1: it is none. */
static int digit_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    const char *at = c ? strchr(digits, c) : NULL;

    return !at ? -1 : at - digits < 64 ? (int)(at - digits) : (int)(at - digits) - 2;
}

/* A key or certificate that has lost its lines BEGIN and END: in DER, in base64 of that (as Keycloak shows its public key), or a
 * PEM text in base64 (as Kubernetes keeps it). */
static bool is_bare(struct slice text)
{
    unsigned char head[BARE_HEAD] = {0};
    size_t count = 0;
    uint32_t bits = 0;

    if (text.len >= BARE_MIN && is_der((const unsigned char *)text.data, text.len))
        return true;
    for (size_t i = 0; i < text.len; i++) {
        int value = digit_value(text.data[i]);
        if (value < 0 && memchr(" \t\r\n=", text.data[i], 5))
            continue;
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (count % 4 && count / 4 * 3 + count % 4 <= BARE_HEAD)
            head[count / 4 * 3 + count % 4 - 1] = (unsigned char)(bits >> (6 - 2 * (count % 4)));
        count++;
    }
    size_t len = count * 3 / 4;
    return len >= BARE_MIN && (is_der(head, len) || memcmp(head, "-----B", BARE_HEAD) == 0);
}

bool jwa_is_key_text(struct slice text)
{
    static const char *const lines[] = {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN ", NULL};

    for (const char *const *p = lines; *p; p++)
        if (begins(text, slice_of(*p)))
            return true;
    /* A JWK here is one that was not read as JSON: behind a byte order mark, or in a list. */
    return contains(text, SLICE("-----BEGIN ")) || contains(text, SLICE("\"kty\"")) || is_bare(text);
}

/* Keys with a passphrase are refused: nobody is asked at a terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    return -1;
}

static EVP_PKEY *read_private(BIO *in)
{
    return PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL);
}

/* SubjectPublicKeyInfo, or PKCS#1 ("RSA PUBLIC KEY"). */
static EVP_PKEY *read_public(BIO *in)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&pkey, "PEM", NULL, NULL, EVP_PKEY_PUBLIC_KEY, NULL, NULL);

    if (ctx && OSSL_DECODER_from_bio(ctx, in) != 1)
        pkey = NULL;
    OSSL_DECODER_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *read_certificate(BIO *in)
{
    X509 *x = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
    EVP_PKEY *pkey = x ? X509_get_pubkey(x) : NULL;

    X509_free(x);
    return pkey;
}

int jwa_key_from_pem(struct slice text, struct jwa_key **out, const char **why)
{
    static const char unreadable[] = "not a key or certificate that can be read";
    EVP_PKEY *(*const readers[])(BIO *) = {read_private, read_certificate, read_public};
    enum { READERS = sizeof(readers) / sizeof(*readers) };
    EVP_PKEY *pkey = NULL;
    size_t i;

    if (text.len > JWA_PEM_MAX)
        return refuse("a PEM text of more than 64 KiB", why);
    if (!contains(text, SLICE("-----BEGIN ")))
        return refuse(is_bare(text) ? "a key without its lines BEGIN and END: give it as PEM" : unreadable, why);
    ERR_clear_error();
    for (i = 0; !pkey && i < READERS; i++) {
        BIO *in = BIO_new_mem_buf(text.data, (int)text.len);
        if (!in)
            return MT_ENOMEM;
        pkey = readers[i](in);
        BIO_free(in);
    }
    *why = contains(text, SLICE("ENCRYPTED")) ? "a private key with a passphrase: take it off first" : unreadable;
    return adopt(pkey, i == 1, out, why); /* the first reader found it: it is private */
}

/* ---- JWK ---- */

/* Base64url without padding. */
static int decode(struct slice text, struct buf *out, const char **why)
{
    if (text.len == 0 || text.len > JWA_PEM_MAX || memchr(text.data, '=', text.len))
        return refuse("a member that is missing or not base64url", why);
    int rc = text_unbase64(out, text, true);
    return rc == MT_EMALFORMED ? refuse("a member that is missing or not base64url", why) : rc;
}

static int decode_exactly(struct slice text, size_t bytes, struct buf *out, const char **why)
{
    size_t before = out->len;
    int rc = decode(text, out, why);

    return rc == 0 && out->len - before != bytes ? refuse("a member of the wrong length", why) : rc;
}

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_fini(b);
}

static int import_secret(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why)
{
    struct buf secret = {0};
    int rc = decode(jwk->k, &secret, why);

    if (rc == 0)
        rc = jwa_key_from_secret(buf_slice(&secret), out);
    wipe(&secret);
    return rc;
}

/* A number that is being put together with others into a key. */
struct number {
    const char *param;
    struct slice text;
    BIGNUM *value; /* owned */
};

static int read_number(struct number *n, const char **why)
{
    struct buf bytes = {0};
    int rc = decode(n->text, &bytes, why);

    if (rc == 0 && bytes.len > JWA_RSA_BITS_MAX / 8)
        rc = refuse("an RSA key of more than 8192 bits", why);
    if (rc == 0) {
        n->value = BN_secure_new();
        rc = n->value && BN_bin2bn(bytes.data, (int)bytes.len, n->value) ? 0 : MT_ENOMEM;
    }
    wipe(&bytes);
    return rc;
}

/* NULL when OpenSSL does not take it. */
static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder, bool private)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static int import_rsa(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why)
{
    struct number all[] = {
        {OSSL_PKEY_PARAM_RSA_N, jwk->n, NULL},           {OSSL_PKEY_PARAM_RSA_E, jwk->e, NULL},
        {OSSL_PKEY_PARAM_RSA_D, jwk->d, NULL},           {OSSL_PKEY_PARAM_RSA_FACTOR1, jwk->p, NULL},
        {OSSL_PKEY_PARAM_RSA_FACTOR2, jwk->q, NULL},     {OSSL_PKEY_PARAM_RSA_EXPONENT1, jwk->dp, NULL},
        {OSSL_PKEY_PARAM_RSA_EXPONENT2, jwk->dq, NULL},  {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, jwk->qi, NULL},
    };
    enum { ALL = sizeof(all) / sizeof(*all), PUBLIC = 2 };
    bool private = jwk->d.data != NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    int rc = builder ? 0 : MT_ENOMEM;

    for (size_t i = 0; rc == 0 && i < ALL; i++) {
        if (i >= PUBLIC && (!private || !all[i].text.data))
            continue; /* RFC 7518, 6.3.2: all but d may be missing */
        rc = read_number(&all[i], why);
        if (rc == 0 && OSSL_PARAM_BLD_push_BN(builder, all[i].param, all[i].value) != 1)
            rc = MT_ENOMEM;
    }
    if (rc == 0) {
        pkey = build("RSA", builder, private);
        *why = "not an RSA key";
        rc = adopt(pkey, private, out, why);
    }
    for (size_t i = 0; i < ALL; i++)
        BN_clear_free(all[i].value);
    OSSL_PARAM_BLD_free(builder);
    return rc;
}

static const struct jwa_curve *find_curve(struct slice name)
{
    for (size_t i = 0; i < CURVES; i++)
        if (slice_is(name, slice_of(curves[i].name)))
            return &curves[i];
    return NULL;
}

static int build_ec(const struct jwa_curve *curve, const struct buf *point, const struct buf *d, struct jwa_key **out,
                    const char **why)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *scalar = d->len ? BN_secure_new() : NULL;
    EVP_PKEY *pkey = NULL;
    bool fine = builder && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) == 1 &&
                OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point->data, point->len) == 1;

    if (fine && d->len)
        fine = scalar && BN_bin2bn(d->data, (int)d->len, scalar) &&
               OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1;
    if (fine)
        pkey = build("EC", builder, d->len > 0);
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(scalar);
    *why = "not a point of the curve";
    return fine ? adopt(pkey, d->len > 0, out, why) : MT_ENOMEM;
}

static int import_ec(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why)
{
    const struct jwa_curve *curve = find_curve(jwk->crv);
    struct buf point = {0}, d = {0};

    if (!curve)
        return refuse("crv: P-256, P-384 and P-521 are there", why);
    int rc = buf_add_byte(&point, 4); /* SEC 1, 2.3.3: not compressed */
    if (rc == 0)
        rc = decode_exactly(jwk->x, curve->bytes, &point, why);
    if (rc == 0)
        rc = decode_exactly(jwk->y, curve->bytes, &point, why);
    if (rc == 0 && jwk->d.data)
        rc = decode_exactly(jwk->d, curve->bytes, &d, why);
    if (rc == 0)
        rc = build_ec(curve, &point, &d, out, why);
    buf_fini(&point);
    wipe(&d);
    return rc;
}

/* The public half that stands beside a private one is to be its own. */
static EVP_PKEY *make_ed25519(const struct buf *x, const struct buf *d)
{
    unsigned char own[ED25519_BYTES];
    size_t len = sizeof(own);

    if (!d->len)
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x->data, x->len);
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d->data, d->len);
    if (pkey && EVP_PKEY_get_raw_public_key(pkey, own, &len) == 1 && memcmp(own, x->data, len) == 0)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static int import_okp(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why)
{
    struct buf x = {0}, d = {0};

    if (!slice_is(jwk->crv, SLICE("Ed25519")))
        return refuse("crv: Ed25519 is there", why);
    int rc = decode_exactly(jwk->x, ED25519_BYTES, &x, why);
    if (rc == 0 && jwk->d.data)
        rc = decode_exactly(jwk->d, ED25519_BYTES, &d, why);
    if (rc == 0) {
        *why = "the halves do not belong together";
        rc = adopt(make_ed25519(&x, &d), d.len > 0, out, why);
    }
    buf_fini(&x);
    wipe(&d);
    return rc;
}

int jwa_key_from_jwk(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why)
{
    static const struct {
        const char *kty;
        int (*import)(const struct jwa_jwk *jwk, struct jwa_key **out, const char **why);
    } kinds[] = {{"oct", import_secret}, {"RSA", import_rsa}, {"EC", import_ec}, {"OKP", import_okp}};

    ERR_clear_error();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (slice_is(jwk->kty, slice_of(kinds[i].kty))) {
            int rc = kinds[i].import(jwk, out, why);
            ERR_clear_error();
            return rc;
        }
    return refuse("kty: oct, RSA, EC and OKP are there", why);
}
