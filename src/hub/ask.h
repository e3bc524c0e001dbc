/* ask.h - questions: a message that carries an id of the server's own, and what those who got it answer.
 *
 * The hub of the asker sends the message to everybody who is meant, in whatever worker they are, and keeps the question. The hub
 * of each connection that got it keeps that it was asked. So an answer counts only from a connection that was asked, once, and
 * only as long as somebody waits for it. The first reply ends the question. An error, and the end of a connection, end it when
 * nobody is left who could still reply.
 */
#ifndef MT_HUB_ASK_H
#define MT_HUB_ASK_H
#include "hub/hub.h"

enum {
    ASK_MAX = 10000,    /* open questions of one connection */
    ASK_NAME_SIZE = 22, /* of an id as text, with the zero byte */
};
#define ASK_PREFIX "tide-" /* what every such text begins with */

/* What a connection was asked, from the first time on. */
struct conn_asked {
    struct list_node open; /* struct asked of ask.c, by in_conn */
    uint32_t count;        /* of these */
};
/* Whether it owes an answer. */
static inline bool conn_owes_answer(const struct conn *c)
{
    return c->asked && c->asked->count;
}

/* Belongs to the asker, who sets the first two. Valid from whom_ask until `done` or ask_drop. */
struct question {
    uint64_t id; /* of ask_new_id */
    /* Once, on the hub's thread, if ask_drop was not called: 0 and the text of the reply or, when nobody replied, of the first
     * error; else MT_ECLOSED and NULL. Borrowed for the call, which may not use the hub. */
    void (*done)(struct question *q, int rc, struct blob *answer);
    struct hub *hub;    /* of the asker; NULL while it is not asked */
    uint64_t workers;   /* where somebody may still answer */
    struct blob *error; /* the first one, a reference; NULL for none */
};

/* An id that no open question has, and that nobody can guess. */
uint64_t ask_new_id(struct hub *h);
/* Its text, for the message: ASK_PREFIX and hex digits. And back; 0 for what is none. */
void ask_name(uint64_t id, char out[ASK_NAME_SIZE]);
uint64_t ask_parse(struct slice name);

/* Send `p`, which has the question's id, to all of them. 0; or nobody was asked and `done` will not be called: MT_EOFFLINE,
 * MT_EBUSY (their workers' inboxes are full), MT_ENOMEM, MT_EFULL (ASK_MAX), results of session_send_packet. */
int whom_ask(struct hub *h, const struct whom *w, struct packet *p, struct question *q);
/* Nobody waits for it any more. Fine when it is over, or was not asked. */
void ask_drop(struct question *q);
/* `c` sent a text that answers a question. False when it was not asked that, or nobody waits for it any more. */
bool conn_answer(struct conn *c, uint64_t id, bool is_error, struct slice text);
/* It answers nothing any more: it is closing, or its socket is gone (which conn_detach sees to). */
void ask_conn_gone(struct conn *c);
#endif
