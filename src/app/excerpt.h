/* excerpt.h - the lines of a source around the place that an error message names, for the terminal and for pages.
 *
 * Pure functions over text: who has read the file, and when, is the caller's affair. Lines are counted as Lua counts them.
 */
#ifndef MT_APP_EXCERPT_H
#define MT_APP_EXCERPT_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

enum {
    EXCERPT_AROUND = 3, /* lines shown before the marked one and after it */
    EXCERPT_LINES = 2 * EXCERPT_AROUND + 1,
    EXCERPT_WIDTH = 200 /* bytes of a line that are shown */
};

/* A place as a message tells it: "lib/shop.lua:12: ...". */
struct excerpt_place {
    const char *file;   /* one of the files given. Borrowed */
    struct slice shown; /* its name in the message; borrowed from the text */
    unsigned line;      /* from 1 */
};

/* The first place in `text` that is in one of `files` (NULL-terminated paths). Messages name a file by the end of its path, Lua
 * cuts long ones at the front ("...shop.lua:12:"). False when there is none. */
bool excerpt_find(struct slice text, const char *const *files, struct excerpt_place *out);

struct excerpt_line {
    unsigned number;
    struct slice text; /* without its line break; borrowed from the source */
    bool cut;          /* it goes on */
};

struct excerpt {
    struct excerpt_line lines[EXCERPT_LINES];
    size_t count;    /* of lines */
    unsigned marked; /* number of the line in question */
};

/* The lines around `line`. The empty line behind a last line break counts only when it is `line` itself: there Lua reports what
 * is missing at the end of a file. False when the source has no such line. */
bool excerpt_cut(struct slice source, unsigned line, struct excerpt *out);

/* As text, one line each, with numbers, the marked one behind a ">". 0 or MT_ENOMEM. */
int excerpt_print(const struct excerpt *e, struct buf *out);
/* As JSON, a list of {"line":12,"text":"..."}. 0 or MT_ENOMEM. */
int excerpt_print_json(const struct excerpt *e, struct buf *out);
#endif
