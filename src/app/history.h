/* history.h - the last versions of a script: what went live, what was replaced, what failed and why. Survives reloads. */
#ifndef MT_APP_HISTORY_H
#define MT_APP_HISTORY_H
#include <stdbool.h>
#include <stddef.h>

enum { HISTORY_MAX = 20 };

enum history_result { HISTORY_LIVE, HISTORY_REPLACED, HISTORY_FAILED, HISTORY_ROLLED_BACK };

struct history_entry {
    char hash[9]; /* empty where no source was read */
    double time;  /* unix seconds: when it went live or failed */
    double ended; /* when it was replaced or rolled back, else 0 */
    enum history_result result;
    char **files;      /* owned, NULL-terminated; NULL when memory ran out */
    size_t file_count; /* without the NULL */
    char *reason;      /* first line of why it failed or was rolled back; owned, NULL otherwise */
};

/* Zeroed memory is a valid empty history. */
struct history {
    struct history_entry entries[HISTORY_MAX]; /* oldest first */
    size_t count;
    char *last_failure; /* whole text of the newest failure; owned, NULL when there was none */
    double last_failed; /* when that was */
};

void history_fini(struct history *h);
/* `hash` is live from `now` on. Nothing changes where it was live before. */
void history_add_live(struct history *h, const char *hash, const char *const *files, double now);
/* The live version is given up for the one called `hash`, which was live before. */
void history_add_rollback(struct history *h, const char *hash, const char *const *files, const char *why, double now);
/* An attempt failed. `hash` may be empty. */
void history_add_failure(struct history *h, const char *hash, const char *const *files, const char *why, double now);
const struct history_entry *history_live(const struct history *h); /* NULL when there is none */
#endif
