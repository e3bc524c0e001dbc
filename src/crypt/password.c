/* password.c */
#include "crypt/password.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "crypt/crypt.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum {
    SALT_BYTES = 16,
    HASH_BYTES = 32,
    LN = 15, /* 32 MiB with r = 8, and a tenth of a second */
    MEMORY_MAX = 128 << 20,
    WORK_MAX = 16, /* times that of the usual cost */
};

static const struct scrypt_cost usual = {(uint64_t)1 << LN, 8, 1};

int password_scrypt(struct slice text, struct slice salt, const struct scrypt_cost *cost, unsigned char *out, size_t len)
{
    uint64_t memory = 128 * (cost->n * cost->r + (uint64_t)cost->r * cost->p + 32);

    ERR_clear_error();
    int fine = EVP_PBE_scrypt(text.len ? text.data : "", text.len, (const unsigned char *)(salt.len ? salt.data : ""), salt.len,
                              cost->n, cost->r, cost->p, memory + 1024 * cost->r, out, len);
    bool refused = fine != 1 && ERR_GET_REASON(ERR_peek_error()) != ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    return fine == 1 ? 0 : refused ? MT_EINVALID : MT_ENOMEM;
}

/* ---- the text ---- */

static int put_base64(struct buf *out, const unsigned char *data, size_t len)
{
    int rc = text_base64(out, data, len, false);

    while (rc == 0 && out->len > 0 && out->data[out->len - 1] == '=')
        out->len--;
    return rc;
}

/* Cuts what is before the next '$' off `rest`. */
static struct slice take_part(struct slice *rest)
{
    const char *end = rest->len ? memchr(rest->data, '$', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    struct slice part = {rest->data, len};

    rest->data += len + (end != NULL);
    rest->len -= len + (end != NULL);
    return part;
}

/* "name=digits" */
static bool read_number(struct slice *rest, struct slice name, unsigned long long max, unsigned long long *out)
{
    struct slice element;

    if (!slice_next(rest, ',', &element) || element.len <= name.len || memcmp(element.data, name.data, name.len) != 0)
        return false;
    return slice_to_uint((struct slice){element.data + name.len, element.len - name.len}, max, out);
}

static bool read_cost(struct slice text, struct scrypt_cost *out)
{
    unsigned long long ln, r, p;

    if (!read_number(&text, SLICE("ln="), 63, &ln) || !read_number(&text, SLICE("r="), UINT32_MAX, &r) ||
        !read_number(&text, SLICE("p="), UINT32_MAX, &p) || text.len > 0)
        return false;
    *out = (struct scrypt_cost){(uint64_t)1 << ln, (uint32_t)r, (uint32_t)p};
    return ln > 0 && r > 0 && p > 0 && ln < 16 * r; /* RFC 7914: N is less than 2^(128 * r / 8) */
}

/* Base64 without padding, `min` to PASSWORD_BYTES_MAX bytes. */
static int read_bytes(struct slice text, size_t min, unsigned char *out, size_t *len)
{
    struct buf padded = {0}, bytes = {0};

    if (text.len == 0 || text.len > PASSWORD_HASH_MAX || memchr(text.data, '=', text.len))
        return MT_EMALFORMED;
    int rc = buf_add(&padded, text.data, text.len);
    while (rc == 0 && padded.len % 4 != 0)
        rc = buf_add_byte(&padded, '=');
    if (rc == 0)
        rc = text_unbase64(&bytes, buf_slice(&padded), false);
    if (rc == 0 && (bytes.len < min || bytes.len > PASSWORD_BYTES_MAX))
        rc = MT_EMALFORMED;
    if (rc == 0)
        memcpy(out, bytes.data, *len = bytes.len);
    buf_fini(&padded);
    buf_fini(&bytes);
    return rc;
}

static bool is_too_much(const struct scrypt_cost *c)
{
    /* each factor is checked on its own first: their product must not run over */
    if (c->n > MEMORY_MAX / 128 || c->r > MEMORY_MAX / 128 || c->p > WORK_MAX * usual.n)
        return true;
    uint64_t blocks = c->n * c->r;
    return blocks > MEMORY_MAX / 128 || (uint64_t)c->r * c->p > MEMORY_MAX / 128 ||
           blocks * c->p > WORK_MAX * usual.n * usual.r * usual.p;
}

int password_parse(struct slice text, struct password_parts *out)
{
    if (text.len < 1 || text.data[0] != '$')
        return MT_EMALFORMED;
    struct slice rest = {text.data + 1, text.len - 1};
    if (!slice_is(take_part(&rest), SLICE("scrypt")) || !read_cost(take_part(&rest), &out->cost))
        return MT_EMALFORMED;
    int rc = read_bytes(take_part(&rest), 8, out->salt, &out->salt_len);
    if (rc == 0)
        rc = read_bytes(rest, 16, out->hash, &out->hash_len);
    return rc == 0 && is_too_much(&out->cost) ? MT_ETOO_LARGE : rc;
}

/* ---- hashing ---- */

static int put_hash(struct buf *out, const unsigned char *salt, const unsigned char *hash)
{
    int rc = buf_addf(out, "$scrypt$ln=%d,r=%u,p=%u$", LN, usual.r, usual.p);

    if (rc == 0)
        rc = put_base64(out, salt, SALT_BYTES);
    if (rc == 0)
        rc = buf_add_byte(out, '$');
    if (rc == 0)
        rc = put_base64(out, hash, HASH_BYTES);
    return rc == 0 ? buf_add_byte(out, 0) : rc;
}

int password_hash(struct slice text, char out[PASSWORD_HASH_MAX])
{
    unsigned char salt[SALT_BYTES], hash[HASH_BYTES];
    struct buf whole = {0};
    int rc = crypt_random(salt, sizeof(salt));

    if (rc == 0)
        rc = password_scrypt(text, (struct slice){(const char *)salt, sizeof(salt)}, &usual, hash, sizeof(hash));
    if (rc == 0)
        rc = put_hash(&whole, salt, hash);
    if (rc == 0)
        memcpy(out, whole.data, whole.len);
    buf_fini(&whole);
    return rc;
}

int password_verify(struct slice text, const struct password_parts *hash, bool *same)
{
    unsigned char got[PASSWORD_BYTES_MAX];
    struct slice salt = {(const char *)hash->salt, hash->salt_len};
    int rc = password_scrypt(text, salt, &hash->cost, got, hash->hash_len);

    *same = rc == 0 && CRYPTO_memcmp(got, hash->hash, hash->hash_len) == 0;
    OPENSSL_cleanse(got, sizeof(got));
    return rc;
}

/* Nobody knows a text for a hash of zeros. */
void password_unknown(struct password_parts *out)
{
    memset(out, 0, sizeof(*out));
    out->cost = usual;
    out->salt_len = SALT_BYTES;
    out->hash_len = HASH_BYTES;
}
