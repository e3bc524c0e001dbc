/* parcel.h - one thing to do in several workers: the letters lie inside, one for each other worker, and the last one frees it.
 */
#ifndef MT_HUB_PARCEL_H
#define MT_HUB_PARCEL_H
#include "hub/hub_impl.h"

struct parcel;
/* In a worker it was sent to, on its thread. */
typedef void parcel_fn(struct hub *h, const struct parcel *p);

/* What a parcel says; what is not used is zero. Constant once it is on its way; serial and stamp are set until then. */
struct parcel_text {
    parcel_fn *fn;
    struct packet *packet;    /* NULL for none; the parcel takes its own reference */
    struct blob *blob;        /* the same */
    struct place *place;      /* where a join is expected: the letters give it back with place_arrived, delivered or not */
    struct outbox_opts opts;  /* for packet */
    struct whom whom;         /* whom it is about; the parcel copies texts and lists */
    struct slice name;        /* room, or of a signal */
    struct slice key;         /* of a kept message */
    struct slice reason;      /* of a close */
    unsigned code;            /* of a close; of an answer what it is, see ask.c */
    uint64_t serial;          /* of the room's place: of one name there may be several, see room_find. Of a question its id */
    uint64_t stamp;           /* of a kept message, 0 for others */
    struct hub_except except; /* from packet */
};

struct parcel {
    atomic_uint refs;     /* letters on their way, and the sender */
    unsigned letters;     /* how many there is room for: one for each other worker */
    struct parcel_text t; /* points behind the letters */
    struct parcel_letter {
        struct letter letter;
        struct parcel *parcel;
        struct hub *to;
    } letter[];
};

/* NULL when memory runs out. */
struct parcel *parcel_create(struct hub *h, const struct parcel_text *t);
/* Takes the parcel to these workers (bits), this one apart. Messages and signals may be refused by full inboxes, which is
 * counted; all else arrives. Returns the workers that it does not come to. */
uint64_t parcel_send(struct hub *h, struct parcel *p, uint64_t workers);
void parcel_drop(struct parcel *p); /* one that is not sent after all; NULL is allowed */
#endif
