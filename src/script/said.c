/* said.c - lines of a log, kept for later. */
#include "script/said.h"

#include "base/mem.h"

#include <string.h>

enum { SAID_MAX = 256 << 10 };

struct said_line {
    struct said_line *next;
    enum log_level level;
    struct slice message; /* behind the fields, as are their texts */
    size_t count;
    struct log_field fields[];
};

static size_t text_size(struct slice message, const struct log_field *fields, size_t count)
{
    size_t n = message.len;

    for (size_t i = 0; i < count; i++)
        n += fields[i].key.len + fields[i].value.len;
    return n;
}

static struct slice keep(char **at, struct slice text)
{
    struct slice kept = {*at, text.len};

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return kept;
}

static void fill(struct said_line *line, struct slice message, const struct log_field *fields)
{
    char *at = (char *)(line->fields + line->count);

    line->message = keep(&at, message);
    for (size_t i = 0; i < line->count; i++)
        line->fields[i] = (struct log_field){keep(&at, fields[i].key), keep(&at, fields[i].value), fields[i].json};
}

void said_add(struct said *s, enum log_level level, struct slice message, const struct log_field *fields, size_t count)
{
    size_t size = sizeof(struct said_line) + count * sizeof(*fields) + text_size(message, fields, count);
    struct said_line *line = s->bytes + size <= SAID_MAX ? mem_alloc(size) : NULL;

    if (!line) {
        s->lost++;
        return;
    }
    *line = (struct said_line){.level = level, .count = count};
    fill(line, message, fields);
    if (s->last)
        s->last->next = line;
    else
        s->first = line;
    s->last = line;
    s->bytes += size;
}

void said_write(const struct said *s, struct log *log, const struct log_about *about)
{
    for (const struct said_line *line = s->first; line; line = line->next)
        log_write_fields(log, line->level, about, line->message, line->fields, line->count);
    if (s->lost)
        log_warn(log, about, "%zu more lines of the script are not shown", s->lost);
}

void said_fini(struct said *s)
{
    for (struct said_line *line = s->first, *next; line; line = next) {
        next = line->next;
        mem_free(line);
    }
    memset(s, 0, sizeof(*s));
}
