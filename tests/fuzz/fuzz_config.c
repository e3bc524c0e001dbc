/* fuzz_config.c - any text as a configuration: as moontide.conf.lua, as key=value lines, as environment variables. What is taken
 * must be within the range of its key, and the rest is refused with a sentence. */
#include "app/config.h"
#include "base/err.h"
#include "base/mem.h"
#include "fuzz.h"
#include <unistd.h>

enum { VARIABLES_MAX = 64 };

/* 0 without a message, or a failure with one. */
static void check_answer(int rc, char **error)
{
    FUZZ_CHECK(rc <= 0 && (rc == 0) == (*error == NULL));
    mem_free(*error);
}

static void check_values(const struct config *c)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const struct config_key *key = &config_keys[id];

        if (key->type == CONFIG_SECONDS)
            FUZZ_CHECK(config_seconds(c, id) >= key->min && config_seconds(c, id) <= key->max);
        if (key->type == CONFIG_INT && !key->may_be_auto)
            FUZZ_CHECK((double)config_number(c, id) >= key->min && (double)config_number(c, id) <= key->max);
        if (key->type == CONFIG_LIST)
            FUZZ_CHECK(config_list(c, id)[config_list_count(c, id)] == NULL);
    }
}

static void as_file(struct config *c, const char *text, size_t len)
{
    char path[] = "/dev/shm/moontide-fuzz-XXXXXX", *error = NULL;
    int fd = mkstemp(path);

    FUZZ_CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    close(fd);
    check_answer(config_read_file(c, path, &error), &error);
    unlink(path);
}

static void as_lines(struct config *c, char *text)
{
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *value = strchr(line, '='), *error = NULL;

        if (value)
            *value++ = '\0';
        check_answer(config_set(c, CONFIG_FLAG, line, value ? value : "", line[0] == 't', &error), &error);
    }
}

static void as_environment(struct config *c, char *text)
{
    char *variables[VARIABLES_MAX + 1] = {NULL}, *error = NULL;
    size_t n = 0;

    for (char *rest = text, *line; n < VARIABLES_MAX && (line = strsep(&rest, "\n")) != NULL;)
        variables[n++] = line;
    check_answer(config_read_env(c, variables, &error), &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t way = fuzz_byte(&data, &size);
    struct config *c = config_create();
    char *text = malloc(size + 1), *error = NULL;

    FUZZ_CHECK(c && text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (way == 'f')
        as_file(c, text, size);
    else if (way == 'e')
        as_environment(c, text);
    else
        as_lines(c, text);
    check_values(c);
    check_answer(config_check(c, &error), &error);
    free(text);
    config_destroy(c);
    return 0;
}
