/* strings.h - the functions of Lua's string library and of os that could run for hours, in a form that ends with the script. */
#ifndef MT_SCRIPT_STRINGS_H
#define MT_SCRIPT_STRINGS_H
#include <lua.h>

enum {
    STRINGS_FORMAT_MAX = 64 << 20, /* bytes of text that one string.format takes together */
    STRINGS_QUOTED_MAX = 1 << 20,  /* the same where %q is in it */
    STRINGS_FORMAT_VALUES = 4096,  /* values that it takes */
    STRINGS_PACK_MAX = 64 << 10,   /* bytes of the format of string.pack, packsize and unpack */
    STRINGS_DATE_MAX = 4096,       /* bytes of the format of os.date */
};

/* Replace functions of the string library, which ("x"):find() uses too, on top of the stack. Takes string.dump away. May raise.
 */
void strings_bound(lua_State *L);
/* The same for the os library. */
void strings_bound_os(lua_State *L);
#endif
