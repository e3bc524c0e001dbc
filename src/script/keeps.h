/* keeps.h - code of scripts in what lives on over reloads: tide.state and the data of open connections.
 *
 * A function keeps the version that made it, with all that it refers to. Which version that is, is told by its environment: each
 * version has one of its own, and a weak table knows them, also those of versions that nothing of the core refers to any more.
 */
#ifndef MT_SCRIPT_KEEPS_H
#define MT_SCRIPT_KEEPS_H
#include "script/state.h"
#include "script/walk.h"

enum keeps_kind { KEEPS_FUNCTION, KEEPS_COROUTINE, KEEPS_METATABLE, KEEPS_ENVIRONMENT };

/* What was found; all of it borrowed for the call. */
struct keeps_found {
    enum keeps_kind kind;
    const char *path;    /* "tide.state.players[3].timer" */
    const char *place;   /* of its code: "chat.lua:12", empty when unknown */
    const char *version; /* hash of the version, NULL when it cannot be known: code that uses no globals and nothing that does */
    const void *env;     /* address of that version's environment, NULL as above */
};
/* False: that is enough. Must not raise. */
typedef bool keeps_fn(void *arg, const struct keeps_found *found);

/* Remember whose environment this is. May raise. */
void keeps_note_version(lua_State *L, const struct version *v);
/* The address of the environment of a version. */
const void *keeps_env(struct version *v);
/* Look through all of it, or as far as a bounded number of values goes. `seen` gets the addresses of the tables; *whole: all
 * those in tide.state. 0 or MT_ENOMEM. */
int keeps_walk(struct script *s, struct walk_set *seen, keeps_fn *fn, void *arg, bool *whole);
#endif
