/* fake_app_cli.c - stands in for the script layer: every configuration file sets the log level to "warn". */
#include "script/script.h"

int script_read_config(const char *path, int (*set)(void *arg, const char *key, const char *value, char **error), void *arg,
                       char **error)
{
    return set(arg, "log.level", "warn", error);
}
