/* cidr.h - a set of networks (RFC 4632, RFC 4291 2.3), each with a number; of those that hold an address the smallest counts.
 *
 * Built once, then asked: a binary search, whatever the number of networks. Zeroed memory is an empty set. One thread while it is
 * built, any number of them afterwards.
 */
#ifndef MT_BASE_CIDR_H
#define MT_BASE_CIDR_H
#include "base/ip.h"

struct cidr {
    struct ip base; /* its first address */
    unsigned bits;  /* of the prefix, 0 to 128; IPv4 from 96 on */
};

struct cidr_set {
    struct cidr_entry *entries; /* owned: what was added */
    struct cidr_range *ranges;  /* owned: where the answer changes, in order; NULL before cidr_set_build */
    size_t count, range_count;
};

enum { CIDR_TEXT_SIZE = IP_TEXT_SIZE + 4 };

/* "10.0.0.0/8", "2001:db8::/32", or one address. False for anything else, also for bits set behind the prefix ("10.0.0.1/8"):
 * then *out is the network that was meant, and in all other cases as it was. */
bool cidr_parse(struct slice text, struct cidr *out);
/* NUL-terminated; an address by itself has no prefix. */
void cidr_text(const struct cidr *network, char out[CIDR_TEXT_SIZE]);
/* 0 or MT_ENOMEM. */
int cidr_set_add(struct cidr_set *s, const struct cidr *network, int value);
/* After all are added: 0, MT_EBUSY (a network was added twice, with different numbers: it is put into *twice, which may
 * be NULL), MT_ENOMEM. */
int cidr_set_build(struct cidr_set *s, struct cidr *twice);
/* The number of the smallest network that holds `ip`, or `otherwise`. */
int cidr_set_find(const struct cidr_set *s, const struct ip *ip, int otherwise);
void cidr_set_fini(struct cidr_set *s);
#endif
