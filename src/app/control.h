/* control.h - where the control sockets of servers are, and how they are bound, found and reached. For both ends.
 *
 * A server without `control.path` uses moontide-PORT.sock in $XDG_RUNTIME_DIR, else in moontide-UID under /tmp. Such a folder
 * counts only where it belongs to the user and lets nobody else in, so nobody can put a socket of his there.
 */
#ifndef MT_APP_CONTROL_H
#define MT_APP_CONTROL_H
#include "base/buf.h"
#include <stdbool.h>
#include <sys/types.h>

enum { CONTROL_FOLDERS = 2 };

/* The folders, best first, NULL-terminated. Owned texts: control_free_folders. 0 or MT_ENOMEM. */
int control_folders(char *out[CONTROL_FOLDERS + 1]);
void control_free_folders(char *folders[CONTROL_FOLDERS + 1]);
/* Whether `path` is a folder of this user, no link, with no rights for others. */
bool control_folder_is_private(const char *path);
/* Add the path of the socket called `name` in the first folder that is private, without NUL; the last is made where it is
 * missing. 0, MT_EDENIED (none will do, *error says why), MT_ENOMEM. */
int control_default_path(const char *name, struct buf *out, char **error);

/* A bound socket and its file. */
struct control_file {
    int fd;
    dev_t device; /* of the file, to know it again */
    ino_t inode;
};
/* Listen at `path`, for this user only. A socket that nobody answers on is replaced; one of a living server and any other file
 * are left alone. 0, MT_EBUSY (in use), MT_EINVALID, MT_EDENIED, MT_EIO with *error. */
int control_listen(const char *path, struct control_file *out, char **error);
/* Close the socket, and remove its file unless it is another one by now. */
void control_unlisten(const char *path, const struct control_file *f);
/* Whether the other end of `fd` is this user or root. */
bool control_peer_is_trusted(int fd);

/* Connect as a client. The descriptor (blocking), or MT_EREFUSED (nobody answers), MT_ENOT_FOUND, MT_EDENIED, MT_EINVALID,
 * MT_EIO. */
int control_connect(const char *path);
/* Add the paths of sockets on which a server answers, each with a NUL, sorted by name. Folders that are not private are left out.
 * Returns how many, or MT_ENOMEM. */
int control_find(char *const *folders, struct buf *paths);
#endif
