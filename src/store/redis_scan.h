/* redis_scan.h - a page of a sorted scan over the keys of Redis, which have no order.
 *
 * SCAN goes over all keys of the database for each page; the smallest ones behind the last page are kept and read with MGET. So a
 * page costs a walk over every key, whatever the prefix; Redis goes on with others meanwhile.
 */
#ifndef MT_STORE_REDIS_SCAN_H
#define MT_STORE_REDIS_SCAN_H
#include "store/redis_op.h"

/* As redis_op_send, redis_op_reply. */
int redis_scan_send(struct slice prefix, struct redis_call *c, struct buf *out);
int redis_scan_reply(struct redis_call *c, const redisReply *reply);
void redis_scan_destroy(struct redis_scan *s); /* NULL is allowed */

/* ---- of redis_op.c ---- */
void redis_op_decode(struct slice text, struct store_value *out);         /* borrows from text */
int redis_op_key(struct slice prefix, struct slice key, struct buf *out); /* 0 or MT_ENOMEM */
#endif
