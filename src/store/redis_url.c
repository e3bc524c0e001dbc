/* redis_url.c */
#include "store/redis_url.h"

#include "base/err.h"
#include "base/text.h"
#include <string.h>

enum { URL_MAX = 2048, DATABASE_MAX = 1000000 };

/* `text` up to `end`, which is cut off with it; false where there is no `end`: then all of it is in *head. */
static bool cut(struct slice *text, char end, struct slice *head)
{
    const char *at = text->len ? memchr(text->data, end, text->len) : NULL;

    *head = at ? (struct slice){text->data, (size_t)(at - text->data)} : *text;
    size_t gone = at ? head->len + 1 : text->len;
    text->data += gone;
    text->len -= gone;
    return at != NULL;
}

static bool cut_front(struct slice *text, struct slice front)
{
    if (text->len < front.len || memcmp(text->data, front.data, front.len) != 0)
        return false;
    text->data += front.len;
    text->len -= front.len;
    return true;
}

/* A zero byte behind it, which does not count. */
static int terminate(struct buf *b)
{
    int rc = buf_add_byte(b, '\0');

    if (rc == 0)
        b->len--;
    return rc;
}

static int decode(struct buf *out, struct slice text)
{
    int rc = text_unpercent(out, text, false);

    if (rc == 0 && out->len && memchr(out->data, '\0', out->len))
        rc = MT_EMALFORMED;
    return rc == 0 ? terminate(out) : rc;
}

static int read_database(struct slice text, struct redis_url *u, const char **why)
{
    unsigned long long n;

    *why = "the database is a number";
    if (!slice_to_uint(text, DATABASE_MAX, &n))
        return MT_EINVALID;
    u->database = (unsigned)n;
    return 0;
}

static int read_options(struct slice query, struct redis_url *u, const char **why)
{
    struct slice option, name;
    int rc = 0;

    while (rc == 0 && query.len) {
        cut(&query, '&', &option);
        cut(&option, '=', &name); /* the value is what is left */
        if (slice_is(name, SLICE("db"))) {
            rc = read_database(option, u, why);
        } else if (slice_is(name, SLICE("prefix"))) {
            buf_clear(&u->prefix);
            rc = decode(&u->prefix, option);
        } else {
            *why = "behind the ? only db=NUMBER and prefix=TEXT are known";
            rc = MT_EINVALID;
        }
    }
    return rc;
}

static int read_login(struct slice login, struct redis_url *u, const char **why)
{
    struct slice user;
    int rc;

    *why = "in front of the @ USER:PASSWORD or :PASSWORD is expected";
    if (!cut(&login, ':', &user))
        return MT_EINVALID;
    rc = decode(&u->user, user);
    return rc == 0 ? decode(&u->password, login) : rc;
}

/* host, host:port, [v6], [v6]:port */
static int read_place(struct slice place, struct redis_url *u, const char **why)
{
    struct slice host;
    unsigned long long port;

    if (cut_front(&place, SLICE("[")))
        cut(&place, ']', &host);
    else
        host = (struct slice){0};
    if (host.len)
        cut_front(&place, SLICE(":"));
    else
        cut(&place, ':', &host);
    if (host.len == 0)
        host = SLICE("localhost");
    if (place.len == 0)
        place = SLICE("6379");
    *why = "the port is a number from 1 to 65535";
    if (!slice_to_uint(place, 65535, &port) || port == 0)
        return MT_EINVALID;
    int rc = decode(&u->host, host);
    if (rc == 0)
        rc = buf_add(&u->port, place.data, place.len);
    return rc == 0 ? terminate(&u->port) : rc;
}

static int read_tcp(struct slice text, struct redis_url *u, const char **why)
{
    struct slice query = text, rest, login, place;
    int rc = 0;

    cut(&query, '?', &rest);
    cut(&rest, '/', &place); /* the database is what is left */
    /* a password may have an @ that nobody has encoded, a host has none */
    const char *at = place.len ? memrchr(place.data, '@', place.len) : NULL;
    if (at) {
        login = (struct slice){place.data, (size_t)(at - place.data)};
        place = (struct slice){at + 1, place.len - login.len - 1};
        rc = read_login(login, u, why);
    }
    if (rc == 0)
        rc = read_place(place, u, why);
    if (rc == 0 && rest.len)
        rc = read_database(rest, u, why);
    if (rc == 0)
        rc = read_options(query, u, why);
    if (rc == 0)
        rc = buf_addf(&u->shown, "redis://%s:%s/%u", (char *)u->host.data, (char *)u->port.data, u->database);
    return rc;
}

static int read_unix(struct slice text, struct redis_url *u, const char **why)
{
    struct slice path;
    int rc;

    cut(&text, '?', &path);
    *why = "the path of the socket is missing";
    if (path.len < 2 || path.data[0] != '/')
        return MT_EINVALID;
    rc = decode(&u->path, path);
    *why = "the path of the socket is too long";
    if (rc == 0 && u->path.len > 107) /* sun_path */
        rc = MT_EINVALID;
    if (rc == 0)
        rc = read_options(text, u, why);
    if (rc == 0)
        rc = buf_addf(&u->shown, "unix://%s?db=%u", (char *)u->path.data, u->database);
    return rc;
}

int redis_url_parse(struct slice text, struct redis_url *out, const char **why)
{
    memset(out, 0, sizeof(*out));
    *why = "the URL is too long";
    if (text.len > URL_MAX)
        return MT_EINVALID;
    int rc = buf_add_text(&out->prefix, "moontide:");
    if (rc != 0)
        return rc;
    if (cut_front(&text, SLICE("redis://")))
        rc = read_tcp(text, out, why);
    else if (cut_front(&text, SLICE("unix://")))
        rc = read_unix(text, out, why);
    else if (cut_front(&text, SLICE("rediss://"))) {
        *why = "TLS to Redis is not there: use a unix socket, or a tunnel such as stunnel on this machine";
        rc = MT_EINVALID;
    } else {
        *why = "redis://HOST:PORT/DATABASE or unix:///PATH is expected";
        rc = MT_EINVALID;
    }
    if (rc == MT_EMALFORMED) {
        *why = "a percent sign without two hexadecimal digits behind it, or %00";
        rc = MT_EINVALID;
    }
    return rc;
}

void redis_url_fini(struct redis_url *u)
{
    struct buf *all[] = {&u->host, &u->path, &u->port, &u->user, &u->password, &u->prefix, &u->shown};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        buf_fini(all[i]);
}
