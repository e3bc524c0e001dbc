/* folder.h - the files of one folder: opened, read, written, renamed, deleted and listed by name, with no way out of it.
 *
 * Names are UTF-8, parts separated by "/": "a.txt", "photos/2026/b.jpg". They are checked first; then each part is opened on its
 * own, from the folder down, and no symbolic link is followed, whoever put it there and when. Only plain files are touched. A
 * file whose name has several parts gets its folders made when it is made; they stay.
 *
 * Every function blocks as long as the disk takes: none of them is for the thread of a loop, but folder_open at the start. Any
 * thread, several at once; one file is used by one thread at a time.
 */
#ifndef MT_STORE_FOLDER_H
#define MT_STORE_FOLDER_H
#include "base/slice.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct folder;
struct folder_file;

enum {
    FOLDER_NAME_MAX = 1024, /* bytes of a name */
    FOLDER_PART_MAX = 255,  /* bytes of each of its parts */
    FOLDER_PARTS_MAX = 16,
};

/* `size`: bytes that a file may have. 0, MT_ENOT_FOUND (no such folder), MT_EDENIED, MT_ENOMEM, MT_EIO. */
int folder_open(const char *path, uint64_t size, struct folder **out);
void folder_close(struct folder *f); /* all of its files must be closed. NULL is allowed */

/* Whether a name may be used: 1 to FOLDER_NAME_MAX bytes of UTF-8 without control characters and backslashes, of parts that are
 * not empty and do not begin with a dot. */
bool folder_is_name(struct slice name);
/* Whether it is empty, or a name, or one with a slash behind it. */
bool folder_is_prefix(struct slice prefix);

/* Names below are NUL-terminated and have been checked. What all of them may return:
 * MT_ENOT_FOUND: there is no such file; MT_EDENIED: a link, a folder, a device, or what the system does not allow; MT_EINVALID: a
 * name that this file system does not take; MT_EFULL: the disk is; MT_ETOO_LARGE: the file would be; MT_ELIMITED: the process has
 * too many files open; MT_ENOMEM; MT_EIO: the disk failed, or the folder itself was removed. */

/* With `write` for reading and writing: it is made when it is not there, and keeps what it has when it is. */
int folder_open_file(const struct folder *f, const char *name, bool write, struct folder_file **out);
/* Up to *len bytes from `offset`; fewer only at the end of the file. *len becomes what was read. */
int folder_read(struct folder_file *file, uint64_t offset, void *data, size_t *len);
/* All of it, or an error: then some of it may be there. */
int folder_write(struct folder_file *file, uint64_t offset, const void *data, size_t len);
int folder_size(struct folder_file *file, uint64_t *size);
void folder_close_file(struct folder_file *file);

/* The file `from` is then `to`, in place of what was there. When it returns 0 its content and its name are on the disk. */
int folder_rename(const struct folder *f, const char *from, const char *to);
int folder_delete(const struct folder *f, const char *name);

struct folder_entry {
    char *name; /* owned by the list */
    uint64_t size;
    double time; /* of the last change, unix seconds */
};
struct folder_list {
    struct folder_entry *entries; /* owned, sorted by the bytes of their names */
    size_t count, room;           /* entries, and what there is memory for */
};
/* The files whose names begin with `prefix` (which has been checked), also in folders below. Zeroed memory is a valid list.
 * MT_ETOO_LARGE where there are more than `most`. MT_ENOT_FOUND is not returned: there are none then. Stops early when *stop (may
 * be NULL) is true. */
int folder_find(const struct folder *f, const char *prefix, size_t most, const atomic_bool *stop, struct folder_list *out);
void folder_list_fini(struct folder_list *list);
#endif
