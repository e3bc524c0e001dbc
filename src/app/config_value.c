/* config_value.c - texts become numbers, sizes, times, names and lists. Pure but for the heap. */
#include "app/config_value.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <arpa/inet.h>
#include <assert.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/un.h>

struct unit {
    const char *name; /* lower case */
    double factor;
};

static const struct unit size_units[] = {
    {"", 1},         {"b", 1},         {"k", 1024},         {"kb", 1024},         {"kib", 1024},         {"m", 1048576},
    {"mb", 1048576}, {"mib", 1048576}, {"g", 1073741824.0}, {"gb", 1073741824.0}, {"gib", 1073741824.0}, {NULL, 0},
};
static const struct unit time_units[] = {{"", 1}, {"s", 1}, {"ms", 0.001}, {"min", 60}, {"h", 3600}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

int config_fail(char **error, int code, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!error)
        return code;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len >= (int)sizeof(text)) /* long values come from users: the sentence keeps its beginning */
        strcpy(text + sizeof(text) - 4, "...");
    *error = mem_strdup(text, strlen(text));
    return *error ? code : MT_ENOMEM;
}

int config_fail_folder(char **error, int code, enum config_id id, const char *folder)
{
    return config_fail(error, code, "%s = \"%s\": %s", config_keys[id].name, folder,
                       code == MT_ENOT_FOUND ? "no such folder" : err_text(code));
}

/* strtod follows the locale of an embedding program, so digits are read here. Cuts "12.5" off `s`. */
static bool take_decimal(struct slice *s, double *out)
{
    double value = 0, scale = 1;
    size_t i = 0, digits = 0;
    for (; i < s->len && s->data[i] >= '0' && s->data[i] <= '9'; i++, digits++)
        value = value * 10 + (s->data[i] - '0');
    if (i < s->len && s->data[i] == '.')
        for (i++; i < s->len && s->data[i] >= '0' && s->data[i] <= '9'; i++, digits++)
            value += (s->data[i] - '0') * (scale /= 10);
    if (digits == 0 || digits > 18)
        return false;
    *s = (struct slice){s->data + i, s->len - i};
    *out = value;
    return true;
}

static bool parse_number(struct slice s, const struct unit *units, double *out)
{
    double value;
    if (!take_decimal(&s, &value))
        return false;
    s = slice_trim(s);
    for (; units->name; units++)
        if (slice_is_nocase(s, slice_of(units->name))) {
            *out = value * units->factor;
            return true;
        }
    return false;
}

static bool parse_bool(struct slice s, double *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++)
        if (slice_is_nocase(s, slice_of(yes[i])) || slice_is_nocase(s, slice_of(no[i]))) {
            *out = slice_is_nocase(s, slice_of(yes[i]));
            return true;
        }
    return false;
}

static const char *type_words(const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_BOOL:
        return "true or false";
    case CONFIG_INT:
        return "a whole number";
    case CONFIG_SIZE:
        return "a size such as 4096, 64k or 1m";
    case CONFIG_SECONDS:
        return "a time such as 0.5, 500ms or 10s";
    case CONFIG_RATE:
        return "a rate such as 20/s, 600/min or 20/s burst 100";
    default:
        return "a text";
    }
}

static int fail_type(const struct config_key *key, const char *text, char **error)
{
    struct buf range = {0};
    int rc = config_range(key, &range);
    if (rc == 0 && range.len && key->type != CONFIG_BOOL)
        rc = config_fail(error, MT_EINVALID, "%s = \"%s\" is not %s (allowed: %.*s)", key->name, text, type_words(key),
                         (int)range.len, (char *)range.data);
    else if (rc == 0)
        rc = config_fail(error, MT_EINVALID, "%s = \"%s\" is not %s", key->name, text, type_words(key));
    buf_fini(&range);
    return rc;
}

static int fail_range(const struct config_key *key, const char *text, char **error)
{
    struct buf range = {0};
    int rc = config_range(key, &range);
    if (rc == 0)
        rc = config_fail(error, MT_EINVALID, "%s = \"%s\" is out of range (allowed: %.*s)", key->name, text, (int)range.len,
                         (char *)range.data);
    buf_fini(&range);
    return rc;
}

static int fail_choice(const struct config_key *key, const char *text, char **error)
{
    const char *near = text_nearest(slice_of(text), key->choices);
    struct buf range = {0};
    int rc = config_range(key, &range);
    if (rc == 0)
        rc = config_fail(error, MT_EINVALID, "%s = \"%s\" is not allowed (allowed: %.*s)%s%s%s", key->name, text, (int)range.len,
                         (char *)range.data, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    buf_fini(&range);
    return rc;
}

static bool is_choice(const struct config_key *key, const char *text)
{
    for (const char *const *c = key->choices; c && *c; c++)
        if (strcmp(*c, text) == 0)
            return true;
    return key->choices == NULL;
}

/* Those that this process may run on, within what the key allows. */
static double processors(const struct config_key *key)
{
    cpu_set_t set;
    double count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < key->min ? key->min : count > key->max ? key->max : count;
}

static int parse_numeric(const struct config_key *key, const char *text, double *out, char **error)
{
    struct slice s = slice_trim(slice_of(text));
    const struct unit *units = key->type == CONFIG_SIZE ? size_units : key->type == CONFIG_SECONDS ? time_units : no_units;
    if (key->may_be_off && slice_is_nocase(s, SLICE("off"))) {
        *out = (double)SIZE_MAX;
        return 0;
    }
    if (key->may_be_auto && slice_is_nocase(s, SLICE("auto"))) {
        *out = processors(key);
        return 0;
    }
    if (!parse_number(s, units, out) || (key->type != CONFIG_SECONDS && *out < 1e18 && *out != (double)(uint64_t)*out))
        return fail_type(key, text, error);
    if (*out < key->min || *out > key->max)
        return fail_range(key, text, error);
    return 0;
}

/* Cuts "64k" off `s`, up to a slash or a blank. */
static bool take_amount(struct slice *s, double *out)
{
    struct slice amount = {s->data, 0};
    while (amount.len < s->len && s->data[amount.len] != '/' && s->data[amount.len] != ' ')
        amount.len++;
    *s = slice_trim((struct slice){s->data + amount.len, s->len - amount.len});
    return parse_number(amount, size_units, out);
}

/* What follows the slash of a rate; a second where there is none. */
static bool take_period(struct slice *s, double *seconds)
{
    static const struct unit periods[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {NULL, 0}};
    *seconds = 1;
    if (s->len == 0 || s->data[0] != '/')
        return true;
    struct slice name = {s->data + 1, 0};
    while (name.len + 1 < s->len && name.data[name.len] != ' ')
        name.len++;
    *s = slice_trim((struct slice){name.data + name.len, s->len - 1 - name.len});
    for (const struct unit *p = periods; p->name; p++)
        if (slice_is(name, slice_of(p->name))) {
            *seconds = p->factor;
            return true;
        }
    return false;
}

/* "20/s burst 100". Without a burst: as much as comes in two seconds. */
static bool read_rate(struct slice s, double *per_second, double *burst)
{
    static const struct slice word = SLICE("burst ");
    double amount, seconds;
    if (!take_amount(&s, &amount) || !take_period(&s, &seconds))
        return false;
    *per_second = amount / seconds;
    *burst = *per_second * 2 > 1 ? *per_second * 2 : 1;
    if (s.len == 0)
        return true;
    if (s.len <= word.len || memcmp(s.data, word.data, word.len) != 0)
        return false;
    s = slice_trim((struct slice){s.data + word.len, s.len - word.len});
    return take_amount(&s, burst) && s.len == 0 && *burst >= 1;
}

static int parse_rate(const struct config_key *key, const char *text, struct config_value *v, char **error)
{
    struct slice s = slice_trim(slice_of(text));
    if (slice_is_nocase(s, SLICE("off")))
        return 0;
    if (!read_rate(s, &v->number, &v->burst))
        return fail_type(key, text, error);
    return v->number < key->min || v->number > key->max || v->burst > key->max * 3600 ? fail_range(key, text, error) : 0;
}

int config_value_parse(const struct config_key *key, const char *text, struct config_value *v, char **error)
{
    assert(key->type != CONFIG_LIST);
    switch (key->type) {
    case CONFIG_BOOL:
        return parse_bool(slice_trim(slice_of(text)), &v->number) ? 0 : fail_type(key, text, error);
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_SECONDS:
        return parse_numeric(key, text, &v->number, error);
    case CONFIG_RATE:
        return parse_rate(key, text, v, error);
    case CONFIG_ENUM:
        if (!is_choice(key, text))
            return fail_choice(key, text, error);
        break;
    default:
        break;
    }
    if (*text && !(v->text = mem_strdup(text, strlen(text))))
        return MT_ENOMEM;
    return 0;
}

static bool is_port(struct slice s)
{
    unsigned long long port;
    return s.len > 0 && slice_to_uint(s, 65535, &port);
}

static bool is_host(struct slice s)
{
    unsigned char address[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN] = "";
    if (s.len == 0 || slice_is(s, SLICE("*")) || slice_is(s, SLICE("localhost")))
        return true;
    if (s.data[0] == '[' && s.data[s.len - 1] == ']')
        s = (struct slice){s.data + 1, s.len - 2};
    if (s.len >= sizeof(text))
        return false;
    memcpy(text, s.data, s.len);
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

/* What net_listen takes, so that `moontide check` finds mistakes too; whether it can be bound is found out by listening. */
static bool is_address(const char *item)
{
    struct slice s;
    config_split_address(item, &s);
    if (s.len > 5 && memcmp(s.data, "unix:", 5) == 0)
        return s.len - 5 < sizeof(((struct sockaddr_un *)NULL)->sun_path);
    for (size_t i = s.len; i-- > 0;)
        if (s.data[i] == ':')
            return is_host((struct slice){s.data, i}) && is_port((struct slice){s.data + i + 1, s.len - i - 1});
    return is_port(s);
}

static int check_item(const struct config_key *key, const char *item, char **error)
{
    struct slice chain, keyfile;
    if (key->choices && !is_choice(key, item))
        return fail_choice(key, item, error);
    if (key == &config_keys[CONFIG_TLS] && !config_split_pair(item, &chain, &keyfile))
        return config_fail(error, MT_EINVALID, "%s = \"%s\" is not CERT,KEY (two PEM files with a comma between them)", key->name,
                           item);
    if (key == &config_keys[CONFIG_LISTEN] && !is_address(item))
        return config_fail(error, MT_EINVALID,
                           "%s = \"%s\" is not an address such as 127.0.0.1:8765, [::1]:8765, localhost:8765, *:8765, 8765 or "
                           "unix:/PATH, with proxy+ in front where PROXY headers come (ports: 0 to 65535, paths: up to 107 bytes)",
                           key->name, item);
    return 0;
}

int config_value_reserve(struct config_value *v, size_t more)
{
    size_t room = v->room ? v->room : 2;
    while (room < v->count + more + 1)
        room *= 2;
    char **items = room == v->room ? v->items : mem_resize(v->items, room * sizeof(*items));
    if (!items)
        return MT_ENOMEM;
    v->items = items;
    v->room = room;
    return 0;
}

static int append(const struct config_key *key, const char *data, size_t len, struct config_value *v, char **error)
{
    char *item = mem_strdup(data, len);
    int rc = item ? check_item(key, item, error) : MT_ENOMEM;
    if (rc == 0)
        rc = config_value_reserve(v, 1);
    if (rc) {
        mem_free(item);
        return rc;
    }
    v->items[v->count++] = item;
    v->items[v->count] = NULL;
    return 0;
}

int config_value_add(const struct config_key *key, const char *text, bool whole, struct config_value *v, char **error)
{
    struct slice rest = slice_of(text), item;
    int rc = 0;
    assert(key->type == CONFIG_LIST);
    if (whole)
        return append(key, text, strlen(text), v, error);
    while (rc == 0 && slice_next(&rest, ' ', &item))
        rc = append(key, item.data, item.len, v, error);
    return rc;
}

int config_value_copy(const struct config_value *from, struct config_value *to)
{
    to->source = from->source;
    to->number = from->number;
    to->burst = from->burst;
    if (from->text && !(to->text = mem_strdup(from->text, strlen(from->text))))
        return MT_ENOMEM;
    if (from->count == 0)
        return 0;
    if (config_value_reserve(to, from->count))
        return MT_ENOMEM;
    for (; to->count < from->count; to->count++)
        if (!(to->items[to->count] = mem_strdup(from->items[to->count], strlen(from->items[to->count]))))
            return MT_ENOMEM;
    to->items[to->count] = NULL;
    return 0;
}

void config_value_fini(struct config_value *v)
{
    for (size_t i = 0; i < v->count; i++)
        mem_free(v->items[i]);
    mem_free(v->items);
    mem_free(v->text);
    *v = (struct config_value){0};
}

bool config_value_equal(const struct config_value *a, const struct config_value *b)
{
    if (a->number != b->number || a->burst != b->burst || a->count != b->count || !slice_is(slice_of(a->text), slice_of(b->text)))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

/* A number with at most three decimals, without trailing zeros and without the locale's point. */
static int put_decimal(struct buf *out, double value)
{
    unsigned long long thousandths = (unsigned long long)(value * 1000 + 0.5);
    int rc = buf_addf(out, "%llu", thousandths / 1000);
    unsigned rest = (unsigned)(thousandths % 1000), width = 3;
    if (rc || rest == 0)
        return rc;
    for (; rest % 10 == 0; width--)
        rest /= 10;
    return buf_addf(out, ".%0*u", (int)width, rest);
}

/* In the largest unit that needs no decimals; else as it is, with `plain` behind it. */
static int put_unit(struct buf *out, double value, const struct unit *units, const char *plain)
{
    for (; units->name; units++)
        if (value >= units->factor && value / units->factor == (double)(uint64_t)(value / units->factor))
            break;
    int rc = put_decimal(out, units->name ? value / units->factor : value);
    return rc ? rc : buf_add_text(out, units->name ? units->name : value == 0 ? "" : plain);
}

int config_put_size(struct buf *out, double bytes)
{
    static const struct unit units[] = {{"g", 1073741824.0}, {"m", 1048576}, {"k", 1024}, {NULL, 0}};
    return put_unit(out, bytes, units, "");
}

int config_put_seconds(struct buf *out, double seconds)
{
    static const struct unit units[] = {{"h", 3600}, {"min", 60}, {NULL, 0}}, small[] = {{NULL, 0}};
    if (seconds > 0 && seconds < 1)
        return put_unit(out, seconds * 1000, small, "ms");
    return put_unit(out, seconds, units, "s");
}
