/* fake_app_server.c - see fake_app_server.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/clock.h"
#include "fake_app_server.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALID_SECONDS = 3600, PATIENCE_MS = 10000 };

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *c = X509_new();
    X509_NAME *name = X509_get_subject_name(c);

    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(c), -VALID_SECONDS));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c), VALID_SECONDS));
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(c, name), 1);
    assert_int_equal(X509_set_pubkey(c, key), 1);
    assert_true(X509_sign(c, key, EVP_sha256()) > 0);
    return c;
}

void fake_certificate(const char *chain_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key);
    FILE *f = fopen(chain_path, "w");

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certificate), 1);
    assert_int_equal(fclose(f), 0);
    f = fopen(key_path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static SSL *open_client(SSL_CTX *context, int fd)
{
    SSL *ssl = SSL_new(context);

    assert_non_null(ssl);
    assert_int_equal(SSL_set1_host(ssl, "localhost"), 1);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return ssl;
}

/* Whether the call that returned `rc` is to be made again: a signal came, or the socket's own patience was over before ours. */
static bool goes_on(SSL *ssl, int rc, uint64_t end)
{
    return SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ && clock_ms() < end;
}

void fake_ask_tls(int fd, const char *chain_path, const char *request, char *answer, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    uint64_t end = clock_ms() + PATIENCE_MS;
    size_t len = 0;
    int rc;

    assert_int_equal(SSL_CTX_load_verify_file(context, chain_path), 1);
    SSL *ssl = open_client(context, fd);
    do {
        rc = SSL_connect(ssl);
    } while (rc != 1 && goes_on(ssl, rc, end));
    assert_int_equal(rc, 1);
    assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), strlen(request));
    do {
        rc = SSL_read(ssl, answer + len, (int)(size - 1 - len));
        len += rc > 0 ? (size_t)rc : 0;
    } while (len < size - 1 && (rc > 0 || goes_on(ssl, rc, end)));
    answer[len] = '\0';
    assert_int_equal(SSL_get_error(ssl, rc), SSL_ERROR_ZERO_RETURN); /* no end but the one that TLS vouches for */
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
}
