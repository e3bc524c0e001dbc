/* Signatures of tokens: the vectors of RFC 7515 appendix A and RFC 8037 appendix A.4, keys of every kind, what a key does not do,
 * signatures that are none, and memory that runs out. */
#include "crypt/jwa.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PAYLOAD "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static const struct jwa_jwk a1_key = {
    .kty = SLICE("oct"),
    .k = SLICE("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")};
static const struct jwa_jwk a2_key = {
    .kty = SLICE("RSA"),
    .e = SLICE("AQAB"),
    .n = SLICE("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs"
               "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV"
               "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"),
    .d = SLICE("Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0"
               "BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYT"
               "CBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ")};
static const struct jwa_jwk a3_key = {.kty = SLICE("EC"),
                                      .crv = SLICE("P-256"),
                                      .x = SLICE("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
                                      .y = SLICE("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
                                      .d = SLICE("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")};
static const struct jwa_jwk a4_key = {
    .kty = SLICE("EC"),
    .crv = SLICE("P-521"),
    .x = SLICE("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk"),
    .y = SLICE("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"),
    .d = SLICE("AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C")};
static const struct jwa_jwk ed_key = {.kty = SLICE("OKP"),
                                      .crv = SLICE("Ed25519"),
                                      .x = SLICE("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
                                      .d = SLICE("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")};

static const struct vector {
    enum jwa alg;
    const struct jwa_jwk *key;
    const char *input, *signature;
    bool same; /* signing always gives this one */
} vectors[] = {
    {JWA_HS256, &a1_key, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", true},
    {JWA_RS256, &a2_key, "eyJhbGciOiJSUzI1NiJ9." PAYLOAD,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
     "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
     "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
     true},
    {JWA_ES256, &a3_key, "eyJhbGciOiJFUzI1NiJ9." PAYLOAD,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", false},
    {JWA_ES512, &a4_key, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
     "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp"
     "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
     false},
    {JWA_EDDSA, &ed_key, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", true},
};
enum { VECTORS = sizeof(vectors) / sizeof(*vectors) };

/* ---- helpers ---- */

static struct jwa_key *import(const struct jwa_jwk *jwk)
{
    struct jwa_key *k = NULL;
    const char *why = NULL;

    if (jwa_key_from_jwk(jwk, &k, &why) != 0)
        fail_msg("%s", why);
    return k;
}

static void refused(const struct jwa_jwk *jwk)
{
    struct jwa_key *k = NULL;
    const char *why = NULL;

    assert_int_equal(jwa_key_from_jwk(jwk, &k, &why), MT_EINVALID);
    assert_null(k);
    assert_non_null(why);
    assert_int_equal(ERR_peek_error(), 0);
}

static struct buf unbase64(const char *text)
{
    struct buf out = {0};

    assert_int_equal(text_unbase64(&out, slice_of(text), true), 0);
    return out;
}

/* A new key as PEM: private, or its public half. To be freed. */
static char *make_pem(const char *type, const char *group, unsigned bits, bool private)
{
    EVP_PKEY *pkey = bits ? EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)bits)
                     : group ? EVP_PKEY_Q_keygen(NULL, NULL, type, group)
                             : EVP_PKEY_Q_keygen(NULL, NULL, type);
    BIO *out = BIO_new(BIO_s_mem());
    char *data, *text;

    assert_non_null(pkey);
    assert_int_equal(private ? PEM_write_bio_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL) : PEM_write_bio_PUBKEY(out, pkey), 1);
    long len = BIO_get_mem_data(out, &data);
    text = mem_strdup(data, (size_t)len);
    BIO_free(out);
    EVP_PKEY_free(pkey);
    return text;
}

/* ---- tests ---- */

static void test_vectors(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        struct jwa_key *k = import(v->key);
        struct buf signature = unbase64(v->signature), made = {0};

        assert_int_equal(jwa_verify(k, v->alg, slice_of(v->input), buf_slice(&signature)), 0);
        assert_true(jwa_key_signs(k));
        assert_int_equal(jwa_sign(k, v->alg, slice_of(v->input), &made), 0);
        assert_int_equal(made.len, signature.len);
        if (v->same)
            assert_memory_equal(made.data, signature.data, made.len);
        assert_int_equal(jwa_verify(k, v->alg, slice_of(v->input), buf_slice(&made)), 0);
        assert_int_equal(jwa_verify(k, v->alg, SLICE("other"), buf_slice(&made)), MT_EINVALID);
        buf_fini(&signature);
        buf_fini(&made);
        jwa_key_destroy(k);
    }
}

/* No bit of a signature may be another, none may be missing or too many. */
static void test_changed_signatures(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        struct jwa_key *k = import(v->key);
        struct buf s = unbase64(v->signature);
        struct slice input = slice_of(v->input);

        for (size_t bit = 0; bit < s.len * 8; bit += s.len > 100 ? 37 : 1) {
            s.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_int_equal(jwa_verify(k, v->alg, input, buf_slice(&s)), MT_EINVALID);
            s.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        for (size_t len = 0; len < s.len; len++)
            assert_int_equal(jwa_verify(k, v->alg, input, (struct slice){(char *)s.data, len}), MT_EINVALID);
        assert_int_equal(buf_add_byte(&s, 0), 0);
        assert_int_equal(jwa_verify(k, v->alg, input, buf_slice(&s)), MT_EINVALID);
        buf_fini(&s);
        jwa_key_destroy(k);
    }
}

/* CVE-2022-21449: r and s of zero were valid for everything. */
static void test_psychic_signatures(void **state)
{
    static const unsigned char order[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    struct jwa_key *k = import(&a3_key);
    unsigned char s[64] = {0};

    assert_int_equal(jwa_verify(k, JWA_ES256, SLICE("x"), (struct slice){(char *)s, 64}), MT_EINVALID);
    memcpy(s, order, 32);
    memcpy(s + 32, order, 32);
    assert_int_equal(jwa_verify(k, JWA_ES256, SLICE("x"), (struct slice){(char *)s, 64}), MT_EINVALID);
    memset(s, 0xff, 64);
    assert_int_equal(jwa_verify(k, JWA_ES256, SLICE("x"), (struct slice){(char *)s, 64}), MT_EINVALID);
    jwa_key_destroy(k);
}

static void test_each_key_has_its_algorithms(void **state)
{
    static const unsigned sets[VECTORS] = {7u << JWA_HS256, 63u << JWA_RS256, 1u << JWA_ES256, 1u << JWA_ES512, 1u << JWA_EDDSA};

    for (size_t i = 0; i < VECTORS; i++) {
        struct jwa_key *k = import(vectors[i].key);

        assert_int_equal(jwa_key_algorithms(k), sets[i]);
        for (int alg = 0; alg < JWA_COUNT; alg++) {
            struct buf s = {0};
            int rc = jwa_sign(k, (enum jwa)alg, SLICE("data"), &s);

            assert_int_equal(rc, sets[i] & 1u << alg ? 0 : MT_EDENIED);
            assert_int_equal(jwa_verify(k, (enum jwa)alg, SLICE("data"), rc == 0 ? buf_slice(&s) : SLICE("signature")), rc);
            buf_fini(&s);
        }
        jwa_key_destroy(k);
    }
    for (int alg = 0; alg < JWA_COUNT; alg++)
        assert_int_equal(jwa_find(slice_of(jwa_names[alg])), alg);
    assert_int_equal(jwa_find(SLICE("none")), -1);
    assert_int_equal(jwa_find(SLICE("hs256")), -1);
    assert_int_equal(jwa_find(SLICE("")), -1);
}

static void test_pem(void **state)
{
    static const struct {
        const char *type, *group;
        unsigned bits;
        enum jwa alg;
    } kinds[] = {{"RSA", NULL, 2048, JWA_PS256}, {"EC", "P-256", 0, JWA_ES256},   {"EC", "P-384", 0, JWA_ES384},
                 {"EC", "P-521", 0, JWA_ES512},  {"ED25519", NULL, 0, JWA_EDDSA}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        char *text = make_pem(kinds[i].type, kinds[i].group, kinds[i].bits, true);
        struct jwa_key *k = NULL;
        struct buf s = {0};
        const char *why;

        assert_true(jwa_is_key_text(slice_of(text)));
        assert_int_equal(jwa_key_from_pem(slice_of(text), &k, &why), 0);
        assert_true(jwa_key_signs(k));
        assert_int_equal(jwa_key_secret_bytes(k), 0);
        assert_int_equal(jwa_sign(k, kinds[i].alg, SLICE("data"), &s), 0);
        assert_int_equal(jwa_verify(k, kinds[i].alg, SLICE("data"), buf_slice(&s)), 0);
        jwa_key_destroy(k);
        mem_free(text);
        text = make_pem(kinds[i].type, kinds[i].group, kinds[i].bits, false);
        assert_int_equal(jwa_key_from_pem(slice_of(text), &k, &why), 0);
        assert_false(jwa_key_signs(k));
        assert_int_equal(jwa_sign(k, kinds[i].alg, SLICE("data"), &s), MT_EDENIED);
        assert_int_equal(jwa_verify(k, kinds[i].alg, SLICE("data"), buf_slice(&s)), MT_EINVALID); /* of another key */
        jwa_key_destroy(k);
        mem_free(text);
        buf_fini(&s);
    }
}

/* RFC 4055: a key for PSS alone may name the hash that it is for. */
static void test_pss_keys(void **state)
{
    static const struct {
        const char *hash;
        int salt;
        unsigned algorithms;
    } kinds[] = {{NULL, 0, 7u << JWA_PS256}, {"SHA256", 32, 1u << JWA_PS256}, {"SHA512", 20, 1u << JWA_PS512}, {"SHA256", 33, 0}, {"SHA1", 20, 0}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
        EVP_PKEY *pkey = NULL;
        BIO *out = BIO_new(BIO_s_mem());
        struct jwa_key *k = NULL;
        const char *why = NULL;
        char *data;

        assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
        if (kinds[i].hash) {
            assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_keygen_md_name(ctx, kinds[i].hash, NULL), 1);
            assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md_name(ctx, kinds[i].hash), 1);
            assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(ctx, kinds[i].salt), 1);
        }
        assert_int_equal(EVP_PKEY_keygen(ctx, &pkey), 1);
        assert_int_equal(PEM_write_bio_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
        long len = BIO_get_mem_data(out, &data);
        int rc = jwa_key_from_pem((struct slice){data, (size_t)len}, &k, &why);
        assert_int_equal(rc, kinds[i].algorithms ? 0 : MT_EINVALID);
        if (k)
            assert_int_equal(jwa_key_algorithms(k), kinds[i].algorithms);
        jwa_key_destroy(k);
        BIO_free(out);
        EVP_PKEY_free(pkey);
        EVP_PKEY_CTX_free(ctx);
    }
}

static void refused_pem(const char *text)
{
    struct jwa_key *k = NULL;
    const char *why = NULL;

    assert_int_equal(jwa_key_from_pem(slice_of(text), &k, &why), MT_EINVALID);
    assert_null(k);
    assert_non_null(why);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_pem_that_is_refused(void **state)
{
    static const struct {
        const char *type, *group;
        unsigned bits;
    } kinds[] = {{"RSA", NULL, 1024}, {"EC", "secp256k1", 0}, {"X25519", NULL, 0}, {"ED448", NULL, 0}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (int private = 0; private < 2; private++) {
            char *text = make_pem(kinds[i].type, kinds[i].group, kinds[i].bits, private);
            refused_pem(text);
            mem_free(text);
        }
    refused_pem("");
    refused_pem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n");
    refused_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    refused_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    assert_true(jwa_is_key_text(SLICE("ssh-ed25519 AAAA")));
    assert_true(jwa_is_key_text(SLICE("  \n-----BEGIN CERTIFICATE-----")));
    assert_false(jwa_is_key_text(SLICE("a secret")));
    /* without its lines, and in one more base64 */
    assert_true(jwa_is_key_text(SLICE("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")));
    assert_true(jwa_is_key_text(SLICE("MCowBQYDK2VwAyEA11qYAYKx\r\nCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\n")));
    assert_true(jwa_is_key_text(SLICE("LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUNvd0JRWURLMlZ3QXlFQQ==")));
    assert_true(jwa_is_key_text(SLICE("[{\"kty\":\"RSA\"}]")));
    assert_false(jwa_is_key_text(SLICE("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPc=")));     /* not as long as it says */
    assert_false(jwa_is_key_text(SLICE("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=!"))); /* not base64 */
    refused_pem("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert_false(jwa_is_key_text(SLICE("")));
}

#define WITH(key, ...)                     \
    do {                                   \
        struct jwa_jwk jwk = key;          \
        jwk.__VA_ARGS__;                   \
        refused(&jwk);                     \
    } while (0)

static void test_jwk_that_is_refused(void **state)
{
    struct jwa_jwk p384 = a3_key, public = a2_key;

    public.d = (struct slice){NULL, 0};
    WITH(a1_key, kty = SLICE("OCT"));
    WITH(a1_key, kty = (struct slice){NULL, 0});
    WITH(a1_key, k = SLICE(""));
    WITH(a1_key, k = SLICE("AyM="));
    WITH(a1_key, k = SLICE("AyN")); /* bits that are not used */
    WITH(a1_key, k = SLICE("+/+/"));
    WITH(a1_key, k = (struct slice){NULL, 0});
    WITH(a2_key, n = SLICE("AQAB")); /* too short */
    WITH(a2_key, e = (struct slice){NULL, 0});
    WITH(a2_key, d = SLICE("AQAB")); /* of another key */
    public.e = SLICE("AQ"); /* 1: every text would be its own signature */
    refused(&public);
    public.e = SLICE("Ag");
    refused(&public);
    public.e = SLICE("AQAAAAAAAAAB"); /* of 65 bits */
    refused(&public);
    WITH(a3_key, crv = SLICE("secp256k1"));
    WITH(a3_key, crv = SLICE("p-256"));
    WITH(a3_key, x = SLICE("AAAA"));
    WITH(a3_key, y = (struct slice){NULL, 0});
    WITH(a3_key, y = SLICE("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")); /* not on the curve */
    WITH(a3_key, d = SLICE("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")); /* of another key */
    WITH(ed_key, crv = SLICE("X25519"));
    WITH(ed_key, x = SLICE("AAAA"));
    WITH(ed_key, d = SLICE("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"));
    p384.crv = SLICE("P-384");
    refused(&p384);
}

static void test_secrets(void **state)
{
    struct jwa_key *k = NULL;

    assert_int_equal(jwa_key_from_secret(SLICE(""), &k), MT_EINVALID);
    assert_int_equal(jwa_key_from_secret(SLICE("k"), &k), 0);
    assert_int_equal(jwa_key_secret_bytes(k), 1);
    assert_int_equal(jwa_key_usual(k), JWA_HS256);
    jwa_key_destroy(k);
    assert_int_equal(jwa_hash_bytes(JWA_HS512), 64);
    jwa_key_destroy(NULL);
}

static int whole_way(const struct vector *v)
{
    struct jwa_key *k = NULL;
    struct buf s = {0};
    const char *why;
    int rc = jwa_key_from_jwk(v->key, &k, &why);

    if (rc == 0)
        rc = jwa_sign(k, v->alg, slice_of(v->input), &s);
    if (rc == 0)
        rc = jwa_verify(k, v->alg, slice_of(v->input), buf_slice(&s));
    buf_fini(&s);
    jwa_key_destroy(k);
    return rc;
}

static void test_memory(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        unsigned long n = 1;
        int rc;

        do {
            mem_fail_at(n++);
            rc = whole_way(&vectors[i]);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == MT_ENOMEM);
        } while (rc != 0);
        assert_true(n > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_changed_signatures),
        cmocka_unit_test(test_psychic_signatures),
        cmocka_unit_test(test_each_key_has_its_algorithms),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_pss_keys),
        cmocka_unit_test(test_pem_that_is_refused),
        cmocka_unit_test(test_jwk_that_is_refused),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("crypt_jwa", tests, NULL, NULL);
}
