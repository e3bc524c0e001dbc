/* cidr.c - networks are sorted once into the places where the answer changes; a search among those finds the smallest one.
 *
 * Networks nest or are apart, never anything between, so one walk in order with the open ones on a stack is enough.
 */
#include "base/cidr.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct cidr_entry {
    struct cidr network;
    int value;
};

/* From `from` to the next range (or the last address of all) this is the answer. */
struct cidr_range {
    struct ip from;
    int value;
    bool found; /* false: no network holds these */
};

bool cidr_parse(struct slice text, struct cidr *out)
{
    const char *slash = text.len ? memchr(text.data, '/', text.len) : NULL;
    struct slice address = {text.data, slash ? (size_t)(slash - text.data) : text.len};
    struct ip ip;
    unsigned long long bits = IP_BITS;

    if (!ip_parse(address, &ip))
        return false;
    bool dotted = !memchr(address.data, ':', address.len);
    if (slash && !slice_to_uint((struct slice){slash + 1, text.len - address.len - 1}, dotted ? IP_BITS - IP_V4_BITS : IP_BITS, &bits))
        return false;
    if (slash && dotted)
        bits += IP_V4_BITS;
    *out = (struct cidr){ip_network(&ip, (unsigned)bits), (unsigned)bits};
    return memcmp(&out->base, &ip, sizeof ip) == 0;
}

void cidr_text(const struct cidr *network, char out[CIDR_TEXT_SIZE])
{
    ip_text(&network->base, out);
    if (network->bits < IP_BITS)
        sprintf(out + strlen(out), "/%u", network->bits - (ip_is_v4(&network->base) ? IP_V4_BITS : 0));
}

static bool is_same(const struct cidr *a, const struct cidr *b)
{
    return a->bits == b->bits && memcmp(&a->base, &b->base, sizeof a->base) == 0;
}

int cidr_set_add(struct cidr_set *s, const struct cidr *network, int value)
{
    if ((s->count & (s->count - 1)) == 0) { /* full: it grows at powers of two */
        struct cidr_entry *entries = mem_resize(s->entries, (s->count ? s->count * 2 : 1) * sizeof *entries);
        if (!entries)
            return MT_ENOMEM;
        s->entries = entries;
    }
    s->entries[s->count++] = (struct cidr_entry){*network, value};
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct cidr *a = &((const struct cidr_entry *)left)->network, *b = &((const struct cidr_entry *)right)->network;
    int order = memcmp(&a->base, &b->base, sizeof a->base);

    return order ? order : (int)a->bits - (int)b->bits; /* the larger network first: it is around the other */
}

/* The address behind the last one of `network`; false where that is the last of all. */
static bool next_behind(const struct cidr *network, struct ip *out)
{
    *out = network->base;
    if (network->bits == 0)
        return false;
    unsigned at = (network->bits - 1) / 8, step = 0x80u >> (network->bits - 1) % 8;
    for (;; step = 1) { /* carry */
        unsigned sum = out->bytes[at] + step;
        out->bytes[at] = (unsigned char)sum;
        if (sum <= 0xff)
            return true;
        if (at-- == 0)
            return false;
    }
}

static void put_range(struct cidr_set *s, const struct ip *from, const struct cidr_entry *e)
{
    struct cidr_range range = {*from, e ? e->value : 0, e != NULL};

    if (s->range_count && memcmp(&s->ranges[s->range_count - 1].from, from, sizeof *from) == 0)
        s->range_count--; /* an outer network that begins at the same address */
    s->ranges[s->range_count++] = range;
}

/* Networks that end before `e` begins (NULL: all) are left; behind each, the one around it counts again. */
static size_t leave(struct cidr_set *s, const struct cidr_entry **open, size_t depth, const struct cidr_entry *e)
{
    while (depth > 0) {
        struct ip behind;
        const struct cidr *inner = &open[depth - 1]->network;
        if (e) {
            struct ip head = ip_network(&e->network.base, inner->bits);
            if (memcmp(&head, &inner->base, sizeof head) == 0)
                break; /* e lies inside */
        }
        depth--;
        if (next_behind(inner, &behind))
            put_range(s, &behind, depth ? open[depth - 1] : NULL);
    }
    return depth;
}

int cidr_set_build(struct cidr_set *s, struct cidr *twice)
{
    const struct cidr_entry *open[IP_BITS + 1]; /* one around the other, so there are no more of them than lengths */
    static const struct ip zero;
    size_t depth = 0;

    if (s->count)
        qsort(s->entries, s->count, sizeof *s->entries, compare);
    for (size_t i = 1; i < s->count; i++)
        if (is_same(&s->entries[i - 1].network, &s->entries[i].network) && s->entries[i - 1].value != s->entries[i].value) {
            if (twice)
                *twice = s->entries[i].network;
            return MT_EBUSY;
        }
    mem_free(s->ranges);
    s->range_count = 0;
    s->ranges = mem_alloc((s->count * 2 + 1) * sizeof *s->ranges);
    if (!s->ranges)
        return MT_ENOMEM;
    put_range(s, &zero, NULL);
    for (size_t i = 0; i < s->count; i++) {
        const struct cidr_entry *e = &s->entries[i];
        if (i > 0 && is_same(&s->entries[i - 1].network, &e->network))
            continue;
        depth = leave(s, open, depth, e);
        put_range(s, &e->network.base, e);
        open[depth++] = e;
    }
    leave(s, open, depth, NULL);
    return 0;
}

int cidr_set_find(const struct cidr_set *s, const struct ip *ip, int otherwise)
{
    size_t low = 0, high = s->range_count; /* the answer is the last range that begins at `ip` or before */

    if (s->range_count == 0)
        return otherwise;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&s->ranges[middle].from, ip, sizeof *ip) <= 0)
            low = middle;
        else
            high = middle;
    }
    return s->ranges[low].found ? s->ranges[low].value : otherwise;
}

void cidr_set_fini(struct cidr_set *s)
{
    mem_free(s->entries);
    mem_free(s->ranges);
    *s = (struct cidr_set){0};
}
