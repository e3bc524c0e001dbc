/* upgrade.h - app.on_upgrade: tide.state for the next version, made of a copy, so that the live one keeps its own until all is
 * decided. */
#ifndef MT_SCRIPT_UPGRADE_H
#define MT_SCRIPT_UPGRADE_H
#include "script/state.h"

/* Run the on_upgrade of the staged version with a copy of tide.state, and keep what it gives. tide.state is hidden afterwards,
 * with what it holds, until upgrade_commit or upgrade_undo. 0, or MT_ESCRIPT with *error and everything as before. */
int upgrade_run(struct version *v, double seconds, char **error);
/* What it gave, if it ran, becomes tide.state. What that held before is thrown away, or kept for a rollback when that is wanted
 * and nothing older is kept already. Cannot fail. */
void upgrade_commit(struct version *v, bool keep);
/* tide.state as if upgrade_run had never been called. Does nothing when it was not. Cannot fail. */
void upgrade_undo(struct version *v);
/* A rollback: tide.state is what was kept, where something was; false when nothing was. Cannot fail. */
bool upgrade_take_back(struct script *s);
/* No rollback will follow. */
void upgrade_forget(struct script *s);
#endif
