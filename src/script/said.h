/* said.h - what a script logged while it was probed: kept until it is clear whether it fails, and under which version. */
#ifndef MT_SCRIPT_SAID_H
#define MT_SCRIPT_SAID_H
#include "base/log.h"

struct said_line;

/* Zeroed memory is valid and empty. */
struct said {
    struct said_line *first, *last; /* owned */
    size_t bytes;                   /* of all lines */
    size_t lost;                    /* lines that had no room */
};

/* Everything is copied. What does not fit into 256 KiB is counted only. */
void said_add(struct said *s, enum log_level level, struct slice message, const struct log_field *fields, size_t count);
/* Write all of it, each line with `about`. */
void said_write(const struct said *s, struct log *log, const struct log_about *about);
void said_fini(struct said *s);
#endif
