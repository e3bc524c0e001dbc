/* slice.h - a piece of somebody else's bytes: pointer and length, never NUL-terminated, never owned. */
#ifndef MT_BASE_SLICE_H
#define MT_BASE_SLICE_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}
static inline bool slice_is(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* ASCII case folded compare, for header names and tokens. */
bool slice_is_nocase(struct slice a, struct slice b);
/* Without the blanks and tabs at both ends (RFC 9110 OWS). */
struct slice slice_trim(struct slice s);
/* Cuts the next element off a list separated by `sep` (trimmed); false at the end. Empty elements are skipped. */
bool slice_next(struct slice *rest, char sep, struct slice *element);
/* Decimal digits only, no sign; false on anything else and above `max`. */
bool slice_to_uint(struct slice s, unsigned long long max, unsigned long long *out);
#endif
