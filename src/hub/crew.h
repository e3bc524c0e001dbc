/* crew.h - what the hubs of one server share: who is where, over all workers, and the way from one hub to the others.
 *
 * Made before the hubs and let go after them and after their inboxes. A hub of a crew of one pays nothing for it.
 */
#ifndef MT_HUB_CREW_H
#define MT_HUB_CREW_H

enum { HUB_WORKERS_MAX = 64 };

struct inbox;
struct hub_crew;

struct hub_crew *hub_crew_create(unsigned workers); /* 1 to HUB_WORKERS_MAX; NULL when memory runs out */
void hub_crew_destroy(struct hub_crew *crew);       /* NULL is allowed */
/* Where letters to the hub of `worker` (from 1) go. Before threads run. The inbox is borrowed until that hub is destroyed. */
void hub_crew_set_inbox(struct hub_crew *crew, unsigned worker, struct inbox *inbox);
#endif
