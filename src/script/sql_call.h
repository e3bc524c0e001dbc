/* sql_call.h - what the methods of databases and transactions have in common: handles, and the way of a request to the
 * database's thread and back.
 */
#ifndef MT_SCRIPT_SQL_CALL_H
#define MT_SCRIPT_SQL_CALL_H
#include "script/errand.h"
#include "store/sql.h"

#define SQL_DB_TYPE "moontide.db"
#define SQL_TX_TYPE "moontide.tx"
#define SQL_BLOB_TYPE "moontide.blob" /* its user value is the string */

/* A database as a VM holds it; one for each. Its user value is the path. */
struct sql_handle {
    struct sql_db *db;     /* counted; NULL in a probe, where nothing is opened */
    struct list_node open; /* transactions of this VM, by sql_guard.node */
};

/* A request on its way. */
struct sql_call {
    struct errand errand; /* first */
    struct inbox *inbox;  /* where it comes back */
    struct sql_request request;
};

/* Pushes a value that owns a new request; `tx` may be NULL. Raises when memory runs out. */
struct sql_call *sql_call_push(lua_State *L, enum sql_op op, struct sql_tx *tx, const struct errand_ops *ops);
void sql_call_destroy(struct errand *e); /* for the ops */
/* Send it and wait, at most `ms` milliseconds (negative: without limit); it is on top. Use as `return sql_call_wait(...)`. */
int sql_call_wait(lua_State *L, struct sql_db *db, struct sql_call *c, struct task *t, int64_t ms);
/* Pushes nil, message, name. `code` as ops->finish got it. Returns 3. */
int sql_call_push_failure(lua_State *L, const struct sql_call *c, int code);
/* How long a statement may take. */
int64_t sql_statement_ms(lua_State *L);

/* Carry out the statement at 2 with the parameters above it, whole or its first row only; `db` may be NULL where it cannot be
 * waited anyway. Use as `return sql_query(...)`. `what` is the method, for messages. */
int sql_query(lua_State *L, struct sql_db *db, struct sql_tx *tx, bool one_row, const char *what);

/* db:transaction, with the checked handle at 1 and the function at 2, and nothing above. Use as `return sql_transaction(...)`. */
int sql_transaction(lua_State *L, struct sql_handle *h);
/* Raises where the running task is inside of a transaction of this database: it would wait for itself. */
void sql_check_outside(lua_State *L, const struct sql_handle *h);
void sql_tx_open(lua_State *L); /* the type; once per VM. May raise */
#endif
