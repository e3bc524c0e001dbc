/* proxy.h - the header that a proxy sends in front of a connection: the PROXY protocol, versions 1 and 2
 * (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt; sections 2.1 and 2.2 below are its).
 *
 * Pure and strict: what the protocol does not allow is no header. No memory, any thread.
 */
#ifndef MT_NET_PROXY_H
#define MT_NET_PROXY_H
#include "base/ip.h"

enum {
    PROXY_V1_MAX = 107,     /* bytes of a line with its CRLF (2.1) */
    PROXY_HEADER_MAX = 4096 /* of both versions. 65551 by the format; addresses, names and checksums take a few hundred */
};

/* Whose connection it is. */
enum proxy_client {
    PROXY_NAMED,  /* of a client whose address is given */
    PROXY_ITSELF, /* the proxy's own, as for its health checks (LOCAL): the socket's address is right */
    PROXY_UNKNOWN /* of a client that has no IP address, or none that the proxy tells */
};

struct proxy_header {
    enum proxy_client client;
    struct ip ip; /* PROXY_NAMED: of the client; zero otherwise */
    bool tls;     /* the client came to the proxy by TLS (PP2_TYPE_SSL) */
};

/* The length of the header at the start of `data`, and what it says in *out; 0: these `len` bytes all belong to a header that is
 * not whole yet; MT_EINVALID: they begin none. */
int proxy_parse(const unsigned char *data, size_t len, struct proxy_header *out);
#endif
