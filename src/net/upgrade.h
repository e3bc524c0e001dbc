/* upgrade.h - the opening handshake (RFC 6455 section 4.2) and the negotiation of permessage-deflate (RFC 7692). Pure. */
#ifndef MT_NET_UPGRADE_H
#define MT_NET_UPGRADE_H
#include "net/http.h"

/* What both ends agreed on. We always answer server_no_context_takeover and client_no_context_takeover, so neither end keeps
 * zlib state between messages and one compressed copy serves a whole room. */
struct upgrade_deflate {
    bool on;
    uint8_t server_bits;    /* 9..15: window we compress with (raw zlib cannot do 8: an offer that asks for it is declined) */
    uint8_t client_bits;    /* 8..15: window the client promised, 15 when not offered */
    bool server_bits_given; /* to be printed in the answer */
    bool client_bits_given; /* the same; never set by upgrade_deflate, since we inflate with any window */
};

/* Whether `r` is a correct WebSocket handshake. 0, or the HTTP status to answer: 405 (not GET), 400 (HTTP/1.0, key missing,
 * repeated or not 16 bytes of base64, Connection without upgrade, body announced, Sec-WebSocket-Extensions that breaks the
 * grammar), 426 (version missing or not 13: answer with Sec-WebSocket-Version: 13). *reason is a static sentence. */
int upgrade_check(const struct http_request *r, const char **reason);
/* Sec-WebSocket-Accept for a checked request, NUL-terminated. 0, MT_ENOMEM, or MT_EINVALID when it was not checked. */
int upgrade_accept(const struct http_request *r, char out[29]);
/* First of `ours` (in our order, NULL-terminated) that the client lists; NULL when none. */
const char *upgrade_protocol(const struct http_request *r, const char *const *ours);
/* The first offer of permessage-deflate that can be met; out->on false when none. Unknown or repeated parameters and bad values
 * skip that offer. */
void upgrade_deflate(const struct http_request *r, struct upgrade_deflate *out);
/* Adds the value for Sec-WebSocket-Extensions. 0 or MT_ENOMEM. */
int upgrade_put_deflate(struct buf *out, const struct upgrade_deflate *d);
#endif
