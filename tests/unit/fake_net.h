/* fake_net.h - for the tests of net: a client that blocks, over real sockets, and a server of several nets, each on a thread of
 * its own. Every call fails the test when it cannot do its work.
 */
#ifndef MT_TESTS_FAKE_NET_H
#define MT_TESTS_FAKE_NET_H
#include "net/net.h"

#include <pthread.h>

/* ---- the client ---- */

int dial(int port); /* of 127.0.0.1; nothing that is read from it waits longer than 10 s */
int dial_unix(const char *path);
void put(int fd, const char *text, size_t len);
/* Reads `len` bytes, fewer only at the end. */
size_t receive(int fd, void *out, size_t len);
void expect(int fd, const void *want, size_t len);
void expect_end(int fd);
/* To the empty line, as a string. Its length, with what there was at an early end. */
size_t read_head(int fd, char *out, size_t size);

/* ---- the server ---- */

enum { FAKE_NETS_MAX = 4 };

struct fake_net {
    unsigned worker; /* from 1; what it answers to every request, with the client's address in X-Peer */
    struct loop *loop;
    struct net *net;
    struct loop_wake *stop;
    pthread_t thread;
};

struct fake_server {
    int log_out; /* of a pipe: read here what is logged from LOG_LEVEL_WARN */
    int log_in;  /* its other end */
    struct log *log;
    struct net_shared *shared;
    struct fake_net nets[FAKE_NETS_MAX];
    size_t count;
    bool runs;
};

/* `o`: NULL for the defaults. */
void fake_server_create(struct fake_server *f, size_t count, const struct net_tls_file *tls, size_t tls_count,
                        const struct net_options *o);
/* Bind it, and let all of them listen, in order, as long as none fails. As net_shared_bind and net_listen. */
int fake_server_listen(struct fake_server *f, const char *address, unsigned how, char **error);
void fake_server_run(struct fake_server *f);
void fake_server_stop(struct fake_server *f); /* its threads have ended: look into it, or destroy it */
void fake_server_destroy(struct fake_server *f);
int fake_server_port(const struct fake_server *f); /* of the first address */
/* A request on an open connection: the worker that answers. */
unsigned fake_server_ask(int fd);
#endif
