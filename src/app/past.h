/* past.h - the sources of the versions that were live before, for those who want to go back. Zeroed memory is an empty past. */
#ifndef MT_APP_PAST_H
#define MT_APP_PAST_H
#include <stddef.h>

enum { PAST_MAX = 8 }; /* sources are a few hundred kilobytes at most, as a rule */

struct sources;
struct past {
    struct sources *items[PAST_MAX]; /* a reference each, oldest first */
    size_t count;
};

void past_fini(struct past *p);
/* Takes the caller's reference. The oldest goes where there is no room. */
void past_add(struct past *p, struct sources *s);
/* The newest that is not called `hash`; borrowed, NULL when there is none. */
struct sources *past_newest(const struct past *p, const char *hash);
/* Take the newest called `hash` out, and forget those after it. Its reference is the caller's; NULL when there is none. */
struct sources *past_take(struct past *p, const char *hash);
#endif
