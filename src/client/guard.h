/* guard.h - which addresses are on the public Internet: the check against server-side request forgery. */
#ifndef MT_CLIENT_GUARD_H
#define MT_CLIENT_GUARD_H
#include <stdbool.h>
#include <sys/socket.h>

/* Whether anybody on the Internet could be meant. False for loopback, private, link-local (with the metadata services of clouds),
 * shared (CGNAT), multicast, unspecified and reserved addresses, for IPv6 addresses that carry such an IPv4 address (mapped,
 * NAT64, 6to4), and for families other than IPv4 and IPv6. */
bool guard_is_public(const struct sockaddr *address);
/* The same for an address as text; false for what is none. */
bool guard_is_public_text(const char *ip);
#endif
