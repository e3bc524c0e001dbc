/* peer.h - the load generator's WebSocket connections.
 *
 * One epoll set for all. A peer reads once per turn, hands out whole messages, and writes what a turn asks for in one call: the
 * generator needs no more system calls than the servers it drives. Every message carries who sent it and a running number;
 * whatever is not exactly what a server should have sent ends the program with a reason and exit code 1.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peer_state { PEER_NONE, PEER_TLS, PEER_UPGRADE, PEER_OPEN, PEER_CLOSING };

struct peer {
    int fd;
    enum peer_state state;
    SSL *ssl;            /* NULL on plain connections */
    unsigned char *kept; /* start of a head or frame whose rest has not come yet */
    size_t kept_len;
    unsigned index;          /* stands in every message this peer sends */
    uint32_t sent, received; /* messages; `sent` is also the number of the next one */
    unsigned due;            /* messages to send at the end of the turn */
};

/* What the scenario wants to hear. Unused ones are NULL. */
struct peer_events {
    void (*on_open)(struct peer *p);
    void (*on_message)(struct peer *p, unsigned from, uint32_t number);
    void (*on_text)(struct peer *p, const char *text, size_t len); /* in place of on_message: every text, unchecked */
    void (*on_closed)(struct peer *p); /* after a closing handshake that went right */
};

struct peer_config {
    int port; /* on 127.0.0.1 */
    bool tls;
    size_t size;         /* payload bytes of a message, PEER_SIZE_MIN to PEER_SIZE_MAX */
    bool many_addresses; /* bind to 127.0.0.2, .3, ... in turn: reconnecting uses up the ports of one address */
    struct peer_events events;
};
enum { PEER_SIZE_MIN = 12, PEER_SIZE_MAX = 4096, PEER_BATCH_MAX = 64 };

void peer_init(const struct peer_config *config);
/* Raise the limit of open files for this many connections and some more. */
void peer_reserve(unsigned connections);
/* Connect and start the handshakes; on_open follows in a later turn. `p` is zeroed, or was closed, but for `index`. */
void peer_open(struct peer *p);
/* Open those of peers[0] to peers[count - 1] that are not yet, a few at a time. Returns when all are open. */
void peer_open_until(struct peer *peers, unsigned count);
/* Send the next `count` (at most PEER_BATCH_MAX) messages in one write. */
void peer_send(struct peer *p, unsigned count);
/* Read a message that some peer has sent, unchanged. False when it is none. */
bool peer_parse(const char *text, size_t len, unsigned *from, uint32_t *number);
/* Send a close frame; on_closed comes when the server has answered it and closed the connection. */
void peer_close(struct peer *p);
/* Wait at most `milliseconds` for something to happen, and handle it. */
void peer_turn(int milliseconds);
/* Print the reason to stderr and exit 1. */
void peer_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#endif
