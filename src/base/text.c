/* text.c - conversions that append to a buffer. Each remembers the length it found and returns to it when it fails. */
#include "base/text.h"

#include "base/err.h"
#include "base/utf8.h"
#include <stdint.h>
#include <string.h>

static int undo(struct buf *out, size_t len, int err)
{
    out->len = len;
    return err;
}

/* ---- near names ---- */

enum { NEAR_MAX = 64 }; /* longer words are no typing mistakes of an option's name */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Edit distance, swapped neighbours counting once and case not at all. Three rows of the table are enough. */
static unsigned distance(struct slice a, struct slice b)
{
    unsigned rows[3][NEAR_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b.len; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            char ca = lower(a.data[i - 1]), cb = lower(b.data[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == lower(b.data[j - 2]) && cb == lower(a.data[i - 2]) && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b.len];
}

const char *text_nearest(struct slice word, const char *const *names)
{
    const char *best = NULL;
    unsigned best_distance = 0;

    if (word.len > NEAR_MAX)
        return NULL;
    for (; *names; names++) {
        struct slice name = slice_of(*names);
        if (name.len > NEAR_MAX)
            continue;
        unsigned d = distance(word, name);
        size_t longer = word.len > name.len ? word.len : name.len;
        if (d * 3 <= longer && (!best || d < best_distance)) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}

/* ---- hex ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_hex(struct buf *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;

    if (len > SIZE_MAX / 4 || buf_reserve(out, len * 2) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < len; i++) {
        out->data[out->len++] = (unsigned char)digits[p[i] >> 4];
        out->data[out->len++] = (unsigned char)digits[p[i] & 15];
    }
    return 0;
}

int text_unhex(struct buf *out, struct slice text)
{
    size_t start = out->len;

    if (text.len % 2)
        return MT_EMALFORMED;
    if (buf_reserve(out, text.len / 2) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_value(text.data[i]), low = hex_value(text.data[i + 1]);
        if (high < 0 || low < 0)
            return undo(out, start, MT_EMALFORMED);
        out->data[out->len++] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

/* ---- base64 ---- */

static const char base64_digits[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

int text_base64(struct buf *out, const void *data, size_t len, bool url)
{
    const char *digits = base64_digits[url];
    const unsigned char *p = data;

    if (len > SIZE_MAX / 4 || buf_reserve(out, (len + 2) / 3 * 4) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        for (size_t k = 0; k <= have; k++)
            out->data[out->len++] = (unsigned char)digits[bits >> (18 - 6 * k) & 63];
        for (size_t k = have; k < 3 && !url; k++)
            out->data[out->len++] = '=';
    }
    return 0;
}

static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* Cuts the padding off; false when it is not right. */
static bool base64_unpad(struct slice *text, bool url)
{
    size_t pad = 0;
    while (pad < 2 && text->len > pad && text->data[text->len - 1 - pad] == '=')
        pad++;
    if (pad || !url) {
        if (text->len % 4)
            return false;
        text->len -= pad;
    }
    return text->len % 4 != 1;
}

int text_unbase64(struct buf *out, struct slice text, bool url)
{
    size_t start = out->len;
    uint32_t bits = 0;

    if (!base64_unpad(&text, url))
        return MT_EMALFORMED;
    if (buf_reserve(out, text.len / 4 * 3 + 2) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.data[i], url);
        if (value < 0)
            return undo(out, start, MT_EMALFORMED);
        bits = bits << 6 | (uint32_t)value;
        if (i % 4) /* the first digit of four is not a byte yet, each further one completes one */
            out->data[out->len++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    /* Of a last group of two or three digits, four or two bits are left over: two texts must not mean the same bytes. */
    uint32_t left = text.len % 4 == 2 ? 15 : text.len % 4 == 3 ? 3 : 0;
    return bits & left ? undo(out, start, MT_EMALFORMED) : 0;
}

/* ---- percent signs ---- */

int text_unpercent(struct buf *out, struct slice text, bool plus)
{
    size_t start = out->len;

    if (buf_reserve(out, text.len) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(text.data[i + 2]);
            if (low < 0)
                return undo(out, start, MT_EMALFORMED);
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out->data[out->len++] = (unsigned char)c;
    }
    return 0;
}

int text_form(struct buf *out, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._";

    if (text.len > SIZE_MAX / 4 || buf_reserve(out, 3 * text.len) < 0)
        return MT_ENOMEM;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c != '\0' && strchr(plain, c)) {
            out->data[out->len++] = c;
        } else if (c == ' ') {
            out->data[out->len++] = '+';
        } else {
            out->data[out->len++] = '%';
            out->data[out->len++] = (unsigned char)digits[c >> 4];
            out->data[out->len++] = (unsigned char)digits[c & 15];
        }
    }
    return 0;
}

/* ---- JSON strings ---- */

static int add_escaped(struct buf *out, unsigned char c)
{
    static const char letters[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    if (c == '"' || c == '\\')
        return buf_addf(out, "\\%c", c);
    if (c < 32 && letters[c])
        return buf_addf(out, "\\%c", letters[c]);
    return buf_addf(out, "\\u%04x", (unsigned)c);
}

/* Bytes of the character at `text`; *wrong when it is none, then one U+FFFD stands for as many bytes as could have begun one. */
static size_t character_len(struct slice text, bool *wrong)
{
    uint32_t state = UTF8_ACCEPT;

    *wrong = true;
    for (size_t i = 0; i < text.len; i++) {
        state = utf8_feed(state, text.data + i, 1);
        if (state == UTF8_REJECT)
            return i ? i : 1;
        if (state == UTF8_ACCEPT) {
            *wrong = false;
            return i + 1;
        }
    }
    return text.len;
}

/* Adds the piece of `text` up to the next byte that needs care, or that byte; returns how much it took, or MT_ENOMEM. */
static long add_piece(struct buf *out, struct slice text, bool valid)
{
    size_t len = 0;
    while (len < text.len) {
        unsigned char c = (unsigned char)text.data[len];
        if (c < 32 || c == '"' || c == '\\' || c == 127 || (c >= 128 && !valid))
            break;
        len++;
    }
    if (len)
        return buf_add(out, text.data, len) < 0 ? MT_ENOMEM : (long)len;
    if ((unsigned char)text.data[0] < 128)
        return add_escaped(out, (unsigned char)text.data[0]) < 0 ? MT_ENOMEM : 1;
    bool wrong;
    len = character_len(text, &wrong);
    int err = wrong ? buf_add_text(out, "\xEF\xBF\xBD") : buf_add(out, text.data, len);
    return err < 0 ? MT_ENOMEM : (long)len;
}

int text_json_string(struct buf *out, struct slice text)
{
    size_t start = out->len;
    bool valid = utf8_valid(text.data, text.len);

    if (buf_reserve(out, text.len + 2) < 0)
        return MT_ENOMEM;
    buf_add_byte(out, '"');
    while (text.len) {
        long took = add_piece(out, text, valid);
        if (took < 0)
            return undo(out, start, MT_ENOMEM);
        text.data += took;
        text.len -= (size_t)took;
    }
    return buf_add_byte(out, '"') < 0 ? undo(out, start, MT_ENOMEM) : 0;
}
