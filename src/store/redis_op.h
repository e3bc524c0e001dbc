/* redis_op.h - requests of a store as commands of Redis, and its replies as answers. Pure functions over bytes.
 *
 * How values look in Redis, so that other programs can share them: an integer is its decimal text (so INCRBY works), a string is
 * its bytes, a value that is kept as JSON is the byte 2 and the text. A string that would be taken for one of the others (it is
 * the text of an integer, or begins with byte 1 or 2) has the byte 1 in front. Whatever another program writes reads as an
 * integer or as a string. Keys: the prefix of the URL, the store's name with % and : as %25 and %3A, a colon, the key:
 * "moontide::ban:ann".
 */
#ifndef MT_STORE_REDIS_OP_H
#define MT_STORE_REDIS_OP_H
#include "store/store.h"
#include <hiredis/hiredis.h>

struct redis_scan;

/* One request on its way. */
struct redis_call {
    struct redis_call *next;       /* in the order in which replies come, or in which they wait for the connection */
    struct store_request *request; /* borrowed until it is answered */
    struct redis_scan *scan;       /* owned: what a STORE_SCAN has found so far; NULL before its first reply */
    uint64_t sent;                 /* loop time */
};

/* Add the next command of the call to `out`. 0, or MT_ENOMEM with `out` as it was. */
int redis_op_send(struct slice prefix, struct redis_call *c, struct buf *out);
/* The reply of that command. 1: send the next one; 0: the request has its answer, a failure too; MT_EMALFORMED: that is no reply
 * to it, so it is not clear what else is. */
int redis_op_reply(struct redis_call *c, const redisReply *reply);
void redis_op_fini(struct redis_call *c); /* frees what is inside */
/* The code for an error reply ("WRONGPASS invalid username-password pair"). */
int redis_op_error(struct slice text);
/* Add a command of `count` words. 0, or MT_ENOMEM with `out` as it was. */
int redis_op_add(struct buf *out, const struct slice *words, size_t count);
#endif
