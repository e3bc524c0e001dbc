/* cli_new.c - writes the files of a small app that runs at once. Nothing that is there is written over. */
#include "app/cli_new.h"

#include "app/config_value.h"
#include "base/err.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct file {
    const char *name;           /* in the new folder */
    const unsigned char *bytes; /* NULL: an empty file */
    const size_t *size;         /* of bytes */
} files[] = {
    {"app.lua", new_app, &new_app_size},
    {"moontide.conf.lua", new_config, &new_config_size},
    {"public/index.html", new_page, &new_page_size},
    {"README.md", new_readme, &new_readme_size},
    {".gitignore", new_ignore, &new_ignore_size},
    {"data/.gitkeep", NULL, NULL}, /* git keeps no empty folders, and the store makes none */
};

static int fail(const char *folder, const char *name, char **error)
{
    return config_fail(error, MT_EIO, "%s%s%s: %s", folder, name ? "/" : "", name ? name : "", strerror(errno));
}

/* errno is ENOTEMPTY when there is something in it. */
static bool is_empty(int at)
{
    const struct dirent *entry = NULL;
    int fd = dup(at);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        return false;
    while ((entry = readdir(dir)) && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0))
        ;
    closedir(dir);
    errno = ENOTEMPTY;
    return entry == NULL;
}

static bool write_file(int at, const struct file *f)
{
    size_t left = f->bytes ? *f->size : 0, done = 0;
    int fd = openat(at, f->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0)
        return false;
    while (left > 0) {
        ssize_t n = write(fd, f->bytes + done, left);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    int code = errno;
    bool fine = close(fd) == 0 && left == 0;
    if (left > 0)
        errno = code;
    return fine;
}

static int fill(int at, const char *folder, char **error)
{
    if (!is_empty(at))
        return fail(folder, NULL, error);
    if (mkdirat(at, "public", 0777) != 0)
        return fail(folder, "public", error);
    if (mkdirat(at, "data", 0777) != 0)
        return fail(folder, "data", error);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (!write_file(at, &files[i]))
            return fail(folder, files[i].name, error);
    return 0;
}

int cli_new_run(const char *folder, char **error)
{
    int at = -1;

    if (mkdir(folder, 0777) == 0 || errno == EEXIST)
        at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return fail(folder, NULL, error);
    int rc = fill(at, folder, error);
    close(at);
    return rc;
}
