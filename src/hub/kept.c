/* kept.c - current messages: per room a list in the order of first storing and a map by key; over all rooms a list by age. */
#include "hub/kept.h"

#include "base/err.h"
#include "base/mem.h"
#include "net/session.h"

struct kept_room {
    struct map keys;           /* struct kept by key */
    struct list_node messages; /* by kept->in_room */
    size_t name_len;
    char name[]; /* key in store->rooms */
};

struct kept_item {
    struct packet *packet; /* a reference of its own */
    uint64_t hash;         /* outbox key */
};

struct kept {
    struct kept_room *room;
    struct list_node in_room; /* in room->messages */
    struct list_node by_age;  /* in store->oldest */
    struct packet *packet;    /* one reference */
    uint64_t hash;            /* outbox key */
    uint64_t stamp;           /* of the packet */
    size_t size;              /* what it takes in all, as counted in store->bytes */
    size_t key_len;
    char key[]; /* key in room->keys */
};

void kept_init(struct kept_store *k)
{
    *k = (struct kept_store){0};
    list_init(&k->oldest);
}

static void room_drop_if_empty(struct kept_store *k, struct kept_room *r)
{
    if (!list_empty(&r->messages))
        return;
    map_take(&k->rooms, (struct slice){r->name, r->name_len});
    map_fini(&r->keys);
    mem_free(r);
}

static void kept_drop(struct kept_store *k, struct kept *m)
{
    map_take(&m->room->keys, (struct slice){m->key, m->key_len});
    list_remove(&m->in_room);
    list_remove(&m->by_age);
    k->bytes -= m->size;
    packet_unref(m->packet);
    room_drop_if_empty(k, m->room);
    mem_free(m);
}

void kept_fini(struct kept_store *k)
{
    while (!list_empty(&k->oldest))
        kept_drop(k, list_entry(k->oldest.next, struct kept, by_age));
    map_fini(&k->rooms);
}

/* The room of that name, made when new; NULL when memory runs out. */
static struct kept_room *room_get(struct kept_store *k, struct slice name)
{
    struct kept_room *r = map_find(&k->rooms, name);
    if (r)
        return r;
    r = mem_zalloc(1, sizeof(*r) + name.len);
    if (!r)
        return NULL;
    list_init(&r->messages);
    r->name_len = name.len;
    memcpy(r->name, name.data, name.len);
    if (map_put(&k->rooms, (struct slice){r->name, r->name_len}, r)) {
        mem_free(r);
        return NULL;
    }
    return r;
}

/* A message without a packet, at the end of its room; NULL when memory runs out. */
static struct kept *kept_create(struct kept_store *k, struct kept_room *r, struct slice key)
{
    struct kept *m = mem_zalloc(1, sizeof(*m) + key.len);
    if (!m)
        return NULL;
    m->room = r;
    m->key_len = key.len;
    memcpy(m->key, key.data, key.len);
    if (map_put(&r->keys, (struct slice){m->key, m->key_len}, m)) {
        mem_free(m);
        return NULL;
    }
    list_add_tail(&r->messages, &m->in_room);
    list_init(&m->by_age);
    return m;
}

int kept_put(struct kept_store *k, struct slice room, struct slice key, uint64_t hash, uint64_t stamp, struct packet *p)
{
    struct kept_room *r = room_get(k, room);
    if (!r)
        return MT_ENOMEM;
    struct kept *m = map_find(&r->keys, key);
    if (!m && !(m = kept_create(k, r, key))) {
        room_drop_if_empty(k, r);
        return MT_ENOMEM;
    }
    packet_ref(p);
    packet_unref(m->packet);
    m->packet = p;
    m->hash = hash;
    m->stamp = stamp;
    k->bytes -= m->size;
    m->size = sizeof(*m) + key.len + p->plain->len;
    k->bytes += m->size;
    list_remove(&m->by_age);
    list_add_tail(&k->oldest, &m->by_age);
    return 0;
}

static struct kept *find(const struct kept_store *k, struct slice room, struct slice key)
{
    const struct kept_room *r = map_find(&k->rooms, room);

    return r ? map_find(&r->keys, key) : NULL;
}

bool kept_forget(struct kept_store *k, struct slice room, struct slice key)
{
    struct kept *m = find(k, room, key);
    if (m)
        kept_drop(k, m);
    return m != NULL;
}

uint64_t kept_stamp(const struct kept_store *k, struct slice room, struct slice key)
{
    const struct kept *m = find(k, room, key);
    return m ? m->stamp : 0;
}

uint64_t kept_oldest(const struct kept_store *k)
{
    return list_empty(&k->oldest) ? UINT64_MAX : list_entry(k->oldest.next, struct kept, by_age)->stamp;
}

void kept_drop_oldest(struct kept_store *k)
{
    if (!list_empty(&k->oldest))
        kept_drop(k, list_entry(k->oldest.next, struct kept, by_age));
}

/* ---- for those who join ---- */

int kept_take_list(const struct kept_store *k, struct slice room, struct kept_list *out)
{
    const struct kept_room *r = map_find(&k->rooms, room);

    *out = (struct kept_list){0};
    if (!r)
        return 0;
    if (!(out->items = mem_alloc(r->keys.count * sizeof(*out->items))))
        return MT_ENOMEM;
    list_each(node, &r->messages)
    {
        struct kept *m = list_entry(node, struct kept, in_room);
        out->items[out->count++] = (struct kept_item){packet_ref(m->packet), m->hash};
    }
    return 0;
}

void kept_send_list(struct kept_list *list, struct session *s)
{
    bool going = s != NULL; /* false as well when one of them was too much for its outbox */

    for (size_t i = 0; i < list->count; i++) {
        struct outbox_opts opts = {.key = list->items[i].hash};
        going = going && session_send_packet(s, list->items[i].packet, &opts) != MT_ECLOSED;
        packet_unref(list->items[i].packet);
    }
    mem_free(list->items);
    *list = (struct kept_list){0};
}
