/* stamps.h - which versions of the script the connections saw, in what order.
 *
 * A version has a generation, written into the script by who saved it, and the server's hash. One generation has one hash. Which
 * order is right only who reloads can tell: the paths go out with the result.
 */
#ifndef STORM_STAMPS_H
#define STORM_STAMPS_H
#include <stdbool.h>
#include <stdint.h>

enum { STAMPS_HASH = 8 }; /* characters */

void stamps_init(unsigned connections);
/* A connection heard something of this version. `waited`: a handler may have waited in between, so it says nothing about what is
 * live. The first time that a generation is seen, "seen GENERATION" is printed. */
void stamps_see(unsigned connection, uint32_t generation, const char *hash, bool waited);
/* Prints `"hashes": {"GENERATION": "HASH", ...}, "paths": [[GENERATION, ...], ...]`, a path for each connection. */
void stamps_print(void);
#endif
