/* files.c */
#include "script/files.h"

#include <assert.h>
#include <string.h>

/* ---- a worker's share ---- */

struct files *files_create(struct folder *folder, struct pool *pool, size_t limit)
{
    struct files *f = mem_zalloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->folder = folder;
    f->pool = pool;
    f->limit = limit;
    f->refs = 1;
    list_init(&f->line);
    return f;
}

static void files_unref(struct files *f)
{
    if (--f->refs == 0)
        mem_free(f);
}

void files_end(struct files *f)
{
    if (!f)
        return;
    assert(list_empty(&f->line)); /* nobody waits any more */
    f->pool = NULL;
    files_unref(f);
}

/* ---- closing ---- */

/* The last close of a file that was deleted may take long. */
struct closing {
    struct pool_job job; /* first */
    struct folder_file *open;
};

static void run_closing(struct pool_job *job)
{
    struct closing *c = (struct closing *)job;

    folder_close_file(c->open);
    mem_free(c);
}

static void close_open_file(struct files *f, struct folder_file *open)
{
    struct closing *c = f->pool ? mem_zalloc(1, sizeof(*c)) : NULL;

    if (c) {
        c->job.run = run_closing;
        c->open = open;
        if (pool_send(f->pool, &c->job) == 0)
            return;
        mem_free(c);
    }
    folder_close_file(open);
}

static void close_when_idle(struct file *file)
{
    if (!file->closed || file->busy)
        return;
    if (file->open)
        close_open_file(file->files, file->open);
    file->open = NULL;
    if (file->counted)
        file->files->open--;
    file->counted = false;
}

/* ---- files ---- */

struct file *file_create(struct files *f)
{
    struct file *file = mem_zalloc(1, sizeof(*file));

    if (!file)
        return NULL;
    file->files = f;
    f->refs++;
    f->open++;
    file->counted = true;
    file->refs = 1;
    list_init(&file->line);
    return file;
}

void file_unref(struct file *file)
{
    if (--file->refs > 0)
        return;
    file->closed = true; /* nobody can call anything on it */
    close_when_idle(file);
    files_unref(file->files);
    mem_free(file);
}

void file_close(struct file *file)
{
    file->closed = true;
    close_when_idle(file);
}

/* ---- under way ---- */

static void run_errand(struct pool_job *job)
{
    struct file_errand *e = list_entry(job, struct file_errand, job);

    e->errand.code = atomic_load(&e->errand.given_up) ? MT_ECANCELLED : e->work(e);
    inbox_post(e->inbox, &e->errand.letter);
}

/* Takes what is to be written from Lua. */
static int send_away(struct file_errand *e)
{
    if (e->from.len > 0) {
        if (!(e->data = mem_alloc(e->from.len)))
            return MT_ENOMEM;
        memcpy(e->data, e->from.data, e->from.len);
    }
    return pool_send(e->files->pool, &e->job);
}

static void put_next(struct file_errand *e)
{
    if (e->file)
        e->file->busy = true;
    e->place = FILE_ERRAND_NEXT;
    list_add_tail(&e->files->line, &e->node);
}

/* Its file is free for what waits behind it. */
static void leave_file(struct file *file)
{
    struct list_node *next = file->line.next;

    file->busy = false;
    if (!file->open) /* it could not be opened */
        file->closed = true;
    if (next != &file->line) {
        list_remove(next);
        put_next(list_entry(next, struct file_errand, node));
    }
    close_when_idle(file);
}

/* It is back, or did not leave. */
static void end_errand(struct file_errand *e)
{
    e->place = FILE_ERRAND_HERE;
    e->files->bytes -= e->weight;
    if (e->file)
        leave_file(e->file);
    errand_done(&e->errand);
}

static void send_line(struct files *f)
{
    while (f->pool && !list_empty(&f->line)) {
        struct file_errand *e = list_entry(f->line.next, struct file_errand, node);
        if (f->bytes > 0 && f->bytes + e->weight > FILES_BYTES_MAX)
            return;
        list_remove(&e->node);
        e->place = FILE_ERRAND_AWAY;
        f->bytes += e->weight;
        int rc = send_away(e); /* where it is gone it may be back in the inbox already, and is not ours to write to */
        if (rc == 0)
            continue;
        e->errand.code = rc;
        end_errand(e);
    }
}

static void open_letter(struct letter *l, bool delivered)
{
    struct file_errand *e = (struct file_errand *)l;
    struct files *f = e->files;

    f->refs++; /* the errand may be the last that holds it */
    end_errand(e);
    send_line(f);
    files_unref(f);
}

/* What has not left does not leave. */
static void give_up(struct errand *errand)
{
    struct file_errand *e = (struct file_errand *)errand;
    enum file_errand_place place = e->place;

    if (place != FILE_ERRAND_BEHIND && place != FILE_ERRAND_NEXT)
        return;
    e->place = FILE_ERRAND_HERE;
    list_remove(&e->node);
    if (place == FILE_ERRAND_NEXT && e->file)
        leave_file(e->file);
    errand_done(errand);
    send_line(e->files); /* what was behind it may be small enough; the task that is unwound still owns the errand */
}

static void destroy(struct errand *errand)
{
    struct file_errand *e = (struct file_errand *)errand;

    if (e->fresh)
        file_close(e->file);
    if (e->file)
        file_unref(e->file);
    files_unref(e->files);
    folder_list_fini(&e->list);
    mem_free(e->data);
    mem_free(e->name);
    mem_free(e->other);
}

/* ---- for the calls ---- */

static const char *failure_text(const struct file_errand *e, int code)
{
    switch (code) {
    case MT_ENOT_FOUND:
        return "no such file";
    case MT_EDENIED:
        return "not a plain file, or not allowed";
    case MT_EINVALID:
        return "the file system does not take this name";
    case MT_EFULL:
        return "the disk is full";
    case MT_ETOO_LARGE:
        return e->file ? "the file would be too large" : "too many files";
    case MT_ELIMITED:
        return "too many open files";
    case MT_EIO:
        return "the disk failed, or the folder is gone";
    default:
        return err_text(code);
    }
}

static int finish(lua_State *L, struct errand *errand, int code)
{
    struct file_errand *e = (struct file_errand *)errand;

    return code == 0 ? e->finish(L, e) : script_push_failure(L, failure_text(e, code), err_name(code));
}

struct file_errand *file_errand_push(lua_State *L, struct file *file, int (*work)(struct file_errand *e),
                                     int (*finish_well)(lua_State *L, struct file_errand *e))
{
    static const struct errand_ops ops = {finish, give_up, destroy};
    struct script *s = script_of(L);
    struct file_errand *e = errand_push(L, sizeof(*e), &ops);

    list_init(&e->node);
    e->job.run = run_errand;
    e->inbox = s->inbox;
    e->work = work;
    e->finish = finish_well;
    e->files = s->files;
    e->files->refs++;
    e->file = file;
    if (file)
        file->refs++;
    return e;
}

int file_errand_send(lua_State *L, struct task *t, struct file_errand *e)
{
    errand_start(t, &e->errand);
    e->errand.letter.open = open_letter;
    if (e->file && e->file->busy) {
        e->place = FILE_ERRAND_BEHIND;
        list_add_tail(&e->file->line, &e->node);
    } else {
        put_next(e);
        send_line(e->files);
    }
    return errand_wait(L, &e->errand, -1);
}
