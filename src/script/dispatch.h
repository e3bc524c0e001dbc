/* dispatch.h - from what happens on sockets and in rooms to the handlers of the live version. */
#ifndef MT_SCRIPT_DISPATCH_H
#define MT_SCRIPT_DISPATCH_H
#include "script/peer.h"
#include "script/req.h"
#include "script/task.h"

/* An event of a connection: its handler runs now when it may, else the event waits behind those before it. */
void dispatch_event(struct peer *p, const struct peer_event *e);
/* A task with C function `run` and one light userdata, of the live version. NULL when memory runs out (logged). */
struct task *dispatch_task(struct script *s, enum task_kind kind, lua_CFunction run, void *arg, const char *what);

/* In the task of a request, before its handler is called: it may have been queued while another version was live, and then goes
 * where that one's routes lead. Rejects with 404 where that is nowhere. May raise. */
void dispatch_route(lua_State *L, struct req *r);
/* Push the conn object of a peer (stack: +1). May raise. */
void dispatch_push_conn(lua_State *L, struct peer *p);
/* In a task's coroutine, whose index 1 is the peer: its event goes to on_message or on_binary. */
int dispatch_run_message(lua_State *L);

/* connect.c: a handshake arrived. */
void connect_request(struct script *s, struct session *session, const struct session_request *r);
/* serve.c: a plain HTTP request arrived. */
void serve_request(struct script *s, struct session *session, const struct session_request *r);
/* serve.c: its outbox is empty. */
void serve_drained(struct req *r);
/* Answer with a status and a line of text. */
void serve_status(struct session *session, int status, struct slice head, struct slice text);
/* text.c: in a task's coroutine, whose index 1 is the peer: its event is a text for `on`. */
int text_run(lua_State *L);

/* room_hooks.c */
extern const struct hub_events room_hooks;
#endif
