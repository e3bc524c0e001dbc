/* number.h - doubles as text and back, the same in every locale and without loss. Pure functions. */
#ifndef MT_SCRIPT_NUMBER_H
#define MT_SCRIPT_NUMBER_H
#include "base/slice.h"
#include <stdbool.h>

enum { NUMBER_TEXT_MAX = 40 };

/* The shortest of 15, 16 and 17 digits that reads back as the same double; always with a point or an exponent ("1.0", "1e+20"),
 * so that it stays a float. NUL-terminated; returns the length. `x` must be finite. */
size_t number_print(double x, char out[NUMBER_TEXT_MAX]);
/* A decimal number that the caller has checked against the grammar of JSON. False when it is too large for a double. */
bool number_parse(struct slice text, double *out);
#endif
