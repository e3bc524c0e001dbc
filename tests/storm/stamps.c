/* stamps.c - see stamps.h. */
#include "stamps.h"

#include "numbers.h"
#include "peer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GENERATIONS = 100000 };

struct version {
    char hash[STAMPS_HASH + 1]; /* empty: not seen */
    bool live;                  /* "seen" was printed */
};

static struct version versions[GENERATIONS];
static struct numbers *paths; /* of each connection; each number other than the one before */
static unsigned path_count;

void stamps_init(unsigned connections)
{
    path_count = connections;
    paths = calloc(connections, sizeof(*paths));
}

void stamps_see(unsigned connection, uint32_t generation, const char *hash, bool waited)
{
    struct numbers *p = &paths[connection];
    if (generation >= GENERATIONS)
        peer_fail("connection %u: generation %u", connection, generation);
    struct version *v = &versions[generation];
    if (!v->hash[0])
        memcpy(v->hash, hash, STAMPS_HASH);
    else if (memcmp(v->hash, hash, STAMPS_HASH) != 0)
        peer_fail("connection %u: generation %u is version %.8s here and %s before", connection, generation, hash, v->hash);
    if (waited || (p->count && p->items[p->count - 1] == generation))
        return;
    numbers_add(p, generation);
    if (v->live)
        return;
    v->live = true;
    printf("seen %u\n", generation);
    fflush(stdout);
}

void stamps_print(void)
{
    const char *comma = "";
    printf("\"hashes\": {");
    for (unsigned g = 0; g < GENERATIONS; g++) {
        if (!versions[g].hash[0])
            continue;
        printf("%s\"%u\": \"%s\"", comma, g, versions[g].hash);
        comma = ", ";
    }
    printf("}, \"paths\": [");
    for (unsigned i = 0; i < path_count; i++) {
        fputs(i ? ", " : "", stdout);
        numbers_print(&paths[i]);
    }
    putchar(']');
}
