/* origin.c - origins as text, as parts, and in the one form in which two that are the same are equal. */
#include "net/origin.h"

#include "base/err.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>

enum { SCHEME_MAX = 32, HOST_MAX = 255, KEY_SIZE = SCHEME_MAX + HOST_MAX + sizeof "://:65535" };

struct origin {
    struct slice scheme; /* as sent */
    struct slice host;   /* as sent; an IPv6 address in its brackets. Empty only where the scheme is none of the web's */
    unsigned port;       /* the scheme's own where none was sent; 0: neither */
};

/* ---- parts ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 3986 3.1. */
static bool is_scheme(struct slice s)
{
    if (s.len == 0 || s.len > SCHEME_MAX || !is_letter(s.data[0]))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_letter(s.data[i]) && !is_digit(s.data[i]) && !memchr("+-.", s.data[i], 3))
            return false;
    return true;
}

/* Names as browsers send them (other scripts as xn--...), IPv4 addresses, IPv6 addresses in brackets. */
static bool is_host(struct slice s)
{
    struct ip ip;

    if (s.len > 2 && s.data[0] == '[' && s.data[s.len - 1] == ']') {
        struct slice inside = {s.data + 1, s.len - 2};
        return memchr(inside.data, ':', inside.len) && ip_parse(inside, &ip);
    }
    for (size_t i = 0; i < s.len; i++)
        if (!is_letter(s.data[i]) && !is_digit(s.data[i]) && !memchr("-._", s.data[i], 3))
            return false;
    return s.len > 0 && s.len <= HOST_MAX;
}

static unsigned default_port(struct slice scheme)
{
    return slice_is_nocase(scheme, SLICE("https")) ? 443 : slice_is_nocase(scheme, SLICE("http")) ? 80 : 0;
}

/* "host", "host:port", "[address]:port"; *port stays where there is none. */
static bool split_port(struct slice text, struct slice *host, unsigned *port)
{
    const char *bracket = text.len && text.data[0] == '[' ? memchr(text.data, ']', text.len) : NULL;
    size_t at = bracket ? (size_t)(bracket - text.data) : 0;
    const char *colon = at < text.len ? memchr(text.data + at, ':', text.len - at) : NULL;
    unsigned long long number;

    *host = (struct slice){text.data, colon ? (size_t)(colon - text.data) : text.len};
    if (!colon)
        return true;
    if (!slice_to_uint((struct slice){colon + 1, text.len - host->len - 1}, 65535, &number) || number == 0)
        return false;
    *port = (unsigned)number;
    return true;
}

/* Of a list, `pattern`: the first label may be a star. */
static bool parse(struct slice text, bool pattern, struct origin *out)
{
    size_t scheme = 0;

    while (scheme < text.len && text.data[scheme] != ':')
        scheme++;
    out->scheme = (struct slice){text.data, scheme};
    if (text.len < scheme + 3 || memcmp(text.data + scheme, "://", 3) != 0 || !is_scheme(out->scheme))
        return false;
    out->port = default_port(out->scheme);
    bool web = out->port != 0;
    if (!split_port((struct slice){text.data + scheme + 3, text.len - scheme - 3}, &out->host, &out->port))
        return false;
    if (pattern && web && out->host.len > 2 && memcmp(out->host.data, "*.", 2) == 0)
        return out->host.len <= HOST_MAX && is_host((struct slice){out->host.data + 2, out->host.len - 2}) &&
               out->host.data[2] != '.';
    return is_host(out->host) || (!web && out->host.len == 0);
}

/* ---- one form ---- */

static char *put_lower(char *at, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        *at++ = (char)(s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] + ('a' - 'A') : s.data[i]);
    return at;
}

/* The same address has many texts; ip_text knows one. */
static char *put_host(char *at, struct slice host)
{
    struct ip ip;
    char text[IP_TEXT_SIZE];

    if (host.len <= 2 || host.data[0] != '[' || !ip_parse((struct slice){host.data + 1, host.len - 2}, &ip))
        return put_lower(at, host);
    ip_text(&ip, text);
    return at + sprintf(at, "[%s]", text);
}

static struct slice put_key(char key[KEY_SIZE], const struct origin *o)
{
    char *at = put_lower(key, o->scheme);

    memcpy(at, "://", 3);
    at = put_host(at + 3, o->host);
    at += sprintf(at, ":%u", o->port);
    return (struct slice){key, (size_t)(at - key)};
}

/* ---- the list ---- */

int origin_set_add(struct origin_set *s, struct slice item)
{
    char key[KEY_SIZE];
    struct origin o;

    if (slice_is(item, SLICE("null")) || slice_is(item, SLICE("*"))) {
        s->null = true; /* a star is for all */
        s->any |= item.len == 1;
        return 0;
    }
    if (!parse(item, true, &o) || slice_is_nocase(o.scheme, SLICE("ws")) || slice_is_nocase(o.scheme, SLICE("wss")))
        return MT_EINVALID; /* the scheme is the page's, and no page has these: listed, they would do nothing */
    struct slice text = put_key(key, &o);
    if (map_find(&s->listed, text))
        return 0;
    char *copy = mem_strdup(text.data, text.len);
    int rc = copy ? map_put(&s->listed, (struct slice){copy, text.len}, copy) : MT_ENOMEM;
    if (rc)
        mem_free(copy);
    return rc;
}

void origin_set_fini(struct origin_set *s)
{
    size_t at = 0;
    char *text;

    while ((text = map_next(&s->listed, &at, NULL)) != NULL)
        mem_free(text);
    map_fini(&s->listed);
}

bool origin_nearest(struct slice item, char *out, size_t size)
{
    static const char *const words[] = {"null", NULL};
    const char *mark = item.len > 3 ? memmem(item.data, item.len, "://", 3) : NULL;
    struct slice scheme = {item.data, mark ? (size_t)(mark - item.data) : 0};
    struct slice host = {item.data + (mark ? scheme.len + 3 : 0), 0};
    bool plain = slice_is_nocase(scheme, SLICE("http")) || slice_is_nocase(scheme, SLICE("ws"));
    struct origin o;

    if (text_nearest(item, words)) {
        snprintf(out, size, "%s", words[0]);
        return true;
    }
    while (host.data + host.len < item.data + item.len && !memchr("/?#", host.data[host.len], 3))
        host.len++;
    int len = snprintf(out, size, "%s://%.*s", plain ? "http" : "https", (int)host.len, host.data);
    return len > 0 && (size_t)len < size && !slice_is(slice_of(out), item) && parse(slice_of(out), true, &o);
}

/* ---- the question ---- */

/* A page of http may not use a server that its client has reached by TLS: who can change the page on its way would get in. The
 * other way round TLS has ended at a proxy. */
static bool is_own(const struct origin *o, struct slice asked, bool secure)
{
    struct slice host;
    unsigned port = default_port(o->scheme);

    if (port == 0 || (secure && slice_is_nocase(o->scheme, SLICE("http"))))
        return false;
    return split_port(asked, &host, &port) && port == o->port && slice_is_nocase(host, o->host);
}

static bool is_listed(const struct origin_set *s, const struct origin *o)
{
    char key[KEY_SIZE];
    const char *dot = o->host.len && o->host.data[0] != '[' ? memchr(o->host.data, '.', o->host.len) : NULL;

    if (s->listed.count == 0)
        return false;
    if (map_find(&s->listed, put_key(key, o)))
        return true;
    if (!dot || dot == o->host.data)
        return false;
    /* a pattern is listed as it is written, which is a text that no page can send */
    struct slice label = {o->host.data, (size_t)(dot - o->host.data)};
    char *at = put_lower(key, o->scheme);
    at += sprintf(at, "://*");
    at = put_lower(at, (struct slice){dot, o->host.len - label.len});
    at += sprintf(at, ":%u", o->port);
    return map_find(&s->listed, (struct slice){key, (size_t)(at - key)}) != NULL;
}

/* How many Origin headers there are; the first in *value. */
static size_t find_origins(const struct http_request *r, struct slice *value)
{
    size_t count = 0;

    for (size_t i = 0; i < r->header_count; i++)
        if (slice_is_nocase(r->headers[i].name, SLICE("Origin")) && count++ == 0)
            *value = r->headers[i].value;
    return count;
}

bool origin_is_own(const struct http_request *r, bool secure)
{
    struct slice value;
    struct origin o;

    return find_origins(r, &value) == 1 && parse(value, false, &o) && is_own(&o, r->host, secure);
}

bool origin_set_admits(const struct origin_set *s, const struct http_request *r, bool secure)
{
    struct slice value;
    struct origin o;
    size_t count = find_origins(r, &value);

    if (count == 0)
        return true;
    if (count == 1 && slice_is(value, SLICE("null")))
        return s->null;
    if (count > 1 || !parse(value, false, &o))
        return false;
    return s->any || is_own(&o, r->host, secure) || is_listed(s, &o);
}
