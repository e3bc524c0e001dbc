/* pace.h - users who take more than limits.user_connections and limits.rate.user_messages allow: what they get, and who is told.
 *
 * A connection whose user has sent too much is paused until there is room for its next message, each for as long as its own
 * message takes, so that none of them waits for ever for the others. What it sent is handled, in its order.
 */
#ifndef MT_SCRIPT_PACE_H
#define MT_SCRIPT_PACE_H
#include "script/peer.h"

/* A message of `p` has come and messages are limited (script->paced). False: it is not taken, and the connection is closing. */
bool pace_message(struct peer *p);
/* A timer of a peer that pace_message has started, for loop_timer_init. */
void pace_on_timer(struct loop_timer *timer);
/* The handshake of somebody who has enough connections: answers it with 429. */
void pace_refuse_handshake(struct script *s, struct session *session, struct slice user, struct slice path);
/* The script has set conn.user to somebody who has enough: closes the connection with 1008. */
void pace_refuse_user(struct peer *p, struct slice user);
#endif
