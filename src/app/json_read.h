/* json_read.h - picks values out of JSON text without building anything. For answers of the control socket.
 *
 * Values are slices of the text. Nothing here trusts it: what is no JSON gives false, never a read past its end.
 */
#ifndef MT_APP_JSON_READ_H
#define MT_APP_JSON_READ_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

/* The value of `key` (no escapes in it) in an object; false when there is none. Dots go deeper: "net.bytes_in". */
bool json_read_member(struct slice object, const char *key, struct slice *value);
/* Cuts the next item, which is no array itself, off an array. *rest is the array at first; false at the end. */
bool json_read_item(struct slice *rest, struct slice *item);
/* Adds the bytes of a string; false when `value` is none or memory runs out. */
bool json_read_text(struct slice value, struct buf *out);
bool json_read_number(struct slice value, double *out);
bool json_read_true(struct slice value);
#endif
