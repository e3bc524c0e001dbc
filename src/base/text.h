/* text.h - small conversions of text: encodings, percent signs, near names. Pure functions; what fails leaves `out` as it was. */
#ifndef MT_BASE_TEXT_H
#define MT_BASE_TEXT_H
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>

/* The name of `names` (NULL-terminated) nearest to `word` by edit distance, NULL when none is near (more than a third differs). */
const char *text_nearest(struct slice word, const char *const *names);
int text_hex(struct buf *out, const void *data, size_t len);              /* lower case; 0 or MT_ENOMEM */
int text_unhex(struct buf *out, struct slice text);                       /* 0, MT_EMALFORMED, MT_ENOMEM */
/* RFC 4648: section 4 with padding, or section 5 (url) without. */
int text_base64(struct buf *out, const void *data, size_t len, bool url); /* 0 or MT_ENOMEM */
/* Strict: wrong length, alphabet, padding and non-zero trailing bits are MT_EMALFORMED. Padding is optional when `url`. */
int text_unbase64(struct buf *out, struct slice text, bool url);
/* RFC 3986 percent decoding; `plus` also turns + into a blank (forms, queries). 0, MT_EMALFORMED (bad %xx), MT_ENOMEM. */
int text_unpercent(struct buf *out, struct slice text, bool plus);
/* Adds `text` as application/x-www-form-urlencoded has names and values: a blank is +. 0 or MT_ENOMEM. */
int text_form(struct buf *out, struct slice text);
/* Adds `text` as a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD. 0 or MT_ENOMEM. */
int text_json_string(struct buf *out, struct slice text);
#endif
