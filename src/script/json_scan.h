/* json_scan.h - the inner loop that json_decode.c and json_encode.c share: how far a string goes without anything special. */
#ifndef MT_SCRIPT_JSON_SCAN_H
#define MT_SCRIPT_JSON_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool json_is_special(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Where the first quote, backslash or control character of [p, end) is; `end` when there is none. Eight bytes at a time: each
 * term below has the top bit of a byte set where the byte matches; a borrow can only spoil bytes behind the first match. */
static inline const char *json_scan_plain(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;

    while (end - p >= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        uint64_t quote = x ^ (ones * '"'), slash = x ^ (ones * '\\');
        uint64_t hit = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x)) & tops;
        if (hit != 0)
            return p + (__builtin_ctzll(hit) >> 3);
        p += 8;
    }
#endif
    while (p < end && !json_is_special((unsigned char)*p))
        p++;
    return p;
}
#endif
