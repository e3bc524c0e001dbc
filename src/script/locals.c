/* locals.c - finds `local NAME` in a source text: a lexer that knows comments, strings and names and skips all else.
 *
 * What it finds is a list of records: line, length of a name, the name. Line 0 is the name of a file, for those that follow.
 */
#include "script/locals.h"

#include "base/err.h"

#include <stdint.h>
#include <string.h>

enum { NAME_MAX_BYTES = 1000 };

struct record {
    uint32_t line;
    uint32_t len; /* bytes that follow */
};

struct lexer {
    const char *at, *end;
    unsigned line;
};

/* ---- records ---- */

static int add_record(struct buf *out, unsigned line, struct slice name)
{
    struct record r = {line, (uint32_t)name.len};

    if (buf_reserve(out, sizeof(r) + name.len) != 0)
        return MT_ENOMEM;
    buf_add(out, &r, sizeof(r));
    return buf_add(out, name.data, name.len);
}

unsigned locals_find(const struct buf *known, struct slice file, struct slice name, unsigned line)
{
    unsigned found = 0;
    bool here = false;
    struct record r;

    for (size_t at = 0; at < known->len; at += sizeof(r) + r.len) {
        struct slice text;

        memcpy(&r, known->data + at, sizeof(r));
        text = (struct slice){(const char *)known->data + at + sizeof(r), r.len};
        if (r.line == 0)
            here = slice_is(text, file);
        else if (here && r.line <= line && slice_is(text, name))
            found = r.line; /* in the order of the text: the last one counts */
    }
    return found;
}

/* ---- the lexer ---- */

static bool is_letter(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts(const struct lexer *x, const char *text)
{
    size_t len = strlen(text);

    return (size_t)(x->end - x->at) >= len && memcmp(x->at, text, len) == 0;
}

static void step(struct lexer *x)
{
    x->line += *x->at++ == '\n';
}

/* At a '[': over `[==[ ... ]==]`. False when this is no long bracket. */
static bool skip_long(struct lexer *x)
{
    const char *p = x->at + 1;
    size_t level;

    while (p < x->end && *p == '=')
        p++;
    if (p >= x->end || *p != '[')
        return false;
    level = (size_t)(p - x->at) - 1;
    for (x->at = p + 1; x->at < x->end; step(x)) {
        size_t n = 0;

        if (*x->at != ']')
            continue;
        while (x->at + 1 + n < x->end && x->at[1 + n] == '=')
            n++;
        if (n == level && x->at + 1 + n < x->end && x->at[1 + n] == ']') {
            x->at += n + 2;
            break;
        }
    }
    return true;
}

static void skip_comment(struct lexer *x)
{
    x->at += 2;
    if (x->at < x->end && *x->at == '[' && skip_long(x))
        return;
    while (x->at < x->end && *x->at != '\n')
        x->at++;
}

static void skip_string(struct lexer *x)
{
    char quote = *x->at++;

    while (x->at < x->end && *x->at != quote) {
        if (*x->at == '\\' && x->at + 1 < x->end)
            x->at++;
        step(x);
    }
    if (x->at < x->end)
        x->at++;
}

static void skip_blanks(struct lexer *x)
{
    while (x->at < x->end) {
        if (starts(x, "--"))
            skip_comment(x);
        else if (*x->at == ' ' || (*x->at >= '\t' && *x->at <= '\r'))
            step(x);
        else
            return;
    }
}

static struct slice take_word(struct lexer *x)
{
    struct slice word = {x->at, 0};

    while (x->at < x->end && (is_letter(*x->at) || is_digit(*x->at)))
        x->at++;
    word.len = (size_t)(x->at - word.data);
    return word;
}

/* Behind the word `local`: `function NAME`, or names with commas between them, each perhaps with <const> or <close>. */
static int take_names(struct lexer *x, struct buf *out)
{
    for (;;) {
        struct slice name;

        skip_blanks(x);
        name = take_word(x);
        if (slice_is(name, SLICE("function"))) {
            skip_blanks(x);
            name = take_word(x);
        }
        if (name.len == 0)
            return 0;
        if (name.len <= NAME_MAX_BYTES && add_record(out, x->line, name) != 0)
            return MT_ENOMEM;
        skip_blanks(x);
        if (x->at < x->end && *x->at == '<') {
            while (x->at < x->end && *x->at != '>')
                step(x);
            x->at += x->at < x->end;
            skip_blanks(x);
        }
        if (x->at >= x->end || *x->at != ',')
            return 0;
        x->at++;
    }
}

static int scan(struct lexer *x, struct buf *out)
{
    for (skip_blanks(x); x->at < x->end; skip_blanks(x)) {
        if (*x->at == '"' || *x->at == '\'')
            skip_string(x);
        else if (*x->at == '[' && skip_long(x))
            continue;
        else if (is_letter(*x->at)) {
            if (slice_is(take_word(x), SLICE("local")) && take_names(x, out) != 0)
                return MT_ENOMEM;
        } else if (is_digit(*x->at))
            take_word(x); /* 0x1p4: no name begins in a number */
        else
            x->at++;
    }
    return 0;
}

int locals_scan(struct buf *out, struct slice file, struct slice text)
{
    struct lexer x = {text.data, text.data + text.len, 1};
    size_t before = out->len;

    if (add_record(out, 0, file) != 0 || scan(&x, out) != 0) {
        out->len = before;
        return MT_ENOMEM;
    }
    return 0;
}
