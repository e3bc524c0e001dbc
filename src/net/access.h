/* access.h - who may connect: addresses (allow, deny), proxies whose word about the client counts, origins of pages.
 *
 * Made whole from settings and never changed; a reload makes a new one. Counted; any thread.
 */
#ifndef MT_NET_ACCESS_H
#define MT_NET_ACCESS_H
#include "base/ip.h"
#include "net/http.h"

struct access;

/* NULL-terminated lists of texts, as the settings of these names hold them; NULL is an empty list. */
struct access_lists {
    const char *const *allow, *deny, *proxies, *origins;
};

/* 0; MT_EINVALID with *error, a sentence for the operator that names the setting and the item (mem_free it); MT_ENOMEM. */
int access_create(const struct access_lists *lists, struct access **out, char **error);
struct access *access_ref(struct access *a);
void access_unref(struct access *a); /* NULL is allowed */

/* `ip` NULL: a unix socket. */
bool access_admits(const struct access *a, const struct ip *ip);   /* by allow and deny; the smaller network counts */
bool access_is_proxy(const struct access *a, const struct ip *ip); /* what it says of its client is believed */
/* The client of a request that came from `peer` (NULL: unix), by X-Forwarded-For or X-Real-IP where `peer` is a proxy: the last
 * address of the chain that is no proxy. False: as it came, or the headers are no addresses. */
bool access_client(const struct access *a, const struct ip *peer, const struct http_request *r, struct ip *out);
/* Whether a proxy says that the client came by TLS (X-Forwarded-Proto), else `secure`. */
bool access_is_secure(const struct access *a, const struct ip *peer, const struct http_request *r, bool secure);
/* Whether the Origin of a request (RFC 6454; none is fine) may use this server: its own host and port, or one that is listed.
 * `secure`: the client came by TLS. An https page may use its own host where no TLS shows here: a proxy ended it. */
bool access_origin(const struct access *a, const struct http_request *r, bool secure);
#endif
