/* sql.c - which databases a server has open. */
#include "store/sql.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/sql_impl.h"
#include <assert.h>
#include <string.h>

struct sql {
    struct sql_config config; /* its folder is owned */
    pthread_mutex_t lock;     /* of the rest */
    struct list_node open;    /* by sql_db.node */
    struct list_node leaving; /* closed, their threads may still be at work */
    size_t count;             /* in both lists */
    bool stopped;
};

void sql_defaults(struct sql_config *c)
{
    *c = (struct sql_config){.statement_ms = 30000, .transaction_ms = 10000};
}

struct sql *sql_create(const struct sql_config *c)
{
    struct sql *s = mem_zalloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->config = *c;
    if (c->folder && !(s->config.folder = mem_strdup(c->folder, strlen(c->folder)))) {
        mem_free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->open);
    list_init(&s->leaving);
    return s;
}

const struct sql_config *sql_config_of(const struct sql *s)
{
    return &s->config;
}

static bool is_in_memory(const char *path)
{
    return strcmp(path, ":memory:") == 0;
}

/* Free those that are done; `all`: wait for the others too. Under the lock, which their threads never take. */
static void reap(struct sql *s, bool all)
{
    list_each_safe(node, next, &s->leaving)
    {
        struct sql_db *db = list_entry(node, struct sql_db, node);

        if (!all && !atomic_load(&db->ended))
            continue;
        list_remove(node);
        s->count--;
        sql_db_destroy(db);
    }
}

static void leave(struct sql *s, struct sql_db *db)
{
    list_remove(&db->node);
    list_add_tail(&s->leaving, &db->node);
    sql_db_close(db);
}

/* Databases that somebody holds stay, without a thread. */
void sql_stop(struct sql *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    list_each(node, &s->open)
    {
        struct sql_db *db = list_entry(node, struct sql_db, node);

        atomic_store(&db->stopping, true);
        sql_db_close(db);
    }
    list_each(node, &s->leaving) atomic_store(&list_entry(node, struct sql_db, node)->stopping, true);
    list_each_safe(node, next, &s->open)
    {
        struct sql_db *db = list_entry(node, struct sql_db, node);

        loop_thread_join(db->thread);
        db->thread = NULL;
        if (is_in_memory(db->path) && --db->refs == 0)
            leave(s, db);
    }
    reap(s, true);
    pthread_mutex_unlock(&s->lock);
}

void sql_destroy(struct sql *s)
{
    if (!s)
        return;
    if (!s->stopped)
        sql_stop(s);
    reap(s, true);
    assert(list_empty(&s->open));
    pthread_mutex_destroy(&s->lock);
    mem_free((char *)s->config.folder);
    mem_free(s);
}

static void count_one(struct sql_db *db, struct sql_counts *sum)
{
    pthread_mutex_lock(&db->lock);
    sum->requests += db->pending;
    pthread_mutex_unlock(&db->lock);
    sum->statements += atomic_load_explicit(&db->statements, memory_order_relaxed);
    sum->databases++;
}

void sql_count(struct sql *s, struct sql_counts *out)
{
    *out = (struct sql_counts){0};
    pthread_mutex_lock(&s->lock);
    list_each(node, &s->open) count_one(list_entry(node, struct sql_db, node), out);
    list_each(node, &s->leaving) count_one(list_entry(node, struct sql_db, node), out);
    pthread_mutex_unlock(&s->lock);
}

/* ---- one of them ---- */

static struct sql_db *find(struct sql *s, const char *path)
{
    list_each(node, &s->open)
    {
        struct sql_db *db = list_entry(node, struct sql_db, node);

        if (strcmp(db->path, path) == 0)
            return db;
    }
    return NULL;
}

static int find_or_create(struct sql *s, const char *path, struct sql_db **out)
{
    if (s->stopped)
        return MT_ECLOSED;
    reap(s, false);
    if ((*out = find(s, path))) {
        (*out)->refs++;
        return 0;
    }
    if (s->count >= SQL_DATABASES_MAX)
        return MT_ELIMITED;
    if (!(*out = sql_db_create(s, path)))
        return MT_ENOMEM;
    if (is_in_memory(path))
        (*out)->refs++; /* until sql_stop: what it holds is not to vanish between two versions of a script */
    s->count++;
    list_add_tail(&s->open, &(*out)->node);
    return 0;
}

int sql_open(struct sql *s, const char *path, struct sql_db **out)
{
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    int err = find_or_create(s, path, out);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void sql_ref(struct sql_db *db)
{
    pthread_mutex_lock(&db->sql->lock);
    db->refs++;
    pthread_mutex_unlock(&db->sql->lock);
}

void sql_unref(struct sql_db *db)
{
    struct sql *s = db->sql;

    pthread_mutex_lock(&s->lock);
    if (--db->refs == 0)
        leave(s, db);
    pthread_mutex_unlock(&s->lock);
}

const char *sql_path(const struct sql_db *db)
{
    return db->path;
}

void sql_request_fini(struct sql_request *r)
{
    buf_fini(&r->in);
    buf_fini(&r->out);
}
