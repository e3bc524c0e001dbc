/* errand.h - what another thread does for a task that waits: a read of a store, a statement of a database, a file.
 *
 * An errand is a struct of the caller's with `struct errand` as its first member. It is made on the loop's thread, goes to the
 * other thread and comes back as a letter to script->inbox (or by errand_done, from a callback on the loop). The task that sent
 * it then goes on and `finish` pushes the results. A task that ends before that leaves its errand alone, which is freed when it
 * is back. So whoever works on it never has to ask whether somebody still waits, but may look at `given_up` to save the work.
 *
 *     struct task *t = task_check_wait(L);                        after all checks of arguments
 *     struct my_errand *e = errand_push(L, sizeof(*e), &ops);     zeroed; a value on the stack owns it
 *     ... fill in what the other thread needs; what is owned is freed by ops->destroy; raising is fine ...
 *     errand_start(t, &e->errand);
 *     rc = send it;                                               it may be answered at once
 *     if (rc < 0)
 *         errand_refuse(&e->errand, rc);                          then the call fails with that code
 *     return errand_wait(L, &e->errand, -1);                      the last statement
 */
#ifndef MT_SCRIPT_ERRAND_H
#define MT_SCRIPT_ERRAND_H
#include "loop/inbox.h"
#include "script/task.h"
#include <stdatomic.h>

struct errand;
struct errand_ops {
    /* In the task's coroutine: push the results, return their count. `code` is what the errand came back with, or MT_ETIMEOUT.
     * May raise. NULL: script_push_result(L, code). */
    int (*finish)(lua_State *L, struct errand *e, int code);
    /* Nobody waits any more, and it is on its way: tell who works on it, if that helps. Loop thread. May be NULL. */
    void (*give_up)(struct errand *e);
    /* Free what is inside, not the errand itself. Loop thread; the other thread is done with it. May be NULL. */
    void (*destroy)(struct errand *e);
};

struct errand {
    struct letter letter; /* first: how it comes back. open is set by errand_start */
    int code;             /* set by the other thread: 0 or MT_E* */
    atomic_bool given_up; /* nobody waits any more */
    const struct errand_ops *ops;
    struct task *task; /* that waits; NULL: none. Loop thread, as the rest */
    unsigned refs;     /* the value on the stack, and the way there and back */
};

/* Pushes a value that owns a new errand of `size` bytes. Raises when memory runs out. */
void *errand_push(lua_State *L, size_t size, const struct errand_ops *ops);
/* From now on it is under way. */
void errand_start(struct task *t, struct errand *e);
/* It did not leave: the call that waits for it fails with `code`. */
void errand_refuse(struct errand *e, int code);
/* It is back, for those that come by other ways than a letter. Loop thread. */
void errand_done(struct errand *e);
/* Wait for it; ms < 0: without limit. Use as `return errand_wait(...)`. The owner must be on top of the stack. */
int errand_wait(lua_State *L, struct errand *e, int64_t ms);
void errand_open(lua_State *L); /* the type of the owners; once per VM. May raise */
#endif
