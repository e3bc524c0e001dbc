/* tls.c - certificates: loaded and checked as a whole, chosen by name for each handshake, swapped while connections live. One
 * store serves the SSL_CTX of every worker.
 *
 * libwebsockets makes the SSL_CTX without any; the certificate callback puts the right pair, and whom to trust, into every
 * handshake. That is why a swap needs no new context, works from EC to RSA and leaves open connections alone (TRAPS.md).
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/pem.h"
#include "net/tickets.h"
#include "net/tls_clients.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

struct tls_pair {
    X509 *leaf;
    STACK_OF(X509) *chain; /* the certificates behind the leaf */
    EVP_PKEY *key;
};

/* All files, as they were read at one time. Never changes; counted by the store and by handshakes that choose. */
struct tls_set {
    atomic_uint refs;
    struct tls_trust *trust; /* whose client certificates count; NULL: none are asked for */
    size_t count;
    struct tls_pair pairs[];
};

struct tls_store {
    struct net_tls_file *files; /* names, owned copies */
    size_t count;
    struct net_tls_clients clients; /* names, owned copies */
    pthread_mutex_t lock;       /* around `live` */
    struct tls_set *live;       /* for new handshakes */
    struct tickets *tickets;
};

static char *tls_mismatch(const struct net_tls_file *names)
{
    struct buf text = {0};

    buf_addf(&text, "the key %s does not belong to the certificate %s", names->key, names->chain);
    buf_add_byte(&text, 0);
    ERR_clear_error();
    return (char *)text.data;
}

static void pair_fini(struct tls_pair *p)
{
    X509_free(p->leaf);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    memset(p, 0, sizeof *p);
}

/* The leaf, which comes first in the file, and those behind it. */
static int pair_load_chain(struct tls_pair *p, const char *file, char **error)
{
    int rc = pem_read_certificates(file, "the certificate file", &p->chain, error);

    if (rc == 0)
        p->leaf = sk_X509_shift(p->chain);
    return rc;
}

static int pair_load(struct tls_pair *p, const struct net_tls_file *names, char **error)
{
    int rc = pair_load_chain(p, names->chain, error);

    if (rc)
        return rc;
    if (!(p->key = pem_read_key(names->key, error)))
        return MT_ETLS;
    if (X509_check_private_key(p->leaf, p->key) == 1)
        return 0;
    *error = tls_mismatch(names);
    return MT_ETLS;
}

static void set_unref(struct tls_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        pair_fini(&set->pairs[i]);
    tls_trust_destroy(set->trust);
    mem_free(set);
}

/* All that the store names, or nothing. One reference, the caller's. */
static int set_load(const struct tls_store *t, struct tls_set **out, char **error)
{
    struct tls_set *set = mem_zalloc(1, sizeof *set + t->count * sizeof *set->pairs);
    int rc = set ? 0 : MT_ENOMEM;

    if (set) {
        atomic_init(&set->refs, 1);
        set->count = t->count;
    }
    for (size_t i = 0; !rc && i < t->count; i++)
        rc = pair_load(&set->pairs[i], &t->files[i], error);
    if (!rc && t->clients.demand != NET_TLS_CLIENTS_OFF)
        rc = tls_trust_load(&t->clients, &set->trust, error);
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
        rc = set_load(t, &t->live, error);
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
    mem_free((char *)t->clients.ca);
    mem_free((char *)t->clients.crl);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

int tls_store_reload(struct tls_store *t, char **error)
{
    struct tls_set *fresh = NULL;
    int rc = set_load(t, &fresh, error);

    if (rc)
        return rc;
    pthread_mutex_lock(&t->lock);
    struct tls_set *old = t->live;
    t->live = fresh;
    pthread_mutex_unlock(&t->lock);
    set_unref(old); /* handshakes under way hold references of their own */
    return 0;
}

int tls_store_ask_clients(struct tls_store *t, const struct net_tls_clients *c, char **error)
{
    t->clients = (struct net_tls_clients){
        .demand = c->demand,
        .ca = mem_strdup(c->ca, strlen(c->ca)),
        .crl = c->crl ? mem_strdup(c->crl, strlen(c->crl)) : NULL,
    };
    return t->clients.ca && (t->clients.crl || !c->crl) ? tls_store_reload(t, error) : MT_ENOMEM;
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
    bool done = SSL_use_cert_and_key(ssl, p->leaf, p->key, p->chain, 1) == 1 && (!set->trust || tls_trust_use(set->trust, ssl));
    set_unref(set);
    return done; /* false ends the handshake */
}

void tls_store_attach(struct tls_store *t, SSL_CTX *ctx, struct net *n)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_cert_cb(ctx, choose_certificate, t);
    tickets_attach(t->tickets, ctx);
    if (t->clients.demand != NET_TLS_CLIENTS_OFF)
        tls_clients_attach(t->clients.demand, ctx, n);
    ERR_clear_error();
}
