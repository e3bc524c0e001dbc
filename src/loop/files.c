/* files.c - watches a set of files by watching folders with uv_fs_event (inotify).
 *
 * A watch on a file is lost when an editor saves by rename, so folders are watched and names compared. A path may also run
 * through symbolic links (a `current` release, a mounted secret), and turning one of those round changes the file as well. So
 * each file has spots: for every link on the way the folder and name of the link, and at the end the folder and name of the file
 * itself. An event on the last spot is a change. An event on a link has the path walked again and is a change when the path
 * now leads to other content. The same goes for a folder that was removed or moved; until it is there again a timer looks.
 */
#include "loop/loop_uv.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/signature.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINKS_MAX = 40, RETRY_MS = 200 };

struct folder {
    uv_fs_event_t event;
    struct list_node node;    /* in loop_files.folders, until it is being closed */
    struct loop_files *owner; /* outlives it */
    char *path;               /* owned */
    size_t spots;             /* that point here; an unused folder is closed on the next turn */
};

struct spot {
    struct list_node node; /* in file.spots */
    struct folder *folder; /* counted in folder.spots */
    char *name;            /* owned: name in the folder */
    bool link;             /* of a link on the way, not of the file */
};

struct file {
    struct list_node node;  /* in loop_files.files, or .dead */
    struct list_node spots; /* of struct spot */
    char *path;             /* owned: as it was added */
    struct signature seen;  /* when it was added or last reported */
    bool changed;           /* to be reported */
    bool lost;              /* its folder is gone: try again */
};

struct loop_files {
    struct loop *loop;
    loop_files_fn *fn; /* may add, clear and close */
    void *arg;         /* for fn */
    struct list_node folders;
    struct list_node files;
    struct list_node dead;  /* files that were cleared while fn ran: it may still hold their path */
    struct loop_timer tidy; /* closes unused folders, looks for lost ones */
    size_t handles;         /* folders that libuv still knows */
    bool reporting;         /* fn is running */
    bool closed;            /* to be freed with the last handle */
};

static struct file *file_of(struct list_node *n)
{
    return list_entry(n, struct file, node);
}

static struct spot *spot_of(struct list_node *n)
{
    return list_entry(n, struct spot, node);
}

static struct folder *folder_of(struct list_node *n)
{
    return list_entry(n, struct folder, node);
}

/* ---- freeing ---- */

static void free_if_done(struct loop_files *f)
{
    if (f->closed && !f->handles && !f->reporting)
        mem_free(f);
}

static void on_folder_closed(uv_handle_t *handle)
{
    struct folder *folder = list_entry(handle, struct folder, event);
    struct loop_files *f = folder->owner;

    mem_free(folder->path);
    mem_free(folder);
    f->handles--;
    free_if_done(f);
}

static void close_folder(struct folder *folder)
{
    list_remove(&folder->node);
    uv_close((uv_handle_t *)&folder->event, on_folder_closed);
}

static void drop_spots(struct file *file)
{
    list_each_safe(n, next, &file->spots)
    {
        struct spot *spot = spot_of(n);
        spot->folder->spots--;
        mem_free(spot->name);
        mem_free(spot);
    }
    list_init(&file->spots);
}

static void free_file(struct file *file)
{
    drop_spots(file);
    list_remove(&file->node);
    mem_free(file->path);
    mem_free(file);
}

/* ---- folders and spots ---- */

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status);

/* A new watch. 0, MT_ENOMEM, MT_EIO when the folder is not there. */
static int open_folder(struct loop_files *f, const char *path, struct folder **out)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) /* inotify would watch a file as well */
        return MT_EIO;
    struct folder *folder = mem_zalloc(1, sizeof(*folder));
    char *copy = mem_strdup(path, strlen(path));
    if (!folder || !copy) {
        mem_free(folder);
        mem_free(copy);
        return MT_ENOMEM;
    }
    folder->owner = f;
    folder->path = copy;
    list_add_tail(&f->folders, &folder->node);
    uv_fs_event_init(&f->loop->uv, &folder->event); /* cannot fail on Linux */
    f->handles++;
    if (uv_fs_event_start(&folder->event, on_event, copy, 0) != 0) {
        close_folder(folder);
        return MT_EIO;
    }
    *out = folder;
    return 0;
}

static int find_folder(struct loop_files *f, const char *path, struct folder **out)
{
    list_each(n, &f->folders)
    {
        if (strcmp(folder_of(n)->path, path) == 0) {
            *out = folder_of(n);
            return 0;
        }
    }
    return open_folder(f, path, out);
}

/* 0, MT_ENOMEM, MT_EIO */
static int add_spot(struct loop_files *f, struct file *file, const char *at, const char *name, bool link)
{
    struct folder *folder;
    int err = find_folder(f, *at ? at : ".", &folder);
    if (err)
        return err;
    struct spot *spot = mem_zalloc(1, sizeof(*spot));
    char *copy = mem_strdup(name, strlen(name));
    if (!spot || !copy) {
        mem_free(spot);
        mem_free(copy);
        return MT_ENOMEM;
    }
    folder->spots++;
    *spot = (struct spot){.folder = folder, .name = copy, .link = link};
    list_add_tail(&file->spots, &spot->node);
    return 0;
}

/* ---- walking a path ---- */

struct walk {
    char at[PATH_MAX];       /* the folder so far, free of links; empty: the current one */
    char rest[PATH_MAX];     /* what is still to be walked */
    char name[NAME_MAX + 1]; /* the name taken last */
    char full[PATH_MAX];     /* at and name */
};

/* All of these return false when a path gets too long. */
static bool set_path(char *out, const char *first, const char *slash, const char *second)
{
    char joined[PATH_MAX]; /* `out` may be one of the parts */
    int len = snprintf(joined, sizeof(joined), "%s%s%s", first, slash, second);

    if (len < 0 || (size_t)len >= sizeof(joined))
        return false;
    memcpy(out, joined, (size_t)len + 1);
    return true;
}

/* Put `path` in front of what is left to walk. */
static bool walk_into(struct walk *w, const char *path)
{
    if (*path == '/')
        strcpy(w->at, "/");
    return set_path(w->rest, path, *w->rest ? "/" : "", w->rest);
}

/* Takes the next name off `rest`, which then starts at the one behind it. False at the end as well. */
static bool take_name(struct walk *w)
{
    const char *start = w->rest;
    do {
        start += strspn(start, "/");
        size_t len = strcspn(start, "/");
        if (!len || len > NAME_MAX)
            return false;
        memcpy(w->name, start, len);
        w->name[len] = '\0';
        start += len;
    } while (strcmp(w->name, ".") == 0);
    start += strspn(start, "/");
    memmove(w->rest, start, strlen(start) + 1);
    bool bare = !*w->at || strcmp(w->at, "/") == 0;
    return set_path(w->full, w->at, bare ? "" : "/", w->name);
}

/* Finds the spots of a file anew. 0, MT_ENOMEM, MT_EIO; after a failure it has those that were found. */
static int find_spots(struct loop_files *f, struct file *file)
{
    struct walk w = {0};
    char target[PATH_MAX];
    int links = 0;

    drop_spots(file);
    if (!walk_into(&w, file->path))
        return MT_EIO;
    while (take_name(&w)) {
        ssize_t len = readlink(w.full, target, sizeof(target) - 1);
        if (len < 0) {
            if (!*w.rest)
                return add_spot(f, file, w.at, w.name, false);
            strcpy(w.at, w.full);
            continue;
        }
        target[len] = '\0';
        int err = add_spot(f, file, w.at, w.name, true);
        if (err || ++links > LINKS_MAX || !walk_into(&w, target))
            return err ? err : MT_EIO;
    }
    return MT_EIO;
}

/* ---- noticing ---- */

static bool looks_different(const struct file *file)
{
    struct signature now = signature_look(file->path);

    return !signature_is(&now, &file->seen);
}

static void walk_again(struct loop_files *f, struct file *file)
{
    file->lost = find_spots(f, file) != 0;
    file->changed |= looks_different(file);
    loop_timer_start(f->loop, &f->tidy, file->lost ? RETRY_MS : 0); /* the old folders may be unused now */
}

/* Tells the owner about every changed file. It may add, clear and close meanwhile. */
static void report(struct loop_files *f)
{
    if (f->reporting)
        return;
    f->reporting = true;
    for (struct list_node *n = f->files.next; n != &f->files && !f->closed;) {
        struct file *file = file_of(n);
        if (!file->changed) {
            n = n->next;
            continue;
        }
        file->changed = false;
        file->seen = signature_look(file->path);
        f->fn(file->path, f->arg);
        n = f->files.next; /* the list may be another one now */
    }
    f->reporting = false;
    list_each_safe(n, next, &f->dead) free_file(file_of(n));
    free_if_done(f);
}

/* The folder itself was removed or moved: whatever is at its path now needs a new watch. */
static void replace_folder(struct loop_files *f, struct folder *gone)
{
    list_remove(&gone->node); /* so that nobody finds it any more */
    list_each(n, &f->files)
    {
        bool inside = false;
        list_each(s, &file_of(n)->spots) inside |= spot_of(s)->folder == gone;
        if (inside)
            walk_again(f, file_of(n));
    }
    close_folder(gone);
}

/* Marks what an event at `name` in `folder` means for one file. */
static void check_file(struct loop_files *f, struct file *file, const struct folder *folder, const char *name)
{
    list_each(n, &file->spots)
    {
        const struct spot *spot = spot_of(n);
        if (spot->folder != folder || (name && strcmp(spot->name, name) != 0))
            continue;
        if (spot->link) {
            walk_again(f, file);
            return; /* the spots are new ones */
        }
        file->changed = true;
    }
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct folder *folder = list_entry(handle, struct folder, event);
    struct loop_files *f = folder->owner;
    /* Events of the folder itself come under its own last name. */
    const char *slash = strrchr(folder->path, '/');
    const char *own = slash ? slash + 1 : folder->path;

    if (f->closed)
        return;
    list_each(n, &f->files) check_file(f, file_of(n), folder, name);
    if (status < 0 || ((events & UV_RENAME) && name && strcmp(name, own) == 0))
        replace_folder(f, folder);
    report(f);
}

static void on_tidy(struct loop_timer *t)
{
    struct loop_files *f = list_entry(t, struct loop_files, tidy);

    list_each(n, &f->files)
    {
        if (file_of(n)->lost)
            walk_again(f, file_of(n));
    }
    list_each_safe(n, next, &f->folders)
    {
        if (!folder_of(n)->spots)
            close_folder(folder_of(n));
    }
    report(f);
}

/* ---- the interface ---- */

struct loop_files *loop_files_open(struct loop *l, loop_files_fn *fn, void *arg)
{
    struct loop_files *f = mem_zalloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->loop = l;
    f->fn = fn;
    f->arg = arg;
    list_init(&f->folders);
    list_init(&f->files);
    list_init(&f->dead);
    loop_timer_init(&f->tidy, on_tidy);
    return f;
}

int loop_files_add(struct loop_files *f, const char *path)
{
    list_each(n, &f->files)
    {
        if (strcmp(file_of(n)->path, path) == 0)
            return 0;
    }
    struct file *file = mem_zalloc(1, sizeof(*file));
    char *copy = mem_strdup(path, strlen(path));
    if (!file || !copy) {
        mem_free(file);
        mem_free(copy);
        return MT_ENOMEM;
    }
    list_init(&file->spots);
    list_init(&file->node);
    file->path = copy;
    int err = find_spots(f, file);
    if (err) {
        free_file(file);
        loop_timer_start(f->loop, &f->tidy, 0);
        return err;
    }
    file->seen = signature_look(path);
    list_add_tail(&f->files, &file->node);
    return 0;
}

/* The folders stay open until the next turn: what is added again at once misses nothing in between. */
void loop_files_clear(struct loop_files *f)
{
    list_each_safe(n, next, &f->files)
    {
        struct file *file = file_of(n);
        drop_spots(file);
        list_remove(n);
        list_add_tail(&f->dead, n);
    }
    if (!f->reporting)
        list_each_safe(n, next, &f->dead) free_file(file_of(n));
    loop_timer_start(f->loop, &f->tidy, 0);
}

void loop_files_close(struct loop_files *f)
{
    if (!f)
        return;
    loop_files_clear(f);
    loop_timer_stop(f->loop, &f->tidy);
    f->closed = true;
    list_each_safe(n, next, &f->folders) close_folder(folder_of(n));
    free_if_done(f);
}
