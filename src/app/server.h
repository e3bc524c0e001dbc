/* server.h - a whole server: settings, log, watchdog, workers, and what reloads and stops them. No global state, so
 * several may live in one process.
 *
 * Created, run and destroyed by one thread after the other; server_stop and server_reload may come from any thread and
 * from signal handlers while the server exists. Worker 1 runs on the thread that calls server_run, and drives the others.
 */
#ifndef MT_APP_SERVER_H
#define MT_APP_SERVER_H
#include "app/config.h"
#include "loop/loop.h"
#include "script/script.h"

struct server;

struct server_options {
    const char *script;                  /* copied */
    const struct script_module *modules; /* native modules; borrowed until server_destroy */
    size_t module_count;
    bool check; /* it is only to be found out whether it would start: nothing is taken that another server may have */
};

/* Load everything: certificates, static folder, script. Nothing listens yet. Where `user` is set and this is root's process, it is
 * that user's from here on, for good. Takes `config` (checked by config_check), also when
 * it fails. 0 or an error code, with a sentence for the operator in *error (mem_free it). */
int server_create(struct config *config, const struct server_options *o, struct server **out, char **error);
void server_destroy(struct server *s); /* NULL is allowed. Not while it runs */
/* Bind every address, and log them. Same results. */
int server_listen(struct server *s, char **error);
/* Serve until server_stop. Returns the number of sockets that were still open when the time to stop was up. */
size_t server_run(struct server *s);
void server_stop(struct server *s);   /* also before server_run: then that returns soon */
void server_reload(struct server *s); /* settings, certificates and script, each kept as it was where the new one fails */
/* The i-th bound address, "http://127.0.0.1:8765"; NULL past the end. Borrowed. */
const char *server_address(const struct server *s, size_t i);
struct loop *server_loop(const struct server *s);   /* of worker 1, for signals */
const char *server_version(const struct server *s); /* of the script; borrowed until the next reload */
#endif
