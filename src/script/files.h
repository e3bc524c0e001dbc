/* files.h - what stands between the calls of scripts and the threads that touch the disk: files that a script holds, in which
 * order their operations run, and how much may be under way.
 *
 * The operations of one file run one after the other, in the order in which they were called; different files do not wait for
 * each other. All of a worker's operations together hold no more than FILES_BYTES_MAX: what does not fit waits in a line, where
 * it costs nothing but its struct, because the bytes are taken from Lua when it leaves. A file is closed when the script closes
 * it, or when the collector finds it, but not before what was called on it is done.
 */
#ifndef MT_SCRIPT_FILES_H
#define MT_SCRIPT_FILES_H
#include "loop/pool.h"
#include "script/errand.h"
#include "store/folder.h"

enum { FILES_BYTES_MAX = 64 << 20 };

/* One per worker. Outlives the script as long as something is under way. */
struct files {
    struct folder *folder; /* borrowed; NULL: none is configured */
    struct pool *pool;     /* borrowed; NULL once the script has ended */
    unsigned refs;         /* the script's, and one of each file and errand */
    size_t open, limit;    /* files that are open, and how many may be */
    size_t bytes;          /* held by what is under way */
    uint64_t collected;    /* loop time of the last search for files that nobody holds */
    struct list_node line; /* of struct file_errand: what waits for room */
};

/* A file of a script. Counted. */
struct file {
    struct files *files;      /* counted reference */
    struct folder_file *open; /* NULL until it was opened, and once it is closed. The pool's thread has it while `busy` */
    unsigned refs;            /* the object's, and one of each errand */
    bool writable;            /* opened with "w" */
    bool busy;                /* one of its errands is under way, or in files->line */
    bool counted;             /* in files->open */
    bool closed;              /* nothing more may be called on it */
    struct list_node line;    /* of struct file_errand: what waits for the one before */
};

enum file_errand_place {
    FILE_ERRAND_HERE,   /* not sent yet, or back */
    FILE_ERRAND_BEHIND, /* in file->line */
    FILE_ERRAND_NEXT,   /* in files->line; its file is busy with it */
    FILE_ERRAND_AWAY,
};

/* Something to be done by a thread of the pool. */
struct file_errand {
    struct errand errand; /* first */
    struct pool_job job;
    struct list_node node;                              /* in files->line or file->line */
    struct inbox *inbox;                                /* where it comes back */
    struct files *files;                                /* counted reference */
    struct file *file;                                  /* counted reference; NULL: it is not about an open file */
    int (*work)(struct file_errand *e);                 /* on the pool's thread: 0 or MT_E* */
    int (*finish)(lua_State *L, struct file_errand *e); /* see file_errand_push */
    enum file_errand_place place;
    bool fresh;              /* it opens its file, which no script has seen yet: where none ever will, it is closed */
    size_t weight;           /* bytes that it holds while it is away */
    struct slice from;       /* what is to be written: Lua's, until it leaves */
    void *data;              /* owned: the copy of that, or what was read */
    size_t len;              /* of data */
    uint64_t offset;         /* where in the file; of the size: the answer */
    char *name, *other;      /* owned: names that it is about, NULL for none */
    struct folder_list list; /* owned: of the listing, the answer */
};

struct files *files_create(struct folder *folder, struct pool *pool, size_t limit); /* NULL when memory runs out */
/* The script has ended: nothing may be sent any more. */
void files_end(struct files *f);

/* A file that is not open yet, with one reference; NULL when memory runs out. */
struct file *file_create(struct files *f);
void file_unref(struct file *file);
/* Nothing more may be called on it; it is closed when what was called is done. */
void file_close(struct file *file);

/* Pushes a value that owns a new errand about `file` (NULL: none). `finish_well` pushes the results of what went well, and may
 * raise; what did not is pushed as nil, message, name. As errand_push. */
struct file_errand *file_errand_push(lua_State *L, struct file *file, int (*work)(struct file_errand *e),
                                     int (*finish_well)(lua_State *L, struct file_errand *e));
/* It is ready to go: send it, now or when it is its turn, and wait. Use as `return file_errand_send(...)`; `t` is of
 * task_check_wait, the owner on top of the stack. */
int file_errand_send(lua_State *L, struct task *t, struct file_errand *e);
#endif
