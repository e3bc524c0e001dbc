/* whom.c - somebody, wherever: sends, closes, joins and leaves of a connection or a user in any worker; and everybody. */
#include "base/err.h"
#include "base/mem.h"
#include "hub/parcel.h"

/* ---- who is where ---- */

uint64_t whom_workers(struct hub *h, const struct whom *w)
{
    if (!w->conn)
        return w->user.len ? user_workers(h, w->user) : 0;
    unsigned worker = conn_worker(w->conn);
    const struct conn *c = conn_find(h, w->conn);
    bool open = worker == h->worker ? c && c->session : worker <= h->crew->workers && crew_has_conn(h->crew, w->conn);
    return open ? (uint64_t)1 << (worker - 1) : 0;
}

/* The ids of their open connections here, as a mem_alloc'ed list: what is done to one may change who has others. False when
 * memory runs out. */
static bool list_here(struct hub *h, const struct whom *w, conn_id **ids, size_t *count)
{
    const struct user *u = w->conn ? NULL : user_find(h, w->user);
    size_t n = 0;

    *count = w->conn ? conn_find(h, w->conn) != NULL : u ? u->count : 0;
    *ids = *count ? mem_alloc(*count * sizeof(**ids)) : NULL;
    if (!*ids)
        return *count == 0;
    if (w->conn)
        (*ids)[0] = w->conn;
    else
        list_each(node, &u->conns) (*ids)[n++] = list_entry(node, struct conn, in_user)->id;
    return true;
}

static struct conn *find_open(struct hub *h, conn_id id)
{
    struct conn *c = conn_find(h, id);
    return c && c->session ? c : NULL;
}

/* ---- sending ---- */

static bool is_excepted(const struct conn *c, const struct hub_except *except)
{
    struct slice user = conn_user(c);

    for (size_t i = 0; except && i < except->conn_count; i++)
        if (except->conns[i] == c->id)
            return true;
    for (size_t i = 0; except && i < except->user_count && user.len; i++)
        if (slice_is(except->users[i], user))
            return true;
    return false;
}

/* To those of them who are here. Of a connection the result of the send. */
static int send_local(struct hub *h, const struct whom *w, struct packet *p, const struct outbox_opts *o,
                      const struct hub_except *except)
{
    struct conn *c = w->conn ? find_open(h, w->conn) : NULL;
    const struct user *u = w->conn ? NULL : user_find(h, w->user);

    if (c)
        return is_excepted(c, except) ? 0 : session_send_packet(c->session, p, o);
    for (struct list_node *node = u ? u->conns.next : NULL; node && node != &u->conns; node = node->next) {
        c = list_entry(node, struct conn, in_user);
        if (!is_excepted(c, except))
            (void)session_send_packet(c->session, p, o); /* who is gone or too slow does not count here */
    }
    return 0;
}

static void send_here(struct hub *h, const struct parcel *p)
{
    (void)send_local(h, &p->t.whom, p->t.packet, &p->t.opts, &p->t.except);
}

/* A message on its way to others; NULL when memory runs out. */
static struct parcel *make_message(struct hub *h, parcel_fn *fn, const struct whom *w, struct packet *p,
                                   const struct outbox_opts *o, const struct hub_except *except)
{
    struct parcel_text t = {.fn = fn, .packet = p};

    if (w)
        t.whom = *w;
    if (o)
        t.opts = *o;
    if (except)
        t.except = *except;
    return parcel_create(h, &t);
}

int whom_send(struct hub *h, const struct whom *w, struct packet *p, const struct outbox_opts *o, const struct hub_except *except)
{
    uint64_t workers = whom_workers(h, w);
    struct parcel *parcel = NULL;

    if (!workers)
        return MT_EOFFLINE;
    if ((workers & ~h->bit) && !(parcel = make_message(h, send_here, w, p, o, except)))
        return MT_ENOMEM;
    int rc = send_local(h, w, p, o, except);
    if (parcel)
        parcel_send(h, parcel, workers);
    return rc == MT_ECLOSED ? MT_EOFFLINE : rc;
}

/* ---- closing ---- */

static int close_local(struct hub *h, const struct whom *w, unsigned code, struct slice reason)
{
    const struct conn *c = w->conn ? find_open(h, w->conn) : NULL;
    const struct user *u = w->conn ? NULL : user_find(h, w->user);

    if (c)
        return session_close(c->session, code, reason);
    for (struct list_node *node = u ? u->conns.next : NULL; node && node != &u->conns; node = node->next)
        session_close(list_entry(node, struct conn, in_user)->session, code, reason); /* nothing calls back from it */
    return 0;
}

static void close_here(struct hub *h, const struct parcel *p)
{
    (void)close_local(h, &p->t.whom, p->t.code, p->t.reason);
}

int whom_close(struct hub *h, const struct whom *w, unsigned code, struct slice reason)
{
    uint64_t workers = whom_workers(h, w);
    struct parcel *p = NULL;

    if (!workers)
        return MT_EOFFLINE;
    if (workers & ~h->bit)
        if (!(p = parcel_create(h, &(struct parcel_text){.fn = close_here, .whom = *w, .code = code, .reason = reason})))
            return MT_ENOMEM;
    int rc = close_local(h, w, code, reason);
    if (p)
        parcel_send(h, p, workers);
    return rc == MT_ECLOSED ? MT_EOFFLINE : rc;
}

/* ---- joining ---- */

static int join_local(struct hub *h, const struct whom *w, struct slice room, struct blob *info)
{
    size_t count;
    conn_id *ids;
    int rc = list_here(h, w, &ids, &count) ? 0 : MT_ENOMEM;

    for (size_t i = 0; i < count && rc == 0; i++) {
        struct conn *c = find_open(h, ids[i]);
        if (c)
            rc = room_join(c, room, info);
    }
    mem_free(ids);
    return rc;
}

/* Who was to join a room that has been emptied meanwhile, perhaps by the same handler, is out already. */
static void join_here(struct hub *h, const struct parcel *p)
{
    if (place_is_over(p->t.place))
        return;
    (void)join_local(h, &p->t.whom, p->t.name, p->t.blob);
}

/* What the room is sent by this worker from now on follows the join to the others, though they are no members yet. */
static int ask_to_join(struct hub *h, const struct whom *w, uint64_t others, struct slice room, struct blob *info)
{
    struct parcel_text t = {.fn = join_here, .whom = *w, .name = room, .blob = info};
    struct parcel *p;

    if (!(t.place = place_expect(h->crew, room, others)))
        return MT_ENOMEM;
    if ((p = parcel_create(h, &t))) {
        parcel_send(h, p, others);
        return 0;
    }
    for (; others; others &= others - 1)
        place_arrived(t.place);
    return MT_ENOMEM;
}

int whom_join(struct hub *h, const struct whom *w, struct slice room, struct blob *info)
{
    uint64_t workers = whom_workers(h, w);
    int rc = 0;

    if (room.len == 0 || room.len > HUB_NAME_MAX)
        return MT_EINVALID;
    if (!workers)
        return MT_EOFFLINE;
    if (workers & ~h->bit)
        rc = ask_to_join(h, w, workers & ~h->bit, room, info);
    if (rc == 0 && (workers & h->bit))
        rc = join_local(h, w, room, info);
    return rc == MT_ECLOSED ? MT_EOFFLINE : rc;
}

/* ---- leaving ---- */

static int leave_local(struct hub *h, const struct whom *w, struct slice room)
{
    size_t count;
    conn_id *ids;
    bool left = false;

    if (!list_here(h, w, &ids, &count))
        return MT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct conn *c = find_open(h, ids[i]);
        if (c)
            left |= room_leave(c, room);
    }
    mem_free(ids);
    return left;
}

static void leave_here(struct hub *h, const struct parcel *p)
{
    (void)leave_local(h, &p->t.whom, p->t.name);
}

int whom_leave(struct hub *h, const struct whom *w, struct slice room)
{
    uint64_t workers = whom_workers(h, w), others = workers & ~h->bit;
    bool was = false;

    if (!workers)
        return MT_EOFFLINE;
    if (others) {
        struct parcel *p = parcel_create(h, &(struct parcel_text){.fn = leave_here, .whom = *w, .name = room});
        if (!p)
            return MT_ENOMEM;
        was = w->conn ? (place_workers(h->crew, room, NULL) & others) != 0 : room_has_user(h, room, w->user);
        parcel_send(h, p, others);
    }
    int left = leave_local(h, w, room);
    return left < 0 ? left : left || was;
}

/* ---- everybody ---- */

static uint64_t all_workers(const struct hub *h)
{
    return UINT64_MAX >> (HUB_WORKERS_MAX - h->crew->workers);
}

static void broadcast_here(struct hub *h, const struct parcel *p)
{
    hub_fan_out(h, NULL, p->t.packet, &p->t.opts, &p->t.except);
}

int hub_broadcast(struct hub *h, struct packet *p, const struct outbox_opts *o, const struct hub_except *except)
{
    struct parcel *parcel = NULL;

    if (h->crew->workers > 1 && !(parcel = make_message(h, broadcast_here, NULL, p, o, except)))
        return MT_ENOMEM;
    hub_fan_out(h, NULL, p, o, except);
    if (parcel)
        parcel_send(h, parcel, all_workers(h));
    return 0;
}

static void signal_here(struct hub *h, const struct parcel *p)
{
    if (h->events->on_signal)
        h->events->on_signal(h->arg, p->t.name, p->t.blob);
}

int hub_signal(struct hub *h, struct slice name, struct blob *value)
{
    struct parcel *p = parcel_create(h, &(struct parcel_text){.fn = signal_here, .name = name, .blob = value});

    if (!p)
        return MT_ENOMEM;
    atomic_fetch_add(&p->refs, 1); /* it is read below, when letters may have been opened */
    parcel_send(h, p, all_workers(h));
    signal_here(h, p);
    parcel_drop(p);
    return 0;
}
