/* locals.h - the lines at which a source text declares its local variables. Lua tells a variable's name, but not where it is
 * from. */
#ifndef MT_SCRIPT_LOCALS_H
#define MT_SCRIPT_LOCALS_H
#include "base/buf.h"

/* Add what one file declares with `local`; `file` is its name in error messages. Several files share a buffer. 0 or MT_ENOMEM. */
int locals_scan(struct buf *out, struct slice file, struct slice text);
/* The last line at or before `line` of the file that declares the name; 0 when there is none. */
unsigned locals_find(const struct buf *known, struct slice file, struct slice name, unsigned line);
#endif
