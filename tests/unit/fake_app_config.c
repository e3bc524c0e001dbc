/* fake_app_config.c - stands in for the script layer: the "file" is a list of pairs that the test gives. */
#include "fake_app_config.h"

#include "base/err.h"
#include "base/mem.h"
#include "script/script.h"
#include <stddef.h>
#include <string.h>

static const char *const *pairs;
static const char *failure;

void fake_config_file(const char *const *key_values)
{
    pairs = key_values;
    failure = NULL;
}

void fake_config_failure(const char *text)
{
    failure = text;
}

int script_read_config(const char *path, int (*set)(void *arg, const char *key, const char *value, char **error), void *arg,
                       char **error)
{
    int rc = 0;
    if (failure) {
        *error = mem_strdup(failure, strlen(failure));
        return MT_ESCRIPT;
    }
    for (const char *const *p = pairs; p && rc == 0 && *p; p += 2)
        rc = set(arg, p[0], p[1], error);
    return rc;
}
