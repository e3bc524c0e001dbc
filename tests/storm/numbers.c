/* numbers.c - see numbers.h. */
#include "numbers.h"

#include "peer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void numbers_add(struct numbers *n, uint32_t number)
{
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 16;
        n->items = realloc(n->items, n->room * sizeof(*n->items));
        if (!n->items)
            peer_fail("out of memory");
    }
    n->items[n->count++] = number;
}

void numbers_print(const struct numbers *n)
{
    putchar('[');
    for (size_t i = 0; i < n->count; i++)
        printf("%s%" PRIu32, i ? "," : "", n->items[i]);
    putchar(']');
}
