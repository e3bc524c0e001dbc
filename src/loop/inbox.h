/* inbox.h - letters from other threads to the thread of one loop: in order, any number of senders, one wake-up per burst.
 *
 * A letter lies inside a struct of its sender, which the receiver frees. The letters of one sender come in the order in which it
 * posted them. An inbox keeps no more than INBOX_BYTES of letters that may be refused, so a worker that is stuck does not use up
 * the memory of all.
 */
#ifndef MT_LOOP_INBOX_H
#define MT_LOOP_INBOX_H
#include "loop/loop.h"
#include <stddef.h>

enum { INBOX_BYTES = 64 * 1024 * 1024 };

struct inbox;
struct letter {
    struct letter *next; /* the inbox's own */
    size_t size;         /* what it counts for while it waits; the inbox's own */
    /* On the receiver's thread, once: do what the letter says and free it. `delivered` is false where the inbox closes and nobody
     * is there any more: only free it. */
    void (*open)(struct letter *l, bool delivered);
};

struct inbox *inbox_create(struct loop *l); /* NULL when it cannot */
/* Any thread. Takes the letter. */
void inbox_post(struct inbox *b, struct letter *l);
/* The same, but refuses a letter of `size` bytes where it does not fit: false, and the letter is still the caller's. */
bool inbox_offer(struct inbox *b, struct letter *l, size_t size);
/* Loop thread: open everything that waits, also what comes meanwhile. Not inside of a letter. */
void inbox_drain(struct inbox *b);
/* Nobody may post any more. What waits is freed. NULL is allowed. */
void inbox_destroy(struct inbox *b);
#endif
