/* upgrade.c - the opening handshake and the negotiation of permessage-deflate.
 *
 * What we answer never depends on more than the first offer that fits. Both no_context_takeover parameters are always in the
 * answer, which RFC 7692 7.1.1 allows unasked; that is what makes one compressed copy of a message right for every reader.
 */
#include "net/upgrade.h"

#include "base/err.h"
#include "base/text.h"
#include "crypt/crypt.h"
#include <stdio.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum {
    KEY_LEN = 24, /* base64 of 16 bytes */
    BITS_MIN = 9, /* zlib cannot compress raw data with a window of 8 bits */
    BITS_OFFER_MIN = 8,
    BITS_MAX = 15
};

/* ---- the request ---- */

/* The value of a header that must be there exactly once; data NULL otherwise. */
static struct slice find_only(const struct http_request *r, struct slice name)
{
    struct slice found = {NULL, 0};

    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, name))
            continue;
        if (found.data)
            return (struct slice){NULL, 0};
        found = r->headers[i].value;
    }
    return found;
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 16 bytes are 22 letters and two signs of padding. Bits of the last letter that mean nothing may be set: RFC 6455 asks for the
 * length only. */
static bool key_ok(struct slice key)
{
    if (key.len != KEY_LEN || memcmp(key.data + KEY_LEN - 2, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < KEY_LEN - 2; i++)
        if (!is_base64(key.data[i]))
            return false;
    return true;
}

/* ---- Sec-WebSocket-Extensions: 1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) ), RFC 6455 9.1 ---- */

struct param {
    struct slice name;
    bool has_value;
    char value[8];    /* without quotes and backslashes, cut: all values we know have at most two letters */
    size_t value_len; /* of the whole value */
};

static void skip_blanks(struct slice *rest)
{
    while (rest->len > 0 && (rest->data[0] == ' ' || rest->data[0] == '\t')) {
        rest->data++;
        rest->len--;
    }
}

/* Take `c` with the blanks around it. */
static bool take_char(struct slice *rest, char c)
{
    skip_blanks(rest);
    if (rest->len == 0 || rest->data[0] != c)
        return false;
    rest->data++;
    rest->len--;
    skip_blanks(rest);
    return true;
}

static bool take_token(struct slice *rest, struct slice *token)
{
    size_t n = 0;

    while (n < rest->len && http_is_token((struct slice){rest->data + n, 1}))
        n++;
    *token = (struct slice){rest->data, n};
    rest->data += n;
    rest->len -= n;
    return n > 0;
}

/* A quoted string, of which what is inside must be a token (RFC 6455 9.1). */
static bool take_quoted(struct slice *rest, struct param *p)
{
    size_t at = 1;

    p->value_len = 0;
    for (; at < rest->len && rest->data[at] != '"'; at++) {
        if (rest->data[at] == '\\' && ++at == rest->len)
            return false;
        if (!http_is_token((struct slice){rest->data + at, 1}))
            return false;
        if (p->value_len < sizeof(p->value))
            p->value[p->value_len] = rest->data[at];
        p->value_len++;
    }
    if (at == rest->len)
        return false;
    rest->data += at + 1;
    rest->len -= at + 1;
    return p->value_len > 0;
}

static bool take_value(struct slice *rest, struct param *p)
{
    struct slice token;

    if (rest->len > 0 && rest->data[0] == '"')
        return take_quoted(rest, p);
    if (!take_token(rest, &token))
        return false;
    memcpy(p->value, token.data, token.len < sizeof(p->value) ? token.len : sizeof(p->value));
    p->value_len = token.len;
    return true;
}

static bool take_param(struct slice *rest, struct param *p)
{
    if (!take_token(rest, &p->name))
        return false;
    p->has_value = take_char(rest, '=');
    return !p->has_value || take_value(rest, p);
}

/* ---- permessage-deflate ---- */

enum param_seen { SERVER_TAKEOVER = 1, CLIENT_TAKEOVER = 2, SERVER_BITS = 4, CLIENT_BITS = 8 };

/* 8 to 15 without leading zeros; 0 when it is not that. */
static uint8_t read_bits(const struct param *p)
{
    unsigned long long bits;

    if (!p->has_value || p->value_len > 2 || p->value[0] == '0')
        return 0;
    if (!slice_to_uint((struct slice){p->value, p->value_len}, BITS_MAX, &bits) || bits < BITS_OFFER_MIN)
        return 0;
    return (uint8_t)bits;
}

/* Put one parameter of an offer into *d. 0 when the offer cannot be met, else the bit of the parameter. */
static unsigned apply_param(const struct param *p, struct upgrade_deflate *d)
{
    if (slice_is_nocase(p->name, SLICE("server_no_context_takeover")))
        return p->has_value ? 0 : SERVER_TAKEOVER;
    if (slice_is_nocase(p->name, SLICE("client_no_context_takeover")))
        return p->has_value ? 0 : CLIENT_TAKEOVER;
    if (slice_is_nocase(p->name, SLICE("server_max_window_bits"))) {
        d->server_bits = read_bits(p);
        d->server_bits_given = true;
        return d->server_bits < BITS_MIN ? 0 : SERVER_BITS;
    }
    if (slice_is_nocase(p->name, SLICE("client_max_window_bits"))) {
        if (p->has_value)
            d->client_bits = read_bits(p);
        return d->client_bits ? CLIENT_BITS : 0;
    }
    return 0;
}

/* One extension with its parameters: *d is on when it is an offer that can be met. False when it is no extension at all. */
static bool take_offer(struct slice *rest, struct upgrade_deflate *d)
{
    struct slice name;
    unsigned seen = 0;

    *d = (struct upgrade_deflate){.server_bits = BITS_MAX, .client_bits = BITS_MAX};
    if (!take_token(rest, &name))
        return false;
    d->on = slice_is_nocase(name, SLICE("permessage-deflate"));
    while (take_char(rest, ';')) {
        struct param p = {.value_len = 0};
        if (!take_param(rest, &p))
            return false;
        unsigned bit = d->on ? apply_param(&p, d) : 0;
        if (bit == 0 || (seen & bit))
            d->on = false;
        seen |= bit;
    }
    skip_blanks(rest);
    return rest->len == 0 || rest->data[0] == ',';
}

/* All offers of one header line; the first that can be met is kept. False when the line breaks the grammar. */
static bool read_offers(struct slice line, struct upgrade_deflate *out)
{
    for (;;) {
        struct upgrade_deflate offer;
        while (take_char(&line, ','))
            continue; /* a list may have empty elements (RFC 9110 5.6.1) */
        skip_blanks(&line);
        if (line.len == 0)
            return true;
        if (!take_offer(&line, &offer))
            return false;
        if (offer.on && !out->on)
            *out = offer;
    }
}

static bool read_extensions(const struct http_request *r, struct upgrade_deflate *out)
{
    *out = (struct upgrade_deflate){.on = false};
    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, SLICE("Sec-WebSocket-Extensions")))
            continue;
        if (!read_offers(r->headers[i].value, out)) {
            *out = (struct upgrade_deflate){.on = false};
            return false;
        }
    }
    return true;
}

void upgrade_deflate(const struct http_request *r, struct upgrade_deflate *out)
{
    read_extensions(r, out);
}

int upgrade_put_deflate(struct buf *out, const struct upgrade_deflate *d)
{
    char server[32] = "", client[32] = "";

    if (d->server_bits_given)
        snprintf(server, sizeof(server), "; server_max_window_bits=%d", d->server_bits);
    if (d->client_bits_given)
        snprintf(client, sizeof(client), "; client_max_window_bits=%d", d->client_bits);
    return buf_addf(out, "permessage-deflate; server_no_context_takeover; client_no_context_takeover%s%s", server, client);
}

/* ---- the whole ---- */

static int refuse(const char **reason, int status, const char *text)
{
    *reason = text;
    return status;
}

int upgrade_check(const struct http_request *r, const char **reason)
{
    struct upgrade_deflate ignored;

    *reason = NULL;
    if (!slice_is(r->method, SLICE("GET")))
        return refuse(reason, 405, "a WebSocket handshake is a GET");
    if (r->minor == 0)
        return refuse(reason, 400, "a WebSocket handshake needs HTTP/1.1");
    if (!r->upgrade_websocket)
        return refuse(reason, 400, "a WebSocket handshake has Connection: Upgrade and Upgrade: websocket");
    if (r->chunked || r->length > 0)
        return refuse(reason, 400, "a WebSocket handshake has no body");
    if (!slice_is(find_only(r, SLICE("Sec-WebSocket-Version")), SLICE("13")))
        return refuse(reason, 426, "this server speaks version 13 of WebSocket");
    if (!key_ok(find_only(r, SLICE("Sec-WebSocket-Key"))))
        return refuse(reason, 400, "Sec-WebSocket-Key must be there once, with 16 bytes in base64");
    if (!read_extensions(r, &ignored))
        return refuse(reason, 400, "bad Sec-WebSocket-Extensions");
    return 0;
}

int upgrade_accept(const struct http_request *r, char out[29])
{
    struct slice key = http_find(r, SLICE("Sec-WebSocket-Key"));
    char text[KEY_LEN + sizeof(GUID) - 1];
    unsigned char digest[CRYPT_DIGEST_MAX];
    struct buf encoded = {0};
    size_t len;

    if (key.len != KEY_LEN)
        return MT_EINVALID;
    memcpy(text, key.data, KEY_LEN);
    memcpy(text + KEY_LEN, GUID, sizeof(GUID) - 1);
    int failed = crypt_digest(SLICE("sha1"), text, sizeof(text), digest, &len);
    if (!failed)
        failed = text_base64(&encoded, digest, len, false);
    if (!failed) {
        memcpy(out, encoded.data, 28);
        out[28] = 0;
    }
    buf_fini(&encoded);
    return failed;
}

const char *upgrade_protocol(const struct http_request *r, const char *const *ours)
{
    for (; *ours; ours++) {
        for (size_t i = 0; i < r->header_count; i++) {
            struct slice rest = r->headers[i].value, name;
            if (!slice_is_nocase(r->headers[i].name, SLICE("Sec-WebSocket-Protocol")))
                continue;
            while (slice_next(&rest, ',', &name))
                if (slice_is(name, slice_of(*ours)))
                    return *ours;
        }
    }
    return NULL;
}
