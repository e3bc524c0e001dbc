/* api_help.h - checks of arguments that several API tables share. All of them raise the author's mistakes, naming the argument.
 */
#ifndef MT_SCRIPT_API_HELP_H
#define MT_SCRIPT_API_HELP_H
#include "base/slice.h"
#include "script/state.h"

/* A string at `arg`, numbers are none. Borrowed from Lua. */
struct slice api_check_string(lua_State *L, int arg);
/* The same, 1 to `max` bytes; `what` names it in the message ("room name"). */
struct slice api_check_name(lua_State *L, int arg, const char *what, size_t max);
/* The place of the string at `arg` in `names` (NULL-terminated), nil or none gives `otherwise` (negative: it must be there). An
 * unknown one raises with the nearest: "unknown encoding 'hx'; did you mean hex?", where `what` is "encoding". */
int api_check_option(lua_State *L, int arg, const char *what, const char *const *names, int otherwise);
/* Raises "unknown WHAT 'word'; did you mean ...?" for the argument. Never returns; the result is for `return`. */
int api_raise_unknown(lua_State *L, int arg, const char *what, struct slice word, const char *const *names);
/* The table at `arg` has no other keys than `names`; nil or none is fine too. True when there is a table. */
bool api_check_table(lua_State *L, int arg, const char *const *names);
/* Pushes what is in the script's scratch buffer as a string, and gives the buffer back when it has grown large. Returns 1. */
int api_push_scratch(lua_State *L);
/* Gives the script's scratch buffer back when it has grown large. Its content is gone. */
void api_free_scratch(struct lua_State *L);
/* Sets __metatable, so that scripts cannot reach the metatable on top of the stack. */
void api_seal_metatable(lua_State *L);
#endif
