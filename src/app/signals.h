/* signals.h - what signals mean to the program. For the process' one server; a server that is embedded has none of this. */
#ifndef MT_APP_SIGNALS_H
#define MT_APP_SIGNALS_H
#include "app/server.h"

struct signals;
/* SIGTERM and SIGINT stop the server; the second of them ends the process at once with 128 + its number. SIGHUP reloads. NULL
 * when it cannot. */
struct signals *signals_open(struct server *s);
void signals_close(struct signals *s); /* before server_destroy; NULL is allowed. SIGHUP is ignored from then on */
/* Ignores SIGPIPE, and allows as many descriptors as `connections` and `files` need, as far as the system lets. Returns how many
 * connections fit. Call it before a server is made: libwebsockets sizes its tables by this limit, so it is not made larger than
 * needed. */
size_t signals_prepare_process(size_t connections, size_t files);
#endif
