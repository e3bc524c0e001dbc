/* req.h - one HTTP request or handshake, as on_connect and on_http see it.
 *
 * The head and the body are copied when a handler is going to see them, so `req` stays whole as long as the script holds it, also
 * when the client has gone. Fields are made when they are first asked for and kept in the object's user value.
 */
#ifndef MT_SCRIPT_REQ_H
#define MT_SCRIPT_REQ_H
#include "net/session.h"
#include "script/peer.h"
#include "script/route.h"
#include "script/state.h"

/* What on_connect decided. */
struct req_accept {
    bool bearer; /* req:token took what stands behind "bearer" in the list of subprotocols */
    struct buf user;     /* empty: nobody */
    struct buf protocol; /* NUL-terminated; empty: as the lists say */
    struct buf headers;  /* name NUL value NUL ... */
    size_t header_count;
    double expires; /* 0: never */
};

struct req {
    enum session_owner_kind owner_kind; /* OWNER_REQ; must be first */
    struct script *script;
    unsigned refs;             /* the object in Lua, who answers it, and tasks that log about it */
    struct session *session;   /* NULL once answered or gone */
    const struct level *level; /* of the version of its task */
    bool upgrade;
    bool secure;               /* the client came by TLS */
    bool streaming;            /* session_stream_begin was called */
    struct http_request *http; /* owned copy; its slices and those below point behind it */
    struct slice body, ip;
    struct slice tls_version, tls_cipher, tls_sni; /* data NULL: plain, or not given */
    struct session_client client;                  /* owned; empty where no certificate was verified */
    struct route_params params;                    /* raw */
    char *names;     /* owned: names of the params of another version's route, NULL for none */
    struct buf path; /* decoded */
    int object_ref;  /* the object, while a handler is at work; LUA_NOREF before and after */
    struct req_accept accept;
    struct buf head;      /* header lines of the answer of on_http */
    struct task *waiting; /* the task that waits for the outbox while it streams */
    struct task *deciding;   /* the task of on_connect, until it has ended */
    struct loop_timer limit; /* of its time */
};

/* A copy of the request, with one reference. *status is 0, or the HTTP status to answer when the result is NULL: 400 (bad path),
 * 500. */
struct req *req_create(struct script *s, struct session *session, const struct session_request *r, const struct level *level,
                       const struct route_params *params, int *status);
struct req *req_ref(struct req *r);
void req_unref(struct req *r);
/* What a log line about this request says: address and path. */
void req_fill_about(const struct req *r, struct script_about *out);
/* The same request by another version's routes. 0, or MT_ENOMEM and nothing has changed. */
int req_set_route(struct req *r, const struct level *level, const struct route_params *params);
/* Push the object (stack: +1), made at the first call. May raise. */
void req_push(lua_State *L, struct req *r);
/* Set a field of the object at `index` to the value on top of the stack, which is popped: req.user, req.data. May raise. */
void req_set_field(lua_State *L, int index, const char *name);
/* Push a table of the decoded arguments of a raw query or form; of several with one name the last counts. May raise. */
void req_push_query(lua_State *L, struct slice raw);
/* Decoded values for the params of a route, into `out` with texts in `memory`. 0, MT_EMALFORMED, MT_ENOMEM. */
int req_decode_params(const struct route_params *raw, struct peer_param *out, struct buf *memory);
/* Decode a path; what is not UTF-8 or has a zero byte is MT_EMALFORMED. 0, MT_ENOMEM. */
int req_decode_path(struct slice raw, struct buf *out);
void api_req_open(lua_State *L);
#endif
