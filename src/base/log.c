/* log.c - builds a line, then writes it in one piece.
 *
 *   2026-11-23T07:46:01.123Z INFO  message  key=value conn=c1 peer=127.0.0.1 path=/x version=ab12cd34
 *       further lines of the message
 *   {"time":"2026-11-23T07:46:01.123Z","level":"info","message":"...","conn":"c1",...,"key":"value"}
 *
 * What comes from clients or scripts can neither end a line nor steer a terminal: control characters (the C1 ones of Unicode
 * too) are printed as escapes, and a field cannot carry a name that the logger itself uses.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct log {
    int given;                  /* the caller's descriptor */
    int fd;                     /* where lines go: `given`, or a file of ours; under `lock` */
    atomic_int level;           /* below it nothing is written */
    enum log_format format;     /* fixed */
    bool likes_colour;          /* text, and NO_COLOR does not forbid it; fixed */
    atomic_bool colour;         /* and `fd` is a terminal */
    bool torn;                  /* the last line was cut short: the next one starts on a fresh line; under `lock` */
    atomic_uint_least64_t lost; /* lines that did not get out whole */
    pthread_mutex_t lock;       /* around write: a pipe mixes lines longer than PIPE_BUF */
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const level_colours[] = {"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};

struct log *log_create(int fd, enum log_level level, enum log_format format)
{
    struct log *l = mem_zalloc(1, sizeof(*l));
    if (!l)
        return NULL;
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        mem_free(l);
        return NULL;
    }
    const char *no_colour = getenv("NO_COLOR");
    l->given = fd;
    l->fd = fd;
    l->format = format;
    l->likes_colour = format == LOG_FORMAT_TEXT && !(no_colour && *no_colour);
    atomic_init(&l->colour, l->likes_colour && isatty(fd));
    atomic_init(&l->level, (int)level);
    atomic_init(&l->lost, 0);
    return l;
}

void log_destroy(struct log *l)
{
    if (!l)
        return;
    if (l->fd != l->given)
        close(l->fd);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

/* MT_E* for errno, and a sentence. */
static int open_error(const char *path, char **error)
{
    int code = errno;
    struct buf text = {0};

    if (buf_addf(&text, "cannot open the log file %s: %s", path, strerror(code)) == 0)
        *error = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return MT_ENOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return MT_EDENIED;
    default:
        return MT_EIO;
    }
}

int log_reopen(struct log *l, const char *path, char **error)
{
    struct stat st = {.st_size = 1};
    int fd = l->given;

    *error = NULL;
    if (path) {
        /* a pipe that nobody reads must not hold up the server; once open, lines may wait for the reader */
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (fd < 0)
            return open_error(path, error);
        fcntl(fd, F_SETFL, O_APPEND);
        fstat(fd, &st);
    }
    pthread_mutex_lock(&l->lock);
    int old = l->fd;
    l->fd = fd;
    l->torn = l->torn && st.st_size > 0; /* it may be the same file, with half a line at its end */
    pthread_mutex_unlock(&l->lock);
    atomic_store_explicit(&l->colour, l->likes_colour && isatty(fd), memory_order_relaxed);
    if (old != l->given)
        close(old);
    return 0;
}

void log_set_level(struct log *l, enum log_level level)
{
    atomic_store_explicit(&l->level, (int)level, memory_order_relaxed);
}

bool log_wants(const struct log *l, enum log_level level)
{
    return level < LOG_LEVEL_OFF && (int)level >= atomic_load_explicit(&l->level, memory_order_relaxed);
}

uint64_t log_lost(const struct log *l)
{
    return atomic_load_explicit(&l->lost, memory_order_relaxed);
}

bool log_level_parse(struct slice name, enum log_level *out)
{
    for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_OFF; i++) {
        if (slice_is(name, slice_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- pieces of a line; all return 0 or MT_ENOMEM ---- */

static int add_time(struct buf *out)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return buf_addf(out, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

/* Bytes of the character at the front of `s`: 0 when it is not UTF-8. */
static size_t character_len(struct slice s)
{
    uint32_t state = UTF8_ACCEPT;
    for (size_t i = 0; i < s.len && state != UTF8_REJECT; i++) {
        state = utf8_feed(state, s.data + i, 1);
        if (state == UTF8_ACCEPT)
            return i + 1;
    }
    return 0;
}

/* True for a character that is shown as it is; *len bytes of it. */
static bool is_printable(struct slice s, size_t *len)
{
    unsigned char c = (unsigned char)s.data[0];

    *len = 1;
    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    size_t n = character_len(s);
    if (!n || (c == 0xC2 && (unsigned char)s.data[1] < 0xA0)) /* U+0080..U+009F steer terminals as ESC does */
        return false;
    *len = n;
    return true;
}

/* One line of text with everything escaped that is not for the eye. */
static int add_visible(struct buf *out, struct slice s)
{
    int err = 0;
    while (s.len && !err) {
        size_t len;
        unsigned char c = (unsigned char)s.data[0];
        if (is_printable(s, &len))
            err = buf_add(out, s.data, len);
        else if (c == '\t')
            err = buf_add_text(out, "    "); /* tracebacks are indented by tabs */
        else if (c == '\n' || c == '\r')
            err = buf_add_text(out, c == '\n' ? "\\n" : "\\r");
        else
            err = buf_addf(out, "\\x%02x", c);
        s.data += len;
        s.len -= len;
    }
    return err;
}

/* Only letters, digits and harmless signs: needs no quotes beside key=value pairs. */
static bool is_bare(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.len > 0;
}

/* A word as it is, anything else in quotes with escapes. */
static int add_word(struct buf *out, struct slice s)
{
    if (is_bare(s))
        return buf_add(out, s.data, s.len);
    struct buf quoted = {0};
    int err = text_json_string(&quoted, s);
    if (!err)
        err = add_visible(out, buf_slice(&quoted)); /* JSON lets C1 characters stand */
    buf_fini(&quoted);
    return err;
}

/* The names that the logger uses itself; a script's field of that name gets an underscore. */
static bool is_reserved(struct slice key)
{
    static const char *const names[] = {"time", "level", "message", "conn", "peer", "path", "version"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (slice_is(key, slice_of(names[i])))
            return true;
    return false;
}

/* As it goes out: secrets hidden. true and false are none, whatever their name. */
static struct log_field shown(const struct log_field *f)
{
    bool open = f->json && (slice_is(f->value, SLICE("true")) || slice_is(f->value, SLICE("false")));

    return !open && log_name_is_secret(f->key) ? (struct log_field){f->key, SLICE(LOG_HIDDEN), false} : *f;
}

/* ---- text ---- */

static int add_text_pair(struct buf *out, const char *blank, const char *key, struct slice value)
{
    if (!value.len)
        return 0;
    int err = buf_addf(out, "%s%s=", blank, key);
    return err ? err : add_word(out, value);
}

static int add_text_fields(struct buf *out, const struct log_about *about, const struct log_field *fields, size_t count)
{
    int err = 0;
    size_t start = out->len;

    for (size_t i = 0; i < count && !err; i++) {
        struct log_field f = shown(&fields[i]);
        err = buf_add_text(out, i ? " " : "  ");
        err = err ? err : add_word(out, f.key);
        err = err ? err : buf_add_text(out, is_reserved(f.key) ? "_=" : "=");
        if (!err)
            err = f.json ? add_visible(out, f.value) : add_word(out, f.value);
    }
    if (!about)
        return err;
    const struct {
        const char *key;
        struct slice value;
    } pairs[] = {{"conn", about->conn}, {"peer", about->peer}, {"path", about->path}, {"version", about->version}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs) && !err; i++)
        err = add_text_pair(out, out->len == start ? "  " : " ", pairs[i].key, pairs[i].value);
    return err;
}

/* Cuts the first line off. */
static struct slice take_line(struct slice *rest)
{
    if (!rest->len)
        return *rest;
    const char *end = memchr(rest->data, '\n', rest->len);
    struct slice line = {rest->data, end ? (size_t)(end - rest->data) : rest->len};

    rest->data += line.len + (end != NULL);
    rest->len -= line.len + (end != NULL);
    return line;
}

static int build_text(const struct log *l, struct buf *out, enum log_level level, const struct log_about *about,
                      struct slice message, const struct log_field *fields, size_t count)
{
    bool colour = atomic_load_explicit(&l->colour, memory_order_relaxed);
    int err = add_time(out);

    if (!err)
        err = colour ? buf_addf(out, " %s%s\x1b[0m ", level_colours[level], level_labels[level])
                        : buf_addf(out, " %s ", level_labels[level]);
    if (!err)
        err = add_visible(out, take_line(&message));
    if (!err && colour)
        err = buf_add_text(out, "\x1b[2m");
    if (!err)
        err = add_text_fields(out, about, fields, count);
    if (!err && colour)
        err = buf_add_text(out, "\x1b[0m");
    if (!err)
        err = buf_add_byte(out, '\n');
    while (message.len && !err) {
        struct slice line = take_line(&message);
        err = buf_add_text(out, "    ");
        err = err ? err : add_visible(out, line);
        err = err ? err : buf_add_byte(out, '\n');
    }
    return err;
}

/* ---- JSON ---- */

static int add_json_pair(struct buf *out, const char *key, struct slice value)
{
    if (!value.len)
        return 0;
    int err = buf_addf(out, ",\"%s\":", key);
    return err ? err : text_json_string(out, value);
}

static int add_json_about(struct buf *out, const struct log_about *about)
{
    int err = add_json_pair(out, "conn", about->conn);
    err = err ? err : add_json_pair(out, "peer", about->peer);
    err = err ? err : add_json_pair(out, "path", about->path);
    return err ? err : add_json_pair(out, "version", about->version);
}

/* JSON text on one line: a line break in it can only be white space between its parts. */
static int add_json_raw(struct buf *out, struct slice json)
{
    size_t start = out->len;
    int err = json.len ? buf_add(out, json.data, json.len) : buf_add_text(out, "null");

    for (size_t i = start; i < out->len && !err; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    return err;
}

static int add_json_field(struct buf *out, const struct log_field *f)
{
    int err = buf_add_byte(out, ',');
    err = err ? err : text_json_string(out, f->key);
    if (!err && is_reserved(f->key)) {
        out->len--; /* the closing quote */
        err = buf_add_text(out, "_\"");
    }
    err = err ? err : buf_add_byte(out, ':');
    if (err)
        return err;
    return f->json ? add_json_raw(out, f->value) : text_json_string(out, f->value);
}

static int build_json(struct buf *out, enum log_level level, const struct log_about *about, struct slice message,
                      const struct log_field *fields, size_t count)
{
    int err = buf_add_text(out, "{\"time\":\"");
    err = err ? err : add_time(out);
    err = err ? err : buf_addf(out, "\",\"level\":\"%s\",\"message\":", level_names[level]);
    err = err ? err : text_json_string(out, message);
    if (!err && about)
        err = add_json_about(out, about);
    for (size_t i = 0; i < count && !err; i++) {
        struct log_field f = shown(&fields[i]);
        err = add_json_field(out, &f);
    }
    return err ? err : buf_add_text(out, "}\n");
}

/* ---- writing ---- */

static void count_lost(struct log *l)
{
    atomic_fetch_add_explicit(&l->lost, 1, memory_order_relaxed);
}

static void write_line(struct log *l, struct slice line)
{
    pthread_mutex_lock(&l->lock);
    struct iovec parts[2] = {{"\n", 1}, {(void *)line.data, line.len}};
    int first = l->torn ? 0 : 1;
    size_t total = line.len + (l->torn ? 1 : 0);
    ssize_t n;

    do
        n = writev(l->fd, parts + first, 2 - first);
    while (n < 0 && errno == EINTR); /* nothing was written: no second copy */
    if (n > 0)
        l->torn = (size_t)n < total;
    if (n < 0 || (size_t)n < total)
        count_lost(l);
    pthread_mutex_unlock(&l->lock);
}

void log_write_fields(struct log *l, enum log_level level, const struct log_about *about, struct slice message,
                      const struct log_field *fields, size_t count)
{
    struct buf line = {0};

    if (!log_wants(l, level))
        return;
    int err = l->format == LOG_FORMAT_JSON ? build_json(&line, level, about, message, fields, count)
                                           : build_text(l, &line, level, about, message, fields, count);
    if (err)
        count_lost(l);
    else
        write_line(l, buf_slice(&line));
    buf_fini(&line);
}

void log_write(struct log *l, enum log_level level, const struct log_about *about, const char *format, ...)
{
    struct buf message = {0};
    va_list args;

    if (!log_wants(l, level))
        return;
    va_start(args, format);
    int err = buf_addv(&message, format, args);
    va_end(args);
    if (err)
        count_lost(l);
    else
        log_write_fields(l, level, about, buf_slice(&message), NULL, 0);
    buf_fini(&message);
}

/* ---- secrets ---- */

enum { NAME_MAX_READ = 128 }; /* bytes of a name that are looked at */

/* `word` as a whole word of a name such as X-Auth or user_pass. */
static bool has_word(struct slice name, const char *word)
{
    size_t start = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && isalnum((unsigned char)name.data[i]))
            continue;
        if (slice_is_nocase((struct slice){name.data + start, i - start}, slice_of(word)))
            return true;
        start = i + 1;
    }
    return false;
}

/* The letters and digits of a name in lower case, so that api_key, X-Api-Key and apiKey are one. `out` has NAME_MAX_READ bytes.
 */
static struct slice plain_name(struct slice name, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < name.len && len < NAME_MAX_READ; i++)
        if (isalnum((unsigned char)name.data[i]))
            out[len++] = (char)tolower((unsigned char)name.data[i]);
    return (struct slice){out, len};
}

bool log_name_is_secret(struct slice name)
{
    static const char *const parts[] = {"token",      "secret",     "passw",     "passphr",  "apikey", "accesskey",
                                        "privatekey", "credential", "signature", "authoriz", "cookie", "jwt"};
    static const char *const words[] = {"auth",    "pass",      "pwd", "pin",    "otp",    "sid",
                                        "session", "sessionid", "sig", "ticket", "bearer", "hmac"};
    char memory[NAME_MAX_READ];
    struct slice plain = plain_name(name, memory);

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (memmem(plain.data, plain.len, parts[i], strlen(parts[i])))
            return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (has_word(name, words[i]))
            return true;
    return false;
}
