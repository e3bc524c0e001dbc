/* config.c - the store of settings: who set what, and how the layers below read it. */
#include "app/config.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <assert.h>
#include <math.h>

static int set_initial(struct config *c)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const struct config_key *key = &config_keys[id];
        int rc = config_set(c, CONFIG_DEFAULT, key->name, key->initial, false, NULL);
        assert(rc == 0 || rc == MT_ENOMEM);
        if (rc)
            return rc;
    }
    return 0;
}

struct config *config_create(void)
{
    struct config *c = mem_zalloc(1, sizeof(*c));
    if (c && set_initial(c)) {
        config_destroy(c);
        c = NULL;
    }
    return c;
}

void config_destroy(struct config *c)
{
    if (!c)
        return;
    for (int id = 0; id < CONFIG_COUNT; id++)
        config_value_fini(&c->values[id]);
    mem_free(c->path);
    mem_free(c);
}

/* "limits" for a group of keys gets the list of them, anything else the nearest name. */
static int fail_unknown(struct slice name, char **error)
{
    const char *names[CONFIG_COUNT + 1] = {NULL};
    struct buf group = {0};
    int rc = 0;
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const char *key = names[id] = config_keys[id].name;
        if (rc == 0 && strlen(key) > name.len && memcmp(key, name.data, name.len) == 0 && key[name.len] == '.')
            rc = buf_addf(&group, "%s%s", group.len ? ", " : "", key);
    }
    const char *near = text_nearest(name, names);
    if (rc == 0 && group.len)
        rc = config_fail(error, MT_ENOT_FOUND, "\"%.*s\" is a group of keys: %.*s", (int)name.len, name.data, (int)group.len,
                         (char *)group.data);
    else if (rc == 0)
        rc = config_fail(error, MT_ENOT_FOUND, "unknown key \"%.*s\"%s%s%s", (int)name.len, name.data,
                         near ? "; did you mean " : "", near ? near : "", near ? "?" : "; see moontide help config");
    buf_fini(&group);
    return rc;
}

static const struct config_key *find_key(struct slice name)
{
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (slice_is(name, slice_of(config_keys[id].name)))
            return &config_keys[id];
    return NULL;
}

/* Cuts "[1]" off a name; whether there was one. */
static bool cut_index(struct slice *name)
{
    const char *bracket = memchr(name->data, '[', name->len);
    if (!bracket || name->data[name->len - 1] != ']')
        return false;
    name->len = (size_t)(bracket - name->data);
    return true;
}

/* Puts `fresh` in the place of *v, or adds its items where the same source has set some. `fresh` is used up. */
static int merge(struct config_value *v, struct config_value *fresh, char **error)
{
    if (fresh->source < v->source) {
        config_value_fini(fresh);
        return 0;
    }
    if (fresh->source > v->source || v->count == 0 || fresh->count == 0) {
        config_value_fini(v);
        *v = *fresh;
        return 0;
    }
    if (config_value_reserve(v, fresh->count)) {
        config_value_fini(fresh);
        return MT_ENOMEM;
    }
    memcpy(v->items + v->count, fresh->items, (fresh->count + 1) * sizeof(*fresh->items));
    v->count += fresh->count;
    mem_free(fresh->items);
    return 0;
}

int config_set(struct config *c, enum config_source source, const char *name, const char *text, bool whole, char **error)
{
    struct slice bare = slice_of(name);
    bool indexed = cut_index(&bare);
    const struct config_key *key = find_key(bare);
    struct config_value fresh = {.source = source};
    int rc;
    if (!key)
        return fail_unknown(bare, error);
    if (key->type == CONFIG_LIST)
        rc = config_value_add(key, text, whole || indexed, &fresh, error);
    else if (indexed)
        rc = config_fail(error, MT_EINVALID, "%s takes one value, not a list", key->name);
    else
        rc = config_value_parse(key, text, &fresh, error);
    if (rc) {
        config_value_fini(&fresh);
        return rc;
    }
    return merge(&c->values[key - config_keys], &fresh, error);
}

bool config_bool(const struct config *c, enum config_id id)
{
    assert(config_keys[id].type == CONFIG_BOOL);
    return c->values[id].number != 0;
}

size_t config_number(const struct config *c, enum config_id id)
{
    double number = c->values[id].number;
    assert(config_keys[id].type == CONFIG_INT || config_keys[id].type == CONFIG_SIZE);
    return number >= (double)SIZE_MAX ? SIZE_MAX : (size_t)number;
}

double config_seconds(const struct config *c, enum config_id id)
{
    assert(config_keys[id].type == CONFIG_SECONDS);
    return c->values[id].number;
}

struct rate config_rate(const struct config *c, enum config_id id)
{
    assert(config_keys[id].type == CONFIG_RATE);
    return (struct rate){c->values[id].number, c->values[id].burst};
}

uint64_t config_ms(const struct config *c, enum config_id id)
{
    return (uint64_t)ceil(config_seconds(c, id) * 1000);
}

const char *config_text(const struct config *c, enum config_id id)
{
    assert(config_keys[id].type == CONFIG_STRING || config_keys[id].type == CONFIG_ENUM);
    return c->values[id].text;
}

const char *const *config_list(const struct config *c, enum config_id id)
{
    static const char *const none[] = {NULL};
    assert(config_keys[id].type == CONFIG_LIST);
    return c->values[id].items ? (const char *const *)c->values[id].items : none;
}

size_t config_list_count(const struct config *c, enum config_id id)
{
    assert(config_keys[id].type == CONFIG_LIST);
    return c->values[id].count;
}

enum config_source config_source(const struct config *c, enum config_id id)
{
    return c->values[id].source;
}

const char *config_path(const struct config *c)
{
    return c->path;
}

bool config_equal(const struct config *a, const struct config *b, enum config_id id)
{
    return config_value_equal(&a->values[id], &b->values[id]);
}

static const char proxy_mark[] = "proxy+";

bool config_wants_proxy(const char *item)
{
    return strncmp(item, proxy_mark, strlen(proxy_mark)) == 0;
}

enum config_scheme config_split_address(const char *item, struct slice *address)
{
    static const char *const schemes[] = {"http://", "ws://", "https://", "wss://"};
    if (config_wants_proxy(item))
        item += strlen(proxy_mark);
    for (size_t i = 0; i < 4; i++)
        if (strncmp(item, schemes[i], strlen(schemes[i])) == 0) {
            *address = slice_of(item + strlen(schemes[i]));
            return i < 2 ? CONFIG_PLAIN : CONFIG_TLS_ONLY;
        }
    *address = slice_of(item);
    return CONFIG_EITHER;
}

bool config_wants_tls(const struct config *c, const char *item)
{
    struct slice address;
    enum config_scheme scheme = config_split_address(item, &address);
    if (scheme != CONFIG_EITHER)
        return scheme == CONFIG_TLS_ONLY;
    return config_list_count(c, CONFIG_TLS) > 0 && !(address.len > 5 && memcmp(address.data, "unix:", 5) == 0);
}

bool config_split_pair(const char *item, struct slice *chain, struct slice *key)
{
    const char *comma = strchr(item, ',');
    if (!comma || strchr(comma + 1, ','))
        return false;
    *chain = slice_trim((struct slice){item, (size_t)(comma - item)});
    *key = slice_trim(slice_of(comma + 1));
    return chain->len > 0 && key->len > 0;
}
