/* watch.c - collects the bursts of changes that saving a file makes: truncate, write, rename, set the time. */
#include "app/watch.h"

#include "base/mem.h"

enum {
    QUIET_MS = 30,   /* no change for so long: the save is complete */
    LONGEST_MS = 200 /* a file that is written all the time must not hold the others back */
};

struct watch {
    struct loop *loop;
    struct loop_files *files;
    struct loop_timer timer; /* armed between a change and the callback */
    uint64_t first;          /* loop_now of the first change of the burst */
    watch_fn *fn;
    void *arg;
};

static void on_timer(struct loop_timer *t)
{
    struct watch *w = list_entry(t, struct watch, timer);
    w->fn(w->arg);
}

static void on_change(const char *path, void *arg)
{
    struct watch *w = arg;
    uint64_t now = loop_now(w->loop);
    if (!loop_timer_active(&w->timer))
        w->first = now;
    uint64_t latest = w->first + LONGEST_MS;
    loop_timer_start(w->loop, &w->timer, now + QUIET_MS < latest ? QUIET_MS : latest > now ? latest - now : 0);
}

struct watch *watch_open(struct loop *l, watch_fn *fn, void *arg)
{
    struct watch *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return NULL;
    *w = (struct watch){.loop = l, .fn = fn, .arg = arg};
    loop_timer_init(&w->timer, on_timer);
    w->files = loop_files_open(l, on_change, w);
    if (!w->files) {
        mem_free(w);
        return NULL;
    }
    return w;
}

int watch_add(struct watch *w, const char *path)
{
    return loop_files_add(w->files, path);
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    loop_timer_stop(w->loop, &w->timer);
    loop_files_close(w->files);
    mem_free(w);
}
