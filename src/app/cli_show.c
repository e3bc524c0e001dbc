/* cli_show.c - answers of the control socket for people: aligned lines, times of the day, sizes in words. */
#include "app/cli_admin.h"

#include "app/json_read.h"
#include "base/err.h"
#include <time.h>

/* What a value means. */
enum kind { COUNT, BYTES };

struct row {
    const char *label, *key;
    enum kind kind;
};

static const struct row numbers[] = {
    {"connections", "now.connections", COUNT},
    {"sessions", "now.sessions", COUNT},
    {"people", "now.people", COUNT},
    {"rooms", "now.rooms", COUNT},
    {NULL, NULL, COUNT},
    {"accepted", "net.accepted", COUNT},
    {"refused", "net.refused", COUNT},
    {"upgraded", "net.upgraded", COUNT},
    {"closed", "net.closed", COUNT},
    {"messages in", "net.messages_in", COUNT},
    {"messages out", "net.messages_out", COUNT},
    {"bytes in", "net.bytes_in", BYTES},
    {"bytes out", "net.bytes_out", BYTES},
    {"dropped", "net.dropped", COUNT},
    {"overflowed", "net.overflowed", COUNT},
    {"malformed", "net.malformed", COUNT},
    {"accept pauses", "net.accept_pauses", COUNT},
    {"addresses denied", "net.denied", COUNT},
    {"origins refused", "net.foreign", COUNT},
    {NULL, NULL, COUNT},
    {"events", "handlers.events", COUNT},
    {"errors", "handlers.errors", COUNT},
    {"client errors", "handlers.client_errors", COUNT},
    {"late answers", "handlers.late_answers", COUNT},
    {"budget kills", "handlers.budget_kills", COUNT},
    {"script memory", "handlers.memory", BYTES},
    {"tasks", "handlers.tasks", COUNT},
    {"waiting", "handlers.waiting", COUNT},
    {"old versions", "handlers.old_versions", COUNT},
    {"tasks in them", "handlers.old_tasks", COUNT},
    {NULL, NULL, COUNT},
    {"store requests", "open.store", COUNT},
    {"SQL requests", "open.sql", COUNT},
    {"SQL databases", "open.databases", COUNT},
    {"SQL statements", "open.statements", COUNT},
    {"HTTP requests", "open.http", COUNT},
    {"files open", "open.files", COUNT},
    {"passwords", "open.passwords", COUNT},
    {NULL, NULL, COUNT},
    {"reloads", "reloads.ok", COUNT},
    {"failed reloads", "reloads.failed", COUNT},
    {"rolled back", "reloads.rolled_back", COUNT},
};

/* ---- pieces ---- */

/* Adds a text of the server's: lines after the first are indented, other control characters are left out. */
static int put_clean(struct buf *out, struct slice text, const char *indent)
{
    int rc = 0;
    while (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '\n')
            rc = buf_addf(out, "\n%s", indent);
        else if (c == '\t' || (c >= ' ' && c != 127))
            rc = buf_add_byte(out, c);
    }
    return rc;
}

/* The text at `key`, or "-". */
static int put_text(struct buf *out, struct slice json, const char *key, const char *indent)
{
    struct slice value;
    struct buf text = {0};
    int rc = 0;
    if (json_read_member(json, key, &value) && json_read_text(value, &text))
        rc = put_clean(out, buf_slice(&text), indent);
    else
        rc = buf_add_byte(out, '-');
    buf_fini(&text);
    return rc;
}

static double number_at(struct slice json, const char *key)
{
    struct slice value;
    double number = 0;
    if (!json_read_member(json, key, &value) || !json_read_number(value, &number))
        return 0;
    return number;
}

static int put_time(struct buf *out, double when)
{
    char text[32];
    time_t seconds = (time_t)when;
    struct tm tm;
    if (!localtime_r(&seconds, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
        return buf_add_byte(out, '-');
    return buf_add_text(out, text);
}

/* The two largest units. */
static int put_span(struct buf *out, double seconds)
{
    unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
    if (s < 60)
        return buf_addf(out, "%lu s", s);
    if (s < 3600)
        return buf_addf(out, "%lu min %lu s", s / 60, s % 60);
    if (s < 86400)
        return buf_addf(out, "%lu h %lu min", s / 3600, s % 3600 / 60);
    return buf_addf(out, "%lu d %lu h", s / 86400, s % 86400 / 3600);
}

static int put_number(struct buf *out, double number, enum kind kind)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    if (kind == COUNT)
        return buf_addf(out, "%.0f", number);
    while (number >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
        number /= 1024;
        unit++;
    }
    return buf_addf(out, unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
}

static int put_label(struct buf *out, const char *label)
{
    return buf_addf(out, "%-16s", label);
}

/* ---- status ---- */

static int put_addresses(struct buf *out, struct slice json)
{
    struct slice rest, item;
    struct buf text = {0};
    int rc = put_label(out, "addresses");
    if (!json_read_member(json, "addresses", &rest))
        rest = (struct slice){0};
    for (bool first = true; rc == 0 && json_read_item(&rest, &item); first = false) {
        buf_clear(&text);
        rc = first ? 0 : buf_add_byte(out, ' ');
        if (rc == 0 && json_read_text(item, &text))
            rc = put_clean(out, buf_slice(&text), "");
    }
    buf_fini(&text);
    return rc ? rc : buf_add_byte(out, '\n');
}

static int put_head(struct buf *out, struct slice json)
{
    struct slice value;
    int rc = buf_add_text(out, "moontide ");
    if (rc == 0)
        rc = put_text(out, json, "program", "");
    if (rc == 0)
        rc = buf_addf(out, ", pid %.0f, up ", number_at(json, "pid"));
    if (rc == 0)
        rc = put_span(out, number_at(json, "uptime"));
    if (rc == 0 && json_read_member(json, "stopping", &value) && json_read_true(value))
        rc = buf_add_text(out, ", stopping");
    if (rc == 0)
        rc = buf_addf(out, "\n%-16s", "script");
    if (rc == 0)
        rc = put_text(out, json, "script", "");
    if (rc == 0)
        rc = buf_addf(out, "\n%-16s", "version");
    if (rc == 0)
        rc = put_text(out, json, "version", "");
    if (rc == 0 && (rc = buf_add_text(out, ", live since ")) == 0)
        rc = put_time(out, number_at(json, "live_since"));
    if (rc == 0 && (rc = buf_add_byte(out, '\n')) == 0)
        rc = put_addresses(out, json);
    return rc ? rc : buf_addf(out, "%-16s%.0f\n\n", "workers", number_at(json, "workers"));
}

static int put_failure(struct buf *out, struct slice json)
{
    struct slice value;
    if (!json_read_member(json, "reloads.last_failure.error", &value))
        return 0;
    int rc = put_label(out, "last failure");
    if (rc == 0)
        rc = put_time(out, number_at(json, "reloads.last_failure.time"));
    if (rc == 0 && (rc = buf_add_text(out, "\n    ")) == 0)
        rc = put_text(out, json, "reloads.last_failure.error", "    ");
    return rc ? rc : buf_add_byte(out, '\n');
}

/* Versions that are still there, what runs in them and what holds them. */
static int put_old(struct buf *out, struct slice json)
{
    struct slice rest, item;
    int rc = 0;
    if (!json_read_member(json, "reloads.old", &rest))
        return 0;
    while (rc == 0 && json_read_item(&rest, &item)) {
        if ((rc = put_label(out, "old version")) == 0)
            rc = put_text(out, item, "version", "");
        if (rc == 0)
            rc = buf_addf(out, " in worker %.0f, %.0f tasks, %.0f timers: ", number_at(item, "worker"), number_at(item, "tasks"),
                          number_at(item, "timers"));
        if (rc == 0)
            rc = put_text(out, item, "held_by", "");
        if (rc == 0)
            rc = buf_add_byte(out, '\n');
    }
    return rc;
}

static int show_status(struct slice json, struct buf *out)
{
    int rc = put_head(out, json);
    for (size_t i = 0; rc == 0 && i < sizeof(numbers) / sizeof(*numbers); i++) {
        rc = numbers[i].label ? put_label(out, numbers[i].label) : 0;
        if (rc == 0 && numbers[i].label)
            rc = put_number(out, number_at(json, numbers[i].key), numbers[i].kind);
        if (rc == 0)
            rc = buf_add_byte(out, '\n');
    }
    if (rc == 0)
        rc = put_old(out, json);
    return rc ? rc : put_failure(out, json);
}

/* ---- versions ---- */

static int put_version(struct slice json, struct buf *out)
{
    struct buf hash = {0};
    struct slice value;
    int rc = put_text(&hash, json, "version", "");
    if (rc == 0)
        rc = buf_addf(out, "%-10.*s", (int)hash.len, (char *)hash.data);
    if (rc == 0)
        rc = put_time(out, number_at(json, "time"));
    if (rc == 0)
        rc = buf_addf(out, "  %5.0f  ", number_at(json, "file_count"));
    if (rc == 0)
        rc = put_text(out, json, "result", "");
    if (rc == 0 && json_read_member(json, "reason", &value) && (rc = buf_add_text(out, ": ")) == 0)
        rc = put_text(out, json, "reason", "");
    buf_fini(&hash);
    return rc ? rc : buf_add_byte(out, '\n');
}

static int show_versions(struct slice json, struct buf *out)
{
    struct slice rest, item;
    int rc = buf_add_text(out, "VERSION   SINCE                FILES  RESULT\n");
    if (!json_read_member(json, "versions", &rest))
        return MT_EMALFORMED;
    while (rc == 0 && json_read_item(&rest, &item))
        rc = put_version(item, out);
    return rc;
}

static int show_reload(struct slice json, struct buf *out)
{
    struct slice changed;
    bool is_new = json_read_member(json, "changed", &changed) && json_read_true(changed);
    int rc = buf_add_text(out, "version ");
    if (rc == 0)
        rc = put_text(out, json, "version", "");
    return rc ? rc : buf_add_text(out, is_new ? " is live\n" : " is live; nothing has changed\n");
}

int cli_admin_show(enum cli_command command, struct slice json, struct buf *out)
{
    if (command == CLI_RELOAD || command == CLI_ROLLBACK)
        return show_reload(json, out);
    return command == CLI_VERSIONS ? show_versions(json, out) : show_status(json, out);
}
