/* handlers.h - the table that a script returns, checked and taken apart: which function answers what.
 *
 * Made once per version while it loads; afterwards an event costs an array access and no lookup by name. References are into the
 * registry and belong to the struct.
 */
#ifndef MT_SCRIPT_HANDLERS_H
#define MT_SCRIPT_HANDLERS_H
#include "base/bucket.h"
#include "script/jobs.h"
#include "script/route.h"
#include "script/state.h"

enum { GRACE_DEFAULT_MS = 5000 };

/* Handlers of the app or of one route. LUA_NOREF: not given. */
struct level {
    int on_connect, on_open, on_close, on_message, on_binary, on_http;
    int on;               /* table: type -> function */
    int accepts;          /* table: type -> compiled shape */
    size_t message_limit; /* limits.message_bytes, 0 when not given */
    struct rate messages, bytes; /* limits.messages_per_second and so on, zero when not given */
    char **protocols;     /* owned, NULL-terminated; NULL: none */
    bool joins;           /* answers {type="join"} and {type="leave"} by itself */
};

/* A level that has nothing. */
#define LEVEL_NOTHING                                                                                                         \
    {                                                                                                                         \
        .on_connect = LUA_NOREF, .on_open = LUA_NOREF, .on_close = LUA_NOREF, .on_message = LUA_NOREF, .on_binary = LUA_NOREF, \
        .on_http = LUA_NOREF, .on = LUA_NOREF, .accepts = LUA_NOREF                                                            \
    }

struct route {
    struct slice pattern;      /* owned */
    const struct level *level; /* its own, or the app's */
    bool own;                  /* level is owned */
};

struct room_kind {
    struct slice pattern; /* owned */
    uint64_t grace_ms;
    bool current; /* the newest message per key is kept */
    int on_join, on_leave, allow;
};

struct handlers {
    struct level app;
    int on_start, on_stop, on_signal, on_upgrade;
    bool has_routes;      /* then only listed paths exist */
    struct route *routes; /* owned, most specific first */
    size_t route_count;
    struct room_kind *rooms; /* owned, most specific first */
    size_t room_count;
    struct job *jobs; /* owned */
    size_t job_count;
};

/* Check the table on top of the stack and make v->handlers of it. Raises "app.on_mesage: no such handler; did you mean
 * on_message?" and the like; what was made until then is in v->handlers, which version_unref frees. */
void handlers_load(lua_State *L, struct version *v);
void handlers_free(lua_State *L, struct handlers *h); /* NULL is allowed */
/* The level for a raw path: the app's without routes. NULL when routes are given and none matches. */
const struct level *handlers_route(const struct handlers *h, struct slice path, struct route_params *params);
/* The kind of a room; NULL when no pattern matches. */
const struct room_kind *handlers_room(const struct handlers *h, struct slice name);
#endif
