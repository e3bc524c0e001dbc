/* route.h - patterns of paths ("/board/:id", "/files/" and a star) and of room names ("game:" and a star). Pure functions.
 *
 * A path is split at its slashes before percent signs are decoded, so an encoded slash never makes a part. A literal part beats
 * `:name`, which beats a star, from left to right. A star as the last part takes the rest of the path, elsewhere one part.
 */
#ifndef MT_SCRIPT_ROUTE_H
#define MT_SCRIPT_ROUTE_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

enum { ROUTE_PARTS_MAX = 32 };

struct route_param {
    struct slice name, value; /* value: raw, still percent-encoded; the name of a star is "*" */
};

struct route_params {
    struct route_param items[ROUTE_PARTS_MAX];
    size_t count;
};

/* Whether `pattern` can be one: begins with a slash, no empty or repeated names, not too many parts. NULL, or a sentence for its
 * author. */
const char *route_check(struct slice pattern);
/* Negative when `a` is more specific than `b`, positive when less, 0 when both would match the same paths. */
int route_compare(struct slice a, struct slice b);
/* Whether the raw path matches; then *params has the values in order. Literal parts are compared decoded. */
bool route_match(struct slice pattern, struct slice path, struct route_params *params);
/* Whether a room name matches a pattern in which stars stand for any text. */
bool route_match_name(struct slice pattern, struct slice name);
/* Bytes of a room pattern that are no star: the more, the more specific. */
size_t route_name_weight(struct slice pattern);
#endif
