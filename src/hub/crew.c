/* crew.c - the shared directory: its stripes, the set of live connections, the bound on current messages. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/hub_impl.h"

#include <assert.h>

/* ---- life ---- */

static void init_stripes(struct stripe *stripes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pthread_mutex_init(&stripes[i].lock, NULL);
}

static void fini_stripes(struct stripe *stripes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert(stripes[i].map.count == 0);
        map_fini(&stripes[i].map);
        pthread_mutex_destroy(&stripes[i].lock);
    }
}

static void destroy_buckets(struct hub_crew *crew)
{
    limits_destroy(crew->limits);
    buckets_destroy(crew->gone);
}

struct hub_crew *hub_crew_create(unsigned workers)
{
    struct hub_crew *crew = mem_zalloc(1, sizeof(*crew));

    assert(workers >= 1 && workers <= HUB_WORKERS_MAX);
    if (!crew)
        return NULL;
    crew->limits = limits_create(workers > 1);
    crew->gone = buckets_create(workers > 1);
    if (!crew->limits || !crew->gone) {
        destroy_buckets(crew);
        mem_free(crew);
        return NULL;
    }
    crew->workers = workers;
    crew->stripes = workers > 1 ? CREW_STRIPES : 1;
    init_stripes(crew->rooms_by_name, crew->stripes);
    init_stripes(crew->users_by_id, crew->stripes);
    init_stripes(crew->conns_by_id, crew->stripes);
    for (unsigned i = 0; i < crew->stripes; i++)
        kept_init(&crew->kept[i]);
    return crew;
}

void hub_crew_destroy(struct hub_crew *crew)
{
    if (!crew)
        return;
    for (unsigned i = 0; i < crew->stripes; i++)
        kept_fini(&crew->kept[i]);
    fini_stripes(crew->rooms_by_name, crew->stripes);
    fini_stripes(crew->users_by_id, crew->stripes);
    fini_stripes(crew->conns_by_id, crew->stripes);
    destroy_buckets(crew);
    mem_free(crew);
}

void hub_crew_set_inbox(struct hub_crew *crew, unsigned worker, struct inbox *inbox)
{
    assert(worker >= 1 && worker <= crew->workers);
    crew->inboxes[worker - 1] = inbox;
}

struct stripe *crew_stripe(struct hub_crew *crew, struct stripe *stripes, struct slice key)
{
    return crew->stripes == 1 ? stripes : &stripes[map_stripe(key, crew->stripes)];
}

/* ---- live connections ---- */

static struct slice id_key(const conn_id *id)
{
    return (struct slice){(const char *)id, sizeof(*id)};
}

int crew_add_conn(struct hub_crew *crew, struct conn *c)
{
    if (crew->workers == 1)
        return 0;
    struct stripe *s = crew_stripe(crew, crew->conns_by_id, id_key(&c->id));
    crew_lock(crew, s);
    int rc = map_put(&s->map, id_key(&c->id), c);
    crew_unlock(crew, s);
    return rc;
}

void crew_remove_conn(struct hub_crew *crew, const struct conn *c)
{
    if (crew->workers == 1)
        return;
    struct stripe *s = crew_stripe(crew, crew->conns_by_id, id_key(&c->id));
    crew_lock(crew, s);
    map_take(&s->map, id_key(&c->id));
    crew_unlock(crew, s);
}

bool crew_has_conn(struct hub_crew *crew, conn_id id)
{
    struct stripe *s = crew_stripe(crew, crew->conns_by_id, id_key(&id));

    crew_lock(crew, s);
    bool found = map_find(&s->map, id_key(&id)) != NULL;
    crew_unlock(crew, s);
    return found;
}

/* ---- current messages ---- */

struct kept_store *crew_kept(struct hub_crew *crew, const struct stripe *of_room)
{
    return &crew->kept[of_room - crew->rooms_by_name];
}

/* The store with the oldest message of all; each is looked at under its lock, none after it: another one may be older then, and
 * that is well enough for a bound. */
static unsigned find_oldest(struct hub_crew *crew)
{
    uint64_t oldest = UINT64_MAX;
    unsigned at = 0;

    for (unsigned i = 0; i < crew->stripes; i++) {
        crew_lock(crew, &crew->rooms_by_name[i]);
        uint64_t stamp = kept_oldest(&crew->kept[i]);
        crew_unlock(crew, &crew->rooms_by_name[i]);
        if (stamp < oldest) {
            oldest = stamp;
            at = i;
        }
    }
    return at;
}

void crew_kept_count(struct hub_crew *crew, const struct kept_store *k, size_t before)
{
    atomic_fetch_add(&crew->kept_bytes, k->bytes - before); /* wraps where it got less */
}

void crew_kept_trim(struct hub_crew *crew)
{
    while (atomic_load(&crew->kept_bytes) > HUB_CURRENT_MAX) {
        unsigned at = find_oldest(crew);
        crew_lock(crew, &crew->rooms_by_name[at]);
        size_t before = crew->kept[at].bytes;
        kept_drop_oldest(&crew->kept[at]);
        crew_kept_count(crew, &crew->kept[at], before);
        crew_unlock(crew, &crew->rooms_by_name[at]);
    }
}
