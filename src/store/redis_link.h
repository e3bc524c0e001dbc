/* redis_link.h - one connection to a Redis server: finds it, logs in, sends bytes, reads replies. It tries once when it is told
 * to; whoever has it decides when to try again. Thread of its loop only.
 */
#ifndef MT_STORE_REDIS_LINK_H
#define MT_STORE_REDIS_LINK_H
#include "loop/loop.h"
#include "store/redis_url.h"
#include <hiredis/hiredis.h>

struct redis_link;

struct redis_link_events {
    void (*ready)(void *arg); /* logged in: commands may be sent */
    /* There is no connection, or no longer. `why` is for people. Nothing of it comes back. May connect again, not destroy. */
    void (*lost)(void *arg, int code, const char *why);
    /* The next reply. False: it is not one that was expected, the connection is of no use. */
    bool (*reply)(void *arg, const redisReply *reply);
};

/* The URL and events are borrowed. NULL when memory runs out. */
struct redis_link *redis_link_create(struct loop *l, const struct redis_url *url, const struct redis_link_events *events,
                                     void *arg);
void redis_link_destroy(struct redis_link *k); /* tells nobody. NULL is allowed */
void redis_link_connect(struct redis_link *k); /* while it is off; ends with ready or lost, never inside of this call */
bool redis_link_is_ready(const struct redis_link *k);
struct buf *redis_link_out(struct redis_link *k);                      /* commands are added here, and leave with a flush */
void redis_link_flush(struct redis_link *k);                           /* while it is ready */
void redis_link_drop(struct redis_link *k, int code, const char *why); /* `lost` is told */
#endif
