/* folder_file.c - one open file. */
#include "store/folder.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/folder_impl.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder_file {
    int fd;
    uint64_t limit; /* bytes that it may have */
};

int folder_open_file(const struct folder *f, const char *name, bool write, struct folder_file **out)
{
    struct folder_file *file = mem_zalloc(1, sizeof(*file));

    if (!file)
        return MT_ENOMEM;
    file->limit = f->size;
    file->fd = folder_open_plain(f, name, write);
    if (file->fd < 0) {
        int rc = file->fd;
        mem_free(file);
        return rc;
    }
    *out = file;
    return 0;
}

int folder_read(struct folder_file *file, uint64_t offset, void *data, size_t *len)
{
    size_t done = 0;

    if (offset > INT64_MAX - *len) { /* no file reaches as far */
        *len = 0;
        return 0;
    }
    while (done < *len) {
        ssize_t n = pread(file->fd, (char *)data + done, *len - done, (off_t)(offset + done));
        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return folder_error(errno);
    }
    *len = done;
    return 0;
}

int folder_write(struct folder_file *file, uint64_t offset, const void *data, size_t len)
{
    size_t done = 0;

    if (offset > file->limit || len > file->limit - offset)
        return MT_ETOO_LARGE;
    while (done < len) {
        ssize_t n = pwrite(file->fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            return folder_error(errno);
    }
    return 0;
}

int folder_size(struct folder_file *file, uint64_t *size)
{
    struct stat st;

    if (fstat(file->fd, &st) != 0)
        return folder_error(errno);
    *size = (uint64_t)st.st_size;
    return 0;
}

void folder_close_file(struct folder_file *file)
{
    close(file->fd); /* what fails here was told by no write: only a file system over a network does that */
    mem_free(file);
}
