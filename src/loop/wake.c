/* wake.c - wake-ups from other threads and from signal handlers, over uv_async (an eventfd). */
#include "loop/loop_uv.h"

#include "base/mem.h"

struct loop_wake {
    uv_async_t async;
    loop_wake_fn *fn; /* runs on the loop */
    void *arg;        /* for fn */
};

static void on_wake(uv_async_t *handle)
{
    struct loop_wake *w = list_entry(handle, struct loop_wake, async);
    w->fn(w->arg);
}

struct loop_wake *loop_wake_open(struct loop *l, loop_wake_fn *fn, void *arg)
{
    struct loop_wake *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->fn = fn;
    w->arg = arg;
    if (uv_async_init(&l->uv, &w->async, on_wake) != 0) {
        mem_free(w);
        return NULL;
    }
    return w;
}

void loop_wake_send(struct loop_wake *w)
{
    uv_async_send(&w->async);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(list_entry(handle, struct loop_wake, async));
}

void loop_wake_close(struct loop_wake *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->async, on_closed);
}
