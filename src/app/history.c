/* history.c - a short list that drops its oldest entry, but never the one that is live. */
#include "app/history.h"

#include "base/mem.h"
#include <string.h>

static void entry_fini(struct history_entry *e)
{
    for (char **file = e->files; file && *file; file++)
        mem_free(*file);
    mem_free(e->files);
    mem_free(e->reason);
}

void history_fini(struct history *h)
{
    for (size_t i = 0; i < h->count; i++)
        entry_fini(&h->entries[i]);
    mem_free(h->last_failure);
    *h = (struct history){0};
}

static void make_room(struct history *h)
{
    if (h->count < HISTORY_MAX)
        return;
    size_t oldest = h->entries[0].result == HISTORY_LIVE ? 1 : 0;
    entry_fini(&h->entries[oldest]);
    h->count--;
    memmove(&h->entries[oldest], &h->entries[oldest + 1], (h->count - oldest) * sizeof(*h->entries));
}

/* Without memory the names are missing, and the count is not. */
static void copy_files(struct history_entry *e, const char *const *files)
{
    while (files[e->file_count])
        e->file_count++;
    if (!(e->files = mem_zalloc(e->file_count + 1, sizeof(*e->files))))
        return;
    for (size_t i = 0; i < e->file_count; i++)
        if (!(e->files[i] = mem_strdup(files[i], strlen(files[i]))))
            return;
}

static struct history_entry *add(struct history *h, const char *hash, const char *const *files, double now)
{
    make_room(h);
    struct history_entry *e = &h->entries[h->count++];
    *e = (struct history_entry){.time = now};
    strncpy(e->hash, hash, sizeof(e->hash) - 1);
    copy_files(e, files);
    return e;
}

static struct history_entry *find_live(struct history *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->entries[i].result == HISTORY_LIVE)
            return &h->entries[i];
    return NULL;
}

const struct history_entry *history_live(const struct history *h)
{
    return find_live((struct history *)h);
}

/* `why` is for a rollback. */
static void replace_live(struct history *h, const char *hash, const char *const *files, const char *why, double now)
{
    struct history_entry *old;
    make_room(h); /* while the old one is still spared */
    if ((old = find_live(h))) {
        old->result = why ? HISTORY_ROLLED_BACK : HISTORY_REPLACED;
        old->reason = why ? mem_strdup(why, strcspn(why, "\n")) : NULL;
        old->ended = now;
    }
    add(h, hash, files, now)->result = HISTORY_LIVE;
}

void history_add_live(struct history *h, const char *hash, const char *const *files, double now)
{
    const struct history_entry *old = find_live(h);
    if (!old || strcmp(old->hash, hash) != 0)
        replace_live(h, hash, files, NULL, now);
}

void history_add_rollback(struct history *h, const char *hash, const char *const *files, const char *why, double now)
{
    replace_live(h, hash, files, why, now);
}

void history_add_failure(struct history *h, const char *hash, const char *const *files, const char *why, double now)
{
    struct history_entry *e = add(h, hash, files, now);
    e->result = HISTORY_FAILED;
    e->reason = mem_strdup(why, strcspn(why, "\n"));
    mem_free(h->last_failure);
    h->last_failure = mem_strdup(why, strlen(why));
    h->last_failed = now;
}
