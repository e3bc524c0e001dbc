/* fan.h - a dense array of sessions to send to: in and out in O(1), and nothing else to touch on the way from one to the next.
 *
 * Each owner has a `seat`, its index, in its own struct; the fan changes it when it moves. The session of a seat is NULL while
 * there is nobody to send to.
 */
#ifndef MT_HUB_FAN_H
#define MT_HUB_FAN_H
#include <stddef.h>
#include <stdint.h>

struct session;
struct fan {
    struct session **sessions; /* owned; what session_send_many takes */
    uint32_t **seats;          /* owned; where each owner keeps its index */
    uint32_t count, cap;
};

int fan_add(struct fan *f, struct session *s, uint32_t *seat); /* 0 or MT_ENOMEM */
void fan_remove(struct fan *f, uint32_t seat);
void fan_fini(struct fan *f);
#endif
