/* config_load.c - settings from the environment and from moontide.conf.lua, and the check of what belongs together. */
#include "app/config.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/access.h"
#include "script/script.h"
#include <ctype.h>

#define PREFIX "MOONTIDE_"

/* Secrets are read where they are used (net), and never become a setting that a log could show. */
static const char *const passphrase = PREFIX "TLS_PASSPHRASE";

int config_env_name(const char *key, struct buf *out)
{
    int rc = buf_add_text(out, PREFIX);
    for (; rc == 0 && *key; key++)
        rc = buf_add_byte(out, *key == '.' ? '_' : (unsigned char)toupper((unsigned char)*key));
    return rc;
}

/* NUL-terminated names of all variables, owned by the caller; NULL when memory runs out. */
static char **env_names(void)
{
    char **names = mem_zalloc(CONFIG_COUNT + 2, sizeof(*names));
    for (int id = 0; names && id < CONFIG_COUNT; id++) {
        struct buf name = {0};
        if (config_env_name(config_keys[id].name, &name) == 0)
            names[id] = mem_strdup((char *)name.data, name.len);
        buf_fini(&name);
        if (!names[id]) {
            while (id-- > 0)
                mem_free(names[id]);
            mem_free(names);
            return NULL;
        }
    }
    return names;
}

static void free_names(char **names)
{
    for (int id = 0; names && id < CONFIG_COUNT; id++)
        mem_free(names[id]);
    mem_free(names);
}

/* Puts "origin: " before the sentence in *error (which may be as long as a traceback) and returns `rc`. */
static int add_origin(const char *origin, size_t len, int rc, char **error)
{
    struct buf text = {0};
    char *longer = NULL;
    if (rc == 0 || !error || !*error)
        return rc;
    if (buf_addf(&text, "%.*s: %s", (int)len, origin, *error) == 0)
        longer = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    if (longer) {
        mem_free(*error);
        *error = longer;
    }
    return rc;
}

static int set_from_env(struct config *c, char **names, const char *entry, char **error)
{
    struct slice name = {entry, strcspn(entry, "=")};
    const char *value = entry + name.len + (entry[name.len] == '=');
    if (slice_is(name, slice_of(passphrase)))
        return 0;
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (slice_is(name, slice_of(names[id])))
            return add_origin(entry, name.len, config_set(c, CONFIG_ENV, config_keys[id].name, value, false, error), error);
    const char *near = text_nearest(name, (const char *const *)names);
    return config_fail(error, MT_ENOT_FOUND, "unknown environment variable %.*s%s%s%s", (int)name.len, entry,
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "; see moontide help config");
}

int config_read_env(struct config *c, char *const *environment, char **error)
{
    char **names = env_names();
    int rc = names ? 0 : MT_ENOMEM;
    for (; rc == 0 && environment && *environment; environment++)
        if (strncmp(*environment, PREFIX, strlen(PREFIX)) == 0)
            rc = set_from_env(c, names, *environment, error);
    free_names(names);
    return rc;
}

static int set_from_file(void *arg, const char *key, const char *value, char **error)
{
    return config_set(arg, CONFIG_FILE, key, value, true, error);
}

int config_read_file(struct config *c, const char *path, char **error)
{
    char *copy = mem_strdup(path, strlen(path));
    if (!copy)
        return MT_ENOMEM;
    mem_free(c->path);
    c->path = copy;
    int rc = script_read_config(path, set_from_file, c, error);
    if (rc && error && *error && strstr(*error, path))
        return rc; /* Lua's own messages name the file */
    return add_origin(path, strlen(path), rc, error);
}

int config_reload(const struct config *old, struct config **out, char **error)
{
    struct config *c = config_create();
    int rc = c ? 0 : MT_ENOMEM;
    for (int id = 0; rc == 0 && id < CONFIG_COUNT; id++)
        if (old->values[id].source > CONFIG_FILE) {
            config_value_fini(&c->values[id]);
            rc = config_value_copy(&old->values[id], &c->values[id]);
        }
    if (rc == 0 && old->path)
        rc = config_read_file(c, old->path, error);
    if (rc == 0)
        rc = config_check(c, error);
    if (rc) {
        config_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

int config_access(const struct config *c, struct access **out, char **error)
{
    const struct access_lists lists = {
        .allow = config_list(c, CONFIG_ALLOW),
        .deny = config_list(c, CONFIG_DENY),
        .proxies = config_list(c, CONFIG_PROXIES),
        .origins = config_list(c, CONFIG_ORIGINS),
    };
    return access_create(&lists, out, error);
}

static int check_access(const struct config *c, char **error)
{
    struct access *a = NULL;
    char *why = NULL;
    int rc = config_access(c, &a, &why);
    access_unref(a);
    if (error)
        *error = why;
    else
        mem_free(why);
    return rc;
}

int config_check(const struct config *c, char **error)
{
    const char *const *item = config_list(c, CONFIG_LISTEN);
    if (!*item)
        return config_fail(error, MT_EINVALID, "listen is empty: the server needs at least one address");
    for (; *item; item++)
        if (config_wants_tls(c, *item) && config_list_count(c, CONFIG_TLS) == 0)
            return config_fail(error, MT_EINVALID,
                               "listen = \"%s\" asks for TLS, but there is no certificate: set tls to CERT,KEY", *item);
    if (config_text(c, CONFIG_STORE_FILE) && config_text(c, CONFIG_STORE_URL))
        return config_fail(error, MT_EINVALID, "store.file and store.url are both set: tide.store lives in one place");
    return check_access(c, error);
}
