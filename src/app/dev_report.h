/* dev_report.h - how a failed reload is told in dev mode: in the terminal, and to the pages. */
#ifndef MT_APP_DEV_REPORT_H
#define MT_APP_DEV_REPORT_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

/* All borrowed for the call. */
struct dev_failure {
    struct slice text;        /* message and traceback */
    const char *const *files; /* NULL-terminated paths of the sources; the place is looked for in them */
    const char *file;         /* path of the source in question where it is known, else NULL */
    unsigned line;            /* in `file`; 0: not known, the first place that `text` names is taken */
    const char *script;       /* path of the script */
    const char *version;      /* what goes on serving */
    bool rolled_back;         /* it had gone live and failed then */
};

/* The text with the lines of the source between message and traceback. Just the text where they cannot be had. 0 or MT_ENOMEM. */
int dev_report_text(const struct dev_failure *f, struct buf *out);
/* For dev_tell: {"type":"failed","script":...,"version":...,"rolled_back":...,"text":...,"file":...,"line":...,
 * "excerpt":[...]}; file and line are null where they are not known. 0 or MT_ENOMEM. */
int dev_report_failed(const struct dev_failure *f, struct buf *out);
/* For dev_tell: {"type":"live","version":...}. 0 or MT_ENOMEM. */
int dev_report_live(const char *version, struct buf *out);
#endif
