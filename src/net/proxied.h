/* proxied.h - sockets of proxy+ listeners, from their place to the end of their PROXY header. Internal to net.
 *
 * The spec forbids guessing: what comes to such a listener has to come from a proxy that is listed and has to begin with a header. It
 * is read from the bare socket, to its last byte and no further; then the socket arrives again, with the client's address.
 */
#ifndef MT_NET_PROXIED_H
#define MT_NET_PROXIED_H

struct arrival;
struct net;

void proxied_open(struct net *n, struct arrival *a); /* takes the socket and its place */
void proxied_close_all(struct net *n);                     /* those whose header is not there yet */
#endif
