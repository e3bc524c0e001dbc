/* file_lock.c - flock on FILE.lock. Not on the file itself: SQLite has locks of another kind there, which a close would drop. */
#include "store/file_lock.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_lock {
    int fd;
};

/* SQLite has meanings of its own for some names: we would lock one file, and it would open another. */
static int check_name(const char *path, char **error)
{
    if (strcmp(path, ":memory:") != 0 && strncmp(path, "file:", 5) != 0)
        return 0;
    return store_refuse(MT_EIO, error, "store.file %s: a path is expected; ./%s is one", path, path);
}

static int check_kind(const char *path, char **error)
{
    struct stat s;

    if (stat(path, &s) != 0)
        return store_refuse(MT_EIO, error, "store.file %s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return store_refuse(MT_EIO, error, "store.file %s is not a file", path);
    return access(path, R_OK | W_OK) == 0 ? 0 : store_refuse(MT_EIO, error, "store.file %s: %s", path, strerror(errno));
}

/* Others have no business in it, nor in what SQLite puts beside it with the same rights. One that is there is not opened: the
 * close would take SQLite's locks away from another server in this process. */
static int make(const char *path, char **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 && errno != EEXIST)
        return store_refuse(errno == ENOSPC || errno == EDQUOT ? MT_EFULL : MT_EIO, error, "store.file %s cannot be made: %s",
                            path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return check_kind(path, error);
}

/* The name of the lock, the same whatever links lead to the file. */
static int name_lock(const char *path, struct buf *name, char **error)
{
    char *real = realpath(path, NULL);

    if (!real)
        return store_refuse(MT_EIO, error, "store.file %s: %s", path, strerror(errno));
    int err = buf_addf(name, "%s.lock", real) || buf_add_byte(name, '\0') ? MT_ENOMEM : 0;
    free(real);
    return err;
}

enum { PID_SIZE = 24 };

/* Whoever has the lock has written its number into it. False: there is something else in it. */
static bool read_pid(int fd, char pid[PID_SIZE])
{
    ssize_t len = pread(fd, pid, PID_SIZE, 0);

    if (len < 0 || len == PID_SIZE)
        return false;
    pid[len] = '\0';
    bool is = strspn(pid, "0123456789\n") == (size_t)len;
    pid[strcspn(pid, "\n")] = '\0';
    return is;
}

static int refuse_busy(const char *pid, const char *path, char **error)
{
    return store_refuse(MT_EBUSY, error, "store.file %s: another process has it%s%s", path, pid[0] ? ", with pid " : "", pid);
}

static int take(struct file_lock *l, const char *name, const char *path, char **error)
{
    char pid[PID_SIZE];

    l->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->fd < 0)
        return store_refuse(MT_EIO, error, "%s cannot be made: %s", name, strerror(errno));
    if (!read_pid(l->fd, pid)) /* it would be emptied */
        return store_refuse(MT_EIO, error, "store.file %s: %s is there, and no lock of a server: name another file", path, name);
    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? refuse_busy(pid, path, error)
                                    : store_refuse(MT_EIO, error, "%s cannot be locked: %s", name, strerror(errno));
    if (ftruncate(l->fd, 0) == 0)
        dprintf(l->fd, "%d\n", (int)getpid()); /* for the message only */
    return 0;
}

int file_lock(const char *path, struct file_lock **out, char **error)
{
    struct file_lock *l = mem_zalloc(1, sizeof(*l));
    struct buf name = {0};
    int err = l ? check_name(path, error) : MT_ENOMEM;

    if (l)
        l->fd = -1;
    if (err == 0)
        err = make(path, error);
    if (err == 0)
        err = name_lock(path, &name, error);
    if (err == 0)
        err = take(l, (const char *)name.data, path, error);
    buf_fini(&name);
    if (err == 0)
        *out = l;
    else
        file_unlock(l);
    return err;
}

void file_unlock(struct file_lock *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    mem_free(l);
}

int file_check(const char *path, bool *there, char **error)
{
    const char *slash = strrchr(path, '/');
    int err = check_name(path, error);

    *there = err == 0 && access(path, F_OK) == 0;
    if (err != 0)
        return err;
    char *folder = !slash ? mem_strdup(".", 1) : mem_strdup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!folder)
        return MT_ENOMEM;
    if (access(folder, W_OK | X_OK) != 0)
        err = store_refuse(MT_EIO, error, "store.file %s: %s", path, strerror(errno));
    mem_free(folder);
    return err == 0 && *there ? check_kind(path, error) : err;
}
