/* captured.h - the tables that the code of a version holds in local variables: what is gone with that version. */
#ifndef MT_SCRIPT_CAPTURED_H
#define MT_SCRIPT_CAPTURED_H
#include "script/state.h"
#include "script/walk.h"

/* A local variable outside of the function that uses it. The texts belong to that function. */
struct captured_variable {
    const char *name;
    const char *file; /* of the function, as errors show it */
    unsigned line;    /* where the function begins */
};

/* A table that such a variable holds, or that is in one which it holds. Borrowed for the call. */
struct captured_table {
    const void *ptr;
    uint64_t print; /* the same as long as no field of it changes; tables in it count by their address */
    size_t fields;
    bool large;                               /* it has more, and was not looked into: its print is that of all large ones */
    const struct captured_variable *variable; /* NULL: in the table that the script returned */
    lua_State *L;
    const struct walk_step *path; /* from the variable's table, for walk_add_path */
};

struct captured_ops {
    void (*table)(void *arg, const struct captured_table *table);
    /* Each variable that holds a table, once per function that uses it. NULL: nobody cares. Neither may raise. */
    void (*variable)(void *arg, const void *ptr, const struct captured_variable *variable);
};

/* Walk through the handlers of a version, the functions they reach and the tables these hold. Tables in `others` (may be NULL)
 * are not entered. *whole: the bound on the work was not met. 0 or MT_ENOMEM. */
int captured_walk(struct version *v, const struct walk_set *others, const struct captured_ops *ops, void *arg, bool *whole);
#endif
