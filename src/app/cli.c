/* cli.c - reads the command line. Flags with values come from the table of settings; this file adds the few that are none. */
#include "app/cli.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <unistd.h>

static const char *const commands[] = {"run",    "check",    "new",      "version", "help", "status",
                                       "reload", "rollback", "versions", "token",   NULL};

struct args {
    int count, at;      /* arguments, and the next to read */
    char *const *items; /* argv */
    bool plain;         /* after "--": everything is a name */
    bool has_command;   /* the first name was a command */
};

static int fail_flag(struct slice flag, char **error)
{
    static const char *const others[] = {"--set",  "--config",  "--no-watch", "--dev",
                                         "--help", "--version", "--control",  "--json"};
    const char *names[CONFIG_COUNT + sizeof(others) / sizeof(*others) + 1] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        names[count++] = others[i];
    for (int id = 0; id < CONFIG_COUNT; id++) {
        struct slice bare = {flag.data + 2, flag.len - 2};
        if (flag.len > 2 && slice_is(bare, slice_of(config_keys[id].name)) && !config_keys[id].flag)
            return config_fail(error, MT_EINVALID, "unknown flag %.*s; use --set %s=VALUE", (int)flag.len, flag.data,
                               config_keys[id].name);
        if (config_keys[id].flag)
            names[count++] = config_keys[id].flag;
    }
    const char *near = text_nearest(flag, names);
    return config_fail(error, MT_EINVALID, "unknown flag %.*s%s%s%s", (int)flag.len, flag.data, near ? "; did you mean " : "",
                       near ? near : "", near ? "?" : "; see moontide help run");
}

static int add_setting(struct cli *c, const char *flag, struct slice key, const char *value, bool whole)
{
    struct cli_setting *grown = mem_resize(c->settings, (c->setting_count + 1) * sizeof(*grown));
    if (!grown)
        return MT_ENOMEM;
    c->settings = grown;
    char *copy = mem_strdup(key.data, key.len);
    if (!copy)
        return MT_ENOMEM;
    c->settings[c->setting_count++] = (struct cli_setting){copy, value, flag, whole};
    return 0;
}

static int add_set(struct cli *c, const char *pair, char **error)
{
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair)
        return config_fail(error, MT_EINVALID, "--set \"%s\" is not KEY=VALUE", pair);
    return add_setting(c, "--set", (struct slice){pair, (size_t)(equals - pair)}, equals + 1, false);
}

/* The setting that `flag` stands for, NULL when it is none. */
static const struct config_key *flag_key(struct slice flag)
{
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (config_keys[id].flag && slice_is(flag, slice_of(config_keys[id].flag)))
            return &config_keys[id];
    return NULL;
}

/* The value behind a flag: after its "=", or the next argument. */
static int take_value(struct args *a, struct slice flag, const char *inlined, const char **out, char **error)
{
    if (inlined)
        *out = inlined;
    else if (a->at < a->count)
        *out = a->items[a->at++];
    else
        return config_fail(error, MT_EINVALID, "%.*s needs a value", (int)flag.len, flag.data);
    return 0;
}

static int take_valued_flag(struct cli *c, struct args *a, struct slice flag, const char *inlined, char **error)
{
    const struct config_key *key = flag_key(flag);
    const char *value = NULL;
    bool is_set = slice_is(flag, SLICE("--set")), is_config = slice_is(flag, SLICE("--config"));
    bool is_control = slice_is(flag, SLICE("--control"));
    if (!key && !is_set && !is_config && !is_control)
        return fail_flag(flag, error);
    int rc = take_value(a, flag, inlined, &value, error);
    if (rc)
        return rc;
    if (is_set)
        return add_set(c, value, error);
    if (key)
        return add_setting(c, key->flag, slice_of(key->name), value, true);
    *(is_control ? &c->control : &c->file) = value;
    return 0;
}

static int take_flag(struct cli *c, struct args *a, const char *arg, char **error)
{
    const char *equals = strchr(arg, '=');
    struct slice flag = {arg, equals ? (size_t)(equals - arg) : strlen(arg)};
    if (slice_is(flag, SLICE("--no-watch")) && !equals)
        return add_setting(c, "--no-watch", SLICE("watch"), "false", true);
    if (slice_is(flag, SLICE("--dev")) && !equals)
        return add_setting(c, "--dev", SLICE("dev"), "true", true);
    if (slice_is(flag, SLICE("--json")) && !equals) {
        c->json = true;
        return 0;
    }
    if (slice_is(flag, SLICE("--markdown")) && c->command == CLI_HELP) {
        c->markdown = true;
        return 0;
    }
    if (slice_is(flag, SLICE("--version")) || slice_is(flag, SLICE("-V"))) {
        c->command = CLI_VERSION;
        return 0;
    }
    if (slice_is(flag, SLICE("--help")) || slice_is(flag, SLICE("-h"))) {
        if (a->has_command && c->command != CLI_HELP)
            c->topic = commands[c->command];
        c->command = CLI_HELP;
        return 0;
    }
    return take_valued_flag(c, a, flag, equals ? equals + 1 : NULL, error);
}

/* A word that cannot be a script is a mistyped command. */
static int fail_command(const char *word, char **error)
{
    const char *near = text_nearest(slice_of(word), commands);
    return config_fail(error, MT_EINVALID, "\"%s\" is neither a command nor a script%s%s%s", word,
                       near ? "; did you mean moontide " : "", near ? near : "", near ? "?" : "; see moontide help");
}

static bool looks_like_script(const char *word)
{
    return strpbrk(word, "./") || access(word, F_OK) == 0;
}

static int take_name(struct cli *c, struct args *a, const char *word, char **error)
{
    bool first = !a->has_command && !c->script;
    for (size_t i = 0; first && !a->plain && commands[i]; i++)
        if (strcmp(word, commands[i]) == 0) {
            /* `moontide --help run`: what --help and --version have decided stays */
            if (c->command == CLI_HELP)
                c->topic = word;
            else if (c->command == CLI_RUN)
                c->command = (enum cli_command)i;
            a->has_command = true;
            return 0;
        }
    if (c->command == CLI_HELP && !c->topic) {
        c->topic = word;
        return 0;
    }
    if (first && !a->plain && !looks_like_script(word))
        return fail_command(word, error);
    if (c->script || c->command > CLI_NEW)
        return config_fail(error, MT_EINVALID, "unexpected argument \"%s\"", word);
    c->script = word;
    return 0;
}

/* Flags may stand before the command, so whether they fit is known at the end. */
static int check_flags(const struct cli *c, char **error)
{
    const char *command = commands[c->command], *odd = NULL;
    if (c->command == CLI_HELP || c->command == CLI_VERSION)
        return 0;
    if (c->command >= CLI_NEW)
        odd = c->file ? "--config" : c->setting_count ? c->settings[0].flag : NULL;
    if (c->command <= CLI_NEW && !odd)
        odd = c->control ? "--control" : c->json ? "--json" : NULL;
    return odd ? config_fail(error, MT_EINVALID, "moontide %s takes no %s; see moontide help %s", command, odd, command) : 0;
}

int cli_parse(int argc, char *const *argv, struct cli *out, char **error)
{
    struct args a = {.count = argc, .at = 1, .items = argv};
    int rc = 0;
    *out = (struct cli){.command = CLI_RUN};
    while (rc == 0 && a.at < a.count) {
        const char *arg = a.items[a.at++];
        if (!a.plain && strcmp(arg, "--") == 0)
            a.plain = true;
        else if (!a.plain && arg[0] == '-' && arg[1])
            rc = take_flag(out, &a, arg, error);
        else
            rc = take_name(out, &a, arg, error);
    }
    if (rc == 0 && out->command <= CLI_CHECK && !out->script)
        rc = config_fail(error, MT_EINVALID, "which script? For example: moontide %s chat.lua", commands[out->command]);
    if (rc == 0 && out->command == CLI_TOKEN)
        rc = config_fail(error, MT_EINVALID, "flags go behind moontide token; see moontide help token");
    if (rc == 0 && out->command == CLI_NEW && !out->script)
        rc = config_fail(error, MT_EINVALID, "which folder? For example: moontide new chat");
    return rc == 0 ? check_flags(out, error) : rc;
}

void cli_fini(struct cli *c)
{
    for (size_t i = 0; i < c->setting_count; i++)
        mem_free(c->settings[i].key);
    mem_free(c->settings);
    *c = (struct cli){0};
}

/* Says by which flag a wrong value came. */
static int apply_setting(struct config *config, const struct cli_setting *s, char **error)
{
    char *inner = NULL;
    int rc = config_set(config, CONFIG_FLAG, s->key, s->value, s->whole, &inner);
    if (rc && inner)
        rc = config_fail(error, rc, "%s: %s", s->flag, inner);
    mem_free(inner);
    return rc;
}

int cli_configure(const struct cli *c, char *const *environment, struct config **out, char **error)
{
    struct config *config = config_create();
    int rc = config ? 0 : MT_ENOMEM;
    for (size_t i = 0; rc == 0 && i < c->setting_count; i++)
        rc = apply_setting(config, &c->settings[i], error);
    if (rc == 0)
        rc = config_read_env(config, environment, error);
    if (rc == 0 && c->file)
        rc = config_read_file(config, c->file, error);
    if (rc == 0)
        rc = config_check(config, error);
    if (rc) {
        config_destroy(config);
        return rc;
    }
    *out = config;
    return 0;
}
