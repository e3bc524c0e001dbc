/* folder_find.c - the files whose names begin with a text. What no name could open is passed over. */
#include "store/folder.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/folder_impl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct find {
    char name[FOLDER_NAME_MAX + 1]; /* of what is looked at; up to the folder that is read it ends with a slash, or is empty */
    const char *leaf;               /* what names in the first folder begin with */
    size_t most;
    const atomic_bool *stop;
    struct folder_list *out;
};

static int add_entry(struct find *w, const struct stat *st)
{
    struct folder_list *list = w->out;

    if (list->count == w->most)
        return MT_ETOO_LARGE;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 32;
        struct folder_entry *more = mem_resize(list->entries, room * sizeof(*more));
        if (!more)
            return MT_ENOMEM;
        list->entries = more;
        list->room = room;
    }
    char *name = mem_strdup(w->name, strlen(w->name));
    if (!name)
        return MT_ENOMEM;
    double time = (double)st->st_mtim.tv_sec + (double)st->st_mtim.tv_nsec / 1e9;
    list->entries[list->count++] = (struct folder_entry){name, (uint64_t)st->st_size, time};
    return 0;
}

static int read_folder(struct find *w, int at, size_t len);

/* What is gone in the meantime, or may not be looked at, is no failure; a list that is not whole for another reason is. */
static int pass_over(int number)
{
    int rc = folder_error(number);

    return rc == MT_ENOT_FOUND || rc == MT_EDENIED ? 0 : rc;
}

/* `len` bytes of w->name are the way to the folder `at`. */
static int look_at(struct find *w, int at, size_t len, const char *part)
{
    struct stat st;
    int put = snprintf(w->name + len, sizeof(w->name) - len, "%s", part);

    if (put < 0 || len + (size_t)put >= sizeof(w->name) || !folder_is_name(slice_of(w->name)))
        return 0;
    if (fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return pass_over(errno);
    if (S_ISREG(st.st_mode))
        return add_entry(w, &st);
    len += (size_t)put;
    if (!S_ISDIR(st.st_mode) || len + 1 >= sizeof(w->name))
        return 0;
    int below = folder_enter(at, part);
    if (below < 0)
        return pass_over(errno);
    w->name[len] = '/';
    w->name[len + 1] = '\0';
    return read_folder(w, below, len + 1);
}

/* The next entry; NULL at the end, and when *rc is not 0. */
static const struct dirent *next_entry(DIR *dir, int *rc)
{
    errno = 0;
    const struct dirent *entry = readdir(dir);
    *rc = entry || errno == 0 ? 0 : folder_error(errno);
    return entry;
}

/* Closes `at`. */
static int read_folder(struct find *w, int at, size_t len)
{
    const char *begin = w->leaf; /* holds for this folder, not for those below */
    const struct dirent *entry;
    DIR *dir = fdopendir(at);
    int rc = 0;

    if (!dir) {
        rc = folder_error(errno);
        close(at);
        return rc;
    }
    w->leaf = "";
    while (rc == 0 && (entry = next_entry(dir, &rc)))
        if (w->stop && atomic_load(w->stop))
            rc = MT_ECANCELLED;
        else if (strncmp(entry->d_name, begin, strlen(begin)) == 0)
            rc = look_at(w, at, len, entry->d_name);
    w->leaf = begin;
    closedir(dir);
    return rc;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct folder_entry *)a)->name, ((const struct folder_entry *)b)->name);
}

int folder_find(const struct folder *f, const char *prefix, size_t most, const atomic_bool *stop, struct folder_list *out)
{
    struct find w = {.most = most, .stop = stop, .out = out};
    int parent = folder_parent(f, prefix, false, &w.leaf);

    if (parent < 0)
        return parent == MT_ENOT_FOUND ? 0 : parent;
    int at = folder_enter(parent, "."); /* a place of its own in the list of names: others read them at the same time */
    int rc = at < 0 ? folder_error(errno) : 0;
    size_t len = (size_t)(w.leaf - prefix);
    memcpy(w.name, prefix, len);
    folder_leave(f, parent);
    if (rc == 0)
        rc = read_folder(&w, at, len);
    if (rc == 0 && out->count > 1)
        qsort(out->entries, out->count, sizeof(out->entries[0]), compare);
    return rc;
}

void folder_list_fini(struct folder_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->entries[i].name);
    mem_free(list->entries);
    *list = (struct folder_list){0};
}
