/* lint.h - what a script author should know about a reload: state that is lost with the old version, and what keeps it in memory.
 *
 * Nothing here fails a reload, and nothing here raises: where memory or the bounds on the work run out, less is said.
 */
#ifndef MT_SCRIPT_LINT_H
#define MT_SCRIPT_LINT_H
#include "script/state.h"

struct lint; /* what is known about a version; owned by it, NULL until something is */

/* A source text of the version was compiled; `file` is its name in error messages. */
void lint_source(struct version *v, const char *file, struct slice text);
/* The version has loaded: remember what its functions hold in local variables, and which environment is its own. */
void lint_note(struct version *v);
void lint_free(struct lint *l); /* NULL is allowed */
/* A reload is about to replace `old`, the live version. Logs a warning about each table in a local variable that has changed
 * since the version loaded, and about code in tide.state and conn.data; nothing twice for one version. `old` may be NULL. */
void lint_switch(struct script *s, struct version *old);

/* Add what keeps a version that is not live in memory: "2 waiting handlers, tide.state.players[3].timer". Nothing is added where
 * nothing is found. */
void lint_holders(struct script *s, struct version *v, struct buf *out);
/* Versions that have ended, but whose environment is still held by values of the script: one call each, with its hash and text as
 * above, borrowed for the call. */
void lint_leftovers(struct script *s, void (*fn)(void *arg, const char *hash, struct slice holders), void *arg);
#endif
