/* origin.h - whose pages may use the server: the Origin of a request (RFC 6454, RFC 6455 4.2.2) against a list.
 *
 * A set is filled once, then asked by any number of threads; an answer costs at most two look-ups in a map, however many are
 * listed. Zeroed memory is an empty set.
 */
#ifndef MT_NET_ORIGIN_H
#define MT_NET_ORIGIN_H
#include "base/map.h"
#include "net/http.h"

struct origin_set {
    struct map listed; /* owned texts in one form, "https://app.example:443", by themselves */
    bool null, any;    /* "null" and "*" are listed */
};

/* "https://app.example", with or without a port; where the host begins with "*.", the star is exactly one label; "null"; "*": any.
 * Schemes other than http and https are for apps: "capacitor://localhost". 0, MT_EINVALID, MT_ENOMEM. */
int origin_set_add(struct origin_set *s, struct slice item);
void origin_set_fini(struct origin_set *s);
/* Whether `r` has one Origin, and that is the host and port that it asks. */
bool origin_is_own(const struct http_request *r, bool secure);
/* What somebody who wrote `item` may have meant, NUL-terminated; false when there is no telling. */
bool origin_nearest(struct slice item, char *out, size_t size);
/* Whether the page that sent `r` may: no Origin at all (no browser, or a plain GET of its own pages), the host and port that it
 * asks, or one that is listed. Several Origin headers, or one that is none, never. `secure`: the client came by TLS. */
bool origin_set_admits(const struct origin_set *s, const struct http_request *r, bool secure);
#endif
