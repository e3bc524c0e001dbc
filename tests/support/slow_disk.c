/* slow_disk.c - a disk that hangs, by LD_PRELOAD: writes at a place, and fsync, wait as long as the file that SLOW_DISK names is
 * there.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static void hang(void)
{
    const char *gate = getenv("SLOW_DISK");

    while (gate && access(gate, F_OK) == 0)
        usleep(2000);
}

/* A function of the C library, by the pointer in which it is kept once it was found. */
static void *find(void **kept, const char *name)
{
    if (!*kept)
        *kept = dlsym(RTLD_NEXT, name);
    hang();
    return *kept;
}

/* Which of the two a program calls is decided by how it was compiled. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    static void *next;

    return ((ssize_t(*)(int, const void *, size_t, off_t))find(&next, "pwrite"))(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    static void *next;

    return ((ssize_t(*)(int, const void *, size_t, off64_t))find(&next, "pwrite64"))(fd, data, len, offset);
}

int fsync(int fd)
{
    static void *next;

    return ((int (*)(int))find(&next, "fsync"))(fd);
}
