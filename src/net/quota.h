/* quota.h - what each address takes of the server: how many sockets it has open, and how fast its handshakes come.
 *
 * One for all workers, behind a lock: asked at accept, at a handshake and at the end of a socket, never per message. An IPv6
 * address is its /64 network (RFC 6177: that is what one site has at least), so a client cannot change it at will. Bounded: an
 * address with sockets is remembered as long as these are open, and those are few beside what the sockets themselves take; one
 * without is remembered until its handshakes would be let in as if nothing had been, at most `idle_max` of these. Past that the
 * one that was quiet the longest is forgotten: who has more addresses than that is not held by the rate of handshakes, and nobody
 * else is kept out by it.
 */
#ifndef MT_NET_QUOTA_H
#define MT_NET_QUOTA_H
#include "base/bucket.h"
#include "base/ip.h"

struct quota;

struct quota *quota_create(size_t idle_max); /* at least 1. NULL when memory runs out */
void quota_destroy(struct quota *q);         /* NULL is allowed */

/* Any thread; `now_us` is clock_us. */
/* Count one more socket of an address: true, and quota_leave is owed; false where it has `limit` already, or memory ran out. */
bool quota_enter(struct quota *q, const struct ip *ip, size_t limit);
void quota_leave(struct quota *q, const struct ip *ip, uint64_t now_us);
/* How fast the handshakes of each address may come; none at first. A change forgets those that came before. */
void quota_set_rate(struct quota *q, const struct rate *handshakes);
/* Count one handshake: 0; or the microseconds after which one would be let in, and nothing was counted. */
uint64_t quota_handshake(struct quota *q, const struct ip *ip, uint64_t now_us);
size_t quota_count(struct quota *q); /* addresses that are remembered */
#endif
