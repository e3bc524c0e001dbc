/* tickets.c - keys of TLS session tickets (RFC 5077 section 4: name, AES-256-CBC, HMAC-SHA-256), made and dropped in time. */
#include "net/tickets.h"

#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum {
    PERIOD_SECONDS = 3600,
    PERIODS_VALID = 2,           /* of a ticket */
    KEYS_MAX = PERIODS_VALID + 1 /* the one that seals, and those whose tickets may be valid */
};

struct ticket_key {
    unsigned char name[16]; /* in front of each ticket: says which key opens it */
    unsigned char cipher[32];
    unsigned char mac[32];
    uint64_t made; /* by t->now */
};

struct tickets {
    uint64_t (*now)(void);
    pthread_mutex_t lock;             /* around the keys */
    struct ticket_key keys[KEYS_MAX]; /* newest first */
    size_t count;
};

/* The index of SSL_CTX under which it keeps its struct tickets; OpenSSL's callback has no argument of its own. */
static int ctx_index = -1;
static pthread_once_t ctx_index_once = PTHREAD_ONCE_INIT;

static void make_index(void)
{
    ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

struct tickets *tickets_create(uint64_t (*now)(void))
{
    struct tickets *t = mem_zalloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->now = now;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tickets_destroy(struct tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    mem_free(t);
}

static uint64_t age_of(const struct ticket_key *k, uint64_t now)
{
    return (now - k->made) / 1000 / PERIOD_SECONDS;
}

/* Under the lock: drop what is too old; a new key in front where the newest has sealed long enough. False: no random bytes. */
static bool turn_keys(struct tickets *t, uint64_t now)
{
    struct ticket_key fresh = {.made = now};

    while (t->count > 0 && age_of(&t->keys[t->count - 1], now) >= KEYS_MAX)
        OPENSSL_cleanse(&t->keys[--t->count], sizeof fresh);
    if (t->count > 0 && age_of(&t->keys[0], now) < 1)
        return true;
    if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 || RAND_priv_bytes(fresh.cipher, sizeof fresh.cipher) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1)
        return false;
    if (t->count == KEYS_MAX)
        t->count--;
    memmove(&t->keys[1], &t->keys[0], t->count * sizeof fresh);
    t->keys[0] = fresh;
    t->count++;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return true;
}

/* A copy of the key of that name, or with `name` NULL of the one that seals. False when there is none. */
static bool copy_key(struct tickets *t, const unsigned char *name, struct ticket_key *out)
{
    bool found = false;

    pthread_mutex_lock(&t->lock);
    bool sound = turn_keys(t, t->now());
    for (size_t i = 0; sound && !found && i < t->count; i++)
        if (!name || memcmp(t->keys[i].name, name, sizeof out->name) == 0) {
            *out = t->keys[i];
            found = true;
        }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static bool use_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof k->mac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static bool use_key(struct ticket_key *k, const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    return use_mac(mac, k) && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, seal) == 1;
}

/* OpenSSL asks for a key. -1: fail the handshake; 0: no ticket, or one that we cannot open; 1: here it is; 2: the same, and the
 * client should get a new ticket (of TLS 1.3 always: there each is for one use). */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    struct tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);
    struct ticket_key k;

    if (!copy_key(t, seal ? NULL : name, &k))
        return 0;
    bool done = !seal || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;
    if (seal)
        memcpy(name, k.name, sizeof k.name);
    done = done && use_key(&k, iv, cipher, mac, seal);
    bool old = age_of(&k, t->now()) >= 1;
    OPENSSL_cleanse(&k, sizeof k);
    return !done ? -1 : !seal && (old || SSL_version(ssl) == TLS1_3_VERSION) ? 2 : 1;
}

void tickets_attach(struct tickets *t, SSL_CTX *ctx)
{
    static const unsigned char context[] = "moontide";

    pthread_once(&ctx_index_once, make_index);
    SSL_CTX_set_ex_data(ctx, ctx_index, t);
    /* The same for all workers, or sessions of another are refused. */
    SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1);
    SSL_CTX_set_timeout(ctx, PERIODS_VALID * PERIOD_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
}
