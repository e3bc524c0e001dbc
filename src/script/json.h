/* json.h - JSON text to Lua values and back: strict RFC 8259, no loss, no surprises.
 *
 * Integers stay integers and are exact to 64 bits; larger ones and everything with a point or an exponent are floats, and a float
 * is written so that it reads back as the same float. A null member of an object is absent; inside lists and as the whole text
 * null is tide.null, the light userdata NULL, as in lua-cjson. Lists carry the array mark, a metatable, so that an empty list
 * stays a list. Tables are read raw: metamethods do not run, so neither direction can wait or fail in the middle of a script's
 * code.
 */
#ifndef MT_SCRIPT_JSON_H
#define MT_SCRIPT_JSON_H
#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

struct lua_State;

enum {
    JSON_DEPTH_MAX = 128,        /* lists and objects inside each other, both ways */
    JSON_ENCODED_MAX = 16 << 20, /* bytes that one json_encode may add: tables that share parts grow without bound otherwise */
    JSON_DECODED_MAX = 16 << 20, /* longest text that scripts may decode; a hook cannot interrupt the decoder */
};

/* Push the value of `text` (stack: +1). 0, or MT_EJSON with nothing pushed and *why set to a sentence with the byte position,
 * valid until the next call of this thread. Raises only when Lua's memory or stack runs out, and holds nothing then. */
int json_decode(struct lua_State *L, const char *text, size_t len, const char **why);

/* Add the value at `index` to `out` as JSON. 0, MT_EINVALID (what cannot be written: functions, mixed keys, nan, text that is not
 * UTF-8, too deep), MT_ETOO_LARGE or MT_ENOMEM; *why then names the place, beginning with `root` ("message.players[3]: ..."),
 * valid as above; what was added to `out` until then has been taken off again. The stack is left as it was. Raises only when
 * memory runs out while it describes an error. */
int json_encode_as(struct lua_State *L, int index, const char *root, struct buf *out, const char **why);
static inline int json_encode(struct lua_State *L, int index, struct buf *out, const char **why)
{
    return json_encode_as(L, index, "message", out, why);
}

/* The same for a log: members whose name looks secret (log_name_is_secret) become "***", but for true and false. */
int json_encode_for_log(struct lua_State *L, int index, struct buf *out, const char **why);

/* Push tide.null (stack: +1). */
void json_push_null(struct lua_State *L);
/* Make the table on top of the stack a list for good. Raises when memory runs out. */
void json_mark_array(struct lua_State *L);
/* Let the metatable on top of the stack mark its tables as lists too, for lists that have more than items. Raises when memory
 * runs out. */
void json_mark_metatable(struct lua_State *L);
/* Whether the table at `index` carries the mark. */
bool json_is_array(struct lua_State *L, int index);
/* Push the array mark itself (stack: +1), made at the first call. Raises when memory runs out. */
void json_push_mark(struct lua_State *L);
#endif
