/* services.h - what scripts reach beside their own VM, made once for all workers: stores, databases, a folder, threads.
 *
 * On the thread that owns the server. Stopped when the workers' scripts have ended and before their inboxes go: what is under way
 * comes back into these.
 */
#ifndef MT_APP_SERVICES_H
#define MT_APP_SERVICES_H
#include "app/config.h"
#include "base/log.h"
#include "script/script.h"

struct services;

/* As the settings say. `check`: only look whether it would go well, beside a server that may be running; nothing is made. 0, or
 * an error code with a sentence in *error where there is one. Half made, it is the caller's to destroy too. Config and log are
 * borrowed until then. */
int services_open(const struct config *config, struct log *log, bool check, struct services **out, char **error);
/* Carries out what was sent, and ends the threads. Once more is fine, NULL too. */
void services_stop(struct services *s);
void services_destroy(struct services *s); /* stops, frees. NULL is allowed */
void services_lend(const struct services *s, struct script_services *out);

/* What is open or under way at this moment. */
struct services_counts {
    size_t databases, statements; /* of tide.sql: open, and prepared in them */
    size_t sql, store, hashing;   /* requests that are not answered yet, passwords that wait or are hashed */
};
void services_count(const struct services *s, struct services_counts *out);
#endif
