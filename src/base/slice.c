/* slice.c - the few string operations that header parsing needs, on borrowed bytes. */
#include "base/slice.h"

/* Not tolower(): that one follows the locale, protocol text does not. */
static unsigned char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : (unsigned char)c;
}

bool slice_is_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.data[i]) != fold(b.data[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool slice_next(struct slice *rest, char sep, struct slice *element)
{
    while (rest->len) {
        const char *cut = memchr(rest->data, sep, rest->len);
        size_t len = cut ? (size_t)(cut - rest->data) : rest->len;
        struct slice found = slice_trim((struct slice){rest->data, len});

        rest->data += len + (cut != NULL);
        rest->len -= len + (cut != NULL);
        if (found.len) {
            *element = found;
            return true;
        }
    }
    return false;
}

bool slice_to_uint(struct slice s, unsigned long long max, unsigned long long *out)
{
    unsigned long long value = 0;

    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        unsigned digit = (unsigned)(s.data[i] - '0');
        /* Checked before the step, so that nothing wraps around. */
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}
