/* static.h - files of one folder over HTTP: types, ETag, 304, HEAD, ranges, nothing outside the folder, no dot files. */
#ifndef MT_NET_STATIC_H
#define MT_NET_STATIC_H
#include "net/http.h"
#include <sys/types.h>

struct static_root;
/* 0, MT_ENOT_FOUND (no such folder), MT_EDENIED, MT_ENOMEM. */
int static_open(const char *folder, struct static_root **out);
void static_close(struct static_root *r);

/* An answer: a complete response head, and the part of a file that follows it. */
struct static_answer {
    int status;        /* 200, 206, 304, 301 (folder without slash), 416 */
    int fd;            /* owned by the caller afterwards; -1 when no body follows */
    off_t offset;      /* first byte to send */
    uint64_t length;   /* bytes to send from there */
};
/* Answer GET or HEAD for r->path; "/" and folders give index.html. Appends the response head (without Connection header and without
 * the final empty line) to `head`. MT_ENOT_FOUND when the folder has no such file (the caller goes on to on_http), MT_EDENIED for a dot file or
 * a way out, MT_EMALFORMED for a bad path (percent signs, NUL), MT_EINVALID for other methods, MT_ENOMEM, MT_EIO.
 * Opened with openat2(RESOLVE_BENEATH) where the kernel has it, else component by component with O_NOFOLLOW. */
int static_answer(struct static_root *root, const struct http_request *r, struct buf *head, struct static_answer *out);
/* The media type by a file's ending, with charset for text; "application/octet-stream" when unknown. */
const char *static_type(struct slice name);
#endif
