/* control.c - the files of control sockets. Whoever can talk to one steers the server, so every step is for its owner only. */
#include "app/control.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

/* ---- folders ---- */

static char *copy_buf(struct buf *b, int rc)
{
    char *text = rc == 0 ? mem_strdup((char *)b->data, b->len) : NULL;
    buf_fini(b);
    return text;
}

int control_folders(char *out[CONTROL_FOLDERS + 1])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    struct buf own = {0};
    size_t n = 0;
    memset(out, 0, (CONTROL_FOLDERS + 1) * sizeof(*out));
    if (runtime && runtime[0] == '/' && !(out[n++] = mem_strdup(runtime, strlen(runtime))))
        return MT_ENOMEM;
    out[n] = copy_buf(&own, buf_addf(&own, "/tmp/moontide-%lu", (unsigned long)geteuid()));
    if (!out[n]) {
        control_free_folders(out);
        return MT_ENOMEM;
    }
    if (n && strcmp(out[0], out[n]) == 0) { /* the same folder twice would be the same server twice */
        mem_free(out[n]);
        out[n] = NULL;
    }
    return 0;
}

void control_free_folders(char *folders[CONTROL_FOLDERS + 1])
{
    for (size_t i = 0; i < CONTROL_FOLDERS; i++) {
        mem_free(folders[i]);
        folders[i] = NULL;
    }
}

bool control_folder_is_private(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

static bool fits(const char *folder, const char *name)
{
    return strlen(folder) + 1 + strlen(name) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

int control_default_path(const char *name, struct buf *out, char **error)
{
    char *folders[CONTROL_FOLDERS + 1];
    int rc = control_folders(folders);
    const char *last = NULL;
    if (rc)
        return rc;
    for (size_t i = 0; folders[i]; i++) {
        last = folders[i];
        if (!folders[i + 1])
            mkdir(last, 0700); /* one that is there already has to pass the same test as a new one */
        if (control_folder_is_private(last) && fits(last, name)) {
            rc = buf_addf(out, "%s/%s", last, name);
            goto out;
        }
    }
    rc = config_fail(error, MT_EDENIED, "%s is no folder of this user with mode 0700", last);
out:
    control_free_folders(folders);
    return rc;
}

/* ---- sockets ---- */

static int make_address(const char *path, struct sockaddr_un *out)
{
    size_t len = strlen(path);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof(out->sun_path))
        return MT_EINVALID;
    memcpy(out->sun_path, path, len);
    return 0;
}

static int connect_code(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return MT_EREFUSED;
    case ENOENT:
    case ENOTDIR:
        return MT_ENOT_FOUND;
    case EACCES:
    case EPERM:
        return MT_EDENIED;
    case EAGAIN:
        return MT_EBUSY; /* it lives, but more wait than it takes */
    default:
        return MT_EIO;
    }
}

static int connect_to(const char *path, int flags)
{
    struct sockaddr_un a;
    if (make_address(path, &a))
        return MT_EINVALID;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return MT_EIO;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    int rc = connect_code(errno);
    close(fd);
    return rc;
}

int control_connect(const char *path)
{
    return connect_to(path, 0);
}

static int probe(const char *path)
{
    int fd = connect_to(path, SOCK_NONBLOCK);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int fail_path(const char *path, int rc, const char *why, char **error)
{
    return config_fail(error, rc, "control.path: %s: %s", path, why);
}

/* Makes room for a socket: removes what a dead server left. */
static int clear_path(const char *path, char **error)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : fail_path(path, MT_EIO, strerror(errno), error);
    if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        return fail_path(path, MT_EDENIED, "there is a file that is no socket of this user", error);
    int rc = probe(path);
    if (rc == 0 || rc == MT_EBUSY)
        return fail_path(path, MT_EBUSY,
                         "another server is in control of it; set control.path to another path, or admin to false", error);
    if (rc != MT_EREFUSED)
        return fail_path(path, rc, err_text(rc), error);
    return unlink(path) == 0 || errno == ENOENT ? 0 : fail_path(path, MT_EIO, strerror(errno), error);
}

/* The mode of the socket becomes that of its file, so there is no moment at which others may open it. */
static int bind_private(int fd, const struct sockaddr_un *a, struct control_file *out)
{
    struct stat st;
    if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)a, sizeof(*a)))
        return -1;
    if (lstat(a->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 077) == 0 && listen(fd, BACKLOG) == 0) {
        *out = (struct control_file){fd, st.st_dev, st.st_ino};
        return 0;
    }
    int saved = errno;
    unlink(a->sun_path);
    errno = saved;
    return -1;
}

int control_listen(const char *path, struct control_file *out, char **error)
{
    struct sockaddr_un a;
    if (make_address(path, &a))
        return fail_path(path, MT_EINVALID, "the path of a socket has 1 to 107 bytes", error);
    int rc = clear_path(path, error);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_path(path, MT_EIO, strerror(errno), error);
    if (bind_private(fd, &a, out) == 0)
        return 0;
    int number = errno;
    close(fd);
    return fail_path(path, number == EADDRINUSE ? MT_EBUSY : MT_EIO, strerror(number), error);
}

void control_unlisten(const char *path, const struct control_file *f)
{
    struct stat st;
    if (lstat(path, &st) == 0 && st.st_dev == f->device && st.st_ino == f->inode)
        unlink(path);
    close(f->fd);
}

bool control_peer_is_trusted(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

/* ---- looking for servers ---- */

static int is_control_socket(const struct dirent *d)
{
    size_t len = strlen(d->d_name);
    return len > 14 && strncmp(d->d_name, "moontide-", 9) == 0 && strcmp(d->d_name + len - 5, ".sock") == 0;
}

static int add_living(const char *folder, const char *name, struct buf *paths)
{
    size_t before = paths->len;
    int rc = buf_addf(paths, "%s/%s", folder, name);
    if (rc == 0)
        rc = buf_add_byte(paths, '\0');
    if (rc)
        return rc;
    int answer = probe((char *)paths->data + before);
    if (answer == 0 || answer == MT_EBUSY)
        return 1;
    paths->len = before;
    return 0;
}

static int find_in(const char *folder, struct buf *paths)
{
    struct dirent **entries = NULL;
    int n = control_folder_is_private(folder) ? scandir(folder, &entries, is_control_socket, alphasort) : 0, found = 0;
    for (int i = 0; i < n; i++) {
        int rc = found < 0 ? 0 : add_living(folder, entries[i]->d_name, paths);
        found = rc < 0 ? rc : found + rc;
        free(entries[i]);
    }
    free(entries);
    return found;
}

int control_find(char *const *folders, struct buf *paths)
{
    int found = 0;
    for (size_t i = 0; found >= 0 && folders[i]; i++) {
        int rc = find_in(folders[i], paths);
        found = rc < 0 ? rc : found + rc;
    }
    return found;
}
