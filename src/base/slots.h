/* slots.h - ids made of slot and generation, so that a kept id never means a newer object. One thread. */
#ifndef MT_BASE_SLOTS_H
#define MT_BASE_SLOTS_H
#include <stddef.h>
#include <stdint.h>

/* Low 32 bits: slot. High 32 bits: generation, starting at 1. 0 is never a valid id. */
typedef uint64_t slot_id;

struct slot;
struct slots {
    struct slot *items; /* owned */
    uint32_t cap;       /* slots allocated */
    uint32_t free_head; /* first free slot, UINT32_MAX when none */
    uint32_t count;     /* objects held */
};

void slots_init(struct slots *s);
void slots_fini(struct slots *s); /* frees the table, not the objects */
slot_id slots_put(struct slots *s, void *object);       /* 0 when memory runs out */
void *slots_find(const struct slots *s, slot_id id);    /* borrowed, NULL when gone */
void *slots_take(struct slots *s, slot_id id);          /* removes; NULL when gone already */
/* Walk: `*at` starts at 0, NULL at the end. Objects may be added and taken between calls. */
void *slots_next(const struct slots *s, uint32_t *at);
#endif
