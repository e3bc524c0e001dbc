/* sql_value.h - a value of SQLite, and rows of them as bytes on their way between two threads. */
#ifndef MT_STORE_SQL_VALUE_H
#define MT_STORE_SQL_VALUE_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum sql_type { SQL_NULL, SQL_INTEGER, SQL_REAL, SQL_TEXT, SQL_BLOB };

struct sql_value {
    enum sql_type type;
    int64_t integer;    /* of SQL_INTEGER */
    double real;        /* of SQL_REAL */
    struct slice bytes; /* of SQL_TEXT and SQL_BLOB; borrowed */
};

/* Append a value. 0 or MT_ENOMEM. */
int sql_value_put(struct buf *b, const struct sql_value *v);
/* Cut the first value off what sql_value_put has written; its bytes lie in there. */
void sql_value_take(struct slice *rest, struct sql_value *out);
#endif
