/* utf8.c - validation in two gears.
 *
 * ASCII is skipped 16 bytes at a time (8 without SSE2). The rest runs through an automaton of nine states held as shifts: each
 * byte has one 64-bit word with the next state of every state in it, six bits each, and a step is one shift by the state. A step
 * has no branch and its table load does not depend on the state, so the steps overlap. Every state but REJECT can still become
 * right, and none that cannot is kept: that makes the rejection as early as it can be.
 */
#include "base/utf8.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* States as shifts. REJECT inside is not UTF8_REJECT: 1 is no multiple of six. */
enum {
    ACCEPT = 0,
    REJECT = 6,
    TAIL1 = 12,    /* one byte 80..BF is missing */
    TAIL2 = 18,    /* two */
    TAIL3 = 24,    /* three */
    AFTER_E0 = 30, /* A0..BF, then one: less would be overlong */
    AFTER_ED = 36, /* 80..9F, then one: more would be a surrogate */
    AFTER_F0 = 42, /* 90..BF, then two: less would be overlong */
    AFTER_F4 = 48, /* 80..8F, then two: more would be above U+10FFFF */
};
_Static_assert((int)UTF8_ACCEPT == (int)ACCEPT, "the start state is shared");

#define TO(state, next) ((uint64_t)(next) << (state))
/* A byte that can only start a character: everywhere else it is wrong. */
#define START(next)                                                                                                              \
    (TO(ACCEPT, next) | TO(REJECT, REJECT) | TO(TAIL1, REJECT) | TO(TAIL2, REJECT) | TO(TAIL3, REJECT) | TO(AFTER_E0, REJECT) |  \
     TO(AFTER_ED, REJECT) | TO(AFTER_F0, REJECT) | TO(AFTER_F4, REJECT))
/* A byte that can only continue one; the arguments are the states after E0, ED, F0 and F4. */
#define TAIL(e0, ed, f0, f4)                                                                                                     \
    (TO(ACCEPT, REJECT) | TO(REJECT, REJECT) | TO(TAIL1, ACCEPT) | TO(TAIL2, TAIL1) | TO(TAIL3, TAIL2) | TO(AFTER_E0, e0) |      \
     TO(AFTER_ED, ed) | TO(AFTER_F0, f0) | TO(AFTER_F4, f4))

static const uint64_t steps[256] = {
    [0x00 ... 0x7F] = START(ACCEPT),
    [0x80 ... 0x8F] = TAIL(REJECT, TAIL1, REJECT, TAIL2),
    [0x90 ... 0x9F] = TAIL(REJECT, TAIL1, TAIL2, REJECT),
    [0xA0 ... 0xBF] = TAIL(TAIL1, REJECT, TAIL2, REJECT),
    [0xC0 ... 0xC1] = START(REJECT),
    [0xC2 ... 0xDF] = START(TAIL1),
    [0xE0] = START(AFTER_E0),
    [0xE1 ... 0xEC] = START(TAIL2),
    [0xED] = START(AFTER_ED),
    [0xEE ... 0xEF] = START(TAIL2),
    [0xF0] = START(AFTER_F0),
    [0xF1 ... 0xF3] = START(TAIL3),
    [0xF4] = START(AFTER_F4),
    [0xF5 ... 0xFF] = START(REJECT),
};

static const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (high)
            return p + __builtin_ctz((unsigned)high);
    }
#endif
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        if (word & 0x8080808080808080u)
            return p; /* the automaton takes the few bytes up to the first high one */
    }
    return p;
}

uint32_t utf8_feed(uint32_t state, const void *data, size_t len)
{
    uint64_t at = state; /* only the low six bits count as a shift */

    if (state == UTF8_REJECT || !len)
        return state;
    const unsigned char *p = data, *end = p + len;
    while (p < end) {
        if (at == ACCEPT) {
            p = skip_ascii(p, end);
            if (p == end)
                break;
        }
        const unsigned char *stop = end - p > 32 ? p + 32 : end;
        while (p < stop)
            at = steps[*p++] >> (at & 63);
        at &= 63;
        if (at == REJECT)
            return UTF8_REJECT;
    }
    return (uint32_t)at;
}

size_t utf8_count(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80; /* all but continuation bytes; the compiler vectorises this */
    return count;
}

static size_t first_character(const char *text, size_t len)
{
    size_t n = 1;

    while (n <= 4 && n <= len && !utf8_valid(text, n))
        n++;
    return n <= 4 && n <= len ? n : 0;
}

void utf8_mend(char *text)
{
    for (size_t len = strlen(text), n; len > 0; text += n, len -= n)
        if ((n = first_character(text, len)) == 0) {
            *text = '?';
            n = 1;
        }
}
