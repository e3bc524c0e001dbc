/* dev_report.c - reads the source that a failure is about, as it is on disk now, and shows the place in it. */
#include "app/dev_report.h"

#include "app/excerpt.h"
#include "base/err.h"
#include "base/text.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SOURCE_MAX = 4 << 20, /* bytes of a file that are read to show a line of it */
    TEXT_MAX = 16 << 10,  /* bytes of a failure's text for the pages */
    PIECE = 64 << 10
};

/* What is known of the place. Zeroed: nothing. */
struct place {
    struct slice shown; /* name of the file, for people; data NULL: none */
    unsigned line;
    struct buf source;      /* owned: the lines of the excerpt are in it */
    struct excerpt excerpt; /* empty where the source could not be read or has no such line */
};

/* As much of a regular file as fits. 0, MT_EIO, MT_ENOMEM. */
static int read_source(const char *path, struct buf *out)
{
    struct stat st;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0; /* no waiting for the other end of a fifo */
    if (fd < 0)
        return MT_EIO;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rc = MT_EIO;
    while (rc == 0 && got > 0 && out->len < SOURCE_MAX) {
        if ((rc = buf_reserve(out, PIECE)) != 0)
            break;
        got = read(fd, out->data + out->len, PIECE);
        if (got < 0)
            rc = MT_EIO;
        else
            out->len += (size_t)got;
    }
    close(fd);
    return rc;
}

/* The path from the folder of the script on, as messages of the script have it. */
static struct slice shorten(const char *path, const char *script)
{
    const char *slash = strrchr(script, '/');
    size_t folder = slash ? (size_t)(slash - script) + 1 : 0;
    return slice_of(strncmp(path, script, folder) == 0 ? path + folder : path);
}

/* The place that the caller knows, with the name that the text has for it, else the first one in the text. The path of its file,
 * NULL where there is no place. */
static const char *choose_place(const struct dev_failure *f, struct place *p)
{
    struct excerpt_place named;
    bool known = f->file && f->line, found = excerpt_find(f->text, f->files, &named);
    if (found && (!known || (named.line == f->line && strcmp(named.file, f->file) == 0))) {
        p->shown = named.shown;
        p->line = named.line;
        return named.file;
    }
    if (f->file)
        p->shown = shorten(f->file, f->script);
    p->line = known ? f->line : 0;
    return known ? f->file : NULL;
}

/* A file that cannot be read is shown by its name only. 0 or MT_ENOMEM; the caller frees p->source either way. */
static int find_place(const struct dev_failure *f, struct place *p)
{
    *p = (struct place){0};
    const char *path = choose_place(f, p);
    int rc = path ? read_source(path, &p->source) : MT_EIO;
    if (rc == 0 && !excerpt_cut(buf_slice(&p->source), p->line, &p->excerpt))
        p->excerpt.count = 0;
    return rc == MT_ENOMEM ? rc : 0;
}

/* ---- the terminal ---- */

int dev_report_text(const struct dev_failure *f, struct buf *out)
{
    static const char behind[] = "\nstack traceback:";
    const char *trace = memmem(f->text.data, f->text.len, behind, sizeof(behind) - 1);
    size_t message = trace ? (size_t)(trace - f->text.data) : f->text.len;
    struct place p;
    int rc = find_place(f, &p);
    if (rc == 0)
        rc = buf_add(out, f->text.data, message);
    if (rc == 0 && p.excerpt.count && (rc = buf_add_byte(out, '\n')) == 0 && (rc = excerpt_print(&p.excerpt, out)) == 0)
        out->len--; /* the last line break */
    if (rc == 0)
        rc = buf_add(out, f->text.data + message, f->text.len - message);
    buf_fini(&p.source);
    return rc;
}

/* ---- pages ---- */

static int put_text(struct buf *out, const char *key, struct slice text)
{
    int rc = buf_addf(out, ",\"%s\":", key);
    if (rc)
        return rc;
    if (text.len > TEXT_MAX)
        text.len = TEXT_MAX;
    return text.data ? text_json_string(out, text) : buf_add_text(out, "null");
}

static int put_place(struct buf *out, const struct place *p)
{
    int rc = put_text(out, "file", p->shown);
    if (rc == 0)
        rc = p->line ? buf_addf(out, ",\"line\":%u,\"excerpt\":", p->line) : buf_add_text(out, ",\"line\":null,\"excerpt\":");
    return rc ? rc : excerpt_print_json(&p->excerpt, out);
}

int dev_report_failed(const struct dev_failure *f, struct buf *out)
{
    struct place p;
    int rc = find_place(f, &p);
    if (rc == 0)
        rc = buf_add_text(out, "{\"type\":\"failed\"");
    if (rc == 0)
        rc = put_text(out, "script", shorten(f->script, f->script));
    if (rc == 0)
        rc = put_text(out, "version", slice_of(f->version));
    if (rc == 0)
        rc = buf_addf(out, ",\"rolled_back\":%s", f->rolled_back ? "true" : "false");
    if (rc == 0)
        rc = put_text(out, "text", f->text);
    if (rc == 0)
        rc = put_place(out, &p);
    buf_fini(&p.source);
    return rc ? rc : buf_add_byte(out, '}');
}

int dev_report_live(const char *version, struct buf *out)
{
    int rc = buf_add_text(out, "{\"type\":\"live\"");
    if (rc == 0)
        rc = put_text(out, "version", slice_of(version));
    return rc ? rc : buf_add_byte(out, '}');
}
