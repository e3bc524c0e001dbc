/* load.c - the load generator: drives one server through one scenario and prints what it measured as one line of JSON.
 *
 *   echo      every connection keeps `window` messages in flight; the server sends each one back
 *   room      every connection is a member; the first `publishers` keep `window` messages in flight, which every member gets
 *   connect   `connections` clients connect, upgrade, close and start again
 *   idle      opens `connections` connections and looks at the server's resident memory before and after
 *
 * Each message that arrives is compared with what was sent, in order, and at the end nothing may be missing. One thread: give it
 * a core of its own. tests/bench/run.py starts it; docs/benchmark.md says how to read the numbers.
 */
#include "peer.h"
#include "proc.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_CONNECTIONS = 100 };
static const double drain_timeout = 20;

struct options {
    const char *scenario;
    pid_t server;
    unsigned connections, window, publishers;
    double warm, seconds;
    struct peer_config peer;
};

struct scenario {
    const char *name;
    struct peer_events events;
    void (*run)(void);
};

static struct options options = {.connections = 100, .window = 1, .publishers = 10, .warm = 1, .seconds = 3, .peer.size = 32};
static struct peer *peers;
static uint32_t *heard; /* room: by member and publisher, the number that comes next */
static unsigned clients; /* connect: how many are at it */
static uint64_t total;   /* messages received, or connections opened and closed */
static bool stopping;    /* what arrives is no longer answered */

static void run_for(double seconds)
{
    double end = proc_clock() + seconds;
    while (proc_clock() < end)
        peer_turn(10);
}

/* The pause is for servers that answer first and join the room after. */
static void open_until(unsigned count)
{
    peer_open_until(peers, count);
    run_for(0.3);
}

static void print_result(const struct usage *from, const struct usage *to, uint64_t count)
{
    double time = to->clock - from->clock, server = to->server - from->server, self = to->self - from->self;
    double other = to->machine - from->machine - server - self;
    printf("{\"count\": %llu, \"seconds\": %.4f, \"rate\": %.1f, ", (unsigned long long)count, time, (double)count / time);
    printf("\"server_cpu\": %.3f, \"load_cpu\": %.3f, \"other_cpu\": %.3f}\n", server / time, self / time,
           other > 0 ? other / time : 0);
}

/* Warm up, then count for `seconds`. */
static void measure(void)
{
    run_for(options.warm);
    struct usage from = proc_usage(options.server);
    uint64_t before = total;
    run_for(options.seconds);
    struct usage to = proc_usage(options.server);
    print_result(&from, &to, total - before);
}

static void drain(bool (*finished)(void))
{
    double end = proc_clock() + drain_timeout;
    stopping = true;
    while (!finished()) {
        if (proc_clock() > end)
            peer_fail("messages were lost: not all had come %.0f seconds after the last was sent", drain_timeout);
        peer_turn(10);
    }
}

/* ---- echo ---- */

static void echo_message(struct peer *p, unsigned from, uint32_t number)
{
    if (from != p->index || number != p->received - 1)
        peer_fail("connection %u: got message %u of %u, not its own number %u", p->index, number, from, p->received - 1);
    total++;
    p->due += !stopping;
}

static bool echo_finished(void)
{
    for (unsigned i = 0; i < options.connections; i++)
        if (peers[i].received != peers[i].sent)
            return false;
    return true;
}

static void echo_run(void)
{
    open_until(options.connections);
    for (unsigned i = 0; i < options.connections; i++)
        peer_send(&peers[i], options.window);
    measure();
    drain(echo_finished);
}

/* ---- room ---- */

static void room_message(struct peer *p, unsigned from, uint32_t number)
{
    if (from >= options.publishers)
        peer_fail("connection %u: a message of %u, who sent none", p->index, from);
    uint32_t *next = &heard[(size_t)p->index * options.publishers + from];
    if (number != *next)
        peer_fail("connection %u: got message %u of %u instead of %u", p->index, number, from, *next);
    (*next)++;
    total++;
    p->due += from == p->index && !stopping;
}

static bool room_finished(void)
{
    uint32_t published = 0;
    for (unsigned i = 0; i < options.publishers; i++)
        published += peers[i].sent;
    for (unsigned i = 0; i < options.connections; i++)
        if (peers[i].received != published)
            return false;
    return true;
}

static void room_run(void)
{
    if (options.publishers > options.connections)
        peer_fail("more publishers than connections");
    heard = calloc((size_t)options.connections * options.publishers, sizeof(*heard));
    open_until(options.connections);
    for (unsigned i = 0; i < options.publishers; i++)
        peer_send(&peers[i], options.window);
    measure();
    drain(room_finished);
}

/* ---- connect ---- */

static void connect_closed(struct peer *p)
{
    total++;
    if (stopping)
        clients--;
    else
        peer_open(p);
}

static bool connect_finished(void)
{
    return clients == 0;
}

static void connect_run(void)
{
    for (clients = 0; clients < options.connections; clients++) {
        peers[clients].index = clients;
        peer_open(&peers[clients]);
    }
    measure();
    drain(connect_finished);
}

/* ---- idle ---- */

/* The server's memory once it stays the same for half a second. */
static double settled_memory(void)
{
    double last = -1, now = proc_resident(options.server), end = proc_clock() + 10;
    while (now != last && proc_clock() < end) {
        last = now;
        run_for(0.5);
        now = proc_resident(options.server);
    }
    return now;
}

static void idle_run(void)
{
    if (!options.server)
        peer_fail("idle needs --pid");
    open_until(WARM_CONNECTIONS);
    double before = settled_memory();
    open_until(options.connections);
    double after = settled_memory(), count = options.connections - WARM_CONNECTIONS;
    printf("{\"count\": %.0f, \"before\": %.0f, \"after\": %.0f, \"bytes\": %.1f}\n", count, before, after,
           (after - before) / count);
}

static const struct scenario scenarios[] = {
    {"echo", {.on_message = echo_message}, echo_run},
    {"room", {.on_message = room_message}, room_run},
    {"connect", {.on_open = peer_close, .on_closed = connect_closed}, connect_run},
    {"idle", {0}, idle_run},
};

static void usage(void)
{
    fputs("usage: bench_load --scenario echo|room|connect|idle --port PORT [--pid SERVER] [--tls] [--connections N]\n"
          "                  [--window N] [--publishers N] [--size BYTES] [--warm SECONDS] [--seconds SECONDS]\n",
          stderr);
    exit(2);
}

static unsigned number_between(const char *text, unsigned low, unsigned high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || value < low || value > high) {
        fprintf(stderr, "load: %s is not a number from %u to %u\n", text, low, high);
        usage();
    }
    return (unsigned)value;
}

static void parse_option(int key)
{
    switch (key) {
    case 's':
        options.scenario = optarg;
        break;
    case 'p':
        options.peer.port = (int)number_between(optarg, 1, 65535);
        break;
    case 'i':
        options.server = (pid_t)number_between(optarg, 1, 1 << 30);
        break;
    case 't':
        options.peer.tls = true;
        break;
    case 'c':
        options.connections = number_between(optarg, 1, 1000000);
        break;
    case 'w':
        options.window = number_between(optarg, 1, PEER_BATCH_MAX);
        break;
    case 'u':
        options.publishers = number_between(optarg, 1, 1000);
        break;
    case 'b':
        options.peer.size = number_between(optarg, PEER_SIZE_MIN, PEER_SIZE_MAX);
        break;
    case 'W':
        options.warm = strtod(optarg, NULL);
        break;
    case 'S':
        options.seconds = strtod(optarg, NULL);
        break;
    default:
        usage();
    }
}

static const struct scenario *parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"scenario", 1, NULL, 's'},    {"port", 1, NULL, 'p'},    {"pid", 1, NULL, 'i'},        {"tls", 0, NULL, 't'},
        {"connections", 1, NULL, 'c'}, {"window", 1, NULL, 'w'},  {"publishers", 1, NULL, 'u'}, {"size", 1, NULL, 'b'},
        {"warm", 1, NULL, 'W'},        {"seconds", 1, NULL, 'S'}, {NULL, 0, NULL, 0},
    };
    for (int key; (key = getopt_long(argc, argv, "", names, NULL)) != -1;)
        parse_option(key);
    if (!options.scenario || !options.peer.port || optind != argc)
        usage();
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        if (strcmp(scenarios[i].name, options.scenario) == 0)
            return &scenarios[i];
    usage();
    return NULL;
}

int main(int argc, char **argv)
{
    const struct scenario *scenario = parse(argc, argv);
    peer_reserve(options.connections + WARM_CONNECTIONS);
    signal(SIGPIPE, SIG_IGN); /* SSL_write has no flag for it */
    options.connections += scenario->run == idle_run ? WARM_CONNECTIONS : 0;
    options.peer.events = scenario->events;
    options.peer.many_addresses = scenario->run == connect_run;
    peers = calloc(options.connections, sizeof(*peers));
    peer_init(&options.peer);
    scenario->run();
    return 0;
}
