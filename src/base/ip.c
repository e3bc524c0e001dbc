/* ip.c - IP addresses: text, sockets' form, networks. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void put_v4(struct ip *out, const void *bytes)
{
    memcpy(out->bytes, v4_prefix, sizeof v4_prefix);
    memcpy(out->bytes + sizeof v4_prefix, bytes, 4);
}

bool ip_parse(struct slice text, struct ip *out)
{
    char copy[IP_TEXT_SIZE];
    struct in_addr v4;

    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, 0, text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        put_v4(out, &v4);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

bool ip_from_sockaddr(const struct sockaddr *address, struct ip *out)
{
    switch (address->sa_family) {
    case AF_INET:
        put_v4(out, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
        return true;
    case AF_INET6:
        memcpy(out->bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof out->bytes);
        return true;
    default:
        return false;
    }
}

void ip_text(const struct ip *ip, char out[IP_TEXT_SIZE])
{
    if (ip_is_v4(ip))
        inet_ntop(AF_INET, ip->bytes + sizeof v4_prefix, out, IP_TEXT_SIZE);
    else
        inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_SIZE);
}

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const unsigned char one[16] = {[15] = 1};

    return ip_is_v4(ip) ? ip->bytes[12] == 127 : memcmp(ip->bytes, one, sizeof one) == 0;
}

struct ip ip_network(const struct ip *ip, unsigned bits)
{
    struct ip network = {{0}};

    memcpy(network.bytes, ip->bytes, bits / 8);
    if (bits % 8)
        network.bytes[bits / 8] = (unsigned char)(ip->bytes[bits / 8] & (0xff00u >> bits % 8));
    return network;
}
