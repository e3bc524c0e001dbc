/* log.h - one line per event, to a file descriptor or a file, as text for people or JSON for machines.
 *
 * A line is built in memory and leaves with one write(), so lines of several threads do not mix. Thread-safe. Control
 * characters in messages and fields are escaped, so nobody can forge a line. The server itself logs no query, cookie or header
 * (but Host and Origin of pages that are refused);
 * of a field whose name looks secret only *** goes out, and inside of JSON values the caller sees to that. A write that fails is
 * counted, never retried.
 */
#ifndef MT_BASE_LOG_H
#define MT_BASE_LOG_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
#define LOG_HIDDEN "***" /* instead of a secret */

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* What a line is about. Empty slices are left out. All borrowed for the call. */
struct log_about {
    struct slice conn;    /* id of the connection */
    struct slice peer;    /* its address */
    struct slice path;    /* its path, without the query */
    struct slice version; /* the script version that ran */
};

/* One extra fact. `json` true: value is a JSON text already and goes out as it is in JSON format. */
struct log_field {
    struct slice key, value;
    bool json;
};

struct log;
/* `fd` stays the caller's. Colour in text format only where fd is a terminal. NULL when memory runs out. */
struct log *log_create(int fd, enum log_level level, enum log_format format);
void log_destroy(struct log *l);
/* Let the lines go to the end of the file at `path`, which is made (0640) where it is missing; NULL: to the descriptor of
 * log_create again. The new file is opened before the old one is left, and each line ends in one of them, whole. Called again
 * with the same path it follows a file that was moved away (log rotation). On failure the log goes on as before: MT_ENOT_FOUND
 * (no such folder), MT_EDENIED, MT_EIO, and a sentence in *error (mem_free it), NULL when memory ran out. One call at a time, on
 * any thread. */
int log_reopen(struct log *l, const char *path, char **error);
void log_set_level(struct log *l, enum log_level level);
bool log_wants(const struct log *l, enum log_level level); /* cheap; ask before building expensive arguments */
/* `about` may be NULL. A message may have several lines (a traceback): indented in text, \n in JSON. */
void log_write(struct log *l, enum log_level level, const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void log_write_fields(struct log *l, enum log_level level, const struct log_about *about, struct slice message,
                      const struct log_field *fields, size_t count);
/* Lines that were lost because a write failed, was cut short, or memory ran out. Any thread. */
uint64_t log_lost(const struct log *l);
/* From "debug", "info", "warn", "error", "off"; false when it is none of them. */
bool log_level_parse(struct slice name, enum log_level *out);
/* Whether a name says that its value is a secret: token, password, authorization, cookie, api_key, X-Auth, ... in any case.
 * Rather one too many than one too few. */
bool log_name_is_secret(struct slice name);

#define log_debug(l, about, ...) (log_wants(l, LOG_LEVEL_DEBUG) ? log_write(l, LOG_LEVEL_DEBUG, about, __VA_ARGS__) : (void)0)
#define log_info(l, about, ...) log_write(l, LOG_LEVEL_INFO, about, __VA_ARGS__)
#define log_warn(l, about, ...) log_write(l, LOG_LEVEL_WARN, about, __VA_ARGS__)
#define log_error(l, about, ...) log_write(l, LOG_LEVEL_ERROR, about, __VA_ARGS__)
#endif
