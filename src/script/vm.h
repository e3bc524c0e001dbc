/* vm.h - a worker's Lua VM: allocator with a limit, collector, libraries opened once, context in the extra space. */
#ifndef MT_SCRIPT_VM_H
#define MT_SCRIPT_VM_H
#include "script/state.h"

/* Makes s->L with the standard libraries kept in the registry, out of scripts' reach (vm_push_library).
 * s->heap.limit and s->watch are set before. 0, MT_ENOMEM, or MT_ESCRIPT when a library of the embedding program failed (*error
 * says why; mem_free it). */
int vm_open(struct script *s, char **error);
void vm_close(struct script *s);
/* Push the pristine table of a standard library ("_G", "string", ...), or nil when it is not there. May raise. */
void vm_push_library(lua_State *L, const char *name);
#endif
