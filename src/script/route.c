/* route.c - matching of path and room patterns. */
#include "script/route.h"

#include "base/text.h"

#include <stdint.h>
#include <string.h>

enum part_kind { PART_LITERAL, PART_PARAM, PART_STAR, PART_END };

/* Cuts the next part off: what stands between two slashes. False at the end. *rest begins with a slash or is empty. */
static bool next_part(struct slice *rest, struct slice *part)
{
    const char *end;

    if (rest->len == 0)
        return false;
    rest->data++;
    rest->len--;
    end = memchr(rest->data, '/', rest->len);
    part->data = rest->data;
    part->len = end ? (size_t)(end - rest->data) : rest->len;
    rest->data += part->len;
    rest->len -= part->len;
    return true;
}

static enum part_kind kind_of(struct slice part)
{
    if (part.len == 1 && part.data[0] == '*')
        return PART_STAR;
    return part.len > 0 && part.data[0] == ':' ? PART_PARAM : PART_LITERAL;
}

static struct slice name_of(struct slice part)
{
    return kind_of(part) == PART_PARAM ? (struct slice){part.data + 1, part.len - 1} : part;
}

static bool repeats(struct slice pattern, struct slice part)
{
    struct slice other;

    while (next_part(&pattern, &other) && other.data != part.data)
        if (kind_of(other) == PART_PARAM && slice_is(other, part))
            return true;
    return false;
}

const char *route_check(struct slice pattern)
{
    struct slice rest = pattern, part;
    size_t count = 0;

    if (pattern.len == 0 || pattern.data[0] != '/')
        return "a path begins with /";
    while (next_part(&rest, &part)) {
        if (++count > ROUTE_PARTS_MAX)
            return "too many parts";
        if (kind_of(part) == PART_PARAM && part.len == 1)
            return "a name is missing after the colon";
        if (kind_of(part) == PART_PARAM && repeats(pattern, part))
            return "a name is used twice";
        if (kind_of(part) == PART_LITERAL && memchr(part.data, '*', part.len))
            return "a star stands alone between slashes";
    }
    return NULL;
}

static enum part_kind next_kind(struct slice *rest, struct slice *part)
{
    return next_part(rest, part) ? kind_of(*part) : PART_END;
}

int route_compare(struct slice a, struct slice b)
{
    for (;;) {
        struct slice pa = {0}, pb = {0};
        enum part_kind ka = next_kind(&a, &pa), kb = next_kind(&b, &pb);

        if (ka != kb)
            return (int)ka - (int)kb;
        if (ka == PART_END)
            return 0;
        if (ka == PART_LITERAL && !slice_is(pa, pb)) {
            int order = memcmp(pa.data, pb.data, pa.len < pb.len ? pa.len : pb.len);

            return order ? order : pa.len < pb.len ? -1 : 1; /* any stable order: they never match the same path */
        }
    }
}

static bool literal_is(struct slice literal, struct slice raw)
{
    struct buf decoded = {0};
    bool same;

    if (!memchr(raw.data, '%', raw.len))
        return slice_is(literal, raw);
    same = text_unpercent(&decoded, raw, false) == 0 && slice_is(literal, buf_slice(&decoded));
    buf_fini(&decoded);
    return same;
}

static void add_param(struct route_params *params, struct slice name, struct slice value)
{
    params->items[params->count++] = (struct route_param){name, value};
}

bool route_match(struct slice pattern, struct slice path, struct route_params *params)
{
    struct slice part, piece, before;

    params->count = 0;
    if (path.len == 0 || path.data[0] != '/')
        return false;
    for (;;) {
        before = path;
        if (!next_part(&pattern, &part))
            return path.len == 0;
        if (!next_part(&path, &piece))
            return false;
        if (kind_of(part) == PART_STAR && pattern.len == 0) { /* the rest, without its first slash */
            add_param(params, part, (struct slice){before.data + 1, before.len - 1});
            return true;
        }
        if (kind_of(part) == PART_LITERAL ? !literal_is(part, piece) : piece.len == 0)
            return false;
        if (kind_of(part) != PART_LITERAL)
            add_param(params, name_of(part), piece);
    }
}

bool route_match_name(struct slice pattern, struct slice name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, back = 0;

    while (n < name.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            back = n;
        } else if (p < pattern.len && pattern.data[p] == name.data[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) { /* let the last star take one byte more */
            p = star + 1;
            n = ++back;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

size_t route_name_weight(struct slice pattern)
{
    size_t weight = 0;

    for (size_t i = 0; i < pattern.len; i++)
        weight += pattern.data[i] != '*';
    return weight;
}
