/* access.h - who may connect: addresses (allow, deny), proxies whose word about the client counts, origins of pages.
 *
 * Made whole from settings and never changed; a reload makes a new one. Counted; any thread. Questions cost a binary search or a
 * look-up, however long the lists are, and no memory.
 */
#ifndef MT_NET_ACCESS_H
#define MT_NET_ACCESS_H
#include "base/ip.h"
#include "net/http.h"

struct access;

/* NULL-terminated lists of texts, as the settings of these names hold them; NULL is an empty list. Items of the first three:
 * "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", or "unix" for those who come by a unix socket. IPv4 lies in ::/0 too, as
 * ::ffff:0:0/96. Origins: origin_set_add. */
struct access_lists {
    const char *const *allow;
    const char *const *deny;
    const char *const *proxies;
    const char *const *origins;
};

/* 0; MT_EINVALID with *error, a sentence for the operator that names the setting and the item (mem_free it); MT_ENOMEM. */
int access_create(const struct access_lists *lists, struct access **out, char **error);
struct access *access_ref(struct access *a);
void access_unref(struct access *a); /* NULL is allowed */

/* ---- addresses. `ip` and `peer` NULL: a unix socket ---- */
/* A client, by allow and deny: the smaller network counts. Once allow has an item, nobody else is let in, not even loopback. */
bool access_admits(const struct access *a, const struct ip *ip);
bool access_is_proxy(const struct access *a, const struct ip *ip); /* what it says of its client is believed */
/* A connection: from a client, or from a proxy, whose own address need not be admitted. */
bool access_opens(const struct access *a, const struct ip *peer);

enum access_said {
    ACCESS_SILENT,    /* by no proxy, or by one that says nothing: the client is the peer itself */
    ACCESS_CLIENT,    /* *out is the client */
    ACCESS_NO_ADDRESS /* a proxy says something that is no address, or two things: who the client is cannot be known */
};
/* What the peer says of the client, where it is a proxy. X-Forwarded-For is read from its end, over the addresses of proxies: the
 * first other one is the client, and what stands before it may be a lie of the client's. Without X-Forwarded-For: X-Real-IP.
 * With both the second must be the client too, or a proxy: a proxy that writes one of them hands on the other from its client,
 * and which one that is we do not know. RFC 7239's Forwarded is not read. */
enum access_said access_client(const struct access *a, const struct ip *peer, const struct http_request *r, struct ip *out);
/* Whether the client came by TLS, where a proxy says so (X-Forwarded-Proto, the last word), else `secure`. */
bool access_is_secure(const struct access *a, const struct ip *peer, const struct http_request *r, bool secure);

/* ---- origins: origin_set_admits ---- */
bool access_origin(const struct access *a, const struct http_request *r, bool secure);
#endif
