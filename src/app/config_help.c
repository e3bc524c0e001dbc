/* config_help.c - the table of settings for people: in the terminal, and as docs/configuration.md. */
#include "app/config.h"

#include "app/config_value.h"
#include <string.h>

static const char *type_name(enum config_type type)
{
    static const char *const names[] = {"bool", "int", "size", "seconds", "rate", "string", "enum", "list"};
    return names[type];
}

static int put_number(struct buf *out, const struct config_key *key, double number)
{
    if (key->type == CONFIG_SIZE)
        return config_put_size(out, number);
    if (key->type == CONFIG_SECONDS)
        return config_put_seconds(out, number);
    return buf_addf(out, "%.0f", number);
}

static int put_choices(struct buf *out, const char *const *choices)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && choices[i]; i++)
        rc = buf_addf(out, "%s%s", i == 0 ? "" : choices[i + 1] ? ", " : " or ", choices[i]);
    return rc;
}

int config_range(const struct config_key *key, struct buf *out)
{
    int rc = 0;
    if (key->choices)
        return put_choices(out, key->choices);
    if (key->type == CONFIG_BOOL)
        return buf_add_text(out, "true or false");
    if (key->type == CONFIG_STRING || key->type == CONFIG_LIST)
        return 0;
    if (key->type == CONFIG_RATE) {
        rc = buf_add_text(out, "up to ");
        rc = rc ? rc : config_put_size(out, key->max);
        return rc ? rc : buf_add_text(out, " a second, or off");
    }
    if (key->min == key->max)
        return put_number(out, key, key->min);
    if ((rc = put_number(out, key, key->min)) == 0 && (rc = buf_add_text(out, " to ")) == 0)
        rc = put_number(out, key, key->max);
    if (rc == 0 && (key->may_be_off || key->may_be_auto))
        rc = buf_add_text(out, key->may_be_off ? ", or off" : ", or auto");
    return rc;
}

/* Words of `text`, broken before column 100, each line indented. */
static int put_wrapped(struct buf *out, const char *text)
{
    size_t column = 0;
    int rc = 0;
    while (rc == 0 && *text) {
        size_t len = strcspn(text, " ");
        bool fresh = column == 0 || column + 1 + len > 92;
        rc = buf_addf(out, "%s%.*s", !fresh ? " " : column ? "\n      " : "      ", (int)len, text);
        column = fresh ? len : column + 1 + len;
        text += len;
        text += strspn(text, " ");
    }
    return rc == 0 ? buf_add_byte(out, '\n') : rc;
}

static int put_key_help(struct buf *out, const struct config_key *key)
{
    struct buf range = {0};
    int rc = config_range(key, &range);
    if (rc == 0)
        rc = buf_addf(out, "  %s = %s", key->name, *key->initial ? key->initial : "(none)");
    if (rc == 0)
        rc = buf_addf(out, "   [%s%s%.*s]", type_name(key->type), range.len ? ": " : "", (int)range.len, (char *)range.data);
    if (rc == 0 && key->flag)
        rc = buf_addf(out, "   %s", key->flag);
    if (rc == 0 && (rc = buf_add_byte(out, '\n')) == 0)
        rc = put_wrapped(out, key->help);
    buf_fini(&range);
    return rc;
}

int config_print_help(struct buf *out)
{
    int rc = buf_add_text(out, "Every key can be set by --set KEY=VALUE, in the environment (limits.message is\n"
                               "MOONTIDE_LIMITS_MESSAGE), and in a file given with --config. Flags win over the\n"
                               "environment, the environment over the file, the file over the defaults.\n"
                               "\n"
                               "Sizes: 4096, 64k, 1m, 1MiB, 2g. Times: 0.5, 500ms, 10s, 2min, 1h. Rates: 20/s, 600/min,\n"
                               "20/s burst 100; without a burst, what comes in two seconds may come at once. Lists: items\n"
                               "with blanks between them, in a file { \"one\", \"two\" }.\n\n");
    for (int id = 0; rc == 0 && id < CONFIG_COUNT; id++)
        rc = put_key_help(out, &config_keys[id]);
    return rc;
}

static int put_key_markdown(struct buf *out, const struct config_key *key)
{
    struct buf range = {0};
    int rc = config_range(key, &range);
    if (rc == 0)
        rc = buf_addf(out, "| `%s` | %s | %s%s%s | %.*s | `", key->name, type_name(key->type), *key->initial ? "`" : "",
                      key->initial, *key->initial ? "`" : "", (int)range.len, (char *)range.data);
    if (rc == 0 && (rc = config_env_name(key->name, out)) == 0)
        rc = buf_addf(out, "`%s%s%s | %s | %s |\n", key->flag ? ", `" : "", key->flag ? key->flag : "", key->flag ? "`" : "",
                      key->live ? "yes" : "no", key->help);
    buf_fini(&range);
    return rc;
}

static const char markdown_head[] =
    "# Configuration\n"
    "\n"
    "This page is printed by `moontide help config --markdown`; a test holds both equal.\n"
    "\n"
    "A setting can come from four places. Each wins over those below it:\n"
    "\n"
    "1. flags: `--set key=value`, and the flags named in the table. `--set` may be repeated.\n"
    "2. the environment: `MOONTIDE_` and the key in capitals, dots as underscores.\n"
    "3. a file that returns a table, named by `--config FILE`. No file is read without that flag.\n"
    "4. the defaults.\n"
    "\n"
    "A list from a higher place replaces the whole list of a lower one; within one place, items add up. Unknown keys, wrong "
    "types and\n"
    "values out of range are errors in every place; the message names the key, the allowed values and the nearest name.\n"
    "`moontide check SCRIPT` tests all of it, with certificates and script, without listening.\n"
    "\n"
    "```lua\n"
    "-- moontide.conf.lua\n"
    "return {\n"
    "  listen = { \"*:443\", \"unix:/run/moontide.sock\" },\n"
    "  tls = { \"fullchain.pem,privkey.pem\" },\n"
    "  limits = { message = \"128k\", connections = 20000 },\n"
    "  log = { format = \"json\" },\n"
    "}\n"
    "```\n"
    "\n"
    "Sizes: `4096`, `64k`, `1m`, `1MiB`, `2g`, all by 1024. Times: seconds as a number, or `500ms`, `10s`, `2min`, `1h`. Rates: "
    "`20/s`,\n"
    "`600/min`, `20/s burst 100`, `64k/s`; without a burst, what comes in two seconds may come at once. Lists: items with\n"
    "blanks between them in the environment and in `--set`, one item per flag (`--listen A --listen B`), a table in the file. "
    "Paths are\n"
    "relative to the folder that the server was started in.\n"
    "\n"
    "SIGHUP reads the file again. Keys marked \"live\" change at once, for what comes after; a change of another key is named in "
    "the log\n"
    "and needs a restart. `MOONTIDE_TLS_PASSPHRASE` holds the passphrase of the certificates' keys and is not a setting.\n"
    "\n"
    "| key | type | default | allowed | environment, flag | live | meaning |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n";

int config_print_markdown(struct buf *out)
{
    int rc = buf_add_text(out, markdown_head);
    for (int id = 0; rc == 0 && id < CONFIG_COUNT; id++)
        rc = put_key_markdown(out, &config_keys[id]);
    return rc;
}
