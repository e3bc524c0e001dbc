/* proxied.h - sockets of proxy+ listeners, from accept to the end of their PROXY header. Internal to net.
 *
 * The spec forbids guessing: what comes to such a listener has to come from a proxy that is listed and has to begin with a header. It
 * is read from the bare socket, to its last byte and no further; then the socket goes its usual way, with the client's address.
 */
#ifndef MT_NET_PROXIED_H
#define MT_NET_PROXIED_H
#include "base/ip.h"

struct net;

/* Take an accepted socket over, which shared_take_socket has counted. `peer`: whose it is, NULL for a unix socket; `secure`: TLS
 * follows the header. */
void proxied_open(struct net *n, int fd, const struct ip *peer, bool secure);
void proxied_close_all(struct net *n); /* those whose header is not there yet */
#endif
