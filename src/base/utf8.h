/* utf8.h - UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
 *
 * Incremental, for text that arrives in pieces: feed each piece with the state of the last. UTF8_REJECT is returned with
 * the first byte that no continuation could make right; UTF8_ACCEPT means complete so far; anything else: in the middle.
 */
#ifndef MT_BASE_UTF8_H
#define MT_BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_ACCEPT = 0, UTF8_REJECT = 1 };

uint32_t utf8_feed(uint32_t state, const void *data, size_t len);
static inline bool utf8_valid(const void *data, size_t len)
{
    return utf8_feed(UTF8_ACCEPT, data, len) == UTF8_ACCEPT;
}
/* Code points in valid text. */
size_t utf8_count(const char *text, size_t len);
/* Makes each byte that is not part of a character a '?': of a message that was cut, or has somebody else's bytes in it. */
void utf8_mend(char *text);
#endif
