/* storm.c - the load of the reload storm: rooms full of connections that write to each other, over any number of reloads.
 *
 *   storm_load PORT CONNECTIONS ROOMS window N    every connection keeps N messages in flight
 *   storm_load PORT CONNECTIONS ROOMS rate N      N messages a second over all connections, with their latency
 *
 * The server runs tests/storm/storm.lua. Says "ready" when everybody has joined and the first messages are out, and "seen N" when
 * generation N of the script is first heard of. Reads from stdin: 'b' where a reload begins, 'e' where it has ended, 'w' where a
 * window of time ends (timing.h). At the end of stdin nothing more is sent but, when all is answered, one last message of each;
 * then the result follows as one line of JSON:
 *
 *   sent answered failed delivered seconds   messages, and how long they were sent
 *   generation                               the one that answered each of the last messages
 *   workers                                  answers of each worker, from 1
 *   hashes paths                             stamps.h
 *   quiet reload gaps                        timing.h, only with `rate`
 *
 * Whatever is against the rules of ledger.h, a connection that is closed, an error that is not "internal", or state that is lost
 * over a reload ends the program with a reason and exit code 1.
 */
#include "ledger.h"
#include "peer.h"
#include "proc.h"
#include "stamps.h"
#include "timing.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 64, MESSAGE = 32 };
static const double drain_timeout = 60; /* sanitizers are slow */

/* A room message or an answer, as storm.lua makes it. */
struct stamped {
    char kind;             /* A answer, R room message; small where the handler waited */
    const char *hash;      /* of the version, STAMPS_HASH characters; in the text */
    uint32_t generation;   /* of the version */
    uint32_t worker;       /* where the handler ran, from 1 */
    uint32_t total, count; /* messages answered so far by the worker and to the sender */
    unsigned from;         /* the sender */
    uint32_t number;       /* of its message */
};

struct worker {
    uint32_t answers; /* that came from it */
    uint32_t total;   /* highest count that it told */
};

static unsigned connections, rooms, window, rate;
static struct peer *peers;
static uint32_t *answered; /* messages that went well, by sender */
static struct worker workers[WORKERS + 1];
static uint64_t delivered, failed;
static unsigned joined;
static bool storming; /* answers are followed by new messages */
static bool ending;   /* the last messages are on their way, all to one generation */
static uint32_t last; /* that one; 0 before */

/* ---- what comes ---- */

/* A number and the blank behind it. */
static uint32_t take_number(const char **at, const char *end)
{
    uint32_t value = 0;
    const char *from = *at;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (uint32_t)(**at - '0');
    if (*at == from || *at == end || *(*at)++ != ' ')
        peer_fail("not understood: '%.*s'", (int)(end - from), from);
    return value;
}

static struct stamped parse(const char *text, size_t len)
{
    const char *at = text + 2 + STAMPS_HASH + 1, *end = text + len;
    if (len < 2 + STAMPS_HASH + 1 + MESSAGE || text[1] != ' ' || at[-1] != ' ')
        peer_fail("not understood: '%.*s'", (int)len, text);
    struct stamped s = {.kind = text[0], .hash = text + 2};
    s.generation = take_number(&at, end);
    s.worker = take_number(&at, end);
    s.total = take_number(&at, end);
    s.count = take_number(&at, end);
    if (!peer_parse(at, (size_t)(end - at), &s.from, &s.number) || s.from >= connections || s.number >= peers[s.from].sent)
        peer_fail("a message that nobody sent: '%.*s'", (int)len, text);
    return s;
}

static void note_last(uint32_t generation)
{
    if (last && last != generation)
        peer_fail("generations %u and %u are both live", last, generation);
    last = generation;
}

static void take_answer(struct peer *p, const struct stamped *s)
{
    if (s->from != p->index)
        peer_fail("connection %u: the answer to %u", p->index, s->from);
    ledger_answered(p->index, s->number, s->generation);
    if (s->count != ++answered[p->index])
        peer_fail("connection %u: conn.data counts %u messages after %u", p->index, s->count, answered[p->index]);
    if (s->worker < 1 || s->worker > WORKERS)
        peer_fail("connection %u: worker %u", p->index, s->worker);
    struct worker *w = &workers[s->worker];
    w->answers++;
    w->total = s->total > w->total ? s->total : w->total;
    if (ending)
        note_last(s->generation);
    joined += s->number == 0;
    p->due += storming && window;
}

static void take_error(struct peer *p, const char *text, size_t len)
{
    static const char internal[] = "\"code\":\"internal\"";
    if (!memmem(text, len, internal, sizeof(internal) - 1))
        peer_fail("connection %u: %.*s", p->index, (int)len, text);
    uint32_t number = ledger_failed(p->index);
    if (number == 0 || ending)
        peer_fail("connection %u: message %u failed", p->index, number);
    failed++;
    p->due += storming && window; /* again, under a new number */
}

static void take_text(struct peer *p, const char *text, size_t len)
{
    if (len && text[0] == '{') {
        take_error(p, text, len);
        return;
    }
    struct stamped s = parse(text, len);
    bool waited = s.kind == 'a' || s.kind == 'r';
    stamps_see(p->index, s.generation, s.hash, waited);
    if (rate && s.number > 0 && !ending)
        timing_arrived(s.from, s.number);
    if (s.kind == 'A' || s.kind == 'a') {
        take_answer(p, &s);
    } else if (s.kind == 'R' || s.kind == 'r') {
        ledger_heard(p->index, s.from, s.number, s.generation);
        delivered++;
    } else {
        peer_fail("not understood: '%.*s'", (int)len, text);
    }
}

/* ---- what goes ---- */

static void join(struct peer *p)
{
    peer_send(p, 1);
}

static void send_windows(void)
{
    for (unsigned i = 0; i < connections; i++)
        peer_send(&peers[i], window);
}

/* Sends what is due by now, the connections in turn. */
static void send_by_rate(double begin, double now)
{
    static uint64_t count;
    for (double when; (when = begin + (double)count / rate) <= now; count++) {
        struct peer *p = &peers[count % connections];
        if (p->sent - ledger_done(p->index) >= TIMING_FLIGHT)
            peer_fail("the server is too slow for %u messages a second", rate);
        timing_sent(p->index, p->sent, when);
        peer_send(p, 1);
    }
}

/* ---- the run ---- */

/* What who reloads says. False at the end. */
static bool obey(void)
{
    char words[64];
    ssize_t n = read(STDIN_FILENO, words, sizeof(words));
    for (ssize_t i = 0; i < n; i++) {
        if (words[i] == 'w')
            timing_window();
        else
            timing_reload(words[i] == 'b');
    }
    return n != 0;
}

static double storm(void)
{
    double begin = proc_clock();
    storming = true;
    if (window)
        send_windows();
    puts("ready");
    fflush(stdout);
    while (obey()) {
        if (rate)
            send_by_rate(begin, proc_clock());
        peer_turn(rate ? 0 : 10);
    }
    storming = false;
    return proc_clock() - begin;
}

/* Until each connection has all that belongs to its messages, or time is over: then somebody else says what is missing. */
static void wait_for_all(bool (*has_all)(const struct peer *p))
{
    double end = proc_clock() + drain_timeout;
    for (unsigned i = 0; i < connections && proc_clock() < end;)
        if (has_all(&peers[i]))
            i++;
        else
            peer_turn(10);
}

static bool has_answers(const struct peer *p)
{
    return ledger_done(p->index) == p->sent;
}

static bool has_everything(const struct peer *p)
{
    return ledger_is_complete(p->index, p->sent);
}

/* Every worker's tide.state has counted what it answered. */
static void check_state(void)
{
    for (unsigned i = 1; i <= WORKERS; i++)
        if (workers[i].answers != workers[i].total)
            peer_fail("worker %u: tide.state counts %u messages of %u", i, workers[i].total, workers[i].answers);
}

/* One message of each after all the others: the newest version answers it, and it ends what each member hears of the sender. */
static void send_last(void)
{
    wait_for_all(has_answers);
    ending = true;
    for (unsigned i = 0; i < connections; i++)
        peer_send(&peers[i], 1);
    wait_for_all(has_everything);
    for (unsigned i = 0; i < connections; i++) {
        if (!has_answers(&peers[i]))
            peer_fail("connection %u: message %u was never answered", i, ledger_done(i));
        ledger_check(i, peers[i].sent);
    }
}

static unsigned last_worker(void)
{
    unsigned most = WORKERS;
    while (most && !workers[most].answers)
        most--;
    return most;
}

static void print_result(double seconds)
{
    uint64_t sent = 0, well = 0;
    for (unsigned i = 0; i < connections; i++) {
        sent += peers[i].sent;
        well += answered[i];
    }
    printf("{\"sent\": %" PRIu64 ", \"answered\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"delivered\": %" PRIu64, sent, well,
           failed, delivered);
    printf(", \"seconds\": %.3f, \"generation\": %u, \"workers\": [", seconds, last);
    for (unsigned i = 1, most = last_worker(); i <= most; i++)
        printf("%s%u", i > 1 ? ", " : "", workers[i].answers);
    printf("], ");
    stamps_print();
    if (rate) {
        printf(", ");
        timing_print();
    }
    puts("}");
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || value > 1000000)
        peer_fail("'%s' is no number", text);
    return (unsigned)value;
}

static void parse_arguments(int argc, char **argv)
{
    if (argc != 6)
        peer_fail("usage: storm_load PORT CONNECTIONS ROOMS window|rate N");
    connections = number(argv[2]);
    rooms = number(argv[3]);
    if (strcmp(argv[4], "window") == 0)
        window = number(argv[5]);
    else if (strcmp(argv[4], "rate") == 0)
        rate = number(argv[5]);
    if (!rooms || !connections || connections % rooms || window > PEER_BATCH_MAX || !(window || rate))
        peer_fail("the connections must be a multiple of the rooms, and a window from 1 to %d", PEER_BATCH_MAX);
}

int main(int argc, char **argv)
{
    parse_arguments(argc, argv);
    struct peer_config config = {.port = (int)number(argv[1]), .size = MESSAGE};
    config.events = (struct peer_events){.on_open = join, .on_text = take_text};
    signal(SIGPIPE, SIG_IGN);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    peers = calloc(connections, sizeof(*peers));
    answered = calloc(connections, sizeof(*answered));
    ledger_init(connections, rooms);
    stamps_init(connections);
    peer_reserve(connections);
    peer_init(&config);
    peer_open_until(peers, connections);
    while (joined < connections)
        peer_turn(10);
    timing_init(connections);
    double seconds = storm();
    send_last();
    check_state();
    print_result(seconds);
    return 0;
}
