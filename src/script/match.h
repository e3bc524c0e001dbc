/* match.h - Lua's patterns (reference manual, section 6.4.1), with a count of the work: the matcher of the C library cannot be
 * interrupted, and a pattern like (.-)(.-)(.-)x takes it hours over a few kilobytes.
 */
#ifndef MT_SCRIPT_MATCH_H
#define MT_SCRIPT_MATCH_H
#include "base/slice.h"
#include "script/meter.h"
#include <stdbool.h>
#include <stddef.h>

enum { MATCH_CAPTURES_MAX = 32 };

/* A pattern under way over a subject. All strings are borrowed and end with a NUL behind their last byte, as those of Lua do. */
struct match {
    lua_State *L;              /* where errors are raised and kills arrive */
    const char *subject, *end; /* what is searched */
    const char *pattern_end;
    struct meter meter;
    int depth; /* match_at inside of match_at */
    int count; /* captures so far */
    struct {
        const char *start;
        ptrdiff_t len; /* or one of those below 0, see match.c */
    } captures[MATCH_CAPTURES_MAX];
};

/* Where the match of the pattern from `p` on ends that begins at `s`, NULL for none. A pattern's leading ^ is the caller's.
 * Raises for patterns that are malformed or too deep; ends with the script (meter.h). */
const char *match_at(struct match *m, const char *s, const char *p);
/* Before another match_at at another place. */
static inline void match_again(struct match *m)
{
    m->depth = m->count = 0;
}
/* Capture `index` (from 0) of the match [s, e): true and its text, borrowed from the subject; false for a position, which is
 * where *text begins. A pattern without captures has its whole match as the first. Raises when there is none of that number. */
bool match_capture(struct match *m, int index, const char *s, const char *e, struct slice *text);
/* Push it. */
void match_push_capture(struct match *m, int index, const char *s, const char *e);
/* Push all of them; without captures and with `whole` the whole match. Returns how many. */
int match_push_captures(struct match *m, const char *s, const char *e, bool whole);
#endif
