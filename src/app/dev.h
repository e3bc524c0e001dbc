/* dev.h - dev mode: stands between the sockets and the script, and shows pages why a reload failed.
 *
 * What comes for a path under /_moontide/ is answered here, the rest goes to the script as if nobody were in between:
 * /_moontide/dev.js is the overlay for pages, /_moontide/dev the WebSocket by which it hears. Only pages of this server may
 * connect, and under names that no stranger can point at it (see dev_is_near), since what they hear has lines of source in it.
 *
 * One per worker, on its thread; dev_tell apart, which any thread may call. What is told is a state: who comes late hears the
 * newest, and of a burst only that.
 */
#ifndef MT_APP_DEV_H
#define MT_APP_DEV_H
#include "base/slice.h"
#include "loop/loop.h"
#include "net/session.h"

#define DEV_TAG "<script src=\"/_moontide/dev.js\"></script>" /* what a page needs */

enum { DEV_PAGES_MAX = 64 }; /* open at once in one worker; the next is refused with 503 */

struct dev;

/* `inner` hears of everything else; borrowed, with its argument, for as long as the dev lives. NULL when memory or descriptors
 * run out. */
struct dev *dev_create(struct loop *loop, const struct session_events *inner, void *inner_arg);
/* After the last session: behind net_destroy, before loop_destroy. NULL is allowed. */
void dev_destroy(struct dev *d);
/* What the sockets are to call, with the dev as arg. */
const struct session_events *dev_events(void);
/* Tell all pages: one object of JSON (dev_report.h), copied. Any thread. 0, or MT_ENOMEM: they know what they knew. */
int dev_tell(struct dev *d, struct slice json);
/* The server is going: close every page with 1001, and let none in any more. */
void dev_retire(struct dev *d);
/* Whether the `host` of a request ("localhost:8765", "[::1]", "192.168.1.7:80", "mybox") is an address or a name of the own
 * network: no name that a stranger could have registered and pointed at this machine. Pure. */
bool dev_is_near(struct slice host);
#endif
