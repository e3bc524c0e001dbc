/* version.h - loading the app: sources, chunks, environment; going live and being let go. */
#ifndef MT_SCRIPT_VERSION_H
#define MT_SCRIPT_VERSION_H
#include "script/state.h"

/* Read, compile, run and check the script and its modules. On success the version is complete and not live, with one reference
 * for the caller. On failure *error says file, line and why, with a traceback (mem_free it). 0, MT_ESCRIPT, MT_ENOMEM. */
int version_load(struct script *s, struct version **out, char **error);
/* Make it the version that events go to: takes the caller's reference, starts what it held back, lets the old one go. */
void version_go_live(struct version *v);
struct version *version_ref(struct version *v);
void version_unref(struct version *v);
/* Note a source file of the version: for its hash and for those who watch files. 0 or MT_ENOMEM. */
int version_add_file(struct version *v, const char *path, struct slice source);
/* Note a file that is not there yet but is looked for. 0 or MT_ENOMEM. */
int version_note_file(struct version *v, const char *path);
void version_free_files(char **files); /* a NULL-terminated list and its texts; NULL is allowed */
#endif
