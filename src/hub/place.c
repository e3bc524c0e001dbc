/* place.c - rooms over all workers: their life in the directory, and looking at who is there. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- life: as long as somebody has a reference ---- */

/* Under the stripe's lock. NULL when memory runs out. */
static struct place *place_create(struct hub_crew *crew, struct stripe *s, struct slice name)
{
    struct place *p = mem_zalloc(1, sizeof(*p) + name.len);
    if (!p)
        return NULL;
    p->crew = crew;
    p->stripe = s;
    p->serial = atomic_fetch_add(&crew->places, 1) + 1;
    p->home = crew->workers > 1 ? (unsigned)(map_hash(name) % crew->workers) + 1 : 1;
    list_init(&p->members);
    p->name_len = name.len;
    memcpy(p->name, name.data, name.len);
    if (map_put(&s->map, place_name(p), p)) {
        mem_free(p);
        return NULL;
    }
    return p;
}

struct place *place_get(struct hub_crew *crew, struct slice name)
{
    struct stripe *s = crew_stripe(crew, crew->rooms_by_name, name);

    crew_lock(crew, s);
    struct place *p = map_find(&s->map, name);
    if (!p)
        p = place_create(crew, s, name);
    if (p)
        p->refs++;
    crew_unlock(crew, s);
    return p;
}

void place_publish(struct place *p)
{
    atomic_store_explicit(&p->workers, p->over ? 0 : p->bound | p->expected, memory_order_release);
}

void place_unref(struct place *p, uint64_t bound)
{
    struct hub_crew *crew = p->crew;
    struct stripe *s = p->stripe;

    crew_lock(crew, s);
    p->bound &= ~bound;
    place_publish(p);
    bool is_last = --p->refs == 0;
    if (is_last && !p->over)
        map_take(&s->map, place_name(p));
    crew_unlock(crew, s);
    if (!is_last)
        return;
    assert(list_empty(&p->members));
    map_fini(&p->users);
    mem_free(p);
}

void place_bind(struct place *p, uint64_t bit)
{
    crew_lock(p->crew, p->stripe);
    p->bound |= bit;
    place_publish(p);
    crew_unlock(p->crew, p->stripe);
}

/* ---- joins on their way ---- */

static unsigned count_bits(uint64_t bits)
{
    return (unsigned)__builtin_popcountll(bits);
}

struct place *place_expect(struct hub_crew *crew, struct slice name, uint64_t workers)
{
    struct place *p = place_get(crew, name);
    if (!p)
        return NULL;
    crew_lock(crew, p->stripe);
    p->refs += count_bits(workers) - 1;
    p->coming += count_bits(workers);
    p->expected |= workers;
    place_publish(p);
    crew_unlock(crew, p->stripe);
    return p;
}

void place_arrived(struct place *p)
{
    crew_lock(p->crew, p->stripe);
    if (--p->coming == 0)
        p->expected = 0;
    crew_unlock(p->crew, p->stripe);
    place_unref(p, 0);
}

/* ---- looking ---- */

/* A room in the directory, with its lock held; NULL (also held) when it is not there. */
static struct place *lock_place(struct hub *h, struct slice name, struct stripe **s)
{
    *s = crew_stripe(h->crew, h->crew->rooms_by_name, name);
    crew_lock(h->crew, *s);
    return map_find(&(*s)->map, name);
}

uint64_t place_workers(struct hub_crew *crew, struct slice name, uint64_t *serial)
{
    struct stripe *s = crew_stripe(crew, crew->rooms_by_name, name);

    crew_lock(crew, s);
    const struct place *p = map_find(&s->map, name);
    uint64_t workers = p ? atomic_load(&p->workers) : 0;
    if (serial)
        *serial = p ? p->serial : 0;
    crew_unlock(crew, s);
    return workers;
}

size_t room_count(struct hub *h, struct slice room)
{
    struct stripe *s;
    const struct place *p = lock_place(h, room, &s);
    size_t people = p ? p->people : 0;

    crew_unlock(h->crew, s);
    return people;
}

bool room_has_user(struct hub *h, struct slice room, struct slice user)
{
    struct stripe *s;
    const struct place *p = lock_place(h, room, &s);
    const struct member *m = p ? member_find(p, user) : NULL;
    bool found = m && m->present;

    crew_unlock(h->crew, s);
    return found;
}

/* ---- lists, as bytes: a head, then the text it tells the lengths of ---- */

struct person_head {
    conn_id conn;
    size_t user_len, info_len;
    bool has_info;
};

static int add_person(struct buf *out, const struct member *m)
{
    struct slice user = identity_id(m->who);
    struct person_head head = {m->conn, user.len, m->info ? m->info->len : 0, m->info != NULL};

    if (buf_reserve(out, sizeof(head) + head.user_len + head.info_len))
        return MT_ENOMEM;
    (void)buf_add(out, &head, sizeof(head));
    (void)buf_add(out, user.data, user.len);
    if (m->info)
        (void)buf_add(out, m->info->data, m->info->len);
    return 0;
}

int room_members(struct hub *h, struct slice room, struct buf *out)
{
    struct stripe *s;
    const struct place *p = lock_place(h, room, &s);
    int rc = 0, count = p ? (int)p->people : 0;

    for (struct list_node *node = p ? p->members.next : NULL; node && node != &p->members && rc == 0; node = node->next)
        rc = add_person(out, list_entry(node, struct member, in_place));
    crew_unlock(h->crew, s);
    return rc ? rc : count;
}

/* Take `size` bytes off the front of a list. */
static struct slice cut(struct slice *list, size_t size)
{
    struct slice piece = {list->data, size};

    list->data += size;
    list->len -= size;
    return piece;
}

bool person_next(struct slice *list, struct person *out)
{
    struct person_head head;

    if (list->len < sizeof(head))
        return false;
    memcpy(&head, cut(list, sizeof(head)).data, sizeof(head));
    out->conn = head.conn;
    out->user = cut(list, head.user_len);
    out->info = cut(list, head.info_len);
    if (!head.has_info)
        out->info.data = NULL;
    return true;
}

struct room_head {
    size_t people, name_len;
};

/* Under the stripe's lock. The count, or MT_ENOMEM. */
static int list_stripe(const struct stripe *s, struct slice prefix, struct buf *out)
{
    const struct place *p;
    int count = 0;

    for (size_t at = 0; (p = map_next(&s->map, &at, NULL));) {
        struct room_head head = {p->people, p->name_len};
        if (!p->people || p->name_len < prefix.len || (prefix.len && memcmp(p->name, prefix.data, prefix.len) != 0))
            continue;
        if (buf_add(out, &head, sizeof(head)) || buf_add(out, p->name, p->name_len))
            return MT_ENOMEM;
        count++;
    }
    return count;
}

int room_list(struct hub *h, struct slice prefix, struct buf *out)
{
    struct hub_crew *crew = h->crew;
    int total = 0;

    for (unsigned i = 0; i < crew->stripes; i++) {
        crew_lock(crew, &crew->rooms_by_name[i]);
        int count = list_stripe(&crew->rooms_by_name[i], prefix, out);
        crew_unlock(crew, &crew->rooms_by_name[i]);
        if (count < 0)
            return count;
        total += count;
    }
    return total;
}

bool room_list_next(struct slice *list, struct slice *name, size_t *people)
{
    struct room_head head;

    if (list->len < sizeof(head))
        return false;
    memcpy(&head, cut(list, sizeof(head)).data, sizeof(head));
    *people = head.people;
    *name = cut(list, head.name_len);
    return true;
}
