/* version.h - one version of the app: loading it, going live and ceasing to be, its end. */
#ifndef MT_SCRIPT_VERSION_H
#define MT_SCRIPT_VERSION_H
#include "script/state.h"

/* A version that is not loaded yet, with one reference. `sources` NULL: it reads them itself. NULL when memory runs out. */
struct version *version_create(struct script *s, struct sources *sources);
/* Compile, run and check the script and its modules, beside the live version. On failure *error says file, line and why, with a
 * traceback (mem_free it; NULL when memory ran out). 0, MT_ESCRIPT, MT_ENOMEM. */
int version_load(struct version *v, char **error);
/* Nothing of what it made while loading is to start: tasks and timers end. */
void version_drop_held(struct version *v);
struct version *version_ref(struct version *v);
void version_unref(struct version *v);
/* Note a file that it is made of. 0 or MT_ENOMEM. */
int version_note_file(struct version *v, const char *path);

/* ---- these cannot fail, and run no Lua ---- */
/* Events go to it from now on. */
void version_go_live(struct version *v);
/* `v` is live in place of `old`. What `old` does by itself stops: it goes on when `old` may come back, else it has ended. */
void version_retire(struct version *old, struct version *v, bool may_come_back);
/* It will not come back. */
void version_settle(struct version *old);
/* What it does by itself starts, or goes on: held timers and tasks. The tasks are queued. */
void version_begin(struct version *v);
/* Whether it still does something, or is still to be found, though it is not live, nor about to be, nor just kept. */
bool version_lingers(const struct version *v);
#endif
