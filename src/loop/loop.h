/* loop.h - a worker's event loop. Hides libuv; a worker has one, and only its thread may touch it (loop_wake apart).
 *
 * A turn: timers that are due, the poll phase with its fd callbacks, then the `flush` hook, once, before the loop blocks
 * again: whatever was queued during the turn leaves there, also what timers queued (they run before the poll).
 */
#ifndef MT_LOOP_LOOP_H
#define MT_LOOP_LOOP_H
#include "base/list.h"
#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop *loop_create(void); /* NULL when memory or descriptors run out */
void loop_destroy(struct loop *l); /* all watchers must be closed, all timers stopped; runs pending closes */
/* Runs until loop_stop. Returns after the flush hook ran once more. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* loop thread; from others use loop_wake with a callback that stops */
uint64_t loop_now(const struct loop *l); /* monotonic milliseconds, as of this turn */
/* Called at the end of every turn, after all events and before blocking. Several hooks run in the order added. */
typedef void loop_hook_fn(void *arg);
int loop_add_flush(struct loop *l, loop_hook_fn *fn, void *arg); /* 0 or MT_ENOMEM */
void loop_remove_flush(struct loop *l, loop_hook_fn *fn, void *arg);
/* From a flush hook: do not block in this turn, there is more to do. */
void loop_again(struct loop *l);

/* ---- timers: one hierarchical wheel of milliseconds per loop, O(1), intrusive. Precise to 1 ms. ---- */
struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *t);
struct loop_timer {
    struct list_node node; /* in a slot of the wheel; linked to itself while stopped */
    uint64_t due;          /* loop_now() at which it fires */
    loop_timer_fn *fn;     /* may start it again, or free the struct around it */
};
/* Zeroed memory is not a valid timer: init first. */
void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn);
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t ms); /* started again: moves */
void loop_timer_stop(struct loop *l, struct loop_timer *t);               /* fine when stopped already */
bool loop_timer_active(const struct loop_timer *t);

/* ---- descriptors ---- */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 }; /* HANGUP: peer closed (RDHUP), HUP or error */
struct loop_fd;
/* `events`: what happened, never 0. After a reset events has READ: read to the end. */
typedef void loop_fd_fn(struct loop_fd *w, int events, void *arg);
/* Watches nothing yet. The fd must stay open until loop_fd_close. NULL when memory runs out or epoll refuses the fd. */
struct loop_fd *loop_fd_open(struct loop *l, int fd, loop_fd_fn *fn, void *arg);
void loop_fd_set(struct loop_fd *w, loop_fd_fn *fn, void *arg); /* new callback, as when a session takes a socket over */
int loop_fd_want(struct loop_fd *w, int events); /* a set of LOOP_*; 0 stops polling. No system call when nothing changes. 0 or MT_EIO */
int loop_fd_fileno(const struct loop_fd *w);
/* Stops at once, frees on a later turn; call before close(fd). No callback comes after it. */
void loop_fd_close(struct loop_fd *w);

/* ---- wake-ups from other threads ---- */
struct loop_wake;
typedef void loop_wake_fn(void *arg);
struct loop_wake *loop_wake_open(struct loop *l, loop_wake_fn *fn, void *arg); /* NULL when it cannot */
void loop_wake_send(struct loop_wake *w); /* any thread; async-signal-safe; bursts become one call */
void loop_wake_close(struct loop_wake *w);

/* ---- signals (one loop per process should watch them) ---- */
struct loop_signal;
typedef void loop_signal_fn(int signum, void *arg);
struct loop_signal *loop_signal_open(struct loop *l, int signum, loop_signal_fn *fn, void *arg);
void loop_signal_close(struct loop_signal *s);

/* ---- files: tells that one of a set of files changed. Watches their folders, so that saving by rename is seen, and the links
 * on the way to them. One save may be told several times. The callback may add, clear and close. ---- */
struct loop_files;
typedef void loop_files_fn(const char *path, void *arg); /* path as it was added */
struct loop_files *loop_files_open(struct loop *l, loop_files_fn *fn, void *arg);
int loop_files_add(struct loop_files *f, const char *path); /* added twice: fine. 0, MT_ENOMEM, MT_EIO (folder is not there) */
void loop_files_clear(struct loop_files *f);
void loop_files_close(struct loop_files *f);

/* ---- work off the loop, on libuv's thread pool ---- */
typedef void loop_work_fn(void *arg);               /* on a pool thread */
typedef void loop_work_done_fn(void *arg, bool cancelled); /* on the loop */
/* loop_destroy cancels what has not begun (`done` is still called, inside loop_destroy) and waits for the rest. */
int loop_work(struct loop *l, loop_work_fn *fn, loop_work_done_fn *done, void *arg); /* 0 or MT_ENOMEM */

/* ---- threads ---- */
struct loop_thread;
struct loop_thread *loop_thread_start(void (*fn)(void *arg), void *arg); /* NULL when it cannot */
void loop_thread_join(struct loop_thread *t); /* waits and frees */
#endif
