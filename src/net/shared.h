/* shared.h - what the nets of one server share: certificates, keys of TLS tickets, addresses, counts of sockets,
 * and what each address takes.
 *
 * Made before the first net and destroyed after the last. Calls that are for any thread may come while the nets are at work.
 */
#ifndef MT_NET_SHARED_H
#define MT_NET_SHARED_H
#include <stddef.h>

struct net_shared;

struct net_tls_file {
    const char *chain, *key; /* PEM files; the passphrase is in the environment, MOONTIDE_TLS_PASSPHRASE */
};

/* Load and check the certificates: chosen by SNI, the first is the default; none: no TLS listeners. The names are copied. NULL on
 * failure, with a sentence for the operator in *error (mem_free it), or NULL there when memory ran out. */
struct net_shared *net_shared_create(const struct net_tls_file *tls, size_t count, char **error);
void net_shared_destroy(struct net_shared *s); /* NULL is allowed */
/* Load the certificate files again: all are checked first, then they are swapped for new handshakes of all nets. On failure the
 * old stay: MT_ETLS or MT_ENOMEM, and *error. Reads files. Any thread. */
int net_shared_reload_tls(struct net_shared *s, char **error);
/* Sockets of all nets that have a place among net_options.connections. Any thread. */
size_t net_shared_count(const struct net_shared *s);
#endif
