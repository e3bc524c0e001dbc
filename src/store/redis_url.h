/* redis_url.h - where a Redis server is, as a URL says it. */
#ifndef MT_STORE_REDIS_URL_H
#define MT_STORE_REDIS_URL_H
#include "base/buf.h"

struct redis_url {
    struct buf host, path;     /* text with a zero byte behind; one of them is empty: TCP or a unix socket */
    struct buf port;           /* the same: "6379" */
    struct buf user, password; /* decoded; empty for none */
    struct buf prefix;         /* of all keys */
    unsigned database;         /* SELECT */
    struct buf shown;          /* for people and logs, without the password, with a zero byte behind */
};

/* redis://[[user]:password@]host[:port][/database][?prefix=TEXT], unix:///path[?db=N][&prefix=TEXT]. 0; MT_EINVALID with a
 * sentence in *why (static text), MT_ENOMEM. To be finished either way. */
int redis_url_parse(struct slice text, struct redis_url *out, const char **why);
void redis_url_fini(struct redis_url *u);
#endif
