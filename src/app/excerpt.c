/* excerpt.c - finds a place in a message, and cuts the lines around it out of a source. */
#include "app/excerpt.h"

#include "base/text.h"

enum { LINE_MAX_DIGITS = 9 };

/* ---- places ---- */

/* "12" of ":12:" behind a name; 0 when it is none. */
static unsigned read_line(struct slice rest)
{
    unsigned line = 0;
    size_t i = 0;
    for (; i < rest.len && i < LINE_MAX_DIGITS && rest.data[i] >= '0' && rest.data[i] <= '9'; i++)
        line = line * 10 + (unsigned)(rest.data[i] - '0');
    return i > 0 && i < rest.len && rest.data[i] == ':' ? line : 0;
}

static size_t common_end(struct slice a, struct slice b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.data[a.len - 1 - n] == b.data[b.len - 1 - n])
        n++;
    return n;
}

/* What could be part of a longer name: "myapp.lua:3" is not in app.lua, nor is "other/app.lua:3" in lib/app.lua. */
static bool goes_on(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || memchr("_-./", c, 4) || (c & 0x80);
}

/* How many bytes at the end of `before` name `path`: whole parts of it, or its end behind "...". 0: they do not. */
static size_t name_length(struct slice before, struct slice path)
{
    size_t same = common_end(before, path), whole = same;
    if (same >= 1 && before.len >= same + 3 && memcmp(before.data + before.len - same - 3, "...", 3) == 0)
        return same + 3;
    while (whole > 0 && whole < path.len && path.data[path.len - whole - 1] != '/')
        whole--;
    return whole > 0 && (before.len == whole || !goes_on(before.data[before.len - whole - 1])) ? whole : 0;
}

/* The file that the end of `before` names best. */
static bool find_file(struct slice before, const char *const *files, struct excerpt_place *out)
{
    size_t best = 0;
    for (const char *const *file = files; *file; file++) {
        size_t length = name_length(before, slice_of(*file));
        if (length > best) {
            best = length;
            out->file = *file;
        }
    }
    out->shown = (struct slice){before.data + before.len - best, best};
    return best > 0;
}

bool excerpt_find(struct slice text, const char *const *files, struct excerpt_place *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != ':')
            continue;
        out->line = read_line((struct slice){text.data + i + 1, text.len - i - 1});
        if (out->line && find_file((struct slice){text.data, i}, files, out))
            return true;
    }
    return false;
}

/* ---- lines ---- */

/* Cuts the first line off; *broken: whether a line break was behind it. The pairs \r\n and \n\r are one, as for Lua. */
static struct slice take_line(struct slice *rest, bool *broken)
{
    struct slice line = {rest->data, 0};
    while (line.len < rest->len && rest->data[line.len] != '\n' && rest->data[line.len] != '\r')
        line.len++;
    size_t used = line.len;
    *broken = used < rest->len;
    if (*broken) {
        char first = rest->data[used++];
        if (used < rest->len && rest->data[used] == (first == '\n' ? '\r' : '\n'))
            used++;
    }
    rest->data += used;
    rest->len -= used;
    return line;
}

/* No character is cut in half. */
static void add_line(struct excerpt *e, unsigned number, struct slice text)
{
    struct excerpt_line *line = &e->lines[e->count++];
    *line = (struct excerpt_line){number, text, text.len > EXCERPT_WIDTH};
    if (!line->cut)
        return;
    line->text.len = EXCERPT_WIDTH;
    while (line->text.len > 0 && (text.data[line->text.len] & 0xC0) == 0x80)
        line->text.len--;
}

bool excerpt_cut(struct slice source, unsigned line, struct excerpt *out)
{
    unsigned first = line > EXCERPT_AROUND ? line - EXCERPT_AROUND : 1, number = 1;
    bool broken = true; /* an empty source is one empty line */
    *out = (struct excerpt){.marked = line};
    for (; source.len > 0 && number <= line + EXCERPT_AROUND; number++) {
        struct slice text = take_line(&source, &broken);
        if (number >= first)
            add_line(out, number, text);
    }
    if (number == line && broken)
        add_line(out, number, (struct slice){source.data, 0});
    return line > 0 && out->count > 0 && out->lines[out->count - 1].number >= line;
}

/* ---- printing ---- */

static int count_digits(unsigned number)
{
    int digits = 1;
    for (; number >= 10; number /= 10)
        digits++;
    return digits;
}

int excerpt_print(const struct excerpt *e, struct buf *out)
{
    int digits = e->count ? count_digits(e->lines[e->count - 1].number) : 0, rc = 0;
    for (size_t i = 0; rc == 0 && i < e->count; i++) {
        const struct excerpt_line *line = &e->lines[i];
        rc = buf_addf(out, "%c %*u |%s", line->number == e->marked ? '>' : ' ', digits, line->number, line->text.len ? " " : "");
        if (rc == 0)
            rc = buf_add(out, line->text.data, line->text.len);
        if (rc == 0)
            rc = buf_add_text(out, line->cut ? "…\n" : "\n");
    }
    return rc;
}

static int print_json_line(const struct excerpt_line *line, struct buf *out)
{
    int rc = buf_addf(out, "{\"line\":%u,\"text\":", line->number);
    if (rc == 0)
        rc = text_json_string(out, line->text);
    if (rc == 0 && line->cut) {
        out->len--; /* the closing quote */
        rc = buf_add_text(out, "…\"");
    }
    return rc ? rc : buf_add_byte(out, '}');
}

int excerpt_print_json(const struct excerpt *e, struct buf *out)
{
    int rc = buf_add_byte(out, '[');
    for (size_t i = 0; rc == 0 && i < e->count; i++) {
        rc = i ? buf_add_byte(out, ',') : 0;
        if (rc == 0)
            rc = print_json_line(&e->lines[i], out);
    }
    return rc ? rc : buf_add_byte(out, ']');
}
