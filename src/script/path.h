/* path.h - where in a nested value something is wrong: `message.players[3].name`.
 *
 * A walk keeps one step per level on its own C stack, linked to the step above; nothing is built until an error is told.
 */
#ifndef MT_SCRIPT_PATH_H
#define MT_SCRIPT_PATH_H
#include "base/slice.h"

struct path {
    const struct path *up; /* the step above, NULL for the first */
    struct slice key;      /* name of the field, borrowed; data NULL when this step is an index */
    long long index;       /* place in a list, from 1 */
};

enum { PATH_TEXT_MAX = 192 };

/* The whole path as text, NUL-terminated, cut with "..." where it is too long. Bytes of keys that are not printable ASCII become
 * `?`, so that a client cannot forge a log line. Returns the length. An empty key at the top is left out. */
size_t path_print(const struct path *p, char out[PATH_TEXT_MAX]);
#endif
