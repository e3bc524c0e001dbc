/* guard.c - IPv4 and IPv6 networks that are not globally reachable, after IANA's registries of special-purpose addresses.
 *
 * IPv4 is public but for the list; IPv6 is not public but for 2000::/3, and of that a list is taken away again. Whatever is
 * handed out in future is then refused until it is looked at.
 */
#include "client/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct network4 {
    uint32_t base; /* in the order of the host */
    int bits;
};

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct network4 closed4[] = {
    {V4(0, 0, 0, 0), 8},        /* "this network"; Linux takes 0.0.0.0 for itself */
    {V4(10, 0, 0, 0), 8},       /* private */
    {V4(100, 64, 0, 0), 10},    /* shared by providers (CGNAT); 100.100.100.200 is a metadata service */
    {V4(127, 0, 0, 0), 8},      /* loopback */
    {V4(168, 63, 129, 16), 32}, /* Azure's own services inside of a virtual machine, although it looks public */
    {V4(169, 254, 0, 0), 16},   /* link-local; 169.254.169.254 is the metadata service of most clouds */
    {V4(172, 16, 0, 0), 12},    /* private */
    {V4(192, 0, 0, 0), 24},     /* protocol assignments */
    {V4(192, 0, 2, 0), 24},     /* documentation */
    {V4(192, 88, 99, 0), 24},   /* was the relay of 6to4 */
    {V4(192, 168, 0, 0), 16},   /* private */
    {V4(198, 18, 0, 0), 15},    /* benchmarks */
    {V4(198, 51, 100, 0), 24},  /* documentation */
    {V4(203, 0, 113, 0), 24},   /* documentation */
    {V4(224, 0, 0, 0), 3},      /* multicast, reserved, broadcast */
};

static bool is_public4(uint32_t ip)
{
    for (size_t i = 0; i < sizeof(closed4) / sizeof(closed4[0]); i++)
        if ((ip ^ closed4[i].base) >> (32 - closed4[i].bits) == 0)
            return false;
    return true;
}

/* The IPv4 address that begins at byte `at`. */
static bool is_public_inside(const uint8_t *ip, size_t at)
{
    return is_public4(V4(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
}

static bool begins(const uint8_t *ip, const void *prefix, size_t bytes)
{
    return memcmp(ip, prefix, bytes) == 0;
}

static bool is_public6(const uint8_t *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};

    if (begins(ip, mapped, sizeof(mapped)) || begins(ip, nat64, sizeof(nat64)))
        return is_public_inside(ip, 12);
    if ((ip[0] & 0xe0) != 0x20) /* not in 2000::/3 */
        return false;
    if (begins(ip, "\x20\x02", 2)) /* 6to4 */
        return is_public_inside(ip, 2);
    if (begins(ip, "\x20\x01", 2) && ip[2] < 2) /* 2001::/23, Teredo and other protocols */
        return false;
    if (begins(ip, "\x20\x01\x0d\xb8", 4) || (begins(ip, "\x3f\xff", 2) && ip[2] < 0x10)) /* documentation */
        return false;
    return true;
}

bool guard_is_public(const struct sockaddr *address)
{
    switch (address->sa_family) {
    case AF_INET:
        return is_public4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    case AF_INET6:
        return is_public6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    default:
        return false;
    }
}

bool guard_is_public_text(const char *ip)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, ip, &v4) == 1)
        return is_public4(ntohl(v4.s_addr));
    return inet_pton(AF_INET6, ip, &v6) == 1 && is_public6(v6.s6_addr);
}
