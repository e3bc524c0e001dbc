/* jwks.h - JWK sets that live elsewhere: in a file, or at a URL, as identity providers publish them.
 *
 * A worker keeps each set that its scripts name, over reloads too. It is fetched when it is first needed, and again before it is
 * too old: while that is under way the keys that are there go on to be used. A token whose "kid" is not in the set makes one
 * fetch, but there are at least JWKS_PAUSE_MS between the beginnings of two, whatever tokens come: what else needs the set
 * meanwhile waits for the one that is under way, or is answered with what there is. Where fetching fails the keys stay in use for
 * JWKS_STALE_MS since they were fetched, without a wait while attempts go on, and the log tells of each failure.
 */
#ifndef MT_SCRIPT_JWKS_H
#define MT_SCRIPT_JWKS_H
#include "script/errand.h"
#include "script/jwt_keys.h"

enum {
    JWKS_SOURCES_MAX = 32,             /* of a worker */
    JWKS_PAUSE_MS = 10 * 1000,         /* between the beginnings of two fetches of a set */
    JWKS_FETCH_MS = 10 * 1000,         /* for one fetch */
    JWKS_LIFE_MS = 10 * 60 * 1000,     /* of keys at a URL that says nothing of it */
    JWKS_LIFE_MIN_MS = 60 * 1000,      /* where it says (Cache-Control: max-age) */
    JWKS_LIFE_MAX_MS = 60 * 60 * 1000,
    JWKS_FILE_MS = 30 * 1000,          /* of keys in a file */
    JWKS_STALE_MS = 24 * 60 * 60 * 1000,
    JWKS_NAME_MAX = 2048,
};

struct jwks_source;

/* The set that `name` names: "https://...", "http://..." of this machine, "file:PATH" or PATH. Raises what is none of them, and
 * more than JWKS_SOURCES_MAX of them. */
struct jwks_source *jwks_find(lua_State *L, struct slice name);
/* Its keys, to be used at once, NULL: there are none, or they are too old. Begins to fetch others where it is time. */
const struct jwt_keys *jwks_keys(struct jwks_source *source);
/* Whether its keys should not be used before others were looked for. */
bool jwks_is_old(const struct jwks_source *source);
/* Whether a fetch is under way, after beginning one where that may be. */
bool jwks_fetches(struct jwks_source *source);
/* Wait for the fetch that is under way; ops->finish then runs in the task. Raises where nobody can wait. Use as
 * `return jwks_wait(...)`. */
int jwks_wait(lua_State *L, struct jwks_source *source, const struct errand_ops *ops);
/* There are no keys: pushes nil, message, name of the last fetch. */
int jwks_push_failure(lua_State *L, const struct jwks_source *source);

void jwks_destroy(struct jwks *all); /* NULL is allowed. No task is left */
#endif
