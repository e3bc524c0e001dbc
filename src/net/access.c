/* access.c - the lists of addresses and proxies, and what a proxy says of its client. Origins are in origin.c. */
#include "net/access.h"

#include "base/buf.h"
#include "base/cidr.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/origin.h"

#include <stdatomic.h>

enum { DENIED, ALLOWED };

static const char address_words[] = "an address or a network such as 192.0.2.7, 10.0.0.0/8, 2001:db8::/32 or unix";
static const char origin_words[] =
    "an origin such as https://app.example, https://app.example:8443, https://*.app.example, null or *";

struct access {
    atomic_uint refs;
    struct cidr_set clients; /* of allow and deny: ALLOWED, DENIED */
    struct cidr_set proxies;
    struct origin_set origins;
    bool admits_others; /* allow is empty */
    bool admits_unix, trusts_unix;
};

/* ---- making ---- */

static int fail(char **error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(char **error, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    int rc = buf_addv(&text, format, args);
    va_end(args);
    if (!rc)
        rc = buf_add_byte(&text, 0);
    if (rc)
        buf_fini(&text);
    *error = (char *)text.data;
    return rc ? rc : MT_EINVALID;
}

static int fail_item(char **error, const char *setting, const char *item, const char *expected, const char *near)
{
    return fail(error, "%s = \"%s\" is not %s%s%s%s", setting, item, expected, *near ? "; did you mean " : "", near,
                *near ? "?" : "");
}

static bool is_unix(const char *item)
{
    return strcmp(item, "unix") == 0;
}

/* Adds the addresses of a list to `set`, each with `value`, and tells whether unix sockets are in it. */
static int add_addresses(struct cidr_set *set, const char *setting, const char *const *list, int value, bool *has_unix,
                         char **error)
{
    int rc = 0;

    for (; list && *list && !rc; list++) {
        struct cidr network = {.bits = IP_BITS + 1};
        char near[CIDR_TEXT_SIZE] = "";
        if (is_unix(*list)) {
            *has_unix = true;
        } else if (cidr_parse(slice_of(*list), &network)) {
            rc = cidr_set_add(set, &network, value);
        } else {
            if (network.bits <= IP_BITS)
                cidr_text(&network, near);
            rc = fail_item(error, setting, *list, address_words, near);
        }
    }
    return rc;
}

static int add_clients(struct access *a, const struct access_lists *l, char **error)
{
    bool allows_unix = false, denies_unix = false;
    struct cidr twice;
    char text[CIDR_TEXT_SIZE] = "unix";
    int rc = add_addresses(&a->clients, "allow", l->allow, ALLOWED, &allows_unix, error);

    a->admits_others = !l->allow || !*l->allow;
    if (!rc)
        rc = add_addresses(&a->clients, "deny", l->deny, DENIED, &denies_unix, error);
    if (rc)
        return rc;
    a->admits_unix = allows_unix || (a->admits_others && !denies_unix);
    rc = cidr_set_build(&a->clients, &twice);
    if (rc == MT_EBUSY)
        cidr_text(&twice, text);
    if (rc == MT_EBUSY || (!rc && allows_unix && denies_unix))
        rc = fail(error, "deny = \"%s\" is in allow too: one of them has to go", text);
    return rc;
}

static int add_proxies(struct access *a, const struct access_lists *l, char **error)
{
    int rc = add_addresses(&a->proxies, "proxies", l->proxies, 1, &a->trusts_unix, error);

    return rc ? rc : cidr_set_build(&a->proxies, NULL);
}

static int add_origins(struct access *a, const struct access_lists *l, char **error)
{
    char near[512] = "";
    int rc = 0;

    for (const char *const *item = l->origins; item && *item && !rc; item++) {
        rc = origin_set_add(&a->origins, slice_of(*item));
        if (rc == MT_EINVALID)
            rc = fail_item(error, "origins", *item, origin_words, origin_nearest(slice_of(*item), near, sizeof near) ? near : "");
    }
    return rc;
}

int access_create(const struct access_lists *lists, struct access **out, char **error)
{
    struct access *a = mem_zalloc(1, sizeof *a);

    *error = NULL;
    if (!a)
        return MT_ENOMEM;
    atomic_init(&a->refs, 1);
    int rc = add_clients(a, lists, error);
    if (!rc)
        rc = add_proxies(a, lists, error);
    if (!rc)
        rc = add_origins(a, lists, error);
    if (rc) {
        access_unref(a);
        return rc;
    }
    *out = a;
    return 0;
}

struct access *access_ref(struct access *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void access_unref(struct access *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    cidr_set_fini(&a->clients);
    cidr_set_fini(&a->proxies);
    origin_set_fini(&a->origins);
    mem_free(a);
}

/* ---- addresses ---- */

bool access_admits(const struct access *a, const struct ip *ip)
{
    return ip ? cidr_set_find(&a->clients, ip, a->admits_others ? ALLOWED : DENIED) == ALLOWED : a->admits_unix;
}

bool access_is_proxy(const struct access *a, const struct ip *ip)
{
    return ip ? cidr_set_find(&a->proxies, ip, 0) != 0 : a->trusts_unix;
}

bool access_opens(const struct access *a, const struct ip *peer)
{
    return access_admits(a, peer) || access_is_proxy(a, peer);
}

/* ---- what proxies say ---- */

/* "192.0.2.7", "192.0.2.7:5123", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5123". */
static bool parse_said(struct slice text, struct ip *out)
{
    const char *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    const char *bracket = text.len && text.data[0] == '[' ? memchr(text.data, ']', text.len) : NULL;
    struct slice address = text, port = {NULL, 0};
    unsigned long long number;

    if (bracket) {
        address = (struct slice){text.data + 1, (size_t)(bracket - text.data) - 1};
        if (!memchr(address.data, ':', address.len))
            return false;
        port = (struct slice){bracket + 1, text.len - address.len - 2};
    } else if (colon && !memchr(colon + 1, ':', text.len - (size_t)(colon - text.data) - 1)) {
        address.len = (size_t)(colon - text.data);
        port = (struct slice){colon, text.len - address.len};
    }
    if (port.len && (port.data[0] != ':' || !slice_to_uint((struct slice){port.data + 1, port.len - 1}, 65535, &number)))
        return false;
    return ip_parse(address, out);
}

/* Cuts the last element off a list. */
static struct slice last_element(struct slice *list)
{
    size_t at = list->len;

    while (at > 0 && list->data[at - 1] != ',')
        at--;
    struct slice element = {list->data + at, list->len - at};
    list->len = at ? at - 1 : 0;
    return slice_trim(element);
}

/* All X-Forwarded-For of a request are one list; a proxy adds to its end. */
static enum access_said read_forwarded_for(const struct access *a, const struct http_request *r, struct ip *out)
{
    enum access_said said = ACCESS_SILENT;

    for (size_t i = r->header_count; i-- > 0;) {
        struct slice rest = r->headers[i].value;
        if (!slice_is_nocase(r->headers[i].name, SLICE("X-Forwarded-For")))
            continue;
        do {
            if (!parse_said(last_element(&rest), out))
                return ACCESS_NO_ADDRESS;
            said = ACCESS_CLIENT;
            if (!access_is_proxy(a, out))
                return said;
        } while (rest.len);
    }
    return said;
}

static enum access_said read_real_ip(const struct http_request *r, struct ip *out)
{
    enum access_said said = ACCESS_SILENT;

    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, SLICE("X-Real-IP")))
            continue;
        if (said != ACCESS_SILENT || !parse_said(r->headers[i].value, out))
            return ACCESS_NO_ADDRESS;
        said = ACCESS_CLIENT;
    }
    return said;
}

enum access_said access_client(const struct access *a, const struct ip *peer, const struct http_request *r, struct ip *out)
{
    struct ip real;

    if (!access_is_proxy(a, peer))
        return ACCESS_SILENT;
    enum access_said chain = read_forwarded_for(a, r, out), single = read_real_ip(r, &real);
    if (chain == ACCESS_NO_ADDRESS || single == ACCESS_NO_ADDRESS)
        return ACCESS_NO_ADDRESS;
    if (single == ACCESS_SILENT)
        return chain;
    if (chain == ACCESS_CLIENT)
        return access_is_proxy(a, &real) || memcmp(&real, out, sizeof real) == 0 ? ACCESS_CLIENT : ACCESS_NO_ADDRESS;
    *out = real;
    return ACCESS_CLIENT;
}

bool access_is_secure(const struct access *a, const struct ip *peer, const struct http_request *r, bool secure)
{
    if (!access_is_proxy(a, peer))
        return secure;
    for (size_t i = r->header_count; i-- > 0;) {
        struct slice list = r->headers[i].value;
        if (!slice_is_nocase(r->headers[i].name, SLICE("X-Forwarded-Proto")))
            continue;
        struct slice word = last_element(&list);
        if (slice_is_nocase(word, SLICE("https")) || slice_is_nocase(word, SLICE("wss")))
            return true;
        return slice_is_nocase(word, SLICE("http")) || slice_is_nocase(word, SLICE("ws")) ? false : secure;
    }
    return secure;
}

/* ---- origins ---- */

bool access_origin(const struct access *a, const struct http_request *r, bool secure)
{
    return origin_set_admits(&a->origins, r, secure);
}
