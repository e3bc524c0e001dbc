/* pem.c - reading PEM files. */
#include "net/pem.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

/* WHAT FILE: WHY: what OpenSSL says. */
static int fail(char **error, const char *what, const char *file, const char *why)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    struct buf text = {0};

    buf_addf(&text, "%s %s: %s", what, file, why);
    if (reason)
        buf_addf(&text, ": %s", reason);
    buf_add_byte(&text, 0);
    ERR_clear_error();
    *error = (char *)text.data;
    return MT_ETLS;
}

static FILE *open_file(const char *what, const char *file, char **error)
{
    FILE *f = fopen(file, "re");
    char why[128];

    ERR_clear_error();
    if (!f) {
        snprintf(why, sizeof why, "it cannot be read: %s", strerror(errno));
        fail(error, what, file, why);
    }
    return f;
}

/* ---- reading ---- */

static int passphrase(char *out, int size, int writing, void *arg)
{
    const char *text = getenv("MOONTIDE_TLS_PASSPHRASE");
    size_t len = text ? strlen(text) : 0;

    if (!len || len > (size_t)size)
        return 0;
    memcpy(out, text, len);
    return (int)len;
}

/* Whether reading ended because there is no more, and not because of something broken. */
static bool is_end(void)
{
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

int pem_read_certificates(const char *file, const char *what, STACK_OF(X509) * *out, char **error)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    FILE *f = open_file(what, file, error);
    X509 *one;
    int rc = !f ? MT_ETLS : all ? 0 : MT_ENOMEM;

    while (rc == 0 && (one = PEM_read_X509_AUX(f, NULL, passphrase, NULL)))
        if (!sk_X509_push(all, one)) {
            X509_free(one);
            rc = MT_ENOMEM;
        }
    if (rc == 0 && (sk_X509_num(all) == 0 || !is_end()))
        rc = fail(error, what, file, sk_X509_num(all) ? "a broken certificate" : "no certificate");
    if (f)
        fclose(f);
    ERR_clear_error();
    if (rc)
        sk_X509_pop_free(all, X509_free);
    else
        *out = all;
    return rc;
}

int pem_read_crls(const char *file, const char *what, STACK_OF(X509_CRL) * *out, char **error)
{
    STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
    FILE *f = open_file(what, file, error);
    X509_CRL *one;
    int rc = !f ? MT_ETLS : all ? 0 : MT_ENOMEM;

    while (rc == 0 && (one = PEM_read_X509_CRL(f, NULL, passphrase, NULL)))
        if (!sk_X509_CRL_push(all, one)) {
            X509_CRL_free(one);
            rc = MT_ENOMEM;
        }
    if (rc == 0 && (sk_X509_CRL_num(all) == 0 || !is_end()))
        rc = fail(error, what, file, sk_X509_CRL_num(all) ? "a broken list" : "no list of revoked certificates (X509 CRL)");
    if (f)
        fclose(f);
    ERR_clear_error();
    if (rc)
        sk_X509_CRL_pop_free(all, X509_CRL_free);
    else
        *out = all;
    return rc;
}

EVP_PKEY *pem_read_key(const char *file, char **error)
{
    FILE *f = open_file("the key file", file, error);
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, passphrase, NULL) : NULL;

    if (f)
        fclose(f);
    if (f && !key)
        fail(error, "the key file", file, "no usable private key (a passphrase goes in MOONTIDE_TLS_PASSPHRASE)");
    return key;
}
