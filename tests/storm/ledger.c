/* ledger.c - see ledger.h. */
#include "ledger.h"

#include "numbers.h"
#include "peer.h"
#include <stdlib.h>

struct sender {
    uint32_t done;         /* the number that the next answer is about */
    struct numbers failed; /* those that the sender was told of */
};

/* What one member has of one sender. */
struct line {
    uint32_t next;         /* lowest number that may come now */
    uint32_t generation;   /* that made the last message */
    struct numbers missed; /* those that were passed over */
};

static unsigned room_count, room_size;
static struct sender *senders;
static struct line *lines; /* room_size for each member, by the sender's place in the room */

static struct line *line_of(unsigned member, unsigned from)
{
    return &lines[(size_t)member * room_size + from / room_count];
}

void ledger_init(unsigned connections, unsigned rooms)
{
    room_count = rooms;
    room_size = connections / rooms;
    senders = calloc(connections, sizeof(*senders));
    lines = calloc((size_t)connections * room_size, sizeof(*lines));
    for (size_t i = 0; i < (size_t)connections * room_size; i++)
        lines[i].next = 1; /* number 0 joins */
}

void ledger_heard(unsigned member, unsigned from, uint32_t number, uint32_t generation)
{
    if (from % room_count != member % room_count)
        peer_fail("connection %u: heard %u, who is in another room", member, from);
    struct line *line = line_of(member, from);
    if (number < line->next)
        peer_fail("connection %u: message %u of %u came twice or late, %u was the next", member, number, from, line->next);
    for (; line->next < number; line->next++)
        numbers_add(&line->missed, line->next);
    line->next++;
    line->generation = generation;
}

void ledger_answered(unsigned sender, uint32_t number, uint32_t generation)
{
    const struct line *own = line_of(sender, sender);
    if (number != senders[sender].done)
        peer_fail("connection %u: the answer to message %u, not to %u", sender, number, senders[sender].done);
    senders[sender].done++;
    if (number > 0 && own->next != number + 1)
        peer_fail("connection %u: message %u was answered before it came", sender, number);
    if (number > 0 && own->generation != generation)
        peer_fail("connection %u: message %u is of generation %u, its answer of %u", sender, number, own->generation, generation);
}

uint32_t ledger_failed(unsigned sender)
{
    uint32_t number = senders[sender].done++;
    numbers_add(&senders[sender].failed, number);
    return number;
}

uint32_t ledger_done(unsigned sender)
{
    return senders[sender].done;
}

bool ledger_is_complete(unsigned sender, uint32_t sent)
{
    if (senders[sender].done < sent)
        return false;
    for (unsigned place = 0; place < room_size; place++)
        if (line_of(place * room_count + sender % room_count, sender)->next < sent)
            return false;
    return true;
}

static void check_line(unsigned member, unsigned sender, uint32_t sent)
{
    const struct line *line = line_of(member, sender);
    const struct numbers *failed = &senders[sender].failed;
    if (line->next < sent)
        peer_fail("connection %u: message %u of %u, the last, never came", member, sent - 1, sender);
    for (size_t i = 0; i < failed->count || i < line->missed.count; i++) {
        uint32_t told = i < failed->count ? failed->items[i] : UINT32_MAX;
        uint32_t missed = i < line->missed.count ? line->missed.items[i] : UINT32_MAX;
        if (missed < told)
            peer_fail("connection %u: message %u of %u was lost: it went well, but never came", member, missed, sender);
        if (told < missed)
            peer_fail("connection %u: message %u of %u came although it failed", member, told, sender);
    }
}

void ledger_check(unsigned sender, uint32_t sent)
{
    for (unsigned place = 0; place < room_size; place++)
        check_line(place * room_count + sender % room_count, sender, sent);
}
