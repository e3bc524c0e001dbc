/* fd.c - descriptors over uv_poll.
 *
 * A change of events costs libuv two epoll_ctl calls, so nothing is passed on that changes nothing. Idle connections pay for
 * every byte of this struct: the loop and the descriptor are asked from libuv instead of kept twice.
 */
#include "loop/loop_uv.h"

#include "base/err.h"
#include "base/mem.h"

struct loop_fd {
    uv_poll_t poll;
    loop_fd_fn *fn; /* gets the events */
    void *arg;      /* for fn */
    int armed;      /* LOOP_* that are being polled for, 0 while stopped */
};

static void on_poll(uv_poll_t *handle, int status, int uv_events)
{
    struct loop_fd *w = list_entry(handle, struct loop_fd, poll);
    int events = 0;

    if (status < 0) {
        /* An error on the socket: libuv has stopped the watcher. What arrived before can still be read. */
        w->armed = 0;
        events = LOOP_READ | LOOP_HANGUP;
    } else {
        events |= uv_events & UV_READABLE ? LOOP_READ : 0;
        events |= uv_events & UV_WRITABLE ? LOOP_WRITE : 0;
        events |= uv_events & UV_DISCONNECT ? LOOP_HANGUP : 0;
        if (!events) /* a bare EPOLLHUP */
            events = LOOP_HANGUP;
    }
    w->fn(w, events, w->arg);
}

struct loop_fd *loop_fd_open(struct loop *l, int fd, loop_fd_fn *fn, void *arg)
{
    struct loop_fd *w = mem_zalloc(1, sizeof(*w));
    if (!w)
        return NULL;
    if (uv_poll_init(&l->uv, &w->poll, fd) != 0) {
        mem_free(w);
        return NULL;
    }
    w->fn = fn;
    w->arg = arg;
    return w;
}

void loop_fd_set(struct loop_fd *w, loop_fd_fn *fn, void *arg)
{
    w->fn = fn;
    w->arg = arg;
}

int loop_fd_want(struct loop_fd *w, int events)
{
    if (events == w->armed)
        return 0;
    int uv_events = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0) |
                    (events & LOOP_HANGUP ? UV_DISCONNECT : 0);
    int err = uv_events ? uv_poll_start(&w->poll, uv_events, on_poll) : uv_poll_stop(&w->poll);
    if (err)
        return MT_EIO;
    w->armed = events;
    return 0;
}

int loop_fd_fileno(const struct loop_fd *w)
{
    uv_os_fd_t fd = -1;
    uv_fileno((const uv_handle_t *)&w->poll, &fd);
    return fd;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(list_entry(handle, struct loop_fd, poll));
}

void loop_fd_close(struct loop_fd *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->poll, on_closed);
}
