/* admin.h - serves a control socket: takes words, gives answers. Loop thread only.
 *
 * A request is one line with one word, an answer one line of JSON, in order. A client has at most one request under way and at
 * most one answer that it has not read, so no client costs more than that. Past ADMIN_CLIENTS the oldest has to go.
 */
#ifndef MT_APP_ADMIN_H
#define MT_APP_ADMIN_H
#include "base/slice.h"
#include "loop/loop.h"
#include <stdint.h>

enum { ADMIN_CLIENTS = 64, ADMIN_WORD_MAX = 64 };

struct admin;
/* A request. `word` is borrowed for the call and may have any bytes but line breaks. Every ticket is to be answered, now or
 * later. */
typedef void admin_fn(void *arg, uint64_t ticket, struct slice word);

/* Listen at `path`. 0, or as control_listen. */
int admin_open(struct loop *loop, const char *path, admin_fn *fn, void *arg, struct admin **out, char **error);
/* Answer with one line (`json` without line breaks; the end of it is added). A client that has gone hears nothing. */
void admin_answer(struct admin *a, uint64_t ticket, struct slice json);
/* Nobody new: the file goes, so that a successor can have the path. Clients stay. Again: nothing. */
void admin_retire(struct admin *a);
void admin_close(struct admin *a); /* NULL is allowed */
#endif
