/* embed.c - moontide.h: the server of server.h behind plain texts and numbers, so that embedding programs see nothing else of us.
 */
#include "moontide.h"

#include "app/server.h"
#include "base/err.h"
#include "base/mem.h"

extern char **environ;

struct moontide {
    struct server *server;
    struct script_module *modules; /* owned array; names and functions are the program's */
};

static enum moontide_result start_result(int rc)
{
    return rc == 0 ? MOONTIDE_OK : rc == MT_ENOMEM ? MOONTIDE_NO_MEMORY : MOONTIDE_CANNOT_START;
}

static int configure(const struct moontide_options *o, struct config **out, char **error)
{
    struct config *c = config_create();
    /* a library makes no files that nobody asked for */
    int rc = c ? config_set(c, CONFIG_DEFAULT, config_keys[CONFIG_ADMIN].name, "false", false, error) : MT_ENOMEM;
    for (size_t i = 0; rc == 0 && i < o->setting_count; i++)
        rc = config_set(c, CONFIG_FLAG, o->settings[i].key, o->settings[i].value, false, error);
    if (rc == 0 && o->use_environment)
        rc = config_read_env(c, environ, error);
    if (rc == 0 && o->config)
        rc = config_read_file(c, o->config, error);
    if (rc == 0)
        rc = config_check(c, error);
    if (rc) {
        config_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

static int copy_modules(struct moontide *m, const struct moontide_options *o)
{
    if (o->module_count == 0)
        return 0;
    if (!(m->modules = mem_zalloc(o->module_count, sizeof(*m->modules))))
        return MT_ENOMEM;
    for (size_t i = 0; i < o->module_count; i++)
        m->modules[i] = (struct script_module){o->modules[i].name, o->modules[i].open};
    return 0;
}

/* Takes `config`. */
static int start(struct moontide *m, struct config *config, const struct moontide_options *o, char **error)
{
    int rc = copy_modules(m, o);
    if (rc) {
        config_destroy(config);
        return rc;
    }
    const struct server_options so = {.script = o->script, .modules = m->modules, .module_count = o->module_count};
    rc = server_create(config, &so, &m->server, error);
    return rc ? rc : server_listen(m->server, error);
}

static enum moontide_result create(const struct moontide_options *o, struct moontide **out, char **error)
{
    struct config *config = NULL;
    int rc = configure(o, &config, error);
    if (rc)
        return rc == MT_ENOMEM ? MOONTIDE_NO_MEMORY : MOONTIDE_BAD_SETTINGS;
    struct moontide *m = mem_zalloc(1, sizeof(*m));
    if (!m) {
        config_destroy(config);
        return MOONTIDE_NO_MEMORY;
    }
    rc = start(m, config, o, error);
    if (rc) {
        moontide_destroy(m);
        return start_result(rc);
    }
    *out = m;
    return MOONTIDE_OK;
}

/* Gives the sentence to a caller who wants it; a failure without one gets the code's text. */
static void hand_over(enum moontide_result result, char *sentence, char **error)
{
    static const char *const texts[] = {"", "wrong settings", "cannot start", "out of memory"};
    if (result != MOONTIDE_OK && error && !sentence)
        sentence = mem_strdup(texts[-result], strlen(texts[-result]));
    if (error)
        *error = sentence;
    else
        mem_free(sentence);
}

enum moontide_result moontide_create(const struct moontide_options *options, struct moontide **out, char **error)
{
    static const char no_script[] = "no script: set options.script to the path of the app";
    enum moontide_result result = MOONTIDE_BAD_SETTINGS;
    char *sentence = NULL;
    *out = NULL;
    if (options->script)
        result = create(options, out, &sentence);
    else
        sentence = mem_strdup(no_script, sizeof(no_script) - 1);
    hand_over(result, sentence, error);
    return result;
}

size_t moontide_run(struct moontide *m)
{
    return server_run(m->server);
}

void moontide_stop(struct moontide *m)
{
    server_stop(m->server);
}

void moontide_reload(struct moontide *m)
{
    server_reload(m->server);
}

void moontide_destroy(struct moontide *m)
{
    if (!m)
        return;
    server_destroy(m->server);
    mem_free(m->modules);
    mem_free(m);
}

const char *moontide_address(const struct moontide *m, size_t i)
{
    return server_address(m->server, i);
}

int moontide_port(const struct moontide *m, size_t i)
{
    const char *address = moontide_address(m, i), *colon = address ? strrchr(address, ':') : NULL;
    unsigned long long port = 0;
    if (!colon || !slice_to_uint(slice_of(colon + 1), 65535, &port))
        return 0;
    return (int)port;
}

void moontide_free(char *error)
{
    mem_free(error);
}

const char *moontide_version(void)
{
    return MT_VERSION;
}
