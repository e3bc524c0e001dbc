/* static_tag.c - a piece of HTML put into pages. The page that comes out lies in memory, behind a descriptor like any file's. */
#include "net/static_tag.h"

#include "base/buf.h"
#include "base/err.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ_STEP = 64 * 1024 };

static int read_all(int fd, struct buf *out)
{
    ssize_t n;

    do {
        if (out->len > STATIC_TAG_PAGE_MAX)
            return MT_ETOO_LARGE;
        if (buf_reserve(out, READ_STEP))
            return MT_ENOMEM;
        n = pread(fd, out->data + out->len, READ_STEP, (off_t)out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? MT_EIO : 0;
}

/* Where `text` is in `page`, in any case, the first time or the last; -1 where it is not. */
static ssize_t find_text(struct slice page, struct slice text, bool last)
{
    ssize_t found = -1;

    for (size_t at = 0; at + text.len <= page.len && (last || found < 0); at++) {
        const char *next = memchr(page.data + at, text.data[0], page.len - text.len - at + 1);
        if (!next)
            break;
        at = (size_t)(next - page.data);
        if (strncasecmp(next, text.data, text.len) == 0)
            found = (ssize_t)at;
    }
    return found;
}

static size_t find_place(struct slice page)
{
    ssize_t at = find_text(page, SLICE("</body"), true); /* scripts before it may hold the word too */

    if (at < 0)
        at = find_text(page, SLICE("</head"), false);
    return at < 0 ? page.len : (size_t)at;
}

static int write_page(struct slice page, size_t at, struct slice tag)
{
    struct iovec parts[3] = {{(void *)page.data, at}, {(void *)tag.data, tag.len}, {(void *)(page.data + at), page.len - at}};
    int fd = memfd_create("page", MFD_CLOEXEC);

    if (fd < 0)
        return MT_EIO;
    if (writev(fd, parts, 3) != (ssize_t)(page.len + tag.len)) { /* never in part, but where memory runs out */
        close(fd);
        return MT_ENOMEM;
    }
    return fd;
}

int static_tag_page(int page, struct slice tag, size_t *size)
{
    struct buf text = {0};
    int rc = read_all(page, &text);

    if (!rc) {
        *size = text.len + tag.len;
        rc = write_page(buf_slice(&text), find_place(buf_slice(&text)), tag);
    }
    buf_fini(&text);
    return rc;
}
