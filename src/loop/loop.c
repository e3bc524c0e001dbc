/* loop.c - the loop itself: running, stopping, and the hook between the last event of a turn and the next block.
 *
 * libuv's turn is: timers, idle, prepare, poll, check, closing. A prepare handle therefore runs behind the poll of one turn
 * and the timers of the next, right before blocking: the one place where everything that the turn queued can leave.
 */
#include "loop/loop_uv.h"

#include "base/err.h"
#include "base/mem.h"
#include <assert.h>

struct loop_hook {
    struct list_node node; /* in loop.hooks */
    loop_hook_fn *fn;      /* NULL once removed: freed when no run can stand on it */
    void *arg;
};

/* ---- flush hooks ---- */

static struct loop_hook *hook_of(struct list_node *n)
{
    return list_entry(n, struct loop_hook, node);
}

/* A hook may add and remove hooks, itself too: removing only marks, and the walk frees what is marked. */
static void run_hooks(struct loop *l)
{
    list_each_safe(n, next, &l->hooks)
    {
        struct loop_hook *hook = hook_of(n);
        if (hook->fn)
            hook->fn(hook->arg);
        next = n->next; /* the hook may have added one behind itself */
        if (!hook->fn) {
            list_remove(n);
            mem_free(hook);
        }
    }
}

int loop_add_flush(struct loop *l, loop_hook_fn *fn, void *arg)
{
    struct loop_hook *hook = mem_zalloc(1, sizeof(*hook));
    if (!hook)
        return MT_ENOMEM;
    hook->fn = fn;
    hook->arg = arg;
    list_add_tail(&l->hooks, &hook->node);
    return 0;
}

void loop_remove_flush(struct loop *l, loop_hook_fn *fn, void *arg)
{
    list_each(n, &l->hooks)
    {
        struct loop_hook *hook = hook_of(n);
        if (hook->fn == fn && hook->arg == arg) {
            hook->fn = NULL;
            return;
        }
    }
}

static void on_before_block(uv_prepare_t *handle)
{
    run_hooks(list_entry(handle, struct loop, before_block));
}

/* ---- turns without blocking ---- */

static void on_again(uv_idle_t *handle)
{
    struct loop *l = list_entry(handle, struct loop, again);

    uv_idle_stop(handle); /* first: what runs below may ask again */
    timer_run_due(l);
}

void loop_again(struct loop *l)
{
    uv_idle_start(&l->again, on_again);
}

/* ---- life ---- */

struct loop *loop_create(void)
{
    struct loop *l = mem_zalloc(1, sizeof(*l));
    if (!l)
        return NULL;
    if (uv_loop_init(&l->uv) != 0) {
        mem_free(l);
        return NULL;
    }
    list_init(&l->hooks);
    list_init(&l->work);
    /* With a valid loop none of these can fail. */
    uv_prepare_init(&l->uv, &l->before_block);
    uv_prepare_start(&l->before_block, on_before_block);
    uv_idle_init(&l->uv, &l->again);
    timer_init(l);
    return l;
}

/* A watcher that its owner forgot would make the last uv_run wait for ever: close it, its memory is lost. */
static void close_forgotten(uv_handle_t *handle, void *arg)
{
    if (uv_is_closing(handle))
        return;
    assert(!"a watcher outlived its loop");
    uv_close(handle, NULL);
}

void loop_destroy(struct loop *l)
{
    if (!l)
        return;
    uv_close((uv_handle_t *)&l->before_block, NULL);
    uv_close((uv_handle_t *)&l->again, NULL);
    timer_close(l);
    uv_walk(&l->uv, close_forgotten, NULL);
    work_cancel_all(l);
    do
        uv_run(&l->uv, UV_RUN_DEFAULT); /* returns early once, when a loop_stop is pending */
    while (uv_loop_close(&l->uv) != 0);
    list_each_safe(n, next, &l->hooks) mem_free(hook_of(n));
    mem_free(l);
}

void loop_run(struct loop *l)
{
    l->running = true;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    l->running = false;
    run_hooks(l);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

uint64_t loop_now(const struct loop *l)
{
    return uv_now(&l->uv);
}
