/* static.h - files of one folder over HTTP: types, ETag, 304, HEAD, ranges, nothing outside the folder, no dot files. */
#ifndef MT_NET_STATIC_H
#define MT_NET_STATIC_H
#include "net/http.h"
#include <sys/types.h>

struct static_root;
/* 0, MT_ENOT_FOUND (no such folder), MT_EDENIED, MT_ENOMEM, MT_EIO. */
int static_open(const char *folder, struct static_root **out);
void static_close(struct static_root *r); /* NULL is allowed */
/* Put `tag` into every HTML page that is served, in front of </body>: dev mode's script. Such pages have lengths and ETags of
 * their own and no ranges. Borrowed; NULL for none. Before requests are answered. */
void static_set_tag(struct static_root *r, const char *tag);

/* An answer: a complete response head, and the part of a file that follows it. */
struct static_answer {
    int status;      /* 200, 206, 304, 301 (folder without slash), 412, 416 */
    int fd;          /* owned by the caller afterwards; -1 when no body follows (also of an empty file, and for HEAD) */
    off_t offset;    /* first byte to send */
    uint64_t length; /* bytes to send from there */
};
/* Answer GET or HEAD for r->path; "/" and folders give their index.html. Appends the response head, with Content-Length but
 * without Connection header and without the final empty line, to `head` (unchanged on failure). MT_ENOT_FOUND when the folder has
 * no such file (the caller goes on to on_http), MT_EDENIED for a dot file or dot folder, a backslash, a way out, and what is no
 * regular file, MT_EMALFORMED for a bad path (percent signs, NUL), MT_EINVALID for other methods, MT_ENOMEM, MT_EIO. Links that
 * stay inside the folder are followed where the kernel has openat2(RESOLVE_BENEATH); elsewhere none are. */
int static_answer(struct static_root *root, const struct http_request *r, struct buf *head, struct static_answer *out);
/* The media type by a file's ending, with charset for text; "application/octet-stream" when unknown. */
const char *static_type(struct slice name);
#endif
