/* list.h - intrusive doubly linked list, after Linux' list.h. A head is a list_node that points to itself. */
#ifndef MT_BASE_LIST_H
#define MT_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};

#define list_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
#define list_each(node, head) for (struct list_node *node = (head)->next; node != (head); node = node->next)
/* The current node may be removed inside the body. */
#define list_each_safe(node, tmp, head) \
    for (struct list_node *node = (head)->next, *tmp = node->next; node != (head); node = tmp, tmp = node->next)

static inline void list_init(struct list_node *n)
{
    n->prev = n->next = n;
}
static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}
static inline void list_add_tail(struct list_node *head, struct list_node *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
/* Unlinks; safe on a node that is in no list, as long as it was initialised. */
static inline void list_remove(struct list_node *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
/* Moves everything of `from` to the empty, initialised list `to`: callbacks may then change `from`. */
static inline void list_take(struct list_node *to, struct list_node *from)
{
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}
#endif
