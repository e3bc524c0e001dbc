/* shape.h - shapes: what a message or any value must look like, compiled once from Lua and checked in C.
 *
 * A shape is written as in the manual: "string 1..64", "integer", "number -1..1", "boolean", "any", each with ? when it may be
 * missing,
 * "'buy'|'sell'", { field = shape }, { shape, min =, max = } for lists, or function(v) -> ok, message. Compiled, it is a
 * userdata; later changes of the tables it was made from are not seen. Checking never changes the value: objects and lists are
 * copied, with the declared fields only.
 */
#ifndef MT_SCRIPT_SHAPE_H
#define MT_SCRIPT_SHAPE_H
#include <stdbool.h>

struct lua_State;

enum { SHAPE_DEPTH_MAX = 32 }; /* shapes inside shapes; also what ends a table that contains itself */

/* Once per VM: the metatable and the caches. Raises when memory runs out. */
void shape_open(struct lua_State *L);
/* Compile the shape at `index` (stack: +1). The author's mistakes raise: "accepts.join.room: unknown shape 'strng'; did you mean
 * string?", where `what` is "accepts.join". */
void shape_compile(struct lua_State *L, int index, const char *what);
/* The same with a memory: one compiled shape per table or function as long as that lives, and per text until the next collection.
 */
void shape_compile_cached(struct lua_State *L, int index, const char *what);
/* Check the value at `value` (nil for nothing) against the compiled shape at `shape`. Stack: +1, always. True: the clean copy.
 * False: what is wrong, for the client: "text: string 1..2000 expected, got nothing". Raises what a function inside the shape
 * raises, and when memory runs out. */
bool shape_check(struct lua_State *L, int shape, int value);
#endif
