/* watch.h - tells once that files were saved, however many times an editor writes while it saves. Loop thread only. */
#ifndef MT_APP_WATCH_H
#define MT_APP_WATCH_H
#include "loop/loop.h"

struct watch;
typedef void watch_fn(void *arg);

/* `fn` runs on the loop 30 ms after the last change of any file, at the latest 200 ms after the first. NULL when it cannot. */
struct watch *watch_open(struct loop *l, watch_fn *fn, void *arg);
/* Watch a file; one that does not exist yet is fine, its folder must. Twice is fine. 0, MT_ENOMEM, MT_EIO. */
int watch_add(struct watch *w, const char *path);
void watch_close(struct watch *w); /* NULL is allowed. No callback comes after it */
#endif
