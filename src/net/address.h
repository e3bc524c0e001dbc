/* address.h - addresses that sockets listen on, and such sockets. Internal to net. */
#ifndef MT_NET_ADDRESS_H
#define MT_NET_ADDRESS_H
#include "base/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } at;
    socklen_t len; /* of what `at` holds */
};

void address_v4(struct address *a, uint32_t ip, int port); /* ip in the order of the host */
void address_v6(struct address *a, struct in6_addr ip, int port);
/* False when the path is empty or too long. */
bool address_unix(struct address *a, struct slice path);
/* 0 for what has no port. */
int address_port(const struct address *a);
/* "http://127.0.0.1:8765", "https://[::1]:8765", "unix:/path", cut to `size`. */
void address_text(const struct address *a, bool secure, char *out, size_t size);
/* `count` sockets on one address, into `fds`, for as many listeners; of unix sockets they are copies of one. Nothing else may
 * listen there now. Where the port was 0, `a` then holds the one that was chosen. 0, MT_EBUSY (in use), MT_EDENIED or MT_EIO, with
 * errno; all `fds` are -1 then. */
int address_bind(struct address *a, unsigned count, int *fds);
/* Let others connect. Same results. */
int address_listen(int fd);
/* Unlink a socket file that nobody answers on: it is left over from a server that was killed. */
void address_sweep(const struct address *a);
#endif
