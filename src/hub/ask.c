/* ask.c - who asks, who was asked, and the letters between them.
 *
 * Three maps of a hub: the questions of this worker by their id, the rounds by the same id (what was asked of connections here,
 * wherever the asker is), and the connections in them by connection and id. The asker's worker is part of the id.
 */
#include "hub/ask.h"

#include "base/err.h"
#include "base/mem.h"
#include "hub/parcel.h"

#include <stdio.h>
#include <string.h>

enum { WORKER_BITS = 6 }; /* of an id, the lowest: HUB_WORKERS_MAX */

/* One question, in one worker that has connections which were asked. */
struct round {
    struct hub *hub;
    uint64_t id;            /* key in hub->rounds */
    struct list_node seats; /* struct asked, by in_round; not empty */
};

/* One connection that was asked. */
struct asked {
    struct asked_key {
        conn_id conn;
        uint64_t id;
    } key; /* in hub->asked */
    struct conn *conn;
    struct round *round;
    struct list_node in_conn; /* in conn->asked->open */
    struct list_node in_round;
};

static struct slice id_key(const uint64_t *id)
{
    return (struct slice){(const char *)id, sizeof(*id)};
}

static struct slice asked_key(const struct asked_key *key)
{
    return (struct slice){(const char *)key, sizeof(*key)};
}

/* ---- ids ---- */

static uint64_t asker_of(uint64_t id)
{
    return id & (HUB_WORKERS_MAX - 1);
}

uint64_t ask_new_id(struct hub *h)
{
    uint64_t id;

    do {
        uint64_t seed[2] = {h->worker, ++h->questions_asked};
        id = map_hash((struct slice){(const char *)seed, sizeof(seed)}) << WORKER_BITS | (h->worker - 1);
    } while (id == 0 || map_find(&h->questions, id_key(&id)));
    return id;
}

void ask_name(uint64_t id, char out[ASK_NAME_SIZE])
{
    snprintf(out, ASK_NAME_SIZE, ASK_PREFIX "%016llx", (unsigned long long)id);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

uint64_t ask_parse(struct slice name)
{
    const size_t prefix = sizeof(ASK_PREFIX) - 1;
    uint64_t id = 0;

    if (name.len != ASK_NAME_SIZE - 1 || memcmp(name.data, ASK_PREFIX, prefix) != 0)
        return 0;
    for (size_t i = prefix; i < name.len; i++) {
        int digit = hex_digit(name.data[i]);

        if (digit < 0)
            return 0;
        id = id << 4 | (unsigned)digit;
    }
    return id;
}

/* ---- what a round ends with, at the asker ---- */

/* In a parcel to the asker, beside the answer (blob) and the id (serial): code. The rest of it is the worker it comes from. */
enum { IS_ERROR = 1, IS_OVER = 2, FROM_SHIFT = 2 };

static void drop_round(struct hub *h, uint64_t id);

static void forget_here(struct hub *h, const struct parcel *p)
{
    drop_round(h, p->t.serial);
}

void ask_drop(struct question *q)
{
    struct hub *h = q->hub;
    uint64_t others;
    struct parcel *p;

    if (!h)
        return;
    others = q->workers & ~h->bit;
    map_take(&h->questions, id_key(&q->id));
    if (q->workers & h->bit)
        drop_round(h, q->id);
    /* Without memory for it those who were asked are kept until their connection ends: their answer comes too late. */
    if (others && (p = parcel_create(h, &(struct parcel_text){.fn = forget_here, .serial = q->id})))
        parcel_send(h, p, others);
    blob_unref(q->error);
    q->error = NULL;
    q->hub = NULL;
}

static void finish(struct question *q, int rc, struct blob *answer)
{
    if (answer)
        blob_ref(answer); /* it may be q->error */
    ask_drop(q);
    q->done(q, rc, answer);
    blob_unref(answer);
}

/* Something came for the question `id`, from worker `from`. Nobody may wait for it any more. */
static void take(struct hub *h, uint64_t id, unsigned from, struct blob *answer, unsigned flags)
{
    struct question *q = map_find(&h->questions, id_key(&id));

    if (!q)
        return;
    if (flags & IS_OVER)
        q->workers &= ~((uint64_t)1 << (from - 1));
    if (answer && !(flags & IS_ERROR)) {
        finish(q, 0, answer);
        return;
    }
    if (answer && !q->error)
        q->error = blob_ref(answer);
    if (!q->workers)
        finish(q, q->error ? 0 : MT_ECLOSED, q->error);
}

static void take_here(struct hub *h, const struct parcel *p)
{
    take(h, p->t.serial, p->t.code >> FROM_SHIFT, p->t.blob, p->t.code & (IS_ERROR | IS_OVER));
}

/* What cannot be told, for lack of memory or because the inbox is full, ends by the asker's patience. */
static void tell(struct hub *h, uint64_t id, struct blob *answer, unsigned flags)
{
    struct parcel_text t = {.fn = take_here, .serial = id, .blob = answer, .code = flags | h->worker << FROM_SHIFT};
    struct parcel *p;

    if (asker_of(id) == h->worker - 1)
        take(h, id, h->worker, answer, flags);
    else if ((p = parcel_create(h, &t)))
        parcel_send(h, p, (uint64_t)1 << asker_of(id));
}

/* ---- rounds ---- */

static void free_asked(struct asked *a)
{
    map_take(&a->round->hub->asked, asked_key(&a->key));
    list_remove(&a->in_conn);
    list_remove(&a->in_round);
    a->conn->asked->count--;
    mem_free(a);
}

static void free_round(struct round *r)
{
    while (!list_empty(&r->seats))
        free_asked(list_entry(r->seats.next, struct asked, in_round));
    map_take(&r->hub->rounds, id_key(&r->id));
    mem_free(r);
}

static void drop_round(struct hub *h, uint64_t id)
{
    struct round *r = map_find(&h->rounds, id_key(&id));

    if (r)
        free_round(r);
}

/* This one will not answer any more, or has answered. */
static void end_asked(struct asked *a, struct blob *answer, bool is_error)
{
    struct round *r = a->round;
    struct hub *h = r->hub;
    uint64_t id = r->id;
    bool over;

    free_asked(a);
    over = list_empty(&r->seats) || (answer && !is_error);
    if (over)
        free_round(r);
    if (answer || over)
        tell(h, id, answer, (is_error ? IS_ERROR : 0u) | (over ? IS_OVER : 0u));
}

bool conn_answer(struct conn *c, uint64_t id, bool is_error, struct slice text)
{
    struct asked_key key = {c->id, id};
    struct asked *a = map_find(&c->hub->asked, asked_key(&key));
    struct blob *answer;

    if (!a)
        return false;
    answer = blob_copy(text.data, text.len);
    end_asked(a, answer, is_error);
    blob_unref(answer);
    return true;
}

void ask_conn_gone(struct conn *c)
{
    while (conn_owes_answer(c))
        end_asked(list_entry(c->asked->open.next, struct asked, in_conn), NULL, false);
}

/* ---- asking ---- */

static struct asked *seat(struct round *r, struct conn *c)
{
    struct asked *a = mem_zalloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->key = (struct asked_key){c->id, r->id};
    a->conn = c;
    a->round = r;
    if (map_put(&r->hub->asked, asked_key(&a->key), a)) {
        mem_free(a);
        return NULL;
    }
    list_add_tail(&r->seats, &a->in_round);
    list_add_tail(&c->asked->open, &a->in_conn);
    c->asked->count++;
    return a;
}

static bool make_asked(struct conn *c)
{
    if (c->asked)
        return true;
    c->asked = mem_zalloc(1, sizeof(*c->asked));
    if (c->asked)
        list_init(&c->asked->open);
    return c->asked != NULL;
}

static int ask_one(struct round *r, struct conn *c, struct packet *p)
{
    const struct hub_events *events = r->hub->events;
    struct asked *a;
    int rc;

    if (c->asked && c->asked->count >= ASK_MAX)
        return MT_EFULL;
    if (!make_asked(c) || !(a = seat(r, c)))
        return MT_ENOMEM;
    if ((rc = session_send_packet(c->session, p, NULL))) {
        free_asked(a);
        return rc;
    }
    if (events->on_asked)
        events->on_asked(r->hub->arg, c);
    return 0;
}

static struct round *round_create(struct hub *h, uint64_t id)
{
    struct round *r = mem_zalloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->hub = h;
    r->id = id;
    list_init(&r->seats);
    if (map_put(&h->rounds, id_key(&r->id), r)) {
        mem_free(r);
        return NULL;
    }
    return r;
}

/* Those who are here. 0 when one was asked at least, else why the last one was not. */
static int ask_local(struct hub *h, const struct whom *w, struct packet *p, uint64_t id)
{
    struct conn *c = w->conn ? conn_find(h, w->conn) : NULL;
    const struct user *u = w->conn ? NULL : user_find(h, w->user);
    struct round *r = round_create(h, id);
    int rc = MT_EOFFLINE;

    if (!r)
        return MT_ENOMEM;
    if (c && c->session)
        rc = ask_one(r, c, p);
    for (struct list_node *node = u ? u->conns.next : NULL; node && node != &u->conns; node = node->next)
        rc = ask_one(r, list_entry(node, struct conn, in_user), p);
    if (list_empty(&r->seats)) {
        free_round(r);
        return rc;
    }
    return 0;
}

static void ask_here(struct hub *h, const struct parcel *p)
{
    if (ask_local(h, &p->t.whom, p->t.packet, p->t.serial) != 0)
        tell(h, p->t.serial, NULL, IS_OVER);
}

int whom_ask(struct hub *h, const struct whom *w, struct packet *p, struct question *q)
{
    uint64_t workers = whom_workers(h, w), others = workers & ~h->bit;
    struct parcel *parcel = NULL;
    int rc = MT_EBUSY;

    if (!workers)
        return MT_EOFFLINE;
    if (others && !(parcel = parcel_create(h, &(struct parcel_text){.fn = ask_here, .whom = *w, .packet = p, .serial = q->id})))
        return MT_ENOMEM;
    if (map_put(&h->questions, id_key(&q->id), q)) {
        parcel_drop(parcel);
        return MT_ENOMEM;
    }
    q->hub = h;
    q->workers = workers;
    q->error = NULL;
    if ((workers & h->bit) && (rc = ask_local(h, w, p, q->id)) != 0)
        q->workers &= ~h->bit;
    if (parcel)
        q->workers &= ~parcel_send(h, parcel, others);
    if (q->workers)
        return 0;
    ask_drop(q);
    return rc;
}
