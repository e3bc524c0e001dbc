/* library.c - finds the shipped scripts wherever the program was put: a prefix may be moved as a whole. */
#include "app/library.h"

#include "base/buf.h"
#include "base/mem.h"
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MT_LIBRARY_INSTALLED
#define MT_LIBRARY_INSTALLED ""
#endif
#ifndef MT_LIBRARY_SOURCE
#define MT_LIBRARY_SOURCE ""
#endif

static bool is_folder(const char *path)
{
    struct stat st;
    return *path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* PREFIX/bin/moontide -> PREFIX/share/moontide/scripts. Empty when that cannot be known. */
static void beside_program(char *out, size_t size)
{
    static const char tail[] = "/share/moontide/scripts";
    ssize_t len = readlink("/proc/self/exe", out, size - sizeof(tail));
    for (int up = 0; up < 2; up++)
        while (len > 0 && out[--len] != '/')
            ;
    if (len < 0)
        len = 0;
    out[len] = '\0';
    if (len > 0)
        strcpy(out + len, tail);
}

char *library_find(void)
{
    char beside[PATH_MAX];
    beside_program(beside, sizeof(beside));
    const char *const places[] = {beside, MT_LIBRARY_SOURCE, MT_LIBRARY_INSTALLED};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (is_folder(places[i]))
            return mem_strdup(places[i], strlen(places[i]));
    return NULL;
}
