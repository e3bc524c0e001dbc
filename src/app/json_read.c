/* json_read.c - skipping over values is all there is to it: a string by its quotes, a list or object by counting brackets. */
#include "app/json_read.h"

#include <stdlib.h>

/* strchr would find a NUL in every set. */
static bool is_in(const char *set, char c)
{
    return c && strchr(set, c);
}

static size_t skip_blanks(struct slice s, size_t at)
{
    while (at < s.len && is_in(" \t\r\n", s.data[at]))
        at++;
    return at;
}

/* Behind the string whose quote is at `at`; 0 when it does not end. */
static size_t skip_string(struct slice s, size_t at)
{
    for (at++; at < s.len; at++) {
        if (s.data[at] == '"')
            return at + 1;
        if (s.data[at] == '\\')
            at++;
    }
    return 0;
}

static size_t skip_nested(struct slice s, size_t at)
{
    for (size_t depth = 0; at < s.len; at++) {
        char c = s.data[at];
        if (c == '"') {
            if (!(at = skip_string(s, at)))
                return 0;
            at--;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return at + 1;
        }
    }
    return 0;
}

/* Behind the value at `at`, which is within s; 0 when there is none. */
static size_t skip_value(struct slice s, size_t at)
{
    size_t from = at;
    if (s.data[at] == '"')
        return skip_string(s, at);
    if (s.data[at] == '{' || s.data[at] == '[')
        return skip_nested(s, at);
    while (at < s.len && !is_in(",]} \t\r\n", s.data[at]))
        at++;
    return at > from ? at : 0;
}

/* The value at *at, and *at behind the comma that follows it (or at the closing bracket). */
static bool take_value(struct slice s, size_t *at, struct slice *value)
{
    size_t from = skip_blanks(s, *at), end = from < s.len ? skip_value(s, from) : 0;
    if (!end || end > s.len)
        return false;
    *value = (struct slice){s.data + from, end - from};
    *at = skip_blanks(s, end);
    if (*at < s.len && s.data[*at] == ',')
        ++*at;
    return true;
}

static bool find_member(struct slice object, struct slice key, struct slice *value)
{
    size_t at = skip_blanks(object, 0);
    if (at >= object.len || object.data[at++] != '{')
        return false;
    while ((at = skip_blanks(object, at)) < object.len && object.data[at] == '"') {
        size_t from = at + 1, end = skip_string(object, at);
        if (!end || end > object.len)
            return false;
        at = skip_blanks(object, end);
        if (at >= object.len || object.data[at++] != ':' || !take_value(object, &at, value))
            return false;
        if (slice_is(key, (struct slice){object.data + from, end - 1 - from}))
            return true;
    }
    return false;
}

bool json_read_member(struct slice object, const char *key, struct slice *value)
{
    const char *dot;
    while ((dot = strchr(key, '.'))) {
        if (!find_member(object, (struct slice){key, (size_t)(dot - key)}, &object))
            return false;
        key = dot + 1;
    }
    return find_member(object, slice_of(key), value);
}

bool json_read_item(struct slice *rest, struct slice *item)
{
    size_t at = skip_blanks(*rest, 0);
    if (at < rest->len && rest->data[at] == '[')
        at++;
    at = skip_blanks(*rest, at);
    if (at >= rest->len || rest->data[at] == ']' || !take_value(*rest, &at, item))
        return false;
    *rest = (struct slice){rest->data + at, rest->len - at};
    return true;
}

/* Four hex digits at s[at]; -1 when they are not there. */
static int take_hex(struct slice s, size_t at)
{
    char digits[5] = {0};
    if (at + 4 > s.len)
        return -1;
    memcpy(digits, s.data + at, 4);
    return strspn(digits, "0123456789abcdefABCDEF") == 4 ? (int)strtol(digits, NULL, 16) : -1;
}

static int add_code_point(struct buf *out, int c)
{
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd; /* ours are written as UTF-8, so a pair of surrogates does not come */
    const unsigned char two[] = {(unsigned char)(0xc0 | c >> 6), (unsigned char)(0x80 | (c & 0x3f))};
    const unsigned char three[] = {(unsigned char)(0xe0 | c >> 12), (unsigned char)(0x80 | (c >> 6 & 0x3f)), two[1]};
    if (c < 0x80)
        return buf_add_byte(out, (unsigned char)c);
    return c < 0x800 ? buf_add(out, two, sizeof(two)) : buf_add(out, three, sizeof(three));
}

/* The escape behind the backslash at s[*at]; *at is its last byte afterwards. */
static int add_escape(struct slice s, size_t *at, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = ++*at < s.len ? s.data[*at] : '\0';
    const char *found = c ? strchr(from, c) : NULL;
    if (found)
        return buf_add_byte(out, (unsigned char)to[found - from]);
    int code = c == 'u' ? take_hex(s, *at + 1) : -1;
    if (code < 0)
        return -1;
    *at += 4;
    return add_code_point(out, code);
}

bool json_read_text(struct slice value, struct buf *out)
{
    if (value.len < 2 || value.data[0] != '"' || value.data[value.len - 1] != '"')
        return false;
    struct slice inner = {value.data, value.len - 1};
    for (size_t at = 1; at < inner.len; at++) {
        int rc = inner.data[at] == '\\' ? add_escape(inner, &at, out) : buf_add_byte(out, (unsigned char)inner.data[at]);
        if (rc)
            return false;
    }
    return true;
}

bool json_read_number(struct slice value, double *out)
{
    char text[40], *end;
    if (value.len == 0 || value.len >= sizeof(text) || !is_in("-0123456789", value.data[0]))
        return false;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    *out = strtod(text, &end);
    return *end == '\0';
}

bool json_read_true(struct slice value)
{
    return slice_is(value, SLICE("true"));
}
