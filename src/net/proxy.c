/* proxy.c - the parser of PROXY headers. */
#include "net/proxy.h"

#include "base/err.h"
#include <stdint.h>

/* ---- version 1: a line of text (2.1) ---- */

static bool is_port(struct slice text)
{
    unsigned long long port;

    return slice_to_uint(text, 65535, &port) && (text.data[0] != '0' || text.len == 1);
}

/* Cuts what is in front of the next blank, or the rest; false when that is empty. Fields have exactly one blank between them. */
static bool cut_field(struct slice *line, struct slice *field)
{
    const char *blank = line->len ? memchr(line->data, ' ', line->len) : NULL;
    size_t len = blank ? (size_t)(blank - line->data) : line->len;

    *field = (struct slice){line->data, len};
    len += blank != NULL;
    *line = (struct slice){line->data + len, line->len - len};
    return field->len > 0 && !(blank && line->len == 0);
}

/* Its family has to be the one announced. A mapped address (::ffff:192.0.2.1) is IPv6 here, as proxies send it. */
static bool is_address(struct slice text, bool v6, struct ip *out)
{
    return (memchr(text.data, ':', text.len) != NULL) == v6 && ip_parse(text, out);
}

/* What follows "PROXY TCP4 " or "PROXY TCP6 ". */
static int parse_v1_addresses(struct slice line, bool v6, struct proxy_header *out)
{
    struct slice source, target, source_port, target_port;
    struct ip ignored;

    if (!cut_field(&line, &source) || !cut_field(&line, &target) || !cut_field(&line, &source_port) ||
        !cut_field(&line, &target_port) || line.len > 0)
        return MT_EINVALID;
    if (!is_address(source, v6, &out->ip) || !is_address(target, v6, &ignored) || !is_port(source_port) || !is_port(target_port))
        return MT_EINVALID;
    out->client = PROXY_NAMED;
    return 0;
}

static bool cut_start(struct slice *line, struct slice start)
{
    if (line->len < start.len || memcmp(line->data, start.data, start.len) != 0)
        return false;
    *line = (struct slice){line->data + start.len, line->len - start.len};
    return true;
}

static int parse_v1_line(struct slice line, struct proxy_header *out)
{
    if (memchr(line.data, '\r', line.len))
        return MT_EINVALID;
    if (cut_start(&line, SLICE("PROXY TCP4 ")))
        return parse_v1_addresses(line, false, out);
    if (cut_start(&line, SLICE("PROXY TCP6 ")))
        return parse_v1_addresses(line, true, out);
    if (!cut_start(&line, SLICE("PROXY UNKNOWN")) || (line.len > 0 && line.data[0] != ' '))
        return MT_EINVALID;
    out->client = PROXY_UNKNOWN; /* and the rest of the line is to be ignored */
    return 0;
}

static int parse_v1(const unsigned char *data, size_t len, struct proxy_header *out)
{
    size_t most = len < PROXY_V1_MAX ? len : PROXY_V1_MAX;
    const unsigned char *end = memchr(data, '\n', most);

    if (!end)
        return len < PROXY_V1_MAX ? 0 : MT_EINVALID;
    if (end[-1] != '\r') /* there is a byte before it: the line begins with PROXY */
        return MT_EINVALID;
    int rc = parse_v1_line((struct slice){(const char *)data, (size_t)(end - 1 - data)}, out);
    return rc ? rc : (int)(end + 1 - data);
}

/* ---- version 2: binary (2.2) ---- */

static const unsigned char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_FIXED = 16, V2_LOCAL = 0, V2_PROXY = 1, V2_TLV_HEAD = 3 };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, TRANSPORT_DGRAM = 2 };
enum { TLV_CRC32C = 0x03, TLV_SSL = 0x20, TLV_SSL_FIXED = 5, TLV_SSL_CLIENT = 0x01 };

static size_t read_u16(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)read_u16(p) << 16 | (uint32_t)read_u16(p + 2);
}

/* CRC32c (RFC 4960 appendix B) of a header, in which the four bytes at `zeros` count as zeros (2.2.3). */
static uint32_t checksum(const unsigned char *data, size_t len, const unsigned char *zeros)
{
    uint32_t crc = UINT32_MAX;

    for (const unsigned char *p = data; p < data + len; p++) {
        crc ^= p >= zeros && p < zeros + 4 ? 0 : *p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* The vectors behind the addresses. Their lengths have to fit; those of other types are skipped. */
static int parse_vectors(const unsigned char *data, size_t at, size_t total, struct proxy_header *out)
{
    const unsigned char *sum = NULL;

    while (at < total) {
        if (total - at < V2_TLV_HEAD || read_u16(data + at + 1) > total - at - V2_TLV_HEAD)
            return MT_EINVALID;
        unsigned char type = data[at];
        size_t len = read_u16(data + at + 1);
        const unsigned char *value = data + at + V2_TLV_HEAD;
        if ((type == TLV_CRC32C && (len != 4 || sum)) || (type == TLV_SSL && len < TLV_SSL_FIXED))
            return MT_EINVALID;
        if (type == TLV_CRC32C)
            sum = value;
        else if (type == TLV_SSL)
            out->tls = (value[0] & TLV_SSL_CLIENT) != 0;
        at += V2_TLV_HEAD + len;
    }
    return sum && read_u32(sum) != checksum(data, total, sum) ? MT_EINVALID : 0;
}

static void take_v4(const unsigned char *bytes, struct ip *out)
{
    memset(out->bytes, 0, 10);
    memset(out->bytes + 10, 0xff, 2);
    memcpy(out->bytes + 12, bytes, 4);
}

/* A whole header whose command is PROXY. Where its addresses are none that are known here, their length is not known either: what
 * follows is skipped. */
static int parse_v2_client(const unsigned char *data, size_t total, struct proxy_header *out)
{
    static const size_t sizes[] = {[FAMILY_UNSPEC] = 0, [FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = 216};
    unsigned family = data[13] >> 4, transport = data[13] & 0x0f;

    if (family > FAMILY_UNIX || transport > TRANSPORT_DGRAM || total - V2_FIXED < sizes[family])
        return MT_EINVALID;
    out->client = PROXY_UNKNOWN;
    if (family == FAMILY_UNSPEC || transport == 0)
        return 0;
    if (family == FAMILY_INET)
        take_v4(data + V2_FIXED, &out->ip);
    else if (family == FAMILY_INET6)
        memcpy(out->ip.bytes, data + V2_FIXED, sizeof out->ip.bytes);
    if (family != FAMILY_UNIX)
        out->client = PROXY_NAMED;
    return parse_vectors(data, V2_FIXED + sizes[family], total, out);
}

static int parse_v2(const unsigned char *data, size_t len, struct proxy_header *out)
{
    if (len < V2_FIXED)
        return 0;
    size_t total = V2_FIXED + read_u16(data + 14);
    unsigned version = data[12] >> 4, command = data[12] & 0x0f;
    if (version != 2 || command > V2_PROXY || total > PROXY_HEADER_MAX)
        return MT_EINVALID;
    if (len < total)
        return 0;
    out->client = PROXY_ITSELF; /* LOCAL: "discard the protocol block including the family" */
    int rc = command == V2_LOCAL ? 0 : parse_v2_client(data, total, out);
    return rc ? rc : (int)total;
}

/* ---- both ---- */

static bool may_begin(const unsigned char *data, size_t len, const void *start, size_t size)
{
    return len == 0 || memcmp(data, start, len < size ? len : size) == 0;
}

int proxy_parse(const unsigned char *data, size_t len, struct proxy_header *out)
{
    static const struct slice v1 = {"PROXY ", 6};

    *out = (struct proxy_header){.client = PROXY_UNKNOWN};
    if (may_begin(data, len, v2_signature, sizeof v2_signature))
        return parse_v2(data, len, out);
    if (may_begin(data, len, v1.data, v1.len))
        return parse_v1(data, len, out);
    return MT_EINVALID;
}
