/* kept.h - the newest message per key of rooms that keep them, for those who join later. Outlives the room: a topic has its
 * value also while nobody listens. Bounded: past HUB_CURRENT_MAX what was not renewed for longest goes.
 */
#ifndef MT_HUB_KEPT_H
#define MT_HUB_KEPT_H
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"

struct packet;
struct session;

struct kept_store {
    struct map rooms;        /* struct kept_room by name; those with messages */
    struct list_node oldest; /* all messages, the one renewed last at the end */
    size_t bytes;            /* what they take */
};

void kept_init(struct kept_store *k);
void kept_fini(struct kept_store *k);
/* Keep `p` (a reference of its own) in the place of the room's message of that key. `hash` is the outbox key it is sent with. 0
 * or MT_ENOMEM. */
int kept_put(struct kept_store *k, struct slice room, struct slice key, uint64_t hash, struct packet *p);
bool kept_forget(struct kept_store *k, struct slice room, struct slice key); /* false when there was none */
/* Send all of a room's messages, in the order in which their keys came first. */
void kept_send(const struct kept_store *k, struct slice room, struct session *s);
#endif
