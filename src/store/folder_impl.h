/* folder_impl.h - for the files folder*.c only. */
#ifndef MT_STORE_FOLDER_IMPL_H
#define MT_STORE_FOLDER_IMPL_H
#include "store/folder.h"

struct folder {
    int fd;        /* of the folder */
    uint64_t size; /* bytes that a file may have */
};

/* The error code for an errno. */
int folder_error(int number);
/* A folder below the folder `at`, not through a link. An fd, or -1 with errno. */
int folder_enter(int at, const char *part);
/* The folder that holds the last part of `name`, and where that part begins; with `make` it is made when it is not there. An fd
 * for folder_leave, or an MT_E*. */
int folder_parent(const struct folder *f, const char *name, bool make, const char **leaf);
void folder_leave(const struct folder *f, int fd);
/* An fd of the plain file, or an MT_E*; see folder_open_file. */
int folder_open_plain(const struct folder *f, const char *name, bool write);
#endif
