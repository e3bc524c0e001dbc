/* work.h - what each kind of request does with the rows of a file. */
#ifndef MT_STORE_WORK_H
#define MT_STORE_WORK_H
#include "store/rows.h"

/* Carry out a request inside of a transaction: its results (r->code among them) hold once that has ended well. r->ends is when
 * the value expires that it has read or written. 0; or what rows.h returns, with no results: the transaction must not be
 * committed. May be called again for the same request. */
int store_work(struct rows *rows, struct store_request *r, int64_t now);
/* The value that the key of a request has after it was carried out; NULL where it has written nothing. */
const struct store_value *store_work_written(const struct store_request *r);
#endif
