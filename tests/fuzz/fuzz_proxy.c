/* fuzz_proxy.c - any bytes as a PROXY header: the same answer whole and in pieces, and what is named is an address that was there. */
#include "fuzz.h"
#include "net/proxy.h"

static int parse(const uint8_t *data, size_t size, struct proxy_header *h)
{
    if (size == 0)
        return proxy_parse((const unsigned char *)"", 0, h);
    unsigned char *copy = fuzz_copy(data, size);
    int rc = proxy_parse(copy, size, h);
    free(copy);
    return rc;
}

/* What a listener does: it asks again with more, takes the bytes of an answer of 0, and stops at another. */
static void check_pieces(const uint8_t *data, size_t size, int whole)
{
    struct proxy_header h;

    for (size_t n = 0; n <= size; n++) {
        int rc = parse(data, n, &h);
        if (rc == 0)
            continue;
        FUZZ_CHECK(rc == whole);
        FUZZ_CHECK(rc < 0 || (size_t)rc == n);
        return;
    }
    FUZZ_CHECK(whole == 0);
}

static void check_v1_ip(const uint8_t *data, size_t len, const struct ip *ip)
{
    const char *from = (const char *)data + 11; /* behind "PROXY TCPn " */
    const char *blank = memchr(from, ' ', len - 11);
    struct ip again;

    FUZZ_CHECK(blank && ip_parse((struct slice){from, (size_t)(blank - from)}, &again));
    FUZZ_CHECK(memcmp(&again, ip, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h;
    int rc = parse(data, size, &h);

    FUZZ_CHECK(rc <= (int)size && rc <= PROXY_HEADER_MAX);
    FUZZ_CHECK(rc != 0 || size < PROXY_HEADER_MAX);
    if (rc > 0) {
        static const struct ip none;
        FUZZ_CHECK(h.client <= PROXY_UNKNOWN);
        FUZZ_CHECK(h.client == PROXY_NAMED || memcmp(&h.ip, &none, sizeof none) == 0);
        FUZZ_CHECK(h.client != PROXY_ITSELF || !h.tls);
        if (data[0] == 'P' && h.client == PROXY_NAMED)
            check_v1_ip(data, (size_t)rc, &h.ip);
    }
    if (size <= 3 * PROXY_V1_MAX) /* every beginning is a copy and a parse */
        check_pieces(data, size, rc);
    return 0;
}
