/* tls_clients.h - certificates of clients (mTLS): whom to trust, and who was refused. Internal to net.
 *
 * OpenSSL checks what a client shows: the chain to an authority of the file, its times, that it may be used for a client
 * (extended key usage), and, where there are lists of revoked certificates, every certificate of the chain against a list that is
 * in force. There are no tickets and no sessions to resume with client certificates: whoever connects is checked against the
 * files as they are now, and a certificate that was revoked opens nothing any more once the new list is loaded.
 */
#ifndef MT_NET_TLS_CLIENTS_H
#define MT_NET_TLS_CLIENTS_H
#include "net/shared.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct net;
struct tls_trust; /* the files, as they were read at one time; never changes. Any thread */

/* 0, MT_ETLS or MT_ENOMEM, with *error, a sentence for the operator (mem_free it). Fails also when no client could ever be let
 * in: there is no root among the authorities, or one of them has no list that is signed by it and in force. */
int tls_trust_load(const struct net_tls_clients *c, struct tls_trust **out, char **error);
void tls_trust_destroy(struct tls_trust *t); /* NULL is allowed */
/* For the handshake at hand. False when memory runs out: it must not go on. */
bool tls_trust_use(const struct tls_trust *t, SSL *ssl);
/* Ask the clients of `ctx`, which serves `n`. */
void tls_clients_attach(enum net_tls_demand demand, SSL_CTX *ctx, struct net *n);
#endif
