/* test_net_tls_clients.c - what is told of a client's certificate: names that somebody else chose, and memory that runs out. And
 * the files with authorities and lists: each allocation fails once, those of OpenSSL too. Who gets in:
 * tests/e2e/test_client_certs.py. */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"
#include "net/pem.h"
#include "net/tls_clients.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

static char folder[] = "/tmp/moontide-test-XXXXXX";
static char ca_path[64], crl_path[64];

/* ---- an authority and its clients ---- */

struct signer {
    EVP_PKEY *key;
    X509 *cert;
};

/* A text of a certificate with its length, zero bytes and all. */
struct raw {
    int type; /* V_ASN1_*, MBSTRING_* */
    const char *data;
    int len;
};

static X509_NAME *make_name(const struct raw *cn)
{
    X509_NAME *name = X509_NAME_new();

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", cn->type, (const unsigned char *)cn->data, cn->len, -1, 0), 1);
    return name;
}

static X509 *sign(EVP_PKEY *key, const struct raw *cn, const struct signer *by, GENERAL_NAMES *names)
{
    X509 *x = X509_new();
    X509_NAME *name = make_name(cn);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 0xabc);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_int_equal(X509_set_subject_name(x, name), 1); /* refuses what is not UTF-8 where it should be, as reading does */
    X509_set_issuer_name(x, by ? X509_get_subject_name(by->cert) : name);
    if (names)
        assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
    if (!by) {
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(x, ca, -1);
        X509_EXTENSION_free(ca);
    }
    assert_true(X509_sign(x, by ? by->key : key, EVP_sha256()) > 0);
    X509_NAME_free(name);
    return x;
}

static struct signer make_authority(void)
{
    struct signer s = {.key = EVP_EC_gen("P-256")};
    const struct raw name = {MBSTRING_ASC, "Root", 4};

    s.cert = sign(s.key, &name, NULL, NULL);
    return s;
}

static void signer_fini(struct signer *s)
{
    X509_free(s->cert);
    EVP_PKEY_free(s->key);
}

static void write_files(const struct signer *s)
{
    FILE *f = fopen(ca_path, "w");
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *at = X509_gmtime_adj(NULL, -60);

    PEM_write_X509(f, s->cert);
    fclose(f);
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(s->cert));
    X509_CRL_set1_lastUpdate(crl, at);
    X509_gmtime_adj(at, 3600);
    X509_CRL_set1_nextUpdate(crl, at);
    assert_true(X509_CRL_sign(crl, s->key, EVP_sha256()) > 0);
    f = fopen(crl_path, "w");
    PEM_write_X509_CRL(f, crl);
    fclose(f);
    ASN1_TIME_free(at);
    X509_CRL_free(crl);
}

/* ---- a connection in memory ---- */

struct link {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    struct session session; /* all that is looked at is its ssl */
};

static void open_link(struct link *l, const struct signer *authority, EVP_PKEY *key, X509 *cert, const char *sni)
{
    BIO *a, *b;

    memset(l, 0, sizeof *l);
    l->server_ctx = SSL_CTX_new(TLS_server_method());
    l->client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(l->server_ctx, authority->cert);
    SSL_CTX_use_PrivateKey(l->server_ctx, authority->key);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(l->server_ctx), authority->cert);
    SSL_CTX_set_verify(l->server_ctx, SSL_VERIFY_PEER, NULL);
    if (cert) {
        SSL_CTX_use_certificate(l->client_ctx, cert);
        SSL_CTX_use_PrivateKey(l->client_ctx, key);
    }
    l->server = SSL_new(l->server_ctx);
    l->client = SSL_new(l->client_ctx);
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(l->server, a, a);
    SSL_set_bio(l->client, b, b);
    SSL_set_accept_state(l->server);
    if (sni)
        SSL_set_tlsext_host_name(l->client, sni);
    for (int i = 0; i < 10 && !SSL_is_init_finished(l->server); i++) {
        SSL_connect(l->client);
        SSL_accept(l->server);
    }
    assert_true(SSL_is_init_finished(l->server));
    l->session.ssl = l->server;
}

static void close_link(struct link *l)
{
    SSL_free(l->client);
    SSL_free(l->server);
    SSL_CTX_free(l->client_ctx);
    SSL_CTX_free(l->server_ctx);
}

static void add_name(GENERAL_NAMES *names, int type, const char *data, int len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    assert_int_equal(ASN1_STRING_set(text, data, len), 1);
    GENERAL_NAME_set0_value(name, type, text);
    sk_GENERAL_NAME_push(names, name);
}

/* ---- names ---- */

/* What a script hears of a client of this name. */
static int hear(const struct raw *cn, GENERAL_NAMES *names, struct session_client *out)
{
    struct signer authority = make_authority();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = sign(key, cn, &authority, names);
    struct link l;

    open_link(&l, &authority, key, cert, NULL);
    int rc = session_client(&l.session, out);
    close_link(&l);
    X509_free(cert);
    EVP_PKEY_free(key);
    signer_fini(&authority);
    return rc;
}

static void common_names(void **state)
{
    static const struct {
        struct raw raw;
        const char *cn, *subject;
    } cases[] = {
        {{V_ASN1_UTF8STRING, "alice", 5}, "alice", "CN=alice"},
        {{V_ASN1_UTF8STRING, "admin\0.evil", 11}, NULL, "CN=admin\\00.evil"},
        {{V_ASN1_UTF8STRING, "\0", 1}, NULL, "CN=\\00"},
        {{V_ASN1_IA5STRING, "admin\r\nX: y", 11}, NULL, "CN=admin\\0D\\0AX: y"},
        {{V_ASN1_BMPSTRING, "\0a\0d\0m", 6}, "adm", "CN=adm"},
        {{V_ASN1_BMPSTRING, "\0a\0\0\0m", 6}, NULL, "CN=a\\00m"},
        {{V_ASN1_T61STRING, "z\xfc", 2}, "z\xc3\xbc", "CN=z\\C3\\BC"},
        {{V_ASN1_UTF8STRING, "a,CN=admin+O=x", 14}, "a,CN=admin+O=x", "CN=a\\,CN=admin\\+O=x"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct session_client c;
        assert_int_equal(hear(&cases[i].raw, NULL, &c), 0);
        assert_string_equal(c.subject, cases[i].subject);
        assert_string_equal(c.issuer, "CN=Root");
        assert_string_equal(c.serial, "0ABC");
        if (cases[i].cn)
            assert_string_equal(c.cn, cases[i].cn);
        else
            assert_null(c.cn);
        session_client_fini(&c);
    }
}

static void alternative_names(void **state)
{
    static const char want[] = "DNS:a.example\0URI:spiffe://example/a\0email:a@example.org";
    const struct raw cn = {V_ASN1_UTF8STRING, "alice", 5};
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    struct session_client c;

    add_name(names, GEN_DNS, "a.example", 9);
    add_name(names, GEN_DNS, "admin.example\0.evil.example", 27);
    add_name(names, GEN_DNS, "\0", 1);
    add_name(names, GEN_DNS, "", 0);
    add_name(names, GEN_EMAIL, "root@example.org\n", 17);
    add_name(names, GEN_EMAIL, "a b@example.org", 15);
    add_name(names, GEN_URI, "spiffe://example/admin\x80", 23);
    add_name(names, GEN_URI, "spiffe://example/a", 18);
    add_name(names, GEN_EMAIL, "a@example.org", 13);
    assert_int_equal(hear(&cn, names, &c), 0);
    assert_int_equal(c.names.len, sizeof want);
    assert_memory_equal(c.names.data, want, sizeof want);
    session_client_fini(&c);
    GENERAL_NAMES_free(names);
}

static void nobody(void **state)
{
    struct signer authority = make_authority();
    struct session plain = {0};
    struct session_client c;
    struct link l;

    assert_int_equal(session_client(&plain, &c), MT_ENOT_FOUND);
    assert_null(c.subject);
    open_link(&l, &authority, NULL, NULL, NULL); /* came without one */
    assert_int_equal(session_client(&l.session, &c), MT_ENOT_FOUND);
    SSL_set_verify(l.server, SSL_VERIFY_NONE, NULL);
    assert_int_equal(session_client(&l.session, &c), MT_ENOT_FOUND);
    close_link(&l);
    signer_fini(&authority);
}

/* The name that a client asks for (SNI) is its own choice as well. */
static void server_names(void **state)
{
    static const struct {
        const char *sent, *told;
    } cases[] = {
        {NULL, NULL},
        {"chat.example", "chat.example"},
        {"a_b-2.XN--zo-jma.example", "a_b-2.XN--zo-jma.example"},
        {"a.example\r\nX: y", NULL},
        {"a\xff\xfe", NULL},
        {"../../etc", NULL},
        {" ", NULL},
    };
    struct signer authority = make_authority();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct session_tls tls;
        struct link l;
        open_link(&l, &authority, NULL, NULL, cases[i].sent);
        assert_true(session_tls(&l.session, &tls));
        assert_string_equal(tls.version, "TLSv1.3");
        if (cases[i].told)
            assert_string_equal(tls.sni, cases[i].told);
        else
            assert_null(tls.sni);
        close_link(&l);
    }
    signer_fini(&authority);
}

/* ---- memory that runs out ---- */

/* Each allocation of session_client fails once, those of OpenSSL too: all is told, or nothing. */
static void telling_without_memory(void **state)
{
    struct signer authority = make_authority();
    const struct raw cn = {V_ASN1_UTF8STRING, "alice", 5};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    struct session_client c;
    struct link l;
    int failures = 0;
    bool reached = true;

    add_name(names, GEN_DNS, "a.example", 9);
    X509 *cert = sign(key, &cn, &authority, names);
    open_link(&l, &authority, key, cert, NULL);
    for (unsigned long n = 1; reached; n++) {
        mem_fail_at(n);
        int rc = session_client(&l.session, &c);
        reached = mem_fail_left() == 0;
        mem_fail_at(0);
        if (rc == 0) {
            assert_string_equal(c.cn, "alice");
            assert_string_equal((char *)c.names.data, "DNS:a.example");
        } else {
            assert_int_equal(rc, MT_ENOMEM);
            assert_null(c.subject);
            failures++;
        }
        session_client_fini(&c);
    }
    assert_true(failures > 20);
    close_link(&l);
    X509_free(cert);
    GENERAL_NAMES_free(names);
    EVP_PKEY_free(key);
    signer_fini(&authority);
}

/* Whoever is checked by it is checked against the authority and its list. */
static void check_whole(const struct tls_trust *t, SSL *ssl)
{
    X509_STORE *store = NULL;

    assert_true(tls_trust_use(t, ssl));
    assert_int_equal(SSL_get0_verify_cert_store(ssl, &store), 1);
    assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 2);
    assert_true(X509_VERIFY_PARAM_get_flags(X509_STORE_get0_param(store)) & X509_V_FLAG_CRL_CHECK_ALL);
    assert_int_equal(sk_X509_NAME_num(SSL_get_client_CA_list(ssl)), 1);
}

/* The same for the files: all of them, or none. */
static void loading_without_memory(void **state)
{
    struct signer authority = make_authority();
    const struct net_tls_clients c = {.demand = NET_TLS_CLIENTS_REQUIRED, .ca = ca_path, .crl = crl_path};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int failures = 0;
    bool reached = true;

    write_files(&authority);
    for (unsigned long n = 1; reached; n++) {
        SSL *ssl = SSL_new(ctx);
        struct tls_trust *t = NULL;
        char *error = NULL;
        mem_fail_at(n);
        int rc = tls_trust_load(&c, &t, &error);
        reached = mem_fail_left() == 0;
        mem_fail_at(0);
        if (rc == 0)
            check_whole(t, ssl); /* OpenSSL tries again in another way, now and then */
        else
            assert_null(t);
        failures += rc != 0;
        mem_free(error);
        tls_trust_destroy(t);
        SSL_free(ssl);
    }
    assert_true(failures > 100);
    SSL_CTX_free(ctx);
    signer_fini(&authority);
}

static void using_without_memory(void **state)
{
    struct signer authority = make_authority();
    const struct net_tls_clients c = {.demand = NET_TLS_CLIENTS_REQUIRED, .ca = ca_path};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    struct tls_trust *t;
    char *error;
    bool reached = true;

    write_files(&authority);
    assert_int_equal(tls_trust_load(&c, &t, &error), 0);
    for (unsigned long n = 1; reached; n++) {
        mem_fail_at(n);
        bool used = tls_trust_use(t, ssl);
        reached = mem_fail_left() == 0;
        mem_fail_at(0);
        assert_int_equal(used, !reached);
    }
    tls_trust_destroy(t);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    signer_fini(&authority);
}

/* ---- OpenSSL's memory is ours ---- */

static void *take(size_t size, const char *file, int line)
{
    return mem_alloc(size);
}

static void *retake(void *ptr, size_t size, const char *file, int line)
{
    return mem_resize(ptr, size);
}

static void give(void *ptr, const char *file, int line)
{
    mem_free(ptr);
}

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(ca_path, sizeof ca_path, "%s/ca.pem", folder);
    snprintf(crl_path, sizeof crl_path, "%s/crl.pem", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(ca_path);
    unlink(crl_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_names),
        cmocka_unit_test(alternative_names),
        cmocka_unit_test(nobody),
        cmocka_unit_test(server_names),
        cmocka_unit_test(telling_without_memory),
        cmocka_unit_test(loading_without_memory),
        cmocka_unit_test(using_without_memory),
    };

    if (CRYPTO_set_mem_functions(take, retake, give) != 1)
        return 1;
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
