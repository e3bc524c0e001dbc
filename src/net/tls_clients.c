/* tls_clients.c - see tls_clients.h. */
#include "net/tls_clients.h"

#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/pem.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

struct tls_trust {
    X509_STORE *store;
    STACK_OF(X509_NAME) * names; /* of the authorities, told to clients so that they can choose a certificate */
};

/* ---- what the files must be ---- */

/* KEY = "FILE": SUBJECT: TEXT; without a subject where `about` is NULL. */
static int fail(char **error, const char *key, const char *file, const X509 *about, const char *text)
{
    struct buf out = {0};
    char name[256] = "";

    if (about)
        X509_NAME_oneline(X509_get_subject_name(about), name, sizeof name);
    buf_addf(&out, "%s = \"%s\": %s%s%s", key, file, name, about ? ": " : "", text);
    buf_add_byte(&out, 0);
    ERR_clear_error();
    *error = (char *)out.data;
    return MT_ETLS;
}

/* Chains end at a root, so without one nobody could be let in. */
static bool has_root(const STACK_OF(X509) * authorities)
{
    for (int i = 0; i < sk_X509_num(authorities); i++)
        if (X509_get_extension_flags(sk_X509_value(authorities, i)) & EXFLAG_SS)
            return true;
    return false;
}

enum { LIST_MISSING, LIST_FORGED, LIST_OLD, LIST_GOOD };

static int judge_list(X509_CRL *crl, X509 *authority)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(authority)) != 0)
        return LIST_MISSING;
    if (X509_CRL_verify(crl, X509_get0_pubkey(authority)) != 1)
        return LIST_FORGED;
    return next && X509_cmp_current_time(next) < 0 ? LIST_OLD : LIST_GOOD;
}

/* The best that there is. */
static int find_list(const STACK_OF(X509_CRL) * crls, X509 *authority)
{
    int best = LIST_MISSING;

    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        int one = judge_list(sk_X509_CRL_value(crls, i), authority);
        best = one > best ? one : best;
    }
    return best;
}

/* Every authority needs a list that counts. */
static int check_lists(const char *file, const STACK_OF(X509) * authorities, const STACK_OF(X509_CRL) * crls, char **error)
{
    static const char *const texts[] = {
        [LIST_MISSING] = "there is no list by it, and without one all certificates by it are refused: add it",
        [LIST_FORGED] = "the list of that name was not signed by the certificate in tls.ca",
        [LIST_OLD] = "its list is out of date, and with it all certificates by it are refused: get a new one",
    };

    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);
        int found = X509_check_ca(authority) ? find_list(crls, authority) : LIST_GOOD; /* a client's own, signed by itself */

        if (found != LIST_GOOD)
            return fail(error, "tls.crl", file, authority, texts[found]);
    }
    return 0;
}

/* ---- loading ---- */

static int add_authorities(struct tls_trust *t, const STACK_OF(X509) * authorities)
{
    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *one = sk_X509_value(authorities, i);
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(one));

        if (!name || !sk_X509_NAME_push(t->names, name)) {
            X509_NAME_free(name);
            return MT_ENOMEM;
        }
        if (X509_STORE_add_cert(t->store, one) != 1)
            return MT_ENOMEM;
    }
    return 0;
}

static int add_lists(struct tls_trust *t, const STACK_OF(X509_CRL) * crls)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++)
        if (X509_STORE_add_crl(t->store, sk_X509_CRL_value(crls, i)) != 1)
            return MT_ENOMEM;
    return X509_STORE_set_flags(t->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1 ? 0 : MT_ENOMEM;
}

static int load_lists(struct tls_trust *t, const struct net_tls_clients *c, const STACK_OF(X509) * authorities, char **error)
{
    STACK_OF(X509_CRL) *crls = NULL;
    int rc = pem_read_crls(c->crl, "tls.crl", &crls, error);

    if (rc == 0)
        rc = check_lists(c->crl, authorities, crls, error);
    if (rc == 0)
        rc = add_lists(t, crls);
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    return rc;
}

static int load(struct tls_trust *t, const struct net_tls_clients *c, char **error)
{
    STACK_OF(X509) *authorities = NULL;
    int rc = pem_read_certificates(c->ca, "tls.ca", &authorities, error);

    if (rc == 0 && !has_root(authorities))
        rc = fail(error, "tls.ca", c->ca, NULL, "none of the certificates in it is signed by itself: add the root");
    if (rc == 0)
        rc = add_authorities(t, authorities);
    if (rc == 0 && c->crl)
        rc = load_lists(t, c, authorities, error);
    sk_X509_pop_free(authorities, X509_free);
    return rc;
}

int tls_trust_load(const struct net_tls_clients *c, struct tls_trust **out, char **error)
{
    struct tls_trust *t = mem_zalloc(1, sizeof *t);
    int rc = MT_ENOMEM;

    if (t && (t->store = X509_STORE_new()) && (t->names = sk_X509_NAME_new_null()))
        rc = load(t, c, error);
    ERR_clear_error();
    if (rc) {
        tls_trust_destroy(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tls_trust_destroy(struct tls_trust *t)
{
    if (!t)
        return;
    X509_STORE_free(t->store);
    sk_X509_NAME_pop_free(t->names, X509_NAME_free);
    mem_free(t);
}

/* ---- handshakes ---- */

bool tls_trust_use(const struct tls_trust *t, SSL *ssl)
{
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(t->names);

    if (!names || SSL_set1_verify_cert_store(ssl, t->store) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_set_client_CA_list(ssl, names); /* takes it */
    return true;
}

static void tell_refused(struct net *n, const SSL *ssl, const char *why)
{
    struct session *s = host_session(n->host, SSL_get_fd(ssl));

    n->stats.certs_refused++;
    net_tell(n, &n->bad_certs, s ? session_peer(s) : (struct slice){0}, "a client certificate was refused: %s", why);
}

/* OpenSSL tells what it does. Only the alert that ends a handshake for want of a good certificate matters here; what it was about
 * is in the queue of errors then. */
static void on_info(const SSL *ssl, int where, int alert)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    struct net *n = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (where != SSL_CB_WRITE_ALERT || alert >> 8 != SSL3_AL_FATAL)
        return;
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        tell_refused(n, ssl, "the client has none");
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        tell_refused(n, ssl, X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
}

void tls_clients_attach(enum net_tls_demand demand, SSL_CTX *ctx, struct net *n)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (demand == NET_TLS_CLIENTS_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0); /* those of TLS 1.3 */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_app_data(ctx, n);
    SSL_CTX_set_info_callback(ctx, on_info);
}
