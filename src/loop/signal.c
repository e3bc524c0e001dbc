/* signal.c - signals as events of the loop. */
#include "loop/loop_uv.h"

#include "base/mem.h"

struct loop_signal {
    uv_signal_t signal;
    loop_signal_fn *fn; /* runs on the loop */
    void *arg;          /* for fn */
};

static void on_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal *s = list_entry(handle, struct loop_signal, signal);
    s->fn(signum, s->arg);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(list_entry(handle, struct loop_signal, signal));
}

struct loop_signal *loop_signal_open(struct loop *l, int signum, loop_signal_fn *fn, void *arg)
{
    struct loop_signal *s = mem_zalloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->fn = fn;
    s->arg = arg;
    if (uv_signal_init(&l->uv, &s->signal) != 0) {
        mem_free(s);
        return NULL;
    }
    if (uv_signal_start(&s->signal, on_signal, signum) != 0) {
        uv_close((uv_handle_t *)&s->signal, on_closed);
        return NULL;
    }
    return s;
}

void loop_signal_close(struct loop_signal *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->signal, on_closed);
}
