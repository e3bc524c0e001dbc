/* tls.c - certificates: loaded and checked as a whole, chosen by name for each handshake, swapped while connections live. One
 * store serves the SSL_CTX of every worker.
 *
 * libwebsockets makes the SSL_CTX and loads the first pair into it; the certificate callback then puts the right pair into every
 * handshake. That is why a swap needs no new context, works from EC to RSA and leaves open connections alone (TRAPS.md).
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/tickets.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct tls_pair {
    X509 *leaf;
    STACK_OF(X509) *chain; /* the certificates behind the leaf */
    EVP_PKEY *key;
};

/* The pairs of all files, as they were read at one time. Never changes; counted by the store and by handshakes that choose. */
struct tls_set {
    atomic_uint refs;
    size_t count;
    struct tls_pair pairs[];
};

struct tls_store {
    struct net_tls_file *files; /* names, owned copies */
    size_t count;
    pthread_mutex_t lock;       /* around `live` */
    struct tls_set *live;       /* for new handshakes */
    struct tickets *tickets;
};

const char *tls_passphrase(void)
{
    return getenv("MOONTIDE_TLS_PASSPHRASE");
}

/* "what FILE: what OpenSSL says", and the error queue is empty again. */
static char *tls_error(const char *what, const char *file)
{
    struct buf text = {0};
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    buf_addf(&text, "%s %s", what, file);
    if (reason)
        buf_addf(&text, ": %s", reason);
    buf_add_byte(&text, 0);
    ERR_clear_error();
    return (char *)text.data;
}

static char *tls_mismatch(const struct net_tls_file *names)
{
    struct buf text = {0};

    buf_addf(&text, "the key %s does not belong to the certificate %s", names->key, names->chain);
    buf_add_byte(&text, 0);
    ERR_clear_error();
    return (char *)text.data;
}

static int passphrase_cb(char *out, int size, int writing, void *arg)
{
    const char *text = tls_passphrase();
    size_t len = text ? strlen(text) : 0;

    if (!len || len > (size_t)size)
        return 0;
    memcpy(out, text, len);
    return (int)len;
}

static void pair_fini(struct tls_pair *p)
{
    X509_free(p->leaf);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    memset(p, 0, sizeof *p);
}

static int pair_load_chain(struct tls_pair *p, const char *file, char **error)
{
    FILE *f = fopen(file, "re");
    if (!f) {
        *error = tls_error("cannot read the certificate file", file);
        return MT_ETLS;
    }
    p->leaf = PEM_read_X509_AUX(f, NULL, passphrase_cb, NULL);
    p->chain = sk_X509_new_null();
    X509 *more;
    while (p->leaf && p->chain && (more = PEM_read_X509(f, NULL, passphrase_cb, NULL)))
        sk_X509_push(p->chain, more);
    fclose(f);
    if (!p->leaf || !p->chain) {
        *error = tls_error("no certificate in", file);
        return MT_ETLS;
    }
    ERR_clear_error(); /* "no start line" at the end of the file */
    return 0;
}

static int pair_load(struct tls_pair *p, const struct net_tls_file *names, char **error)
{
    ERR_clear_error();
    int rc = pair_load_chain(p, names->chain, error);
    if (rc)
        return rc;
    FILE *f = fopen(names->key, "re");
    if (!f) {
        *error = tls_error("cannot read the key file", names->key);
        return MT_ETLS;
    }
    p->key = PEM_read_PrivateKey(f, NULL, passphrase_cb, NULL);
    fclose(f);
    if (!p->key) {
        *error = tls_error("no usable private key (a passphrase goes in MOONTIDE_TLS_PASSPHRASE) in", names->key);
        return MT_ETLS;
    }
    if (X509_check_private_key(p->leaf, p->key) != 1) {
        *error = tls_mismatch(names);
        return MT_ETLS;
    }
    return 0;
}

static void set_unref(struct tls_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        pair_fini(&set->pairs[i]);
    mem_free(set);
}

/* All pairs, or none. One reference, the caller's. */
static int set_load(const struct net_tls_file *files, size_t count, struct tls_set **out, char **error)
{
    struct tls_set *set = mem_zalloc(1, sizeof *set + count * sizeof *set->pairs);
    int rc = set ? 0 : MT_ENOMEM;

    if (set) {
        atomic_init(&set->refs, 1);
        set->count = count;
    }
    for (size_t i = 0; !rc && i < count; i++)
        rc = pair_load(&set->pairs[i], &files[i], error);
    if (rc) {
        set_unref(set);
        return rc;
    }
    *out = set;
    return 0;
}

static int copy_files(struct tls_store *t, const struct net_tls_file *files, size_t count)
{
    if (!(t->files = mem_zalloc(count, sizeof *t->files)))
        return MT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        t->count = i + 1;
        t->files[i].chain = mem_strdup(files[i].chain, strlen(files[i].chain));
        t->files[i].key = mem_strdup(files[i].key, strlen(files[i].key));
        if (!t->files[i].chain || !t->files[i].key)
            return MT_ENOMEM;
    }
    return 0;
}

int tls_store_create(const struct net_tls_file *files, size_t count, uint64_t (*now)(void), struct tls_store **out, char **error)
{
    struct tls_store *t = mem_zalloc(1, sizeof *t);

    if (!t)
        return MT_ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    int rc = copy_files(t, files, count);
    if (!rc && !(t->tickets = tickets_create(now)))
        rc = MT_ENOMEM;
    if (!rc)
        rc = set_load(t->files, count, &t->live, error);
    if (rc) {
        tls_store_destroy(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tls_store_destroy(struct tls_store *t)
{
    if (!t)
        return;
    set_unref(t->live);
    tickets_destroy(t->tickets);
    for (size_t i = 0; i < t->count; i++) {
        mem_free((char *)t->files[i].chain);
        mem_free((char *)t->files[i].key);
    }
    mem_free(t->files);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

int tls_store_reload(struct tls_store *t, char **error)
{
    struct tls_set *fresh = NULL;
    int rc = set_load(t->files, t->count, &fresh, error);

    if (rc)
        return rc;
    pthread_mutex_lock(&t->lock);
    struct tls_set *old = t->live;
    t->live = fresh;
    pthread_mutex_unlock(&t->lock);
    set_unref(old); /* handshakes under way hold references of their own */
    return 0;
}

const struct net_tls_file *tls_store_default(const struct tls_store *t)
{
    return &t->files[0];
}

/* ---- choosing ---- */

/* A reference to the set that is live now. */
static struct tls_set *store_take(struct tls_store *t)
{
    pthread_mutex_lock(&t->lock);
    struct tls_set *set = t->live;
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&t->lock);
    return set;
}

static const struct tls_pair *pair_for(const struct tls_set *set, const char *name)
{
    for (size_t i = 0; name && i < set->count; i++)
        if (X509_check_host(set->pairs[i].leaf, name, 0, 0, NULL) == 1)
            return &set->pairs[i];
    return &set->pairs[0];
}

static int choose_certificate(SSL *ssl, void *arg)
{
    struct tls_set *set = store_take(arg);
    const struct tls_pair *p = pair_for(set, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

    SSL_certs_clear(ssl);
    int done = SSL_use_cert_and_key(ssl, p->leaf, p->key, p->chain, 1);
    set_unref(set);
    return done;
}

void tls_store_attach(struct tls_store *t, SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_cert_cb(ctx, choose_certificate, t);
    tickets_attach(t->tickets, ctx);
    ERR_clear_error();
}
