/* slots.c - a table of objects with a free list inside it.
 *
 * Taking an object raises its slot's generation, which makes every old id of the slot unknown. A slot whose generation is
 * used up (after four billion objects) is never handed out again, so an id can not come back.
 */
#include "base/slots.h"

#include "base/mem.h"
#include <assert.h>
#include <stdbool.h>

#define NONE UINT32_MAX
enum { FIRST_CAP = 16 };

struct slot {
    void *object;        /* NULL while free */
    uint32_t generation; /* of the object, or of the next one while free */
    uint32_t next_free;  /* NONE at the end of the free list */
};

void slots_init(struct slots *s)
{
    *s = (struct slots){.free_head = NONE};
}

void slots_fini(struct slots *s)
{
    mem_free(s->items);
    slots_init(s);
}

static bool grow(struct slots *s)
{
    uint32_t cap = s->cap ? s->cap * 2 : FIRST_CAP;
    if (s->cap > NONE / 2)
        return false;
    struct slot *items = mem_resize(s->items, cap * sizeof(*items));
    if (!items)
        return false;
    /* Chained upwards: ids stay small and the table dense. */
    for (uint32_t i = s->cap; i < cap; i++)
        items[i] = (struct slot){NULL, 1, i + 1 < cap ? i + 1 : s->free_head};
    s->free_head = s->cap;
    s->items = items;
    s->cap = cap;
    return true;
}

slot_id slots_put(struct slots *s, void *object)
{
    assert(object);
    if (s->free_head == NONE && !grow(s))
        return 0;
    uint32_t at = s->free_head;
    struct slot *slot = &s->items[at];
    s->free_head = slot->next_free;
    slot->object = object;
    s->count++;
    return (slot_id)slot->generation << 32 | at;
}

static struct slot *find_slot(const struct slots *s, slot_id id)
{
    uint32_t at = (uint32_t)id;
    if (at >= s->cap)
        return NULL;
    struct slot *slot = &s->items[at];
    return slot->object && slot->generation == id >> 32 ? slot : NULL;
}

void *slots_find(const struct slots *s, slot_id id)
{
    struct slot *slot = find_slot(s, id);
    return slot ? slot->object : NULL;
}

void *slots_take(struct slots *s, slot_id id)
{
    struct slot *slot = find_slot(s, id);
    if (!slot)
        return NULL;
    void *object = slot->object;
    slot->object = NULL;
    s->count--;
    if (slot->generation < UINT32_MAX) {
        slot->generation++;
        slot->next_free = s->free_head;
        s->free_head = (uint32_t)id;
    }
    return object;
}

void *slots_next(const struct slots *s, uint32_t *at)
{
    while (*at < s->cap) {
        void *object = s->items[(*at)++].object;
        if (object)
            return object;
    }
    return NULL;
}
