/* slow_disk.c - a disk that hangs, by LD_PRELOAD: reads and writes at a place, fsync and fdatasync wait as long as the file that
 * SLOW_DISK names is there. So does the hashing of passwords, which no disk slows down but which waits for a thread as they do.
 */
#include <dlfcn.h>
#include <stdint.h>
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

int fdatasync(int fd)
{
    static void *next;

    return ((int (*)(int))find(&next, "fdatasync"))(fd);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
    static void *next;

    return ((ssize_t(*)(int, void *, size_t, off_t))find(&next, "pread"))(fd, data, len, offset);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
    static void *next;

    return ((ssize_t(*)(int, void *, size_t, off64_t))find(&next, "pread64"))(fd, data, len, offset);
}

int EVP_PBE_scrypt(const char *text, size_t text_len, const unsigned char *salt, size_t salt_len, uint64_t n, uint64_t r,
                   uint64_t p, uint64_t most, unsigned char *key, size_t len)
{
    typedef int scrypt(const char *, size_t, const unsigned char *, size_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       unsigned char *, size_t);
    static void *next;

    return ((scrypt *)find(&next, "EVP_PBE_scrypt"))(text, text_len, salt, salt_len, n, r, p, most, key, len);
}
