/* signature.h - what tells one content of a path from the next without reading it. */
#ifndef MT_BASE_SIGNATURE_H
#define MT_BASE_SIGNATURE_H
#include <stdbool.h>
#include <sys/stat.h>

/* All zero where nothing is. */
struct signature {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct signature signature_of(const struct stat *st);
struct signature signature_look(const char *path); /* of what is at `path` now */
bool signature_is(const struct signature *a, const struct signature *b);
#endif
