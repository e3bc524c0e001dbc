/* tls_facts.c - what is known of the TLS of a session, for the layers above.
 *
 * Names in certificates are bytes that somebody else chose, so nothing is handed on that could be taken for something else: names
 * as a whole in the form of RFC 2253, where everything but plain ASCII is escaped; single ones only where they are plain text.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "net/net_impl.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

/* Anybody may send any bytes there. */
static bool is_host(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    return *name && !name[strspn(name, letters)];
}

bool session_tls(const struct session *s, struct session_tls *out)
{
    if (!s->ssl)
        return false;
    const char *sni = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
    *out = (struct session_tls){
        .version = SSL_get_version(s->ssl),
        .cipher = SSL_get_cipher_name(s->ssl),
        .sni = sni && is_host(sni) ? sni : NULL,
    };
    return true;
}

/* ---- the certificate of the client ---- */

static char *name_text(const X509_NAME *name)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *data, *text = NULL;

    if (out && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(out, &data);
        text = mem_strdup(data, (size_t)len);
    }
    BIO_free(out);
    return text;
}

/* UTF-8 without control characters. */
static bool is_plain(const unsigned char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] == 0x7f)
            return false;
    return len > 0 && utf8_valid(text, len);
}

/* The common name where there is exactly one, and it is plain; else *out stays NULL. 0 or MT_ENOMEM. */
static int copy_common_name(const X509_NAME *name, char **out)
{
    unsigned char *text = NULL;
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1), rc = 0;

    if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0)
        return 0;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (len < 0)
        return MT_ENOMEM; /* one that cannot be read is in no certificate that was verified */
    if (is_plain(text, (size_t)len))
        rc = (*out = mem_strdup((char *)text, (size_t)len)) ? 0 : MT_ENOMEM;
    OPENSSL_free(text);
    return rc;
}

static char *fingerprint(const X509 *cert)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf hex = {0};

    if (X509_digest(cert, EVP_sha256(), digest, &len) != 1 || text_hex(&hex, digest, len) || buf_add_byte(&hex, 0)) {
        buf_fini(&hex);
        return NULL;
    }
    return (char *)hex.data;
}

static char *serial_text(const X509 *cert)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = number ? BN_bn2hex(number) : NULL, *text = hex ? mem_strdup(hex, strlen(hex)) : NULL;

    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static double unix_time(const ASN1_TIME *at)
{
    struct tm tm;

    return ASN1_TIME_to_tm(at, &tm) == 1 ? (double)timegm(&tm) : 0;
}

/* "DNS:a.example" and the like, added to *list as NAME NUL. Names of other kinds, and what is not plain ASCII, are left out. */
static int add_name(const GENERAL_NAME *name, struct buf *list)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const char *kind = type == GEN_DNS ? "DNS" : type == GEN_EMAIL ? "email" : type == GEN_URI ? "URI" : NULL;

    if (!kind)
        return 0;
    size_t len = (size_t)ASN1_STRING_length(value);
    const unsigned char *data = ASN1_STRING_get0_data(value);
    for (size_t i = 0; i < len; i++)
        if (data[i] <= ' ' || data[i] >= 0x7f)
            return 0;
    if (len == 0)
        return 0;
    return buf_addf(list, "%s:%.*s", kind, (int)len, (const char *)data) || buf_add_byte(list, 0) ? MT_ENOMEM : 0;
}

static int copy_names(const X509 *cert, struct session_client *out)
{
    int critical = 0; /* -1: there are none */
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    int rc = names || critical == -1 ? 0 : MT_ENOMEM; /* broken ones are in no certificate that was verified */

    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++)
        rc = add_name(sk_GENERAL_NAME_value(names, i), &out->names);
    GENERAL_NAMES_free(names);
    return rc;
}

void session_client_fini(struct session_client *c)
{
    mem_free(c->subject);
    mem_free(c->issuer);
    mem_free(c->cn);
    mem_free(c->serial);
    mem_free(c->fingerprint);
    buf_fini(&c->names);
    *c = (struct session_client){0};
}

int session_client(const struct session *s, struct session_client *out)
{
    X509 *cert = s->ssl ? SSL_get0_peer_certificate(s->ssl) : NULL;

    *out = (struct session_client){0};
    if (!cert || SSL_get_verify_result(s->ssl) != X509_V_OK || !(SSL_get_verify_mode(s->ssl) & SSL_VERIFY_PEER))
        return MT_ENOT_FOUND;
    out->subject = name_text(X509_get_subject_name(cert));
    out->issuer = name_text(X509_get_issuer_name(cert));
    out->fingerprint = fingerprint(cert);
    out->serial = serial_text(cert);
    out->not_after = unix_time(X509_get0_notAfter(cert));
    int rc = out->subject && out->issuer && out->fingerprint && out->serial ? 0 : MT_ENOMEM;
    if (rc == 0)
        rc = copy_common_name(X509_get_subject_name(cert), &out->cn);
    if (rc == 0)
        rc = copy_names(cert, out);
    if (rc)
        session_client_fini(out);
    ERR_clear_error();
    return rc;
}
