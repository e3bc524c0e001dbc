/* pem.h - PEM files with certificates and with lists of revoked ones (CRL), read as a whole: a part that cannot be read fails all
 * of it. Internal to net. Any thread.
 */
#ifndef MT_NET_PEM_H
#define MT_NET_PEM_H
#include <openssl/x509.h>

/* All of a file, at least one, in their order. `what` is what the file is to the operator ("the certificate file", "tls.ca").
 * Owned by the caller. 0, MT_ETLS or MT_ENOMEM, with *error (mem_free it). */
int pem_read_certificates(const char *file, const char *what, STACK_OF(X509) * *out, char **error);
int pem_read_crls(const char *file, const char *what, STACK_OF(X509_CRL) * *out, char **error);
EVP_PKEY *pem_read_key(const char *file, char **error); /* NULL, with *error. The passphrase: MOONTIDE_TLS_PASSPHRASE */
#endif
