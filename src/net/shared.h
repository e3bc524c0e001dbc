/* shared.h - what the nets of one server share: certificates, keys of TLS tickets, addresses, counts of sockets,
 * and what each address takes.
 *
 * Made before the first net and destroyed after the last. Calls that are for any thread may come while the nets are at work.
 */
#ifndef MT_NET_SHARED_H
#define MT_NET_SHARED_H
#include "base/slice.h"
#include <stdbool.h>

struct log;
struct net_shared;

struct net_tls_file {
    const char *chain, *key; /* PEM files; the passphrase is in the environment, MOONTIDE_TLS_PASSPHRASE */
};

/* Load and check the certificates: chosen by SNI, the first is the default; none: no TLS listeners. The names are copied. NULL on
 * failure, with a sentence for the operator in *error (mem_free it), or NULL there when memory ran out. */
struct net_shared *net_shared_create(const struct net_tls_file *tls, size_t count, char **error);
void net_shared_destroy(struct net_shared *s); /* NULL is allowed */
/* Certificates of clients. */
enum net_tls_demand {
    NET_TLS_CLIENTS_OFF,      /* not asked for */
    NET_TLS_CLIENTS_OPTIONAL, /* checked where a client gives one */
    NET_TLS_CLIENTS_REQUIRED  /* no connection without */
};
struct net_tls_clients {
    enum net_tls_demand demand;
    const char *ca;  /* PEM file: whose certificates count */
    const char *crl; /* PEM file: which of them do not any more, a list for each authority; NULL: no such check */
};

/* Ask clients of TLS listeners for certificates (demand is not OFF). Files are loaded and checked; later by net_shared_reload_tls
 * too. Once, and before the first net. 0, MT_EINVALID (no certificates of the server), MT_ETLS or MT_ENOMEM, and *error. */
int net_shared_ask_clients(struct net_shared *s, const struct net_tls_clients *c, char **error);
/* How a listener is spoken to. */
enum {
    NET_TLS = 1,  /* by TLS; needs a certificate */
    NET_PROXY = 2 /* each connection begins with a PROXY header, in front of TLS too, and comes from one of the proxies */
};

/* Bind an address, with a socket for each of `workers` nets; they listen by net_listen, until then nobody can connect. Before the
 * nets are at work. An address: "127.0.0.1:8765", "[::1]:8765", "localhost:8765" (both), "*:8765" (all of both), ":8765" (as
 * localhost), "8765", "unix:/path". Port 0: any. `how`: a set of NET_*. 0, MT_EINVALID, MT_EBUSY (in use), MT_EDENIED, MT_EIO, MT_ENOMEM, with *error. */
int net_shared_bind(struct net_shared *s, struct slice address, unsigned how, unsigned workers, struct log *log, char **error);
/* Load the certificate files again: all are checked first, then they are swapped for new handshakes of all nets. On failure the
 * old stay: MT_ETLS or MT_ENOMEM, and *error. Reads files. Any thread. */
int net_shared_reload_tls(struct net_shared *s, char **error);
/* Sockets of all nets that have a place among net_options.connections. Any thread. */
size_t net_shared_count(const struct net_shared *s);
#endif
