/* numbers.h - a list of numbers that grows. Zeroed memory is an empty one; nothing is given back before the program ends. */
#ifndef STORM_NUMBERS_H
#define STORM_NUMBERS_H
#include <stddef.h>
#include <stdint.h>

struct numbers {
    uint32_t *items;
    size_t count, room;
};

void numbers_add(struct numbers *n, uint32_t number);
/* Prints [1,2,3]. */
void numbers_print(const struct numbers *n);
#endif
