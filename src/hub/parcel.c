/* parcel.c - letters to the hubs of other workers. */
#include "hub/parcel.h"

#include "base/mem.h"

/* ---- making them ---- */

static size_t users_size(const struct hub_except *e)
{
    size_t size = e->user_count * sizeof(*e->users);

    for (size_t i = 0; i < e->user_count; i++)
        size += e->users[i].len;
    return size;
}

static size_t texts_size(const struct parcel_text *t)
{
    return t->except.conn_count * sizeof(*t->except.conns) + users_size(&t->except) + t->whom.user.len + t->name.len +
           t->key.len + t->reason.len;
}

/* Copy `size` bytes to *at and go on behind them. */
static void *pack(char **at, const void *data, size_t size)
{
    void *copy = *at;

    if (size)
        memcpy(copy, data, size);
    *at += size;
    return copy;
}

static void pack_text(char **at, struct slice *text)
{
    text->data = pack(at, text->data, text->len);
}

/* What needs alignment comes first. */
static void pack_texts(struct parcel_text *t, char *at)
{
    struct hub_except *e = &t->except;

    e->conns = pack(&at, e->conns, e->conn_count * sizeof(*e->conns));
    struct slice *users = pack(&at, e->users, e->user_count * sizeof(*e->users));
    e->users = users;
    for (size_t i = 0; i < e->user_count; i++)
        pack_text(&at, &users[i]);
    pack_text(&at, &t->whom.user);
    pack_text(&at, &t->name);
    pack_text(&at, &t->key);
    pack_text(&at, &t->reason);
}

struct parcel *parcel_create(struct hub *h, const struct parcel_text *t)
{
    unsigned letters = h->crew->workers - 1;
    struct parcel *p = mem_alloc(sizeof(*p) + letters * sizeof(p->letter[0]) + texts_size(t));

    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    p->letters = letters;
    p->t = *t;
    pack_texts(&p->t, (char *)&p->letter[letters]);
    if (t->packet)
        packet_ref(t->packet);
    if (t->blob)
        blob_ref(t->blob);
    return p;
}

void parcel_drop(struct parcel *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    packet_unref(p->t.packet);
    blob_unref(p->t.blob);
    mem_free(p);
}

/* ---- on their way ---- */

static void on_letter(struct letter *letter, bool delivered)
{
    struct parcel_letter *l = list_entry(letter, struct parcel_letter, letter);
    struct parcel *p = l->parcel;

    if (delivered)
        p->t.fn(l->to, p);
    if (p->t.place)
        place_arrived(p->t.place);
    parcel_drop(p);
}

/* To one worker. False when its inbox refused. */
static bool post(struct parcel *p, struct parcel_letter *l, struct inbox *inbox)
{
    size_t size = p->t.packet ? p->t.packet->plain->len : p->t.blob ? p->t.blob->len : 0;

    if ((!p->t.packet && !p->t.blob) || p->t.place) {
        inbox_post(inbox, &l->letter);
        return true;
    }
    return inbox_offer(inbox, &l->letter, size + sizeof(*p));
}

uint64_t parcel_send(struct hub *h, struct parcel *p, uint64_t workers)
{
    struct hub_crew *crew = h->crew;
    struct parcel_letter *l = p->letter;
    uint64_t refused = 0;

    for (unsigned i = 0; i < crew->workers; i++) {
        struct inbox *inbox = crew->inboxes[i];
        if (!(workers >> i & 1) || i + 1 == h->worker)
            continue;
        *l = (struct parcel_letter){{.open = on_letter}, p, crew->hubs[i]};
        atomic_fetch_add(&p->refs, 1);
        if (!inbox || !post(p, l, inbox)) {
            refused |= (uint64_t)1 << i;
            if (inbox)
                hub_note_dropped(h, i + 1);
            l->letter.open(&l->letter, false);
        }
        l++;
    }
    parcel_drop(p);
    return refused;
}
