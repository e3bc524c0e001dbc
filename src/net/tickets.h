/* tickets.h - keys of TLS session tickets, shared by all workers: a client resumes its session on any of them. Internal to net.
 *
 * A key seals tickets for an hour and opens them as long as they are valid, two hours more; then it is gone, and with it the way
 * to read what was recorded of TLS 1.2 sessions. All calls but attach for any thread.
 */
#ifndef MT_NET_TICKETS_H
#define MT_NET_TICKETS_H
#include <openssl/ssl.h>
#include <stdint.h>

struct tickets;

/* `now` gives milliseconds that only go forward. NULL when memory runs out. */
struct tickets *tickets_create(uint64_t (*now)(void));
void tickets_destroy(struct tickets *t); /* NULL is allowed */
/* Let the sessions of `ctx` use these keys. Borrows t. */
void tickets_attach(struct tickets *t, SSL_CTX *ctx);
#endif
