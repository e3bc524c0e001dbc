/* kept.h - the newest message per key of rooms that keep them, for those who join later. Outlives the room: a topic has its
 * value also while nobody listens. A crew has several stores, each under a lock of its own; stamps, which only rise, tell the
 * newer of two messages.
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
/* Keep `p` (a reference of its own) in the place of the room's message of that key. `hash` is the outbox key it is sent with,
 * `stamp` larger than all before it. 0 or MT_ENOMEM. */
int kept_put(struct kept_store *k, struct slice room, struct slice key, uint64_t hash, uint64_t stamp, struct packet *p);
bool kept_forget(struct kept_store *k, struct slice room, struct slice key); /* false when there was none */
/* The stamp of a room's message of that key, 0 when there is none. */
uint64_t kept_stamp(const struct kept_store *k, struct slice room, struct slice key);
/* The stamp of the message that was not renewed for longest, UINT64_MAX when there is none; and let go of it. */
uint64_t kept_oldest(const struct kept_store *k);
void kept_drop_oldest(struct kept_store *k);

/* All of a room's messages, in the order in which their keys came first, to be sent when no lock is held any more. */
struct kept_list {
    struct kept_item *items; /* owned; NULL when there are none */
    size_t count;
};
int kept_take_list(const struct kept_store *k, struct slice room, struct kept_list *out); /* 0 or MT_ENOMEM */
/* Send them to `s` (NULL: nobody) and free the list. */
void kept_send_list(struct kept_list *list, struct session *s);
#endif
