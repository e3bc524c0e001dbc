/* seldom.h - when to write a line about what may happen very often: once in ten seconds, with the number of times. One thread. */
#ifndef MT_BASE_SELDOM_H
#define MT_BASE_SELDOM_H
#include <stdint.h>

enum { SELDOM_MS = 10000 };

/* Zeroed memory has told nothing. */
struct seldom {
    uint64_t count; /* since the last line */
    uint64_t next;  /* before that there is none */
};

/* It has happened once more. How often since the last line where one is due, this time included, else 0. */
static inline uint64_t seldom_count(struct seldom *s, uint64_t now_ms)
{
    uint64_t count = ++s->count;

    if (now_ms < s->next)
        return 0;
    s->count = 0;
    s->next = now_ms + SELDOM_MS;
    return count;
}
#endif
