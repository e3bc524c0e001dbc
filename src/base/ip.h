/* ip.h - an IP address of either family as sixteen bytes. */
#ifndef MT_BASE_IP_H
#define MT_BASE_IP_H
#include "base/slice.h"

struct sockaddr;

/* In network order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so one client has one address whatever socket it came through. */
struct ip {
    unsigned char bytes[16];
};

enum { IP_BITS = 128, IP_V4_BITS = 96, IP_TEXT_SIZE = 46 };

/* "203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"; no brackets, port, zone or blanks. */
bool ip_parse(struct slice text, struct ip *out);
/* False for families other than AF_INET and AF_INET6. */
bool ip_from_sockaddr(const struct sockaddr *address, struct ip *out);
/* NUL-terminated; IPv4 in its own form. */
void ip_text(const struct ip *ip, char out[IP_TEXT_SIZE]);
bool ip_is_v4(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip); /* 127/8 and ::1 */
/* The first `bits` (0 to 128) bits, then zeros. */
struct ip ip_network(const struct ip *ip, unsigned bits);
#endif
