/* folder.c - names, the way to a file, and what is done with whole files.
 *
 * One open call per part of a name, each with O_NOFOLLOW and relative to the folder before, needs no openat2: there is no ".." in
 * a name, so no part can lead anywhere but down.
 */
#include "store/folder.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/folder_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_MODE = 0750, FILE_MODE = 0640 };

/* ---- names ---- */

static bool is_part(const char *part, size_t len)
{
    return len > 0 && len <= FOLDER_PART_MAX && part[0] != '.';
}

bool folder_is_name(struct slice name)
{
    size_t begin = 0, parts = 1;

    if (name.len > FOLDER_NAME_MAX || !utf8_valid(name.data, name.len))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            return false;
        if (c != '/')
            continue;
        if (!is_part(name.data + begin, i - begin))
            return false;
        begin = i + 1;
        parts++;
    }
    return parts <= FOLDER_PARTS_MAX && is_part(name.data + begin, name.len - begin);
}

bool folder_is_prefix(struct slice prefix)
{
    if (prefix.len > 0 && prefix.data[prefix.len - 1] == '/')
        prefix.len--;
    else if (prefix.len == 0)
        return true;
    return folder_is_name(prefix);
}

int folder_error(int number)
{
    switch (number) {
    case ENOENT:
        return MT_ENOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: /* a link */
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ENXIO: /* a socket, or a fifo */
    case ENODEV:
    case EXDEV:
    case ETXTBSY:
        return MT_EDENIED;
    case EINVAL:
    case EILSEQ:
    case ENAMETOOLONG:
        return MT_EINVALID;
    case ENOSPC:
    case EDQUOT:
        return MT_EFULL;
    case EFBIG:
        return MT_ETOO_LARGE;
    case EMFILE:
    case ENFILE:
        return MT_ELIMITED;
    case ENOMEM:
        return MT_ENOMEM;
    default:
        return MT_EIO;
    }
}

/* ---- the folder ---- */

int folder_open(const char *path, uint64_t size, struct folder **out)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOTDIR ? MT_ENOT_FOUND : folder_error(errno);
    struct folder *f = mem_zalloc(1, sizeof(*f));
    if (!f) {
        close(fd);
        return MT_ENOMEM;
    }
    f->fd = fd;
    f->size = size;
    *out = f;
    return 0;
}

void folder_close(struct folder *f)
{
    if (!f)
        return;
    close(f->fd);
    mem_free(f);
}

/* Nothing can be made in a folder that was removed, which is not the same as a file that is not there. */
static bool is_gone(const struct folder *f)
{
    struct stat st;

    return fstat(f->fd, &st) != 0 || st.st_nlink == 0;
}

/* ---- the way to a file ---- */

int folder_enter(int at, const char *part)
{
    return openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What names are in a folder is on the disk. Not every file system can be asked for it. */
static int sync_folder(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : folder_error(errno);
}

static int enter_or_make(int at, const char *part, bool make)
{
    int fd = folder_enter(at, part);

    if (fd >= 0 || errno != ENOENT || !make)
        return fd < 0 ? folder_error(errno) : fd;
    if (mkdirat(at, part, FOLDER_MODE) != 0 && errno != EEXIST) /* another one may have been quicker */
        return folder_error(errno);
    int rc = sync_folder(at);
    if (rc != 0)
        return rc;
    fd = folder_enter(at, part);
    return fd < 0 ? folder_error(errno) : fd;
}

void folder_leave(const struct folder *f, int fd)
{
    if (fd >= 0 && fd != f->fd)
        close(fd);
}

int folder_parent(const struct folder *f, const char *name, bool make, const char **leaf)
{
    char part[FOLDER_PART_MAX + 1];
    const char *slash;
    int at = f->fd;

    for (; at >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
        size_t len = (size_t)(slash - name);
        memcpy(part, name, len);
        part[len] = '\0';
        int next = enter_or_make(at, part, make);
        folder_leave(f, at);
        at = next;
    }
    *leaf = name;
    return at == MT_ENOT_FOUND && make && is_gone(f) ? MT_EIO : at;
}

/* ---- whole files ---- */

/* MT_ENOT_FOUND, or MT_EDENIED for all that is no plain file. The name may be another thing a moment later: then the call that
 * follows does to a link what it would have done to a file, which harms nobody. */
static int check_plain(int at, const char *leaf)
{
    struct stat st;

    if (fstatat(at, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return folder_error(errno);
    return S_ISREG(st.st_mode) ? 0 : MT_EDENIED;
}

/* An fd of a plain file, or an MT_E*. The other end of a fifo is not waited for. */
static int open_plain(int at, const char *leaf, int flags)
{
    struct stat st;
    int fd = openat(at, leaf, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return folder_error(errno);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return MT_EDENIED;
}

int folder_open_plain(const struct folder *f, const char *name, bool write)
{
    const char *leaf;
    int at = folder_parent(f, name, write, &leaf);

    if (at < 0)
        return at;
    int fd = open_plain(at, leaf, write ? O_RDWR | O_CREAT : O_RDONLY);
    folder_leave(f, at);
    return fd == MT_ENOT_FOUND && write && is_gone(f) ? MT_EIO : fd;
}

static int sync_file(int at, const char *leaf)
{
    int fd = open_plain(at, leaf, O_RDONLY);

    if (fd < 0)
        return fd;
    int rc = fsync(fd) == 0 ? 0 : folder_error(errno);
    close(fd);
    return rc;
}

static int rename_between(int from_at, const char *from, int to_at, const char *to)
{
    int rc = check_plain(to_at, to);

    if (rc != 0 && rc != MT_ENOT_FOUND)
        return rc;
    rc = sync_file(from_at, from);
    if (rc == 0 && renameat(from_at, from, to_at, to) != 0)
        rc = folder_error(errno);
    if (rc == 0)
        rc = sync_folder(to_at);
    return rc == 0 && from_at != to_at ? sync_folder(from_at) : rc;
}

int folder_rename(const struct folder *f, const char *from, const char *to)
{
    const char *from_leaf, *to_leaf;
    int from_at = folder_parent(f, from, false, &from_leaf), to_at = MT_ENOT_FOUND, rc = from_at;

    if (from_at >= 0)
        rc = check_plain(from_at, from_leaf); /* before folders are made for nothing */
    if (from_at >= 0 && rc == 0)
        rc = to_at = folder_parent(f, to, true, &to_leaf);
    if (to_at >= 0)
        rc = rename_between(from_at, from_leaf, to_at, to_leaf);
    folder_leave(f, from_at);
    folder_leave(f, to_at);
    return rc;
}

int folder_delete(const struct folder *f, const char *name)
{
    const char *leaf;
    int at = folder_parent(f, name, false, &leaf);
    int rc = at < 0 ? at : check_plain(at, leaf);

    if (rc == 0 && unlinkat(at, leaf, 0) != 0)
        rc = folder_error(errno);
    folder_leave(f, at);
    return rc;
}
