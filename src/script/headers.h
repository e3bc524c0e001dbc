/* headers.h - a table of HTTP headers as scripts see it: names in lower case, asked for in any case. */
#ifndef MT_SCRIPT_HEADERS_H
#define MT_SCRIPT_HEADERS_H
#include "base/slice.h"

struct lua_State;

/* Push an empty table with room for `count` headers (stack: +1). May raise. */
void headers_push(struct lua_State *L, size_t count);
/* Add a header to the table on top of the stack. Several of one name are joined: by ", " as RFC 9110 5.3 allows, cookies by "; "
 * (RFC 6265), and Set-Cookie, whose values have commas of their own, by a line break. May raise. */
void headers_add(struct lua_State *L, struct slice name, struct slice value);
void headers_open(struct lua_State *L); /* the type; once per VM. May raise */
#endif
