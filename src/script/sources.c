/* sources.c - sets of source files: reading, hashing, comparing with the disk. */
#include "script/sources.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/signature.h"
#include "base/text.h"
#include "crypt/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOURCE_MAX = 16 << 20, PIECE = 16384, DIGEST = 32, HASH_BYTES = 4 };

struct file {
    char *path;                   /* owned */
    char *shown;                  /* owned: its name in errors, and in the hash */
    struct buf text;              /* as read */
    struct signature seen;        /* when it was read or missed */
    int error;                    /* 0: it was read; else the errno value why not */
    unsigned char digest[DIGEST]; /* of name and text */
};

struct sources {
    atomic_uint refs;
    struct file **files; /* owned; in the order in which they were asked for */
    size_t count;
    size_t read;                   /* files that were there */
    const char **list;             /* what sources_files gives; NULL until sealed. Owned, without its texts */
    char hash[2 * HASH_BYTES + 1]; /* over the digests */
};

/* ---- life ---- */

struct sources *sources_create(void)
{
    struct sources *s = mem_zalloc(1, sizeof(*s));

    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    memset(s->hash, '0', 2 * HASH_BYTES);
    return s;
}

struct sources *sources_ref(struct sources *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void free_file(struct file *f)
{
    mem_free(f->path);
    mem_free(f->shown);
    buf_fini(&f->text);
    mem_free(f);
}

void sources_unref(struct sources *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        free_file(s->files[i]);
    mem_free(s->files);
    mem_free(s->list);
    mem_free(s);
}

/* ---- reading ---- */

static int read_open(int fd, struct buf *out)
{
    ssize_t n = 1;

    while (n != 0) {
        if (out->len > SOURCE_MAX)
            return EFBIG;
        if (buf_reserve(out, PIECE) != 0)
            return ENOMEM;
        n = read(fd, out->data + out->len, PIECE);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0)
            out->len += (size_t)n;
    }
    return 0;
}

/* *seen is how the file was before it was read: what changes meanwhile makes a difference to sources_changed. */
static int read_file(const char *path, struct buf *out, struct signature *seen)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not keep us waiting */
    struct stat st;
    int rc;

    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0)
        rc = errno;
    else if (!S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    else
        rc = read_open(fd, out);
    if (rc == 0)
        *seen = signature_of(&st);
    close(fd);
    return rc;
}

int sources_read_file(const char *path, struct buf *out)
{
    struct signature seen;

    return read_file(path, out, &seen);
}

bool sources_is_missing(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EISDIR || error == EINVAL;
}

/* ---- hashing ---- */

static int compare_digests(const void *a, const void *b)
{
    return memcmp(*(const unsigned char *const *)a, *(const unsigned char *const *)b, DIGEST);
}

/* The length of the name keeps "a" and "bc" from being "ab" and "c". */
static int digest_file(struct file *f)
{
    struct crypt_hasher *h = NULL;
    size_t len;
    int rc = crypt_hasher_create(SLICE("sha256"), &h);

    if (rc == 0)
        rc = crypt_hasher_update(h, f->shown, strlen(f->shown) + 1);
    if (rc == 0 && f->text.len)
        rc = crypt_hasher_update(h, f->text.data, f->text.len);
    if (rc == 0)
        rc = crypt_hasher_digest(h, f->digest, &len);
    if (h)
        crypt_hasher_destroy(h);
    return rc;
}

static int digest_all(const unsigned char *const *digests, size_t count, char *hash)
{
    unsigned char digest[CRYPT_DIGEST_MAX];
    struct buf all = {0}, hex = {0};
    size_t len;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = buf_add(&all, digests[i], DIGEST);
    if (rc == 0)
        rc = crypt_digest(SLICE("sha256"), all.data, all.len, digest, &len);
    if (rc == 0)
        rc = text_hex(&hex, digest, HASH_BYTES);
    if (rc == 0)
        memcpy(hash, hex.data, hex.len);
    buf_fini(&all);
    buf_fini(&hex);
    return rc;
}

/* Sorted: modules may be required in an order that depends on chance. `more` is a file that is not in the set yet. */
static int update_hash(struct sources *s, const struct file *more)
{
    const unsigned char **digests = mem_alloc((s->read + 1) * sizeof(*digests));
    size_t n = 0;
    int rc;

    if (!digests)
        return MT_ENOMEM;
    for (size_t i = 0; i < s->count; i++)
        if (s->files[i]->error == 0)
            digests[n++] = s->files[i]->digest;
    digests[n++] = more->digest;
    qsort(digests, n, sizeof(*digests), compare_digests);
    rc = digest_all(digests, n, s->hash);
    mem_free(digests);
    return rc;
}

/* ---- filling ---- */

static struct file *find(const struct sources *s, const char *path)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->files[i]->path, path) == 0)
            return s->files[i];
    return NULL;
}

static struct file *make_file(const char *path, const char *shown)
{
    struct file *f = mem_zalloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->path = mem_strdup(path, strlen(path));
    f->shown = mem_strdup(shown, strlen(shown));
    if (f->path && f->shown)
        return f;
    free_file(f);
    return NULL;
}

/* Takes the file, also when it fails. */
static int add_file(struct sources *s, struct file *f)
{
    struct file **files = mem_resize(s->files, (s->count + 1) * sizeof(*files));

    if (files)
        s->files = files;
    if (!files || (f->error == 0 && (digest_file(f) != 0 || update_hash(s, f) != 0))) {
        free_file(f);
        return ENOMEM;
    }
    s->files[s->count++] = f;
    s->read += f->error == 0;
    return 0;
}

/* A file that cannot be read is noted all the same: mending it is a reason to load again. */
static int look(struct file *f)
{
    int rc = read_file(f->path, &f->text, &f->seen);

    if (rc != 0)
        f->seen = signature_look(f->path);
    return rc;
}

int sources_look(struct sources *s, const char *path, const char *shown, struct slice *text)
{
    struct file *f = find(s, path);

    if (!f) {
        if (!(f = make_file(path, shown)))
            return ENOMEM;
        f->error = look(f);
        if (f->error == ENOMEM) { /* says nothing about the file */
            free_file(f);
            return ENOMEM;
        }
        if (add_file(s, f) != 0)
            return ENOMEM;
    }
    *text = buf_slice(&f->text);
    return f->error;
}

int sources_find(const struct sources *s, const char *path, struct slice *text)
{
    const struct file *f = find(s, path);

    if (!f)
        return -1;
    *text = buf_slice(&f->text);
    return f->error;
}

/* Fills `list` with what sources_files promises. */
static void list_files(const struct sources *s, const char **list)
{
    size_t there = 0, missing = s->read;

    for (size_t i = 0; i < s->count; i++)
        list[s->files[i]->error == 0 ? there++ : missing++] = s->files[i]->path;
    list[s->count] = NULL;
}

int sources_seal(struct sources *s)
{
    const char **list = mem_alloc((s->count + 1) * sizeof(*list));

    if (!list)
        return MT_ENOMEM;
    list_files(s, list);
    mem_free(s->list);
    s->list = list;
    return 0;
}

/* ---- looking at it ---- */

const char *sources_hash(const struct sources *s)
{
    return s->hash;
}

const char *const *sources_files(const struct sources *s, size_t *read)
{
    if (read)
        *read = s->read;
    return s->list;
}

char **sources_copy_files(const struct sources *s)
{
    const char **list = mem_alloc((s->count + 1) * sizeof(*list));
    char **copy = list ? mem_zalloc(s->count + 1, sizeof(*copy)) : NULL;
    size_t n = 0;

    if (copy) {
        list_files(s, list);
        for (size_t i = 0; i < s->count; i++)
            if ((copy[n] = mem_strdup(list[i], strlen(list[i]))) != NULL)
                n++; /* what there was no memory for is left out */
    }
    mem_free(list);
    return copy;
}

bool sources_changed(const struct sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct signature now = signature_look(s->files[i]->path);

        if (!signature_is(&now, &s->files[i]->seen))
            return true;
    }
    return false;
}

/* The number behind "NAME:" where `text` begins with that and a colon follows, else 0. */
static int line_at(const char *text, const char *name)
{
    size_t len = strlen(name);
    char *end;
    long line;

    if (strncmp(text, name, len) != 0 || text[len] != ':' || text[len + 1] < '0' || text[len + 1] > '9')
        return 0;
    line = strtol(text + len + 1, &end, 10);
    return *end == ':' && line > 0 && line < 1 << 30 ? (int)line : 0;
}

static bool may_begin(const char *text, const char *at)
{
    return at == text || strchr(" \t\n'(", at[-1]) != NULL;
}

const char *sources_find_place(const struct sources *s, const char *text, int *line)
{
    for (const char *at = text; *at; at++)
        for (size_t i = 0; may_begin(text, at) && i < s->count; i++)
            if (s->files[i]->error == 0 && (*line = line_at(at, s->files[i]->shown)) > 0)
                return s->files[i]->path;
    *line = 0;
    return NULL;
}
